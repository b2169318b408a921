"""An event loop in a thread of its own, for a sync ``Vault`` with parts that may await anything."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from strongroom.errors import BadRequest, Sealed

T = TypeVar("T")


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

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` on the loop and wait for it.

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
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result()

    def stop(self) -> None:
        """Cancel what still runs, end the thread and wait for its end. Safe to call twice."""
        with self._guard:
            running, self._open = self._open, False
        if running:
            self._loop.call_soon_threadsafe(self._loop.stop)
        if not self.here():
            self._thread.join()

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()
