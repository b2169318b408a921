"""The default store: one memory-mapped LMDB file, shared by all processes of a host.

Reads run inline in about a microsecond. Each process has one writer thread, which puts every waiting commit into one
LMDB transaction and pays for one flush. Layout of the file: docs/formats/lmdb-store.md.
"""

import asyncio
import socket
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from struct import Struct
from typing import Any

import lmdb

from strongroom.errors import Conflict, StorageFailed
from strongroom.sdk.storage import Backend, Entry, Pairs, Write
from strongroom.storage.changes import Changes
from strongroom.storage.completion import loop_here
from strongroom.storage.environment import MAX_READERS, REVISION_KEY, Environment, failed
from strongroom.storage.group import GroupWriter, Job, Take, WriteBatch
from strongroom.storage.keyspace import CHUNK, Walk, place, pointers, prune
from strongroom.storage.limits import check_prefix, storable, take_options
from strongroom.storage.shared_writer import WriterLink

MAP_SIZE = 1 << 30  # bytes of address space to begin with, not of disk; doubled when full
_OPTIONS = {"path": str, "map_size": int, "sync": bool, "max_readers": int}
_REVISION = Struct(">Q")
_revision = _REVISION.unpack_from
_Transaction = lmdb.Transaction
_AGAIN = (lmdb.Error, TypeError)  # TypeError: there is no environment while the map is replaced
_Pair = tuple[bytes, bytes]  # key, stored value


def open_store(options: Mapping[str, Any]) -> Backend:
    """Open or make the store in the folder ``path``.

    Args:
        options: ``path``; ``map_size``, bytes to map at first; ``sync``, False for data that need not survive the
            host; ``max_readers``, read transactions at once on this host (set by the process that comes first).

    Raises:
        BadRequest: an unknown option, or no path.
        StorageFailed: the folder lets other users in, the store is of a newer format, or it cannot be read.
    """
    taken = take_options("lmdb", options, _OPTIONS)
    return LmdbStore(
        taken.get("path", ""),
        map_size=max(taken.get("map_size", MAP_SIZE), 1 << 16),
        sync=taken.get("sync", True),
        max_readers=taken.get("max_readers", MAX_READERS),
    )


class LmdbStore:
    """Storage over one LMDB environment; usable from several threads."""

    kind = "lmdb"

    def __init__(
        self, path: str, *, map_size: int = MAP_SIZE, sync: bool = True, max_readers: int = MAX_READERS
    ) -> None:
        self._file = Environment(path, map_size=map_size, sync=sync, max_readers=max_readers)
        self._changes = Changes()
        writing = _Writing(self._file, self._changes)
        self.write_batch: WriteBatch = writing.write_batch  # for the host's one writer
        self._writer = GroupWriter("strongroom-lmdb", writing.write_batch, in_loop=True)
        self._link: WriterLink | None = None
        # The thread knows the file but not this object, so a store that was never closed still ends.
        self._end = weakref.finalize(self, _end, self._writer, self._file)

    def __repr__(self) -> str:
        return f"LmdbStore({self._file.path!r})"

    def stamp(self) -> int | None:
        try:
            return _Transaction(self._file.env).id()
        except _AGAIN:
            return self._file.read(lambda env: _Transaction(env).id())

    async def get(self, key: str) -> Entry | None:
        where = key.encode("utf-8", "surrogatepass")
        if not 0 < len(where) <= CHUNK or where[0] == 0:
            if not storable(key):
                return None
            where = place(where)
        try:
            raw = _Transaction(self._file.env).get(where)
        except _AGAIN:
            raw = self._file.read(lambda env: _Transaction(env).get(where))
        if raw is None:
            return None
        return Entry(raw[8:], _revision(raw)[0])

    async def get_many(self, keys: Sequence[str]) -> list[Entry | None]:
        places = [place(key.encode()) if storable(key) else None for key in keys]

        def work(env: lmdb.Environment) -> list[bytes | None]:
            txn = _Transaction(env)
            return [None if where is None else txn.get(where) for where in places]

        return [None if raw is None else Entry(raw[8:], _revision(raw)[0]) for raw in self._read(work)]

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        check_prefix(prefix)
        start, behind = _raw(prefix), _raw(after)

        def work(env: lmdb.Environment) -> list[bytes]:
            return _names(Walk(_Transaction(env).cursor()), start, behind, limit)

        return [name.decode() for name in self._read(work)]

    async def scan(self, prefix: str, *, after: str = "", until: str = "", limit: int = 1000) -> Pairs:
        start, low = _raw(prefix), _raw(prefix + after)
        end = _raw(prefix + until) if until else None

        def work(env: lmdb.Environment) -> list[_Pair]:
            return _entries(_Transaction(env).cursor(), start, low, end, limit)

        width = len(start)
        return [(key[width:].decode(), Entry(raw[8:], _revision(raw)[0])) for key, raw in self._read(work)]

    def _read(self, work: Any) -> Any:
        try:
            return work(self._file.env)
        except _AGAIN:
            return self._file.read(work)

    async def commit(self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}) -> None:
        job, link = Job(writes, expect), self._link
        if link is not None and link.here():
            await link.commit(job)
            self._changes.happened()
        else:
            await self._writer.submit(job)

    def write_through(self, sock: socket.socket) -> None:
        """Commit through the host's one writer from now on, and by itself again when that is gone.

        Args:
            sock: connected with a ``SharedWriter`` on the same store; taken over. Called inside the event loop whose
                commits it is for.
        """
        if self._link is not None:
            self._link.leave()  # what is under way is still answered there
        self._link = WriterLink(sock, asyncio.get_running_loop(), self._writer.submit)

    def last_revision(self) -> int:
        """The greatest revision given so far."""
        raw = self._read(lambda env: _Transaction(env).get(REVISION_KEY))
        return int(_revision(raw)[0])

    def raise_revisions(self, floor: int) -> None:
        """Make every later revision greater than ``floor`` (a copy must not reuse the source's numbers)."""
        with self._file.gate:
            try:
                with self._file.ready().begin(write=True) as txn:
                    if _revision(txn.get(REVISION_KEY) or bytes(8))[0] < floor:
                        txn.put(REVISION_KEY, _REVISION.pack(floor))
            except lmdb.Error as error:
                raise failed("the lmdb store could not write", error) from error

    def watch(self, prefix: str) -> AsyncIterator[str]:
        return self._changes.watch(self, prefix)

    async def close(self) -> None:
        link = self._link
        try:
            if link is not None and link.loop is loop_here():
                link.leave()
                await link.closed
        finally:
            if link is not None:
                link.close()
            self._end()


