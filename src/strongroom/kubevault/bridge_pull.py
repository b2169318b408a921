"""From a server to a vault folder: everything is fetched and checked first, then written.

The server is not trusted with the disk: each of its names must be a plain file name, and what it holds must make a
valid vault, before the first file is written.
"""

import os
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from strongroom.client.messages import Call
from strongroom.errors import BadRequest, VaultError
from strongroom.kubevault import bridge
from strongroom.kubevault.bridge import BridgeFailed, Place, Server
from strongroom.kubevault.found import SKIPPED, Found, Problem, locked_by
from strongroom.kubevault.names import BadName, check_user
from strongroom.kubevault.rules import Index, parse_rules
from strongroom.kubevault.tree import Decrypt, Invalid, Step, examine, load
from strongroom.kubevault.value_files import render
from strongroom.kubevault.values import BadFile, read_values

MAX_NAME = 249  # bytes of a file's name; ".", ".new" are added while it is written
MAX_PATH = 1024  # bytes of a path below the prefix
MAX_SECRETS = 1_000_000
KVSTORE, ACCESS = "kvstore", "access_control"


class File(NamedTuple):
    """A file to be: ``path`` is below ``room``; ``where`` names its origin on the server."""

    room: str
    path: str
    where: str
    data: bytes


class Pulled(NamedTuple):
    """``files`` make a valid vault; ``warnings`` say what could not be taken as it is."""

    files: list[File]
    warnings: list[Problem]


def fetch(server: Server, place: Place, *, step: Step = lambda done, total: None) -> Pulled:
    """Everything below the place, as files.

    Raises:
        Invalid: names or values that cannot be in a vault, all of them at once.
        Refused: the server said no.
    """
    problems: list[Problem] = []
    warnings: list[Problem] = []
    paths = _paths(server, place, problems)
    files = []
    for number, path in enumerate(paths):
        step(number, len(paths))
        made = _secret(server, place, path, problems, warnings)
        if made is not None:
            files.append(made)
    kept = sorted((file.path for file in files), key=lambda path: path.split("/"))
    files += _users(server, place, kept, problems, warnings)
    problems += _check(files)
    if problems:
        raise Invalid(problems, warnings)
    return Pulled(files, warnings)


def _paths(server: Server, place: Place, problems: list[Problem]) -> list[str]:
    """The paths of all secrets below the prefix; what cannot be a file is a problem and not gone into."""
    found: list[str] = []
    folders = [""]
    seen: set[str] = set()
    while folders:
        folder = folders.pop()
        for given in bridge.list_folder(server, place.metadata(folder)):
            name = given.removesuffix("/") if isinstance(given, str) else ""
            shown = place.metadata(folder) + ascii(given)[1:-1][:100]
            if wrong := unfit(name) or ("" if len((folder + name).encode()) <= MAX_PATH else "makes its path too long"):
                problems.append(Problem(shown, 0, f"cannot be a file: its name {wrong}", "path"))
            elif folder + given not in seen:
                seen.add(folder + given)
                (folders if given.endswith("/") else found).append(folder + given)
        if len(seen) > MAX_SECRETS:
            raise BridgeFailed(
                f"there are more than {MAX_SECRETS} secrets and folders; pull a part of them with --prefix"
            )
    problems += [
        Problem(place.data(path), 0, "is a secret and a folder; a file cannot be both", "path")
        for path in found
        if f"{path}/" in seen
    ]
    return sorted(found, key=lambda path: path.split("/"))


def unfit(name: str) -> str:
    """Why ``name``, a part of a path that a server gave, cannot be the name of a file; else empty."""
    if not name or name in (".", ".."):
        return "is empty or stands for a folder"
    if "/" in name or "\\" in name:
        return "holds a slash"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "is not UTF-8"
    if size > MAX_NAME:
        return f"has more than {MAX_NAME} bytes"
    if not name.isprintable():
        return "holds a character that does not print"
    return "is never read as a secret" if name in SKIPPED else ""


