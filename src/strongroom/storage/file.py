"""The store a person can read with ``ls``: one file an entry, several keys in one atomic commit, several processes.

Names of files: ``file_names``. What readers see: ``file_tree``. How commits are made: ``file_journal``.
Byte layout: docs/formats/file-store.md.
"""

import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from strongroom.sdk.storage import Backend, Entry, Pairs, Write
from strongroom.storage.changes import Changes
from strongroom.storage.file_journal import Journal
from strongroom.storage.file_tree import Found, Tree
from strongroom.storage.group import GroupWriter, Job
from strongroom.storage.limits import check_prefix, storable, take_options

Rows = list[Found]
_OPTIONS = {"path": str, "sync": bool}


def open_store(options: Mapping[str, Any]) -> Backend:
    """Open or make the store in the folder ``path``.

    Args:
        options: ``path``; ``sync``, False for data that need not survive the host.

    Raises:
        BadRequest: an unknown option, or no path.
        StorageFailed: the folder lets other users in, holds something else, or is of a newer format.
    """
    taken = take_options("file", options, _OPTIONS)
    return FileStore(taken.get("path", ""), sync=taken.get("sync", True))


class FileStore:
    """Storage over a folder; usable from several threads, and the same folder from several processes."""

    kind = "file"

    def __init__(self, path: str, *, sync: bool = True) -> None:
        self._tree = Tree(path)
        self._changes = Changes()
        try:
            self._journal = Journal(self._tree, self._changes, sync=sync)
        except BaseException:
            self._tree.close()
            raise
        self._writer = GroupWriter("strongroom-file", self._journal.write_batch)
        self._end = weakref.finalize(self, _end, self._writer, self._tree)

    def __repr__(self) -> str:
        return f"FileStore({self._tree.path!r})"

    def stamp(self) -> int | None:
        return self._tree.generation()

    async def get(self, key: str) -> Entry | None:
        if not storable(key):
            return None
        raw = key.encode()
        found = self._tree.read(lambda: self._tree.entry(raw))
        return None if found is None else Entry(found[1], found[0])

    async def get_many(self, keys: Sequence[str]) -> list[Entry | None]:
        wanted = [key.encode() if storable(key) else None for key in keys]
        found = self._tree.read(lambda: [None if key is None else self._tree.entry(key) for key in wanted])
        return [None if entry is None else Entry(entry[1], entry[0]) for entry in found]

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        check_prefix(prefix)
        folder, behind = _raw(prefix), _raw(after)
        return [name.decode() for name in self._tree.read(lambda: self._tree.names(folder, behind, limit))]

    async def scan(self, prefix: str, *, after: str = "", until: str = "", limit: int = 1000) -> Pairs:
        start, low = _raw(prefix), _raw(prefix + after)
        end = _raw(prefix + until) if until else None
        width = len(start)
        found = self._tree.read(lambda: self._entries(start, low, end, limit))
        return [(key[width:].decode(), Entry(value, revision)) for key, revision, value in found]

    def _entries(self, start: bytes, low: bytes, end: bytes | None, limit: int) -> Rows:
        found: Rows = []
        for key, path in self._tree.walk(start, low, end):
            if len(found) >= limit:
                break
            if key != low and (row := self._tree.file(path)) is not None:
                found.append(row)
        return found

    async def commit(self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}) -> None:
        await self._writer.submit(Job(writes, expect))

    def last_revision(self) -> int:
        """The greatest revision given so far."""
        return self._tree.last_revision()

    def raise_revisions(self, floor: int) -> None:
        """Make every later revision greater than ``floor`` (a copy must not reuse the source's numbers)."""
        self._journal.raise_revisions(floor)

    def watch(self, prefix: str) -> AsyncIterator[str]:
        return self._changes.watch(self, prefix)

    async def close(self) -> None:
        self._end()


def _raw(text: str) -> bytes:
    """UTF-8 to look for; text that is not Unicode finds nothing instead of failing."""
    return text.encode("utf-8", "surrogatepass")


def _end(writer: GroupWriter, tree: Tree) -> None:
    writer.close()
    tree.close()
