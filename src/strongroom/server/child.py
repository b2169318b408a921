"""A worker process as the supervisor sees it."""

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from strongroom.server.control import Channel, Message

_SCRUBBED = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|_KEY\b|^VAULT_|^BAO_|^STRONGROOM_", re.IGNORECASE)


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a worker inherits: nothing that names a secret, nothing that configures a client or this server."""
    return {name: value for name, value in environ.items() if not _SCRUBBED.search(name)}


class Child:
    """One process. ``hello``, ``ready`` and ``gone`` are set as it goes its way.

    role: "blank" -> "sealed" | "serving" -> "leaving"
    """

    def __init__(self, row: int, told: Callable[["Child", Message], None], lost: Callable[["Child"], None]) -> None:
        loop = asyncio.get_running_loop()
        self.row = row
        self.role = "blank"
        self.slot = -1
        self.reason = ""
        self.hello: asyncio.Future[bool] = loop.create_future()
        self.ready: asyncio.Future[bool] = loop.create_future()
        self.linked: asyncio.Future[bool] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self._told, self._lost = told, lost
        self.process: subprocess.Popen[bytes]
        self.channel: Channel
        self._key: socket.socket | None = None  # the end into which another worker writes the keyring key

    def __repr__(self) -> str:
        return f"Child({self.pid}, {self.role!r}, slot={self.slot})"

    @property
    def pid(self) -> int:
        return self.process.pid

    def start(self, node: str, board: int, rows: int, inherited: Sequence[int]) -> None:
        """Exec the worker. It sees the descriptors ``inherited``, the board, and its ends of two new socket pairs."""
        ours, theirs = socket.socketpair()
        key_in, key_out = socket.socketpair()
        fds = (theirs.fileno(), key_in.fileno(), board)
        command = [sys.executable, "-m", "strongroom.server.worker", "--node", node, "--parent", str(os.getpid())]
        for name, number in zip(("control", "key", "board", "rows", "row"), (*fds, rows, self.row), strict=True):
            command += [f"--{name}", str(number)]
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            pass_fds=(*fds, *inherited),
            env=clean_environment(os.environ),
            stdin=subprocess.DEVNULL,
            process_group=0,  # what the terminal sends to the foreground is the supervisor's to decide on
        )
        theirs.close()
        key_in.close()
        self._key = key_out
        self.channel = Channel(ours)
        asyncio.get_running_loop().add_reader(ours.fileno(), self._readable)

    def key_end(self) -> int:
        """A descriptor into which a worker writes the key; to be closed by the caller. Once only."""
        assert self._key is not None
        fd = self._key.detach()
        self._key = None
        return fd

    def send(self, kind: str, fds: Sequence[int] = (), **fields: Any) -> None:
        """Send a message; a child that cannot take it is killed."""
        if not self.gone.done() and not self.channel.send(kind, fds, **fields):
            self.kill()

    def link(self, fd: int | None, *, owner: bool) -> None:
        """Join it with the owner (or make it the owner); ``linked`` is set when it has understood."""
        if self.linked.done():
            self.linked = asyncio.get_running_loop().create_future()
        if self.gone.done():
            _settle(self.linked, value=False)
        elif fd is None:
            self.send("own")
        else:
            self.send("link", [fd], owner=owner)

    def brought_up(self) -> None:
        """It has unsealed a development server."""
        _settle(self.ready, value=True)

    def kill(self) -> None:
        """End it now."""
        if self.process.poll() is None:
            self.process.kill()

    def kill_after(self, seconds: float) -> None:
        """End it if it has not left by then."""
        asyncio.get_running_loop().call_later(seconds, self.kill)

    def _readable(self) -> None:
        try:
            messages = self.channel.receive()
        except EOFError:
            self._end()
            return
        for message, fds in messages:
            for fd in fds:
                os.close(fd)  # workers send none
            kind = message["t"]
            if kind == "hello":
                _settle(self.hello, value=True)
            elif kind == "linked":
                _settle(self.linked, value=True)
            elif kind == "ready":
                _settle(self.ready, value=True)
            elif kind == "failed":
                self.reason = str(message["reason"])
                _settle(self.ready, value=False)
            self._told(self, message)

    def _end(self) -> None:
        """The channel is closed: the process is dead or dying."""
        asyncio.get_running_loop().remove_reader(self.channel.fileno())
        self.channel.close()
        if self._key is not None:
            self._key.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        _settle(self.hello, value=False)
        _settle(self.ready, value=False)
        _settle(self.linked, value=False)
        self.gone.set_result(None)
        self._lost(self)


def _settle(future: "asyncio.Future[bool]", *, value: bool) -> None:
    if not future.done():
        future.set_result(value)
