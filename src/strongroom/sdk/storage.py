"""The one storage interface. Backends, the barrier and views all wear it.

    backend (bytes on disk) -> Barrier (encrypts) -> View (adds a key prefix)

Keys are non-empty ``/``-separated text without a leading slash and without NUL, at most 4 KiB of UTF-8. A key that
ends in ``/`` is not a key.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import msgspec

MAX_KEY = 4096  # bytes of UTF-8
MAX_COMMIT_WRITES = 64  # etcd takes 128 operations a transaction, and each write may need two
MAX_COMMIT_BYTES = 512 * 1024  # values and keys together, for a commit of several writes
MAX_VALUE = 2 * 1024 * 1024  # one value in a commit of its own: 1 MiB entry, and room for its wrapping


class Entry(msgspec.Struct, frozen=True):
    """A stored value. ``revision`` is >= 1 and grows each time the key is written, also after a delete."""

    value: bytes
    revision: int

    def __repr__(self) -> str:
        return f"Entry({len(self.value)} bytes, revision={self.revision})"


class Write(msgspec.Struct, frozen=True):
    """One change. ``value=None`` deletes the key; deleting a missing key is not an error."""

    key: str
    value: bytes | None

    def __repr__(self) -> str:
        return f"Write({self.key!r}, {'delete' if self.value is None else f'{len(self.value)} bytes'})"


Pairs = list[tuple[str, Entry]]  # keys and entries, in byte order of the key


class Storage(Protocol):
    """An ordered, transactional map from ``/``-separated keys to bytes."""

    async def get(self, key: str) -> Entry | None:
        """Return the entry at ``key`` or None."""

    async def get_many(self, keys: Sequence[str]) -> list[Entry | None]:
        """The entries at ``keys``, in their order, from one snapshot and in one round trip."""

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        """Return child names directly under ``prefix``, in byte order, folders ending in ``/``.

        ``prefix`` is empty or ends in ``/``; only names greater than ``after`` are returned, at most ``limit``.
        """

    async def scan(self, prefix: str, *, after: str = "", until: str = "", limit: int = 1000) -> Pairs:
        """Entries whose key starts with ``prefix``, in byte order of the key, with their values.

        ``after`` and ``until`` are relative to ``prefix`` (like the keys returned): only ``after < key < until``,
        ``until=""`` means no end.
        """

    async def commit(self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}) -> None:
        """Apply all ``writes`` durably (on disk before this returns), or none.

        Args:
            writes: changes to apply, at most ``MAX_COMMIT_WRITES`` and ``MAX_COMMIT_BYTES``
                (one single write may carry ``MAX_VALUE``). A later write to the same key wins.
            expect: key -> revision it must have now; 0 means "must not exist".

        Raises:
            Conflict: an ``expect`` did not hold; nothing was written.
            BadRequest: a key or value cannot be stored, or the commit is over the limits; nothing was written.
            StorageFailed: the store could not write; nothing of it shows.
        """

    def watch(self, prefix: str) -> AsyncIterator[str]:
        """Keys under ``prefix`` as they change (possibly a key more often than it changed, never less)."""

    async def close(self) -> None:
        """Release files and memory. Waiting commits finish first."""


class Backend(Storage, Protocol):
    """What a store for the vault adds to ``Storage``."""

    kind: str  # "memory", "file", "lmdb"; shown as storage_type

    def stamp(self) -> int | None:
        """A number that moves whenever anything in the store changed, or None if the store has no cheap one.

        A cache that saw the same stamp before may trust itself without asking again.
        """


class View:
    """``storage`` seen from under ``prefix``; the only store an engine is given."""

    __slots__ = ("_prefix", "_storage")

    def __init__(self, storage: Storage, prefix: str) -> None:
        self._storage, self._prefix = storage, prefix

    async def get(self, key: str) -> Entry | None:
        return await self._storage.get(self._prefix + key)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | None]:
        return await self._storage.get_many([self._prefix + key for key in keys])

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        return await self._storage.list(self._prefix + prefix, after=after, limit=limit)

    async def scan(self, prefix: str, *, after: str = "", until: str = "", limit: int = 1000) -> Pairs:
        return await self._storage.scan(self._prefix + prefix, after=after, until=until, limit=limit)

    async def commit(self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}) -> None:
        await self._storage.commit(
            [Write(self._prefix + w.key, w.value) for w in writes],
            expect={self._prefix + k: r for k, r in expect.items()},
        )

    async def watch(self, prefix: str) -> AsyncIterator[str]:
        start = len(self._prefix)
        async for key in self._storage.watch(self._prefix + prefix):
            yield key[start:]

    async def close(self) -> None:
        """Views own nothing."""


class NoStorage(View):
    """The store of an engine that keeps nothing."""

    def __init__(self) -> None:
        super().__init__(None, "")  # type: ignore[arg-type]
