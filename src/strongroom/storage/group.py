"""Group commit: one writer thread that takes every waiting commit into one transaction of the store.

The store's write lock is taken first and the queue emptied after it, so that all that queued up while another
process held the lock shares the same flush.
"""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from strongroom.errors import StorageFailed, VaultError
from strongroom.sdk.storage import Write
from strongroom.storage.completion import Completion, settle
from strongroom.storage.limits import Puts, check_commit

MAX_BATCH = 1024  # commits
MAX_BATCH_BYTES = 16 * 1024 * 1024


class Job:
    """One waiting commit, checked against the limits; ``error`` is what it alone fails with."""

    __slots__ = ("completion", "error", "expect", "puts", "size")

    def __init__(self, writes: Sequence[Write], expect: Mapping[str, int]) -> None:
        self.puts: Puts
        self.puts, self.expect, self.size = check_commit(writes, expect)
        self.completion = Completion()
        self.error: VaultError | None = None


Take = Callable[[], list[Job]]
WriteBatch = Callable[[Take], None]


class GroupWriter:
    """Runs ``write_batch`` in a thread of its own, which starts with the first commit.

    ``write_batch(take)`` locks the store, calls ``take()`` for the jobs, sets ``error`` on those that cannot be done,
    and returns when the others are durable; if it raises, all of them failed and nothing of them shows.
    """

    def __init__(self, name: str, write_batch: WriteBatch) -> None:
        self._write_batch, self._name = write_batch, name
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
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._queue.put(job)
        return job.completion

    def close(self) -> None:
        """Let the waiting commits finish, then end the thread. May be called twice."""
        with self._lock:
            thread, already = self._thread, self._closed
            self._closed = True
            if thread is not None and not already:
                self._queue.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            failure: BaseException | None = None
            try:
                self._write_batch(partial(self._fill, batch))
            except BaseException as error:  # whatever it is, the waiters must hear of it and the thread must live
                failure = error
            settle([(job.completion, job.error or _failed(failure)) for job in batch])
            del first, batch, failure  # values are not kept while the thread sleeps

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


def _failed(cause: BaseException | None) -> VaultError | None:
    """One exception per waiter, since raising it writes into it."""
    if cause is None:
        return None
    error = StorageFailed(*(cause.messages if isinstance(cause, StorageFailed) else ("the store could not write",)))
    error.__cause__ = cause
    return error
