"""A vault folder as it is at a revision of a git repository, without a check-out."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from strongroom.kubevault.found import SKIPPED, Found, Problem
from strongroom.kubevault.git import Blob, Git, RevisionFailed

__all__ = ["Revision", "RevisionFailed"]

MAX_LINKS = 40  # in a chain, as Linux
MAX_FILES = 1_000_000  # links to folders can multiply
_SKIPPED = frozenset(name.encode() for name in SKIPPED)
_LINK, _SUBMODULE = "120000", "160000"


class _Entry:
    """A leaf of a tree: a file, a link or a submodule."""

    __slots__ = ("blob", "mode")

    def __init__(self, mode: str, blob: Blob) -> None:
        self.mode, self.blob = mode, blob


_Folder = dict[bytes, Any]  # name to _Entry or _Folder


class _Lost(Exception):
    """Where a link leads to nothing that may be read."""


class Revision:
    """The files of a vault folder at ``rev``: a branch, tag, commit, or anything else that git takes for a tree.

    ``vault_dir`` may be gone from the work tree, and may be below a bare repository. Filters that the repository
    configures (transcrypt, git-crypt) are applied as in a check-out. Raises RevisionFailed: no git, no repository,
    unknown revision, no such folder in it.
    """

    def __init__(
        self,
        vault_dir: Path,
        rev: str,
        *,
        environ: Mapping[str, str] | None = None,
        run: Callable[..., Any] = subprocess.run,
    ) -> None:
        self._git = Git(vault_dir, environ, run)
        oid = self._git.resolve(rev)
        self._base = f"{rev}:{_text(self._git.prefix)}".rstrip("/")
        said = self._git.ask("ls-tree", "-r", "-z", "--full-tree", oid.encode() + b":" + self._git.prefix)
        if said.returncode != 0:
            raise RevisionFailed(f"there is no folder {self._base}", "name another revision, or --vault-dir")
        self._root: _Folder = {}
        self._links: list[Blob] = []
        for line in bytes(said.stdout).split(b"\0")[:-1]:
            self._place(line)
        self._targets: dict[Blob, bytes] | None = None

    def _place(self, line: bytes) -> None:
        head, _, path = line.partition(b"\t")
        mode, _, oid = head.decode().split()
        *folders, name = path.split(b"/")
        at = self._root
        for folder in folders:
            at = at.setdefault(folder, {})
        at[name] = _Entry(mode, Blob(oid, b"/".join(part for part in (self._git.prefix, path) if part)))
        if mode == _LINK:
            self._links.append(at[name].blob)

    def files(self, room: str) -> tuple[list[Found], list[Problem]]:
        """The files of ``room`` ("kvstore" or "access_control") by path, and what is wrong with names and links. Bytes
        are fetched, all at once, with the first ``read``. Raises RevisionFailed when the room is missing."""
        try:
            top = self._follow([room.encode()])
        except _Lost:
            top = None
        if not isinstance(top, dict):
            raise RevisionFailed(f"there is no folder {self._where(room)}", "name another revision, or --vault-dir")
        found: dict[str, Blob] = {}
        problems: list[Problem] = []
        todo: list[tuple[_Folder, list[bytes], tuple[int, ...]]] = [(top, [], (id(top),))]
        while todo:
            folder, parts, above = todo.pop()
            for name, entry in folder.items():
                here = [*parts, name]
                where = self._where(room, *map(_text, here))
                try:
                    node = self._node(room, here, entry)
                    path = b"/".join(here).decode()
                except UnicodeDecodeError:
                    problems.append(Problem(where, 0, "the name is not UTF-8"))
                    continue
                except _Lost as e:
                    problems.append(Problem(where, 0, str(e)))
                    continue
                if isinstance(node, Blob):
                    found[path] = node
                elif node is not None and id(node) in above:
                    problems.append(Problem(where, 0, "the link leads to a folder that holds it"))
                elif node is not None:
                    todo.append((node, here, (*above, id(node))))
            if len(found) > MAX_FILES:
                raise RevisionFailed(f"more than {MAX_FILES:,} files in {self._where(room)}")
        return self._readers(room, found), sorted(problems)

    def _readers(self, room: str, found: dict[str, Blob]) -> list[Found]:
        loaded: dict[Blob, bytes] = {}

        def reader(blob: Blob) -> Callable[[], bytes]:
            def read() -> bytes:
                if not loaded:
                    loaded.update(self._git.read(found.values()))
                return loaded[blob]

            return read

        paths = sorted(found, key=lambda path: path.split("/"))
        return [Found(path, self._where(room, path), reader(found[path])) for path in paths]

    def _node(self, room: str, parts: list[bytes], entry: _Entry | _Folder) -> Blob | _Folder | None:
        """What is behind a name: a folder, a file, or None for what is passed over. Raises _Lost."""
        if isinstance(entry, dict):
            return entry
        if parts[-1] in _SKIPPED:
            return None
        behind = self._follow([room.encode(), *parts]) if entry.mode == _LINK else entry
        if isinstance(behind, dict):
            return behind
        if behind.mode == _SUBMODULE:
            raise _Lost("a submodule: what is in it belongs to another repository")
        return behind.blob

    def _follow(self, parts: list[bytes]) -> _Entry | _Folder:
        """The file or folder at a path from the vault folder, through links. Raises _Lost."""
        chain: list[Any] = [self._root]
        todo, links = parts[::-1], 0
        while todo:
            part = todo.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                chain.pop()
                if not chain:
                    raise _Lost("the link leaves the vault folder")
                continue
            behind = chain[-1].get(part) if isinstance(chain[-1], dict) else None
            if behind is None:
                raise _Lost("the link leads nowhere")
            if isinstance(behind, dict) or behind.mode != _LINK:
                chain.append(behind)
                continue
            links += 1
            target = self._target(behind.blob)
            if links > MAX_LINKS:
                raise _Lost("the link leads in a circle")
            if target.startswith(b"/"):
                raise _Lost("the link leaves the vault folder")
            todo += target.split(b"/")[::-1]
        found: _Entry | _Folder = chain[-1]
        return found

    def _target(self, link: Blob) -> bytes:
        if self._targets is None:
            self._targets = self._git.read(self._links, filtered=False)
        return self._targets[link]

    def _where(self, *parts: str) -> str:
        base = self._base if self._base.endswith(":") else self._base + "/"
        return base + "/".join(parts)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
