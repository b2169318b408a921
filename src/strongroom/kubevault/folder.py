"""The vault folder as it lies on the disk."""

import os
import stat
from functools import partial
from pathlib import Path

from strongroom.errors import BadRequest
from strongroom.kubevault.found import SKIPPED, Found, Problem

ROOMS = ("kvstore", "access_control")
_MOST = 16 << 20  # bytes of a file that are read; a Secret holds 1 MiB


class Folder:
    """A vault folder: ``files(room)`` finds what is in its ``kvstore`` or ``access_control``.

    Links are followed while they stay inside the vault folder.
    """

    def __init__(self, vault_dir: str | Path) -> None:
        self.path = str(vault_dir)
        self._real = os.path.realpath(self.path)

    def files(self, room: str) -> tuple[list[Found], list[Problem]]:
        """Every file of ``room`` in order of its path, part by part, and what cannot be used.

        Raises:
            BadRequest: the room is missing or no folder.
        """
        found: list[Found] = []
        problems: list[Problem] = []
        top = os.path.join(self.path, room)
        if not os.path.isdir(top):
            what = "is not a folder" if os.path.exists(top) else "does not exist"
            raise BadRequest(f"{top} {what}: kubevault new {self.path} makes a vault")
        if self._leaves(top):
            raise BadRequest(f"{top} is a link that leaves {self.path}")
        self._walk(top, "", found, problems, (os.path.realpath(top),))
        return found, problems

    def _walk(
        self, folder: str, prefix: str, found: list[Found], problems: list[Problem], above: tuple[str, ...]
    ) -> None:
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            problems.append(Problem(folder, 0, f"cannot be read: {error.strerror}", "unreadable"))
            return
        for entry in listed:
            name, where = entry.name, entry.path
            if name in SKIPPED:
                continue
            if _odd(name):
                shown = where.encode("utf-8", "backslashreplace").decode()
                problems.append(Problem(shown, 0, "the name of the file is not UTF-8", "file-name"))
            elif entry.is_symlink() and (wrong := self._bad_link(where, above)):
                problems.append(Problem(where, 0, wrong, "link"))
            elif entry.is_dir():
                deeper = (*above, os.path.realpath(where)) if entry.is_symlink() else (*above, where)
                self._walk(where, f"{prefix}{name}/", found, problems, deeper)
            elif entry.is_file():
                found.append(Found(prefix + name, where, partial(read_file, where)))
            else:
                kind = stat.filemode(entry.stat().st_mode)[0]
                problems.append(Problem(where, 0, f"is neither a file nor a folder ({_KINDS[kind]})", "special-file"))

    def _bad_link(self, where: str, above: tuple[str, ...]) -> str:
        try:
            os.stat(where)
        except OSError as error:
            return f"is a link that leads nowhere: {error.strerror}"
        if self._leaves(where):
            return f"is a link that leaves {self.path}"
        real = os.path.realpath(where)
        if any(os.path.realpath(folder) == real for folder in above):
            return "is a link to a folder that it is in"
        return ""

    def _leaves(self, where: str) -> bool:
        real = os.path.realpath(where)
        return os.path.commonpath((real, self._real)) != self._real


_KINDS = {"p": "a named pipe", "s": "a socket", "c": "a device", "b": "a device"}


def read_file(path: str) -> bytes:
    """The bytes of a file. Raises ``OSError``, also for a file larger than 16 MiB."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(handle, 1 << 16)
        if len(data) < 1 << 16:
            return data
        if os.fstat(handle).st_size > _MOST:
            raise OSError(27, "File too large")
        parts = [data]
        while more := os.read(handle, 1 << 20):
            parts.append(more)
        return b"".join(parts)
    finally:
        os.close(handle)


def _odd(name: str) -> bool:
    """Whether a name holds bytes that are not UTF-8 (Python keeps them as lone surrogates)."""
    if name.isascii():
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False
