"""The writer process of a host: commits what the workers send it, sealed values only. It knows no key and no request.

Started by the supervisor with exec. Over the control channel come the store to open and, for each worker, one end of a
socket pair; the other end goes to the worker. The end of the channel ends the process, after what was read is written.
"""

import argparse
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence

from strongroom.crypto.hardening import die_with_parent, harden_process
from strongroom.errors import VaultError
from strongroom.server.board import Board
from strongroom.server.control import Channel
from strongroom.storage.lmdb import LmdbStore, open_store
from strongroom.storage.shared_writer import SharedWriter


class WriterProcess:
    """Follows the supervisor's messages while it writes. ``turned`` is told that it does."""

    def __init__(self, channel: Channel, turned: Callable[[], None]) -> None:
        self._channel, self._turned = channel, turned
        self._store: LmdbStore | None = None
        self._writer: SharedWriter | None = None
        self._ended = False

    def run(self) -> int:
        """Until the channel ends. 0, or 1 if the store could not be opened."""
        self._channel.sock.setblocking(True)
        while self._writer is None and not self._ended:
            self._told()
        if self._writer is None:
            return 1
        self._channel.sock.setblocking(False)
        self._writer.watch(self._channel.fileno(), self._told)
        self._writer.run()
        self._writer.close()
        return 0

    def _told(self) -> None:
        try:
            messages = self._channel.receive()
        except EOFError:
            self._end()
            return
        for message, fds in messages:
            if message["t"] == "open":
                self._open(message["options"])
            elif message["t"] == "link" and self._writer is not None:  # nobody is linked before it said "ready"
                self._writer.add(socket.socket(fileno=fds[0]))

    def _open(self, options: dict[str, object]) -> None:
        try:
            store = open_store(options)
        except VaultError as error:
            self._channel.send("failed", reason=str(error))
            self._end()
            return
        assert isinstance(store, LmdbStore)
        self._store = store
        self._writer = SharedWriter(store.write_batch, self._turned)
        self._channel.send("ready")

    def _end(self) -> None:
        self._ended = True
        if self._writer is not None:
            self._writer.stop()


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m strongroom.server.writer``; only the supervisor calls it."""
    parser = argparse.ArgumentParser(prog="strongroom.server.writer")
    for name in ("parent", "control", "board"):
        parser.add_argument(f"--{name}", type=int, required=True)
    args = parser.parse_args(argv)
    for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)  # it outlives the workers; the supervisor ends it
    die_with_parent(args.parent)
    harden_process(lock_all=False)
    gc.freeze()
    row = Board(args.board, 1).row(0)
    os._exit(WriterProcess(Channel(socket.socket(fileno=args.control)), row.beat).run())


if __name__ == "__main__":
    sys.exit(main())
