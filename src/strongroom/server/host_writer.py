"""The writer process as the supervisor sees it: started, joined with workers, started again when it ends."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from strongroom.server.board import BEAT, Board
from strongroom.server.child import clean_environment
from strongroom.server.control import Channel
from strongroom.server.logs import Log

KINDS = frozenset({"lmdb"})  # stores with which one process writes for all
_AGAIN = (1.0, 30.0)  # seconds until it is started again; doubled each time it could not open the store
_READY_WAIT = 60.0  # seconds to start and open the store
_DEAD_WAIT = 1.0  # seconds for the kernel to end what was killed: longer only in a wait for the disk


class HostWriter:
    """See the module. Without it, or while it is away, workers write by themselves; nothing waits for it.

    Args:
        options: of the store.
        joined: called each time it is ready: workers are to be linked (again).
    """

    def __init__(self, options: Mapping[str, Any], log: Log, joined: Callable[[], None]) -> None:
        self._options, self._log, self._joined = dict(options), log, joined
        self._board = Board.make(1)  # its own: it has no business with the workers' numbers
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._limit: asyncio.TimerHandle | None = None
        self.ready = False
        self._stopping = False
        self._reason = ""  # why it cannot work, as it said itself
        self._pause = _AGAIN[0]

    @property
    def pid(self) -> int | None:
        """Of the process, or of the last one."""
        return None if self._process is None else self._process.pid

    @property
    def beat(self) -> int:
        """Moves while it turns."""
        return self._board.numbers(0)[BEAT]

    def start(self) -> None:
        """Exec the process and have it open the store; if that cannot be done now, try again later."""
        try:
            ours = self._exec()
        except OSError as error:
            self._log.error(f"the writer process cannot be started ({error.strerror}): workers write by themselves")
            self._later()
            return
        loop = asyncio.get_running_loop()
        self.ready, self._reason = False, ""
        self._channel = Channel(ours)
        self._channel.send("open", options=self._options)
        loop.add_reader(ours.fileno(), self._readable)
        self._limit = loop.call_later(_READY_WAIT, self.kill)

    def _exec(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "strongroom.server.writer", "--parent", str(os.getpid())]
            command += ["--control", str(theirs.fileno()), "--board", str(self._board.fd)]
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    command,
                    pass_fds=(theirs.fileno(), self._board.fd),
                    env=clean_environment(os.environ),
                    stdin=subprocess.DEVNULL,
                    process_group=0,
                )
            except OSError:
                ours.close()
                raise
        return ours

    def link(self) -> socket.socket | None:
        """A worker's end of a new socket pair with the writer; to be closed once it is sent. None: it is not ready."""
        if self._channel is None or not self.ready:
            return None
        ours, theirs = socket.socketpair()
        with theirs:
            if self._channel.send("link", [theirs.fileno()]):
                return ours
        ours.close()
        return None

    def kill(self) -> None:
        """End it now; another one is started."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def _readable(self) -> None:
        assert self._channel is not None
        try:
            messages = self._channel.receive()
        except EOFError:
            self._lost()
            return
        for message, fds in messages:
            for fd in fds:
                os.close(fd)  # it sends none
            if message["t"] == "ready":
                self.ready, self._pause = True, _AGAIN[0]
                self._unlimited()
                self._joined()
            elif message["t"] == "failed":
                self._reason = str(message["reason"])

    def _unlimited(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _lost(self) -> None:
        self._reap()
        if self._stopping:
            return
        what = f"could not open the store ({self._reason})" if self._reason else "ended"
        self._log.error(f"the writer process {what}: workers write by themselves until it is back")
        self._later()

    def _later(self) -> None:
        asyncio.get_running_loop().call_later(self._pause, self._again)
        self._pause = min(self._pause * 2, _AGAIN[1])

    def _again(self) -> None:
        if not self._stopping:
            self.start()

    def _reap(self) -> None:
        assert self._channel is not None
        self._unlimited()
        asyncio.get_running_loop().remove_reader(self._channel.fileno())
        self._channel.close()
        self._channel, self.ready = None, False
        self.kill()
        self._wait(_DEAD_WAIT)

    def _wait(self, seconds: float) -> None:
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def stop(self, seconds: float = 2.0) -> None:
        """End it for good, after what it was sent is written; killed if that takes longer than ``seconds``. Blocks."""
        if self._stopping:
            return
        self._stopping = True
        if self._channel is not None:
            with contextlib.suppress(OSError):
                self._channel.sock.shutdown(socket.SHUT_WR)
            self._wait(seconds)
            self._reap()
        self._board.close()
