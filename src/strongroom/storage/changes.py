"""``watch`` for the embedded stores: what changed under a prefix, by comparing revisions.

A change made in this process wakes its watchers at once; one made by another process is found by looking at the
store's stamp. A watcher remembers the revision of each key it watches, so it is meant for small prefixes.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from strongroom.sdk.storage import Backend

T = TypeVar("T")
POLL = 0.5  # seconds between looks for other processes' changes
_PAGE = 1000


class Changes:
    """The watchers of one store object."""

    __slots__ = ("_lock", "_watchers")

    def __init__(self) -> None:
        self._watchers: set[_Watch] = set()
        self._lock = threading.Lock()

    def happened(self) -> None:
        """Wake the watchers; called after a commit, from any thread."""
        if self._watchers:
            with self._lock:
                watchers = list(self._watchers)
            for watcher in watchers:
                watcher.wake()

    def watch(self, store: Backend, prefix: str) -> AsyncIterator[str]:
        """Keys that begin with ``prefix`` as they change from now on."""
        watcher = _Watch(store, prefix)
        return self._follow(watcher)

    async def _follow(self, watcher: "_Watch") -> AsyncIterator[str]:
        watcher.loop = asyncio.get_running_loop()
        with self._lock:
            self._watchers.add(watcher)
        try:
            while True:
                for key in await watcher.news():
                    yield key
                await watcher.pause()
        finally:
            with self._lock:
                self._watchers.discard(watcher)


class _Watch:
    def __init__(self, store: Backend, prefix: str) -> None:
        self._store, self._prefix = store, prefix
        self._event = asyncio.Event()
        self._stamp: int | None = store.stamp()
        self._known = _now(self._revisions())
        self.loop: asyncio.AbstractEventLoop | None = None

    def wake(self) -> None:
        loop = self.loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._event.set)
            except RuntimeError:  # the loop is closed
                pass

    async def pause(self) -> None:
        try:
            async with asyncio.timeout(POLL):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()

    async def news(self) -> list[str]:
        stamp = self._store.stamp()
        if stamp is not None and stamp == self._stamp:
            return []
        before, self._known = self._known, await self._revisions()
        self._stamp = stamp
        return sorted(key for key in before.keys() | self._known.keys() if before.get(key) != self._known.get(key))

    async def _revisions(self) -> dict[str, int]:
        found: dict[str, int] = {}
        after = ""
        while page := await self._store.scan(self._prefix, after=after, limit=_PAGE):
            found.update((self._prefix + key, entry.revision) for key, entry in page)
            after = page[-1][0]
        return found


def _now(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that does not suspend (reads of embedded stores do not)."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    work.close()
    raise RuntimeError("the store suspended on a read")
