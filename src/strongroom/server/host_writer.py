"""The writer process as the supervisor sees it: started, joined with workers, started again when it ends."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from strongroom.server.child import clean_environment
from strongroom.server.control import Channel
from strongroom.server.logs import Log

KINDS = frozenset({"lmdb"})  # stores with which one process writes for all
_AGAIN = (1.0, 30.0)  # seconds until it is started again; doubled each time it could not open the store


class HostWriter:
    """See the module. Without it, or while it is away, workers write by themselves; nothing waits for it.

    Args:
        options: of the store.
        joined: called each time it is ready: workers are to be linked (again).
    """

    def __init__(self, options: Mapping[str, Any], log: Log, joined: Callable[[], None]) -> None:
        self._options, self._log, self._joined = dict(options), log, joined
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._ready = self._stopping = False
        self._pause = _AGAIN[0]

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Exec the process and have it open the store."""
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "strongroom.server.writer"]
        command += ["--parent", str(os.getpid()), "--control", str(theirs.fileno())]
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            pass_fds=(theirs.fileno(),),
            env=clean_environment(os.environ),
            stdin=subprocess.DEVNULL,
            process_group=0,
        )
        theirs.close()
        self._ready = False
        self._channel = Channel(ours)
        self._channel.send("open", options=self._options)
        asyncio.get_running_loop().add_reader(ours.fileno(), self._readable)

    def link(self) -> socket.socket | None:
        """A worker's end of a new socket pair with the writer; to be closed once it is sent. None: it is not ready."""
        if self._channel is None or not self._ready:
            return None
        ours, theirs = socket.socketpair()
        with theirs:
            if self._channel.send("link", [theirs.fileno()]):
                return ours
        ours.close()
        return None

    def _readable(self) -> None:
        assert self._channel is not None
        try:
            messages = self._channel.receive()
        except EOFError:
            self._lost()
            return
        for message, _ in messages:
            if message["t"] == "ready":
                self._ready, self._pause = True, _AGAIN[0]
                self._joined()
            elif message["t"] == "failed":
                self._log.error(f"the writer process could not open the store: {message['reason']}")

    def _lost(self) -> None:
        self._reap()
        if not self._stopping:
            self._log.error("the writer process ended: workers write by themselves until it is back")
            asyncio.get_running_loop().call_later(self._pause, self._again)
            self._pause = min(self._pause * 2, _AGAIN[1])

    def _again(self) -> None:
        if not self._stopping:
            self.start()

    def _reap(self) -> None:
        assert self._channel is not None and self._process is not None
        asyncio.get_running_loop().remove_reader(self._channel.fileno())
        self._channel.close()
        self._channel, self._ready = None, False
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def stop(self, seconds: float = 2.0) -> None:
        """End it, after what it has read is written; killed if that takes longer than ``seconds``. Blocks."""
        self._stopping = True
        if self._channel is None or self._process is None:
            return
        self._channel.sock.shutdown(socket.SHUT_WR)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        self._reap()
