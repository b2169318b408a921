"""A store that can move to another one while it is in use, losing nothing that is written meanwhile.

    store = SwitchableBackend(old)      reads cost nothing extra
    await store.move(new)               copy, catch up, compare, hold the commits for a moment, switch

Guarantees. Every acknowledged commit is in the new store when ``move`` returns; until then the old one holds
everything, and if ``move`` fails the old one goes on. Commits wait while the last changed keys are copied, reads never
wait. What was read before the switch fails as ``Conflict`` when used as ``expect`` after it. Not covered: writes that
other processes make to the old store at the same time; a store that several processes share is moved offline.
"""

import threading
from collections.abc import AsyncIterator, Mapping, Sequence

from strongroom.errors import Conflict, StorageFailed
from strongroom.sdk.storage import MAX_COMMIT_WRITES, Backend, Entry, Pairs, Write
from strongroom.storage.changes import Changes
from strongroom.storage.completion import Completion, settle
from strongroom.storage.migrate import PAGE, UNFINISHED, CopyReport, Progress, batches, begin, differences, fill

_FEW = MAX_COMMIT_WRITES  # changed keys that are copied while commits wait


class SwitchableBackend:
    """Wears ``Backend`` over the store in use; from several threads, with and without an event loop."""

    def __init__(self, backend: Backend) -> None:
        self._lock = threading.Lock()
        self._retired: list[Backend] = []
        self._changes = Changes()
        self._changed: set[str] | None = None  # keys written since the copy began
        self._flying = 0  # commits on their way to the store
        self._held: list[Completion] | None = None  # commits that wait for the switch
        self._drained: Completion | None = None
        self._stamps = 0
        self._use(backend)

    def __repr__(self) -> str:
        return f"SwitchableBackend({self._current!r})"

    def _use(self, backend: Backend) -> None:
        self._current = backend
        self.kind = backend.kind
        # The store's own methods, so that a read makes no detour.
        self.get = backend.get  # type: ignore[method-assign]
        self.get_many = backend.get_many  # type: ignore[method-assign]
        self.list = backend.list  # type: ignore[method-assign]
        self.scan = backend.scan  # type: ignore[method-assign]

    async def get(self, key: str) -> Entry | None:
        return await self._current.get(key)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | None]:
        return await self._current.get_many(keys)

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> "list[str]":
        return await self._current.list(prefix, after=after, limit=limit)

    async def scan(self, prefix: str, *, after: str = "", until: str = "", limit: int = 1000) -> Pairs:
        return await self._current.scan(prefix, after=after, until=until, limit=limit)

    def stamp(self) -> int | None:
        stamps, stamp = self._stamps, self._current.stamp()
        return None if stamp is None else stamps + stamp

    def watch(self, prefix: str) -> AsyncIterator[str]:
        return self._changes.watch(self, prefix)

    async def commit(self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}) -> None:
        while True:
            with self._lock:
                if self._held is None:
                    self._flying += 1
                    backend = self._current
                    break
                turn = Completion()
                self._held.append(turn)
            await turn
        try:
            await backend.commit(writes, expect=expect)
        finally:
            self._landed(writes)
        self._changes.happened()

    def _landed(self, writes: Sequence[Write]) -> None:
        with self._lock:
            if self._changed is not None:
                self._changed.update(write.key for write in writes)
            self._flying -= 1
            drained = self._drained if self._flying == 0 else None
        if drained is not None:
            settle([(drained, None)])

    async def move(self, target: Backend, *, progress: Progress | None = None) -> CopyReport:
        """Copy everything into ``target`` and go on with it. The old store stays open until ``close``.

        Raises:
            BadRequest: the target is not empty.
            Conflict: the store is on the move already.
            StorageFailed: a store failed; the old one is still in use.
        """
        with self._lock:
            if self._changed is not None:
                raise Conflict("the store is being moved already")
            self._changed = set()
        try:
            source = self._current
            mark, resumed = await begin(source, target)
            if resumed:
                mark.after, mark.clean = "", False  # the source went on since
            copied = await fill(source, target, mark, progress=progress, omit=self._follows)
            compared = await self._compare(source, target)
            await self._chase(source, target)
            await self._switch(source, target)
            return CopyReport(copied, compared, resumed)
        finally:
            with self._lock:
                self._changed = None

    def _follows(self, key: str) -> bool:
        """Whether ``key`` is copied later anyway. Without this, writers could keep the first pass from ever ending."""
        return self._changed is not None and key in self._changed

    async def _compare(self, source: Backend, target: Backend) -> int:
        """Compare all; what differs is copied again with the keys written meanwhile."""
        compared = 0
        async for key, same in differences(source, target):
            compared += 1
            if not same:
                with self._lock:
                    assert self._changed is not None
                    self._changed.add(key)
        return compared

    async def _chase(self, source: Backend, target: Backend) -> None:
        """Copy what changed until little is left, or until a round no longer halves it: writers that are faster than
        the target are then held, since every further round would only make the wait longer."""
        assert self._changed is not None
        left = len(self._changed)
        while left > _FEW:
            await self._catch_up(source, target)
            before, left = left, len(self._changed)
            if left * 2 > before:
                break

    async def _catch_up(self, source: Backend, target: Backend) -> None:
        with self._lock:
            assert self._changed is not None
            keys, self._changed = self._changed, set()
        names = sorted(keys)
        for start in range(0, len(names), PAGE):
            page = names[start : start + PAGE]
            entries = await source.get_many(page)
            changes = [Write(k, None if e is None else e.value) for k, e in zip(page, entries, strict=True)]
            for writes in batches(changes):
                await target.commit(writes)

    async def _switch(self, source: Backend, target: Backend) -> None:
        drained = Completion()
        with self._lock:
            self._held = []
            if self._flying:
                self._drained = drained
            else:
                settle([(drained, None)])
        try:
            await drained
            await self._catch_up(source, target)
            await target.commit([Write(UNFINISHED, None)])
            with self._lock:
                old, new = source.stamp(), target.stamp()
                self._stamps += max(0, (old or 0) - (new or 0)) + 1
                self._retired.append(source)
                self._use(target)
        finally:
            with self._lock:
                held, self._held, self._drained = self._held, None, None
            settle([(turn, None) for turn in held or []])
        self._changes.happened()

    async def close(self) -> None:
        """Close the store in use and those it moved away from."""
        if self._changed is not None:
            raise StorageFailed("the store is being moved")
        for backend in (*self._retired, self._current):
            await backend.close()