def _raw(text: str) -> bytes:
    """UTF-8 to look for; text that is not Unicode finds nothing instead of failing."""
    return text.encode("utf-8", "surrogatepass")


def _end(writer: GroupWriter, file: Environment) -> None:
    writer.close()
    file.close()


def _names(walk: Walk, start: bytes, behind: bytes, limit: int) -> list[bytes]:
    """The child names of ``start`` greater than ``behind``; one step of the walk for each folder."""
    names: list[bytes] = []
    width = len(start)
    key = walk.seek(start + behind)
    while key is not None and len(names) < limit and key.startswith(start):
        head, slash, _ = key[width:].partition(b"/")
        name = head + slash
        if name > behind:
            names.append(name)
        key = walk.seek(start + head + b"0") if slash else walk.next()  # "0" follows "/"
    return names


def _entries(cursor: lmdb.Cursor, start: bytes, low: bytes, end: bytes | None, limit: int) -> list[_Pair]:
    """Keys above ``low`` and below ``end`` that begin with ``start``, with what is stored for them."""
    found: list[_Pair] = []
    walk = Walk(cursor)
    key = walk.seek(low)
    if key == low:
        key = walk.next()
    while key is not None and len(found) < limit and key.startswith(start) and (end is None or key < end):
        found.append((key, bytes(cursor.value())))
        key = walk.next()
    return found


class _Writing:
    """What the writer thread does with a batch."""

    def __init__(self, file: Environment, changes: Changes) -> None:
        self._file, self._changes = file, changes

    def write_batch(self, take: Take) -> None:
        """Apply a batch in one transaction. Raises ``StorageFailed`` if nothing of it was kept."""
        jobs: list[Job] = []

        def once() -> list[Job]:
            if not jobs:
                jobs.extend(take())
            return jobs

        with self._file.gate:
            while True:
                env = self._file.ready()
                try:
                    changed = self._transaction(env, once)
                    break
                except lmdb.MapFullError:
                    self._file.grow(sum(job.size for job in once()))
                except lmdb.MapResizedError:
                    self._file.adopt_size()
                except lmdb.Error as error:
                    # Which part of the write failed is not known: begin again with fresh descriptors.
                    self._file.reopen()
                    raise failed("the lmdb store could not write", error) from error
        if changed:
            self._changes.happened()

    def _transaction(self, env: lmdb.Environment, take: Take) -> bool:
        txn = env.begin(write=True)
        try:
            raw = txn.get(REVISION_KEY)
            if raw is None:
                raise StorageFailed("the lmdb store lost its revision counter")
            before = revision = _revision(raw)[0]
            for job in take():
                job.error = None  # a second try after the map grew decides anew
                if not _holds(txn, job):
                    job.error = Conflict("the entry changed since it was read")
                elif job.puts:
                    revision += 1
                    _apply(txn, job, _REVISION.pack(revision))
            if revision != before:
                txn.put(REVISION_KEY, _REVISION.pack(revision))
            txn.commit()  # costs nothing where nothing changed
            return bool(revision != before)
        except BaseException:
            with self._file.paused():
                txn.abort()
            raise


def _holds(txn: lmdb.Transaction, job: Job) -> bool:
    for key, expected in job.expect:
        raw = txn.get(place(key))
        if (0 if raw is None else _revision(raw)[0]) != expected:
            return False
    return True


def _apply(txn: lmdb.Transaction, job: Job, stamp: bytes) -> None:
    for key, value in job.puts:
        if value is not None:
            txn.put(place(key), stamp + value)
            if len(key) > CHUNK:
                for pointer in pointers(key):
                    txn.put(pointer, b"", overwrite=False)
        elif txn.delete(place(key)) and len(key) > CHUNK:
            with txn.cursor() as cursor:
                prune(key, cursor, txn.delete)
