"""Manifests in a folder: each file replaced in one step, with mode 0600; of old ones only our own are removed.

``.kubevault-made`` lists what was made, ``sha256  name`` a line, so that a file that somebody changed since is kept.
It has no ending that ``kubectl apply -f`` would read.
"""

import hashlib
import os
from collections.abc import Iterable
from typing import NamedTuple

from strongroom.errors import BadRequest

RECORD = ".kubevault-made"
_LONGEST = 240  # a name may have 255 bytes; ours gets an ending, and for a moment a dot and another ending


class Outcome(NamedTuple):
    """What was done: names of files that were written, removed, and kept although they are no longer made."""

    written: list[str]
    removed: list[str]
    changed: list[str]  # would have been removed, but somebody changed them
    stale: list[str]  # made by an earlier run and left


def write_folder(folder: str, files: Iterable[tuple[str, str]], *, prune: bool) -> Outcome:
    """Write ``files``, pairs of name and text, into ``folder``. Files that are right already are left alone.

    Raises:
        BadRequest: the folder is missing or cannot be written.
    """
    if not os.path.isdir(folder):
        raise BadRequest(f"cannot write manifests into {folder}: it is no folder; make it first, as with mkdir -p")
    try:
        return _write(folder, files, prune)
    except OSError as error:
        raise BadRequest(f"cannot write manifests into {folder}: {error.strerror}") from error


def _write(folder: str, files: Iterable[tuple[str, str]], prune: bool) -> Outcome:
    before = _read_record(folder)
    made: dict[str, str] = {}
    written: list[str] = []
    try:
        for name, text in files:
            data = text.encode()
            checksum = hashlib.sha256(data).hexdigest()
            if _digest(folder, name) != checksum:
                replace_file(folder, name, data)
                written.append(name)
            made[name] = checksum
    except BaseException:
        _write_record(folder, before | made)  # what a run made that was cut short is not forgotten
        raise
    removed, changed, stale = [], [], []
    for name in sorted(set(before) - set(made)):
        held = _digest(folder, name)
        if held is None:
            continue
        if not prune:
            stale.append(name)
        elif held != before[name]:
            changed.append(name)
        else:
            os.unlink(os.path.join(folder, name))
            removed.append(name)
    _write_record(folder, made | {name: before[name] for name in (*stale, *changed)})
    return Outcome(written, removed, changed, stale)


def file_name(stem: str) -> str:
    """The name of the file for a group of objects: ``<stem>.yaml``, shortened where file systems would refuse it."""
    if len(stem) > _LONGEST:
        stem = f"{stem[: _LONGEST - 17]}-{hashlib.sha256(stem.encode()).hexdigest()[:16]}"
    return f"{stem}.yaml"


def replace_file(folder: str, name: str, data: bytes) -> None:
    """Put ``data`` at ``name`` in one step, readable by its owner only. Raises ``OSError``."""
    target, fresh = os.path.join(folder, name), os.path.join(folder, f".{name}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(handle, 0o600)
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
    except BaseException:
        os.close(handle)
        os.unlink(fresh)
        raise
    os.close(handle)
    os.replace(fresh, target)


def _digest(folder: str, name: str) -> str | None:
    try:
        handle = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    with open(handle, "rb") as file:
        private = not os.fstat(handle).st_mode & 0o077
        return hashlib.sha256(file.read()).hexdigest() if private else ""


def _read_record(folder: str) -> dict[str, str]:
    try:
        with open(os.path.join(folder, RECORD), encoding="utf-8") as file:
            lines = [line.rstrip("\n").partition("  ") for line in file]
    except OSError:
        return {}
    # A name with a slash was not written by this program: it must not make it remove something elsewhere.
    return {name: digest for digest, _, name in lines if name.endswith(".yaml") and "/" not in name}


def _write_record(folder: str, made: dict[str, str]) -> None:
    text = "".join(f"{made[name]}  {name}\n" for name in sorted(made))
    replace_file(folder, RECORD, text.encode())
