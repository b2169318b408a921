"""Real listeners for the sinks that send: they take what the kernel has for them when they are asked."""

import contextlib
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

Split = Callable[[bytes], list[bytes]]


def by_line(stream: bytes) -> list[bytes]:
    return stream.splitlines(keepends=True)


class Listener:
    """A socket of ``family`` and ``kind``. ``split`` takes a connection's bytes apart; a datagram is one piece."""

    def __init__(self, family: int, kind: int, address: Any, split: Split = by_line) -> None:
        self.family, self.kind, self.address, self.split = family, kind, address, split
        self.streams: list[tuple[socket.socket, bytearray]] = []
        self.done: list[bytes] = []
        self.server: socket.socket | None = None
        self.open()

    def open(self) -> None:
        server = socket.socket(self.family, self.kind)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        server.bind(self.address)
        self.address = server.getsockname()
        if self.kind == socket.SOCK_STREAM:
            server.listen(16)
        server.setblocking(False)
        self.server = server

    def take(self) -> None:
        server = self.server
        if server is None:
            return
        if self.kind == socket.SOCK_DGRAM:
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.done.append(server.recv(1 << 17))
            return
        with contextlib.suppress(BlockingIOError):
            while True:
                connection = server.accept()[0]
                connection.setblocking(False)
                self.streams.append((connection, bytearray()))
        for connection, got in self.streams:
            with contextlib.suppress(OSError):
                while part := connection.recv(1 << 17):
                    got += part

    def pieces(self) -> list[bytes]:
        """What has come since the last time, whole pieces only."""
        self.take()
        out, self.done = self.done, []
        for _, got in self.streams:
            out += self.split(bytes(got))
            got.clear()
        return out

    def close(self) -> None:
        self.done += self.pieces()
        for connection, _ in self.streams:
            connection.close()
        self.streams.clear()
        if self.server is not None:
            self.server.close()
            self.server = None
        if self.family == socket.AF_UNIX:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.address)


class TlsListener:
    """As Listener, over TLS: handshakes need somebody at the other end, so a thread."""

    def __init__(self, context: ssl.SSLContext, split: Split) -> None:
        self.context, self.split, self.port = context, split, 0
        self.got: dict[int, bytearray] = {}
        self.connections: list[ssl.SSLSocket] = []
        self.open()

    def open(self) -> None:
        self.server = socket.create_server(("127.0.0.1", self.port))
        self.port = self.server.getsockname()[1]
        self.stopped = False
        self.accepting = threading.Thread(target=self._accept, args=(self.server,), daemon=True)
        self.accepting.start()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                plain = server.accept()[0]
                connection = self.context.wrap_socket(plain, server_side=True)
            except OSError:
                if self.stopped:
                    return
                continue
            self.connections.append(connection)
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: ssl.SSLSocket) -> None:
        got = self.got.setdefault(id(connection), bytearray())
        with contextlib.suppress(OSError):
            while part := connection.recv(1 << 16):
                got += part

    def pieces(self, at_least: int = 1, seconds: float = 5) -> list[bytes]:
        deadline = time.monotonic() + seconds
        seen = -1
        while time.monotonic() < deadline:
            now = sum(map(len, self.got.values()))
            if now and now == seen:
                break
            seen = now
            select.select([], [], [], 0.1)
        out = []
        for got in list(self.got.values()):
            out += self.split(bytes(got))
            got.clear()
        return out

    def close(self) -> None:
        self.stopped = True
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.accepting.join(5)  # it may be in the last handshake
        self.server.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self.connections.clear()