def _secret(server: Server, place: Place, path: str, problems: list[Problem], warnings: list[Problem]) -> File | None:
    where = place.data(path)
    answer = server.read(Call("GET", where))
    held = answer.data if answer else {}
    data, metadata = held.get("data"), held.get("metadata")
    if not isinstance(data, dict):
        warnings.append(Problem(where, 0, "its latest version is deleted: it is left out", "deleted"))
        return None
    custom = metadata.get("custom_metadata") if isinstance(metadata, dict) else None
    custom = custom if isinstance(custom, dict) else {}
    try:
        binary, settings = bridge.marked(custom, bridge.BINARY) or [], bridge.marked(custom, bridge.SETTINGS) or {}
    except BadRequest as error:
        problems.append(Problem(where, 0, str(error), "metadata"))
        return None
    if not isinstance(binary, list) or not isinstance(settings, dict):
        problems.append(Problem(where, 0, "its custom_metadata is not as kubevault push writes it", "metadata"))
        return None
    entries: dict[str, str | bytes] = {}
    for key, value in data.items():
        text = _text(value)
        if text is None:
            problems.append(Problem(where, 0, f"{key[:40]!r} holds no text: values of a vault are text", "nested"))
            continue
        if not isinstance(value, str):
            warnings.append(Problem(where, 0, f"{key[:40]!r} is a number or a boolean, and becomes text", "type"))
        try:
            entries[key] = _bytes(text) if key in binary else text
        except ValueError:
            problems.append(Problem(where, 0, f"{key[:40]!r} is marked as binary and is not base64", "base64"))
    return File(KVSTORE, path, where, _file(entries, settings, where, problems))


def _file(entries: dict[str, str | bytes], settings: dict[str, Any], where: str, problems: list[Problem]) -> bytes:
    """The file's bytes, which read back as the same entries."""
    try:
        data = render(entries, settings).encode()
        back = read_values(data, where).entries
    except BadFile:
        return data  # ``_check`` lists what is wrong with it
    except UnicodeEncodeError:
        problems.append(Problem(where, 0, "holds text that is not UTF-8", "not-utf-8"))
        return b""
    if back != entries:
        problems.append(Problem(where, 0, "holds values or keys that a file cannot hold as they are", "values"))
    return data


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else None


def _bytes(text: str) -> bytes:
    import base64

    return base64.b64decode(text, validate=True)


def _users(
    server: Server, place: Place, paths: list[str], problems: list[Problem], warnings: list[Problem]
) -> Iterable[File]:
    for name in bridge.policy_names(server, place):
        where = f"sys/policies/acl/{name}"
        text = bridge.read_policy(server, name)
        head = bridge.head_of(text or "")
        if text is None or (head is not None and not head.is_of(place)):
            continue  # of a vault at another place
        user = name.removeprefix(place.policy_prefix)
        try:
            check_user(user)
        except BadName as error:
            problems.append(Problem(where, 0, str(error), "user-name"))
            continue
        allowed = bridge.readable(text, place, paths)
        if allowed is None:
            warnings.append(Problem(where, 0, f"has templates or is not understood: {user} gets no rules", "policy"))
            allowed = set()
        file = user
        if head is not None and head.file.rpartition("/")[2] == user and not any(map(unfit, head.file.split("/"))):
            file = head.file
        yield File(ACCESS, file, where, rules_for(head.rules if head else [], paths, allowed).encode())


def rules_for(rules: list[str], paths: list[str], allowed: set[str]) -> str:
    """An ACL file for exactly the ``allowed`` of ``paths``: ``rules`` if they say that, else each path.

    ``paths`` are in path order, part by part.
    """
    text = "".join(f"{rule}\n" for rule in rules)
    try:
        read = parse_rules(text)
        index = Index(paths)
        if rules and [rule.text for rule in read] == rules and {paths[at] for at in index.allowed(read)} == allowed:
            return text
    except (ValueError, VaultError):
        pass
    return "".join(f"{literal(path)}\n" for path in paths if path in allowed)


def literal(path: str) -> str:
    """A pattern that matches only ``path``, which has no control characters."""
    return "".join(f"\\{char}" if char in "*?[]{}!\\#," else char for char in path)


