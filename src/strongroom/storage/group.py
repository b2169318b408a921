"""Group commit: every waiting commit goes into one transaction of the store and shares its flush.

The store's write lock is taken first and the queue emptied after it, so that all that queued up while another
process held the lock shares the same flush.

Who writes: a thread of its own, so that nobody else waits for the disk. Where the disk is quick (``QUICK``), an event
loop writes by itself: beside a busy loop the thread would spend its time waiting for the interpreter, at each call
into the store.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from strongroom.errors import StorageFailed, VaultError
from strongroom.sdk.storage import Write
from strongroom.storage.completion import Completion, loop_here, settle
from strongroom.storage.limits import Puts, check_commit

MAX_BATCH = 1024  # commits
MAX_BATCH_BYTES = 16 * 1024 * 1024
QUICK = 0.004  # seconds that batches may hold up a loop on average; slower ones go to the thread
STALL = 0.1  # seconds of one batch that are enough to call the disk slow
TRY_AGAIN = 5.0  # seconds until a loop tries by itself again


class Job:
    """One waiting commit, checked against the limits; ``error`` is what it alone fails with."""

    __slots__ = ("completion", "error", "expect", "puts", "size")

    def __init__(self, writes: Sequence[Write], expect: Mapping[str, int]) -> None:
        self.puts: Puts
        self.puts, self.expect, self.size = check_commit(writes, expect)
        self.completion = Completion()
        self.error: VaultError | None = None

    @classmethod
    def checked(cls, puts: Puts, expect: list[tuple[bytes, int]], size: int) -> "Job":
        """A commit that another process has checked."""
        job = cls.__new__(cls)
        job.puts, job.expect, job.size = puts, expect, size
        job.completion, job.error = Completion(), None
        return job


Take = Callable[[], list[Job]]
WriteBatch = Callable[[Take], None]


class GroupWriter:
    """Runs ``write_batch`` in a thread of its own, which starts with the first commit.

    ``write_batch(take)`` locks the store, calls ``take()`` for the jobs, sets ``error`` on those that cannot be done,
    and returns when the others are durable; if it raises, all of them failed and nothing of them shows.

    ``in_loop``: an event loop may write by itself, as the module says.
    """

    def __init__(
        self, name: str, write_batch: WriteBatch, *, in_loop: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write_batch, self._name = write_batch, name
        self._in_loop, self._clock = in_loop, clock
        self._slow_until = 0.0  # until then the disk counts as slow
        self._average = 0.0  # seconds that a batch of a loop takes
        self._near: deque[Job] = deque()  # commits of a loop that will write them by itself
        self._near_loop: object = None  # the loop whose commits those are
        self._busy = threading.Lock()  # held while a batch is written
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, job: Job) -> Completion:
        """Queue a commit.

        Raises:
            StorageFailed: the store is closed.
        """
        with self._lock:
            if self._closed:
                raise StorageFailed("the store is closed")
            loop = loop_here() if self._in_loop and self._clock() >= self._slow_until else None
            if loop is None:
                self._to_thread(job)
            else:
                if self._near_loop is not loop:
                    self._hand_over()  # another loop, which may have ended before it came to them
                    self._near_loop = loop
                if not self._near:
                    loop.call_soon(self._write_here)
                self._near.append(job)
        return job.completion

    def _to_thread(self, job: Job) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._queue.put(job)

    def _hand_over(self) -> None:
        for job in self._near:
            self._to_thread(job)
        self._near.clear()

    def _write_here(self) -> None:
        """In the loop: write what came since, unless the thread is writing."""
        with self._lock:
            jobs = list(self._near)
            small = sum(job.size for job in jobs) <= MAX_BATCH_BYTES
            if not jobs or not small or not self._busy.acquire(blocking=False):
                self._hand_over()
                return
            self._near.clear()
        began = self._clock()
        try:
            failure = self._batch(lambda: jobs)
        finally:
            self._busy.release()
        _deliver(jobs, failure)
        ended = self._clock()
        took = ended - began
        self._average += (took - self._average) / 16
        if took > STALL or self._average > QUICK:
            self._slow_until, self._average = ended + TRY_AGAIN, 0.0

    def close(self) -> None:
        """Let the waiting commits finish, then end the thread. May be called twice."""
        with self._lock:
            thread, already = self._thread, self._closed
            self._closed = True
            if self._near:  # their loop has not come to them; it finds nothing then
                self._hand_over()
                thread = self._thread
            if thread is not None and not already:
                self._queue.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            with self._busy:
                failure = self._batch(partial(self._fill, batch))
            _deliver(batch, failure)
            del first, batch, failure  # values are not kept while the thread sleeps

    def _batch(self, take: Take) -> BaseException | None:
        try:
            self._write_batch(take)
        except BaseException as error:  # whatever it is, the waiters must hear of it and the thread must live
            return error
        return None

    def _fill(self, batch: list[Job]) -> list[Job]:
        size = batch[0].size
        while len(batch) < MAX_BATCH and size < MAX_BATCH_BYTES:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._queue.put(None)  # closing: nothing comes after it
                break
            batch.append(job)
            size += job.size
        return batch


def _deliver(batch: list[Job], failure: BaseException | None) -> None:
    settle([(job.completion, job.error or _failed(failure)) for job in batch])


def _failed(cause: BaseException | None) -> VaultError | None:
    """One exception per waiter, since raising it writes into it."""
    if cause is None:
        return None
    error = StorageFailed(*(cause.messages if isinstance(cause, StorageFailed) else ("the store could not write",)))
    error.__cause__ = cause
    return error
