"""Requests under way in the other workers, for ``sys/in-flight-req``.

Who is asked tells the supervisor, which joins it with every other serving worker by a socket pair each; they write what
they have (a msgpack map) and close. The supervisor only carries the descriptors. A worker that is late is left out.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from strongroom.server.child import Child

WAIT = 1.0  # seconds for all others together
_MAX = 4 * 1024 * 1024  # bytes of one worker's list

Flights = dict[str, Any]  # request id -> its entry in sys/in-flight-req


def join(asker: Child, others: Iterable[Child]) -> None:
    """In the supervisor: give ``asker`` an end of a socket for each of ``others``, and these the other ends."""
    ends: list[socket.socket] = []
    with contextlib.suppress(OSError):  # out of descriptors: a list of fewer workers
        for child in others:
            one, two = socket.socketpair()
            ends.append(one)
            child.send("tell", [two.fileno()])
            two.close()
    asker.send("told", [end.fileno() for end in ends])
    for end in ends:
        end.close()


async def tell(fd: int, flights: Mapping[str, Any]) -> None:
    """Write this worker's requests into ``fd``, which is taken over, unless the asker has gone or does not read."""
    with socket.socket(fileno=fd) as sock:
        sock.setblocking(False)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(WAIT):
                await asyncio.get_running_loop().sock_sendall(sock, msgspec.msgpack.encode(flights))


class Others:
    """The requests of the other workers, as this one collects them.

    Args:
        ask: asks the supervisor, which leads to ``opened``.
    """

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask = ask
        self._waiting: asyncio.Future[Flights] | None = None
        self._found: Flights = {}
        self._readers: set[asyncio.Task[None]] = set()

    async def listed(self) -> Flights:
        """What came within ``WAIT`` seconds. Who asks meanwhile gets the same list. Needs no task around it."""
        if self._waiting is None:
            loop = asyncio.get_running_loop()
            self._waiting, self._found = loop.create_future(), {}
            loop.call_later(WAIT, self._finish, self._waiting)
            self._ask()
        return await self._waiting

    def opened(self, fds: Sequence[int]) -> None:
        """The sockets to read from, which are taken over."""
        waiting = self._waiting
        if waiting is None:  # too late
            for fd in fds:
                os.close(fd)
            return
        for fd in fds:
            reader = asyncio.get_running_loop().create_task(self._read(socket.socket(fileno=fd), self._found))
            self._readers.add(reader)
            reader.add_done_callback(lambda done: self._read_one(done, waiting))
        if not fds:
            self._finish(waiting)

    async def _read(self, sock: socket.socket, found: Flights) -> None:
        loop, raw = asyncio.get_running_loop(), bytearray()
        with sock, contextlib.suppress(OSError, msgspec.DecodeError):
            sock.setblocking(False)
            while part := await loop.sock_recv(sock, 65536):
                raw += part
                if len(raw) > _MAX:
                    return
            found.update(msgspec.msgpack.decode(raw, type=Flights))

    def _read_one(self, reader: "asyncio.Task[None]", waiting: "asyncio.Future[Flights]") -> None:
        self._readers.discard(reader)
        if not self._readers:
            self._finish(waiting)

    def _finish(self, waiting: "asyncio.Future[Flights]") -> None:
        """All have answered, or the time is over."""
        if waiting is not self._waiting:
            return
        self._waiting = None
        for reader in self._readers:
            reader.cancel()
        waiting.set_result(self._found)