class _Fetched:
    """The files as a vault's source, to be checked like one on the disk."""

    def __init__(self, files: list[File]) -> None:
        self._files = sorted(files, key=lambda file: file.path.split("/"))

    def files(self, room: str) -> tuple[list[Found], list[Problem]]:
        return [Found(f.path, f.where, partial(bytes, f.data)) for f in self._files if f.room == room], []


def _check(files: list[File]) -> list[Problem]:
    tree, problems = examine(_Fetched(files), "vault")
    try:
        load(tree, lambda data, path, where: data, before=problems)
    except Invalid as error:
        return error.problems
    return []


# -- to the disk ---------------------------------------------------------------------------------------------------


class Write(NamedTuple):
    """A file that differs from what is on the disk. ``sign``: ``+`` new, ``~`` replaced."""

    sign: str
    file: File


def differing(folder: str, files: list[File], decrypt: Decrypt, *, force: bool = False) -> list[Write]:
    """What has to be written into the vault ``folder``. Files that say the same in other words are left.

    Raises:
        Invalid: files in the way that differ (unless ``force``), encrypted ones that differ, links that leave the
            folder, files where folders have to be.
    """
    problems: list[Problem] = []
    writes = []
    top = os.path.realpath(folder)
    for file in files:
        target = os.path.join(folder, file.room, file.path)
        if wrong := _in_the_way(target, os.path.join(top, file.room), folder):
            problems.append(Problem(target, 0, wrong, "in-the-way"))
        elif not os.path.lexists(target):
            writes.append(Write("+", file))
        else:
            try:
                with open(target, "rb") as handle:
                    held = handle.read()
                same, locked = _same(file, held, decrypt, target)
            except OSError as error:
                problems.append(Problem(target, 0, f"cannot be read: {error.strerror}", "unreadable"))
                continue
            if same:
                continue
            if locked:
                text = f"differs, and is encrypted ({locked}): it is never replaced by clear text; move it away first"
                problems.append(Problem(target, 0, text, "encrypted"))
            elif not force:
                problems.append(Problem(target, 0, f"differs from {file.where}: --force replaces it", "differs"))
            else:
                writes.append(Write("~", file))
    if problems:
        raise Invalid(problems)
    return writes


def _in_the_way(target: str, room: str, folder: str) -> str:
    parent = os.path.dirname(target)
    while not os.path.lexists(parent) and len(parent) > len(folder):
        parent = os.path.dirname(parent)
    if os.path.lexists(parent) and not os.path.isdir(parent):
        return f"cannot be written: {parent} is no folder"
    real = os.path.realpath(parent)
    if real != os.path.dirname(room) and os.path.commonpath((real, room)) != room:
        return "cannot be written: a link on its way leaves the vault folder"
    return "is a folder" if os.path.isdir(target) else ""


def _same(file: File, held: bytes, decrypt: Decrypt, target: str) -> tuple[bool, str]:
    """Whether ``held`` says what ``file`` does, and by what it is encrypted."""
    if held == file.data:
        return True, ""
    if locked := locked_by(held):
        return False, locked
    if file.room == ACCESS:
        try:
            texts = [[rule.text for rule in parse_rules(data.decode("utf-8-sig"))] for data in (held, file.data)]
        except UnicodeDecodeError:
            return False, ""
        return texts[0] == texts[1], ""
    try:
        clear = decrypt(held, file.path, target)
        sealed = "SOPS" if clear != held else ""
    except VaultError:
        return False, "SOPS"
    try:
        old, new = read_values(clear, target), read_values(file.data, target)
    except BadFile:
        return False, sealed
    return (old.entries, old.settings._replace(b64=False)) == (new.entries, new.settings), sealed


def write(folder: str, writes: list[Write], step: Step = lambda done, total: None) -> None:
    """Write the files, each in one step and readable by its owner only.

    Raises:
        BadRequest: the folder cannot be written.
    """
    from strongroom.kubevault.output_folder import replace_file

    for number, (_, file) in enumerate(writes):
        step(number, len(writes))
        parent, name = os.path.split(os.path.join(folder, file.room, file.path))
        try:
            os.makedirs(parent, mode=0o700, exist_ok=True)
            replace_file(parent, name, file.data)
        except OSError as error:
            raise BadRequest(f"cannot write {os.path.join(parent, name)}: {error.strerror}") from error
