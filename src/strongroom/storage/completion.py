"""What a commit returns from its writer thread: an awaitable that works with and without an event loop.

A commit is the only place where the house waits. Three drivers meet here:

* an ``asyncio`` task, or a door that drives the coroutine by hand inside a running loop: they see a loop future;
* a sync facade without a loop: it sees the ``Completion`` itself, calls ``wait`` and resumes the coroutine;
* ``drive``, which is that facade in its smallest form, also right in a thread whose loop is busy elsewhere.

A writer settles a whole batch with ``settle``: one wake per loop, however many commits the batch held.
"""

import threading
from asyncio import AbstractEventLoop, Future
from asyncio import _get_running_loop as running_loop  # None instead of an exception, and no tracing
from collections.abc import Coroutine, Generator, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


class _Here(threading.local):
    """Whether this thread's coroutines are driven by ``drive``."""

    blocking = False


_here = _Here()


def loop_here() -> AbstractEventLoop | None:
    """The loop in whose thread this runs and which goes on while a commit waits, or None."""
    return None if _here.blocking else running_loop()


class Completion:
    """The outcome of one commit. One waiter; settled once, by the writer thread.

    No lock guards it: the waiter leaves its address, then looks whether the outcome is there; the writer puts the
    outcome, then looks for an address. Whichever comes second sees the other.
    """

    __slots__ = ("_address", "_done", "_error", "_lock")

    def __init__(self) -> None:
        self._done = False
        self._error: BaseException | None = None
        self._address: tuple[AbstractEventLoop, Future[None]] | None = None
        self._lock: threading.Lock | None = None

    def __await__(self) -> Generator[Any, None, None]:
        if not self._done:
            loop = loop_here()
            if loop is None:
                while not self._done:
                    yield self
            else:
                future = loop.create_future()
                self._address = loop, future
                if not self._done:
                    yield from future
        self.result()

    def await_in(self, loop: AbstractEventLoop) -> "Future[None]":
        """A future of ``loop`` that is done when the outcome is known, for ``result`` to tell. Before it is settled."""
        future = loop.create_future()
        self._address = loop, future
        return future

    def done(self) -> bool:
        """Whether the outcome is known."""
        return self._done

    def wait(self, timeout: float = -1) -> bool:
        """Block this thread until the outcome is known, at most ``timeout`` seconds (-1: as long as it takes)."""
        if not self._done:
            lock = threading.Lock()
            lock.acquire()
            self._lock = lock
            if not self._done:
                lock.acquire(timeout=timeout)
        return self._done

    def result(self) -> None:
        """Return if the commit is durable; raise what it failed with otherwise."""
        if not self._done:
            raise RuntimeError("the commit has no outcome yet")
        if self._error is not None:
            raise self._error


def settle(outcomes: Iterable[tuple[Completion, BaseException | None]]) -> None:
    """Deliver the outcomes of a batch, with one wake per event loop.

    A waiter that was cancelled, or whose loop is closed, is passed over.
    """
    loops: dict[AbstractEventLoop, list[Future[None]]] = {}
    for completion, error in outcomes:
        completion._error = error
        completion._done = True
        address, lock = completion._address, completion._lock
        if address is not None:
            loops.setdefault(address[0], []).append(address[1])
        if lock is not None:
            try:
                lock.release()
            except RuntimeError:  # its waiter gave up and the lock is free already
                pass
    here = running_loop() if loops else None
    for loop, futures in loops.items():
        if loop is here:
            _wake(futures)
            continue
        try:
            loop.call_soon_threadsafe(_wake, futures)
        except RuntimeError:  # the loop is closed: nobody waits there any more
            pass


def _wake(futures: list["Future[None]"]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing but commits to its end, in this thread and without an event loop.

    Raises:
        RuntimeError: it waited for something that only an event loop can bring.
    """
    before, _here.blocking = _here.blocking, True
    try:
        while True:
            waited = work.send(None)
            if not isinstance(waited, Completion):
                work.close()
                raise RuntimeError("this work needs an event loop; use AsyncVault for it")
            waited.wait()
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        _here.blocking = before
