"""The store that forgets: for tests and for vaults that live as long as their process."""

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from strongroom.errors import Conflict, StorageFailed
from strongroom.sdk.storage import Backend, Entry, Pairs, Write
from strongroom.storage.changes import Changes
from strongroom.storage.limits import check_commit, check_prefix, take_options

_LOAD = 512  # keys per block; a block is split at twice that


def open_store(options: Mapping[str, Any]) -> Backend:
    """An empty store. It takes no options.

    Raises:
        BadRequest: an option was given.
    """
    take_options("memory", options, {})
    return MemoryStore()


class SortedKeys:
    """Text keys in order, kept in blocks so that adding one among a million stays cheap.

    Text compares by code point, which is also the byte order of its UTF-8.
    """

    __slots__ = ("_blocks", "_last")

    def __init__(self) -> None:
        self._blocks: list[list[str]] = []
        self._last: list[str] = []  # the greatest key of each block

    def add(self, key: str) -> None:
        """Add a key that is not there yet."""
        if not self._blocks:
            self._blocks.append([key])
            self._last.append(key)
            return
        at = min(bisect_left(self._last, key), len(self._blocks) - 1)
        block = self._blocks[at]
        insort(block, key)
        self._last[at] = block[-1]
        if len(block) > 2 * _LOAD:
            self._blocks[at : at + 1] = [block[:_LOAD], block[_LOAD:]]
            self._last[at : at + 1] = [block[_LOAD - 1], block[-1]]

    def remove(self, key: str) -> None:
        """Remove a key that is there."""
        at = bisect_left(self._last, key)
        block = self._blocks[at]
        del block[bisect_left(block, key)]
        if block:
            self._last[at] = block[-1]
        else:
            del self._blocks[at], self._last[at]

    def above(self, key: str, *, equal: bool = False) -> Iterator[str]:
        """The keys greater than ``key`` (or equal to it), in order. Nothing may be added or removed meanwhile."""
        find = bisect_left if equal else bisect_right
        at = bisect_left(self._last, key)
        if at < len(self._blocks):
            block = self._blocks[at]
            yield from block[find(block, key) :]
            for block in self._blocks[at + 1 :]:
                yield from block


class MemoryStore:
    """A dict and the order of its keys. Commits complete where they are called; usable from several threads."""

    kind = "memory"

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._order = SortedKeys()
        self._revision = 0
        self._lock = threading.Lock()
        self._changes = Changes()
        self._closed = False

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._entries)} entries)"

    def stamp(self) -> int | None:
        return self._revision

    async def get(self, key: str) -> Entry | None:
        if self._closed:
            raise StorageFailed("the store is closed")
        return self._entries.get(key)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | None]:
        with self._open():
            return [self._entries.get(key) for key in keys]

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        check_prefix(prefix)
        names: list[str] = []
        start, at_it, width = prefix + after, False, len(prefix)
        with self._open():
            while len(names) < limit:
                key = next(self._order.above(start, equal=at_it), None)
                if key is None or not key.startswith(prefix):
                    break
                head, slash, _ = key[width:].partition("/")
                if head + slash > after:
                    names.append(head + slash)
                # One step over all that lies in the folder: "0" follows "/".
                start, at_it = (prefix + head + "0", True) if slash else (key, False)
        return names

    async def scan(self, prefix: str, *, after: str = "", until: str = "", limit: int = 1000) -> Pairs:
        found: Pairs = []
        width, end = len(prefix), prefix + until
        if limit < 1:
            return found
        with self._open():
            for key in self._order.above(prefix + after):
                if not key.startswith(prefix) or (until and key >= end):
                    break
                found.append((key[width:], self._entries[key]))
                if len(found) >= limit:
                    break
        return found

    async def commit(self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}) -> None:
        check_commit(writes, expect)
        with self._open():
            for key, revision in expect.items():
                entry = self._entries.get(key)
                if (entry.revision if entry else 0) != revision:
                    raise Conflict("the entry changed since it was read")
            if writes:
                self._revision += 1
            for write in writes:
                self._apply(write)
        if writes:
            self._changes.happened()

    def _apply(self, write: Write) -> None:
        known = write.key in self._entries
        if write.value is not None:
            self._entries[write.key] = Entry(write.value, self._revision)
            if not known:
                self._order.add(write.key)
        elif known:
            del self._entries[write.key]
            self._order.remove(write.key)

    def last_revision(self) -> int:
        """The greatest revision given so far."""
        return self._revision

    def raise_revisions(self, floor: int) -> None:
        """Make every later revision greater than ``floor`` (a copy must not reuse the source's numbers)."""
        with self._lock:
            self._revision = max(self._revision, floor)

    def watch(self, prefix: str) -> AsyncIterator[str]:
        return self._changes.watch(self, prefix)

    async def close(self) -> None:
        with self._lock:
            self._closed = True
            self._entries, self._order = {}, SortedKeys()

    def _open(self) -> threading.Lock:
        if self._closed:
            raise StorageFailed("the store is closed")
        return self._lock
