"""The sync driver: coroutines run in the caller's thread, one step at a time over all threads (docs/decisions).

The core is written for one event loop: between two waits nothing else happens. ``Turns`` gives callers from several
threads the same: a step (from one wait to the next) holds the lock, a wait does not. So commits of many threads share
one flush, a slow hash holds up nobody, and no part of the house needs locks of its own because of threads.
"""

import inspect
import threading
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from strongroom.storage.completion import Completion, drive

T = TypeVar("T")


class Slow(Completion):
    """Work for a processor that the caller's thread does while others go on: a wait whose waiting is the work."""

    __slots__ = ("_outcome", "_work")

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self._work = work
        self._outcome: Any = None

    def __await__(self) -> Generator[Any, None, Any]:
        while not self._done:
            yield self
        self.result()
        return self._outcome

    def wait(self, timeout: float = -1) -> bool:
        """Do the work. What it raises is raised in the coroutine that awaits this."""
        try:
            self._outcome = self._work()
        except BaseException as error:
            self._error = error
        self._done = True
        return True


class FairLock:
    """A lock that is handed to whoever has waited longest. Used with ``with``.

    Python's own lock goes to whoever asks first after the release, which is the thread that just released it: a busy
    thread would keep the others waiting for seconds.
    """

    __slots__ = ("_lock", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.Lock()  # held while anybody owns this; only its owner takes from ``_waiting``
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        if not self._waiting and self._lock.acquire(blocking=False):
            return
        turn = threading.Lock()
        turn.acquire()
        self._waiting.append(turn)
        if self._lock.acquire(blocking=False):  # its owner left before it saw this turn
            self.__exit__()
        try:
            turn.acquire()
        except BaseException:  # an interrupt: nobody must hand the lock to a thread that is gone
            try:
                self._waiting.remove(turn)
            except ValueError:  # it was handed over already
                self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        while True:
            if self._waiting:
                self._waiting.popleft().release()  # the lock stays held: it belongs to that thread now
                return
            self._lock.release()
            if not self._waiting or not self._lock.acquire(blocking=False):
                return


class _Step:
    """A coroutine whose every step waits for its turn; what ``drive`` needs of one."""

    __slots__ = ("_lock", "_work", "close", "thrown")

    def __init__(self, lock: FairLock, work: Coroutine[Any, Any, Any]) -> None:
        self._lock, self._work, self.close = lock, work, work.close
        self.thrown: BaseException | None = None  # what its wait was interrupted with

    def send(self, value: Any) -> Any:
        with self._lock:
            thrown, self.thrown = self.thrown, None
            return self._work.send(value) if thrown is None else self._work.throw(thrown)


class Turns:
    """One per vault; usable from any thread."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = FairLock()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work``, which waits for nothing but commits and ``Slow`` work, to its end in this thread.

        Also right in a thread whose event loop is running: it blocks that loop and needs nothing of it.

        Raises:
            RuntimeError: it waited for something that only an event loop can bring.
            KeyboardInterrupt: the wait was interrupted; what was to be committed may come to be all the same.
        """
        step = _Step(self._lock, work)
        while True:
            try:
                result: T = drive(step)  # type: ignore[arg-type]
                return result
            except BaseException as error:
                if inspect.getcoroutinestate(work) != inspect.CORO_SUSPENDED:
                    raise
                step.thrown = error  # interrupted while it waited: it hears of it, and is recorded as failed

    @types.coroutine
    def interleave(self, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """``work`` to be awaited in an event loop, its steps taking turns with those of ``run``."""
        step: Callable[[Any], Any] = work.send
        value: Any = None
        while True:
            try:
                with self._lock:
                    waited = step(value)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            try:
                step, value = work.send, (yield waited)
            except BaseException as error:
                step, value = work.throw, error
