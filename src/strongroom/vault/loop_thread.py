"""An event loop in a thread of its own, for a sync ``Vault`` with parts that may await anything."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from strongroom.errors import BadRequest, Sealed

T = TypeVar("T")
Wrap = Callable[[Coroutine[Any, Any, Any]], Awaitable[Any]]
GRACE = 2.0  # seconds


class LoopThread:
    """Started when it is made; ``stop`` ends it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._guard = threading.Lock()
        self._open = True
        self._thread = threading.Thread(target=self._main, name="strongroom-vault", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"LoopThread({'running' if self._open else 'ended'})"

    def here(self) -> bool:
        """Whether the caller is running on this loop."""
        return threading.current_thread() is self._thread

    def run(self, work: Coroutine[Any, Any, T], wrap: Wrap) -> T:
        """Run ``wrap(work)`` on the loop and wait for it.

        Raises:
            BadRequest: called on the loop itself, by a handler or engine: it would wait for itself for ever.
            Sealed: the thread has ended.
        """
        if self.here():
            work.close()
            raise BadRequest("a handler or engine cannot call the Vault that is calling it")
        with self._guard:
            if not self._open:
                work.close()
                raise Sealed("the vault is closed")
            future = asyncio.run_coroutine_threadsafe(_as_coroutine(wrap(work)), self._loop)
        try:
            result: T = future.result()
            return result
        except CancelledError:
            raise Sealed("the vault was closed before this call ended") from None

    def stop(self) -> None:
        """Let what still runs end (for ``GRACE`` seconds, then cancel it), end the thread. Safe to call twice."""
        with self._guard:
            running, self._open = self._open, False
        if running:
            self._loop.call_soon_threadsafe(self._loop.stop)
        if not self.here():
            self._thread.join()

    def _main(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._finish())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    async def _finish(self) -> None:
        running = asyncio.all_tasks() - {asyncio.current_task()}
        if running:
            _, late = await asyncio.wait(running, timeout=GRACE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


async def _as_coroutine(work: Awaitable[T]) -> T:
    return await work
