"""A shared writer in a thread of the test: real sockets, any ``write_batch``.

with WriterThread(store.write_batch) as writer:
    link = WriterLink(writer.connect(), loop, otherwise)
"""

import queue
import socket
import threading
from collections.abc import Callable
from typing import Any

from strongroom.storage.group import WriteBatch
from strongroom.storage.shared_writer import SharedWriter


class WriterThread:
    """Ends, after what was sent is written, with the ``with``."""

    def __init__(self, write_batch: WriteBatch) -> None:
        self.writer = SharedWriter(write_batch)
        self._ours, self._theirs = socket.socketpair()
        self._wishes: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()
        self.writer.watch(self._theirs.fileno(), self._told)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.writer.run()
        self.writer.close()

    def _told(self) -> None:
        self._theirs.recv(1)
        self._wishes.get()()

    def ask(self, wish: Callable[[], Any]) -> None:
        """Have ``wish`` called in the thread, between two batches."""
        self._wishes.put(wish)
        self._ours.send(b"!")

    def connect(self) -> socket.socket:
        """The end of a process that has commits."""
        ours, theirs = socket.socketpair()
        self.ask(lambda: self.writer.add(theirs))
        return ours

    def end(self) -> None:
        if self.thread.is_alive():
            self.ask(self.writer.stop)
            self.thread.join(20)
        assert not self.thread.is_alive()
        self._ours.close()
        self._theirs.close()

    def __enter__(self) -> "WriterThread":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
