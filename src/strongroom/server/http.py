"""The HTTP door: all connections of one worker, their limits, and the graceful end.

``http_connection`` serves one client: a protocol that drives the pipeline's coroutine inline, without a task.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from typing import Any, Protocol

from strongroom.sdk.request import Op, Request, Response
from strongroom.server.http_connection import Connection, Headers
from strongroom.server.http_encode import Answer, withheld
from strongroom.server.http_settings import DoorSettings, Limits, Proxies

Handle = Callable[[Request], Coroutine[Any, Any, Response]]

_FIRST_WAIT = 1.0  # seconds after which a connection without a whole request is the first to go
_LOOK_AT = 512  # connections looked at to find one that may go


class Meter(Protocol):
    """What counts. ``Board`` rows implement it; nothing here waits."""

    def request(self, op: Op, status: int, seconds: float) -> None: ...
    def bad_bytes(self) -> None: ...
    def connections(self, change: int) -> None: ...
    def in_flight(self, change: int) -> None: ...


class NoMeter:
    """Counts nothing."""

    def request(self, op: Op, status: int, seconds: float) -> None: ...
    def bad_bytes(self) -> None: ...
    def connections(self, change: int) -> None: ...
    def in_flight(self, change: int) -> None: ...


class Door:
    """All connections of one worker, on any number of listeners."""

    def __init__(
        self,
        handle: Handle,
        *,
        settings: Callable[[], DoorSettings] = DoorSettings,
        renew: Callable[[], None] = lambda: None,
        kept: Callable[[], bool] = lambda: False,
        release: Callable[[], bool] = lambda: True,
        limiting: Callable[[], bool] = lambda: False,
        admit: Callable[[Request], Request] = lambda request: request,
        meter: Meter | None = None,
        log: Callable[[str], None] = lambda _line: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.handle = handle
        self.settings = settings
        self.renew = renew  # for a new connection, and before a browser's request, whose answer they decide
        self.limiting, self.admit = limiting, admit  # see ``node.Node``: what is refused is not buffered
        self.meter: Meter = meter or NoMeter()
        self.log = log
        self.wall = wall
        self.connections: dict[Connection, None] = {}  # in the order they came
        self.fresh: dict[Connection, None] = {}  # those that have not sent a whole request yet
        self.draining = False
        self._kept, self._release = kept, release
        self._held: list[tuple[Connection, Answer, bool, bool, bytes]] = []
        self.waiting: dict[str, tuple[Request, float]] = {}  # requests that suspended, and when they came
        self.buffered = 0  # bytes of unfinished bodies
        self._clock = clock
        self._idle: asyncio.Event | None = None
        self.tick()

    def listener(
        self, limits: Limits, proxies: Proxies | None = None, *, tls: bool = False, headers: Headers | None = None
    ) -> Callable[[], Connection]:
        """A protocol factory for ``loop.create_server``. ``headers``: the listener's custom response headers."""
        who, custom = proxies or Proxies(), headers or {}
        return lambda: Connection(self, limits, who, custom, tls=tls)

    def answered(self, connection: Connection, answer: Answer, *, close: bool, head_only: bool, keep: bytes) -> None:
        """Write an answer, or hold it to the end of this turn of the loop while audit records are kept that long.

        So a turn with many answers costs one write to the audit log instead of one for each.
        """
        if not self._held and not self._kept():
            connection.write(answer, close=close, head_only=head_only, keep=keep)
            return
        self._held.append((connection, answer, close, head_only, keep))
        if close:
            self.release()
        elif len(self._held) == 1:
            asyncio.get_running_loop().call_soon(self.release)

    def release(self) -> None:
        """Hand the kept records over, then write the answers that were held; without a record no answer."""
        held, self._held = self._held, []
        if not held and not self._kept():
            return
        taken = self._release()
        for connection, answer, close, head_only, keep in held:
            connection.write(answer if taken else withheld(), close=close, head_only=head_only, keep=keep)

    def tick(self) -> None:
        """Once a second: the coarse clock, the Date header, and the connections whose time is over."""
        self.release()
        self.now = self._clock()
        self.date = b"Date: " + formatdate(self.wall(), usegmt=True).encode() + b"\r\n"
        for connection in [c for c in self.connections if c.deadline < self.now]:
            connection.expire()

    async def serve_ticks(self) -> None:
        """Call ``tick`` every second until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            self.tick()

    async def drain(self, seconds: float) -> None:
        """Close idle connections, let the others finish their request, cut off what is left after ``seconds``."""
        self.draining = True
        self.release()
        for connection in list(self.connections):
            connection.drain()
        if self.connections or self.waiting:
            self._idle = asyncio.Event()
            try:
                await asyncio.wait_for(self._idle.wait(), seconds)
            except TimeoutError:
                for connection in list(self.connections):
                    connection.abort()

    def make_room(self, newcomer: Connection) -> bool:
        """Close a connection that took long without a whole request, else an idle one, else the oldest of the new.

        So neither half requests nor idle connections shut anybody out: who sends a request at once is served.
        """
        self.release()
        slow = self.now - _FIRST_WAIT
        choices = (
            itertools.takewhile(lambda one: one.since <= slow, self.fresh),
            (one for one in self.connections if not one.fresh),
            iter(self.fresh),
        )
        for choice in choices:
            for connection in itertools.islice(choice, _LOOK_AT):
                if connection.idle and connection is not newcomer:
                    self.fresh.pop(connection, None)
                    del self.connections[connection]  # its end is told later; it counts no more
                    connection.abort()
                    return True
        return False

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self.connections.pop(connection, None)
        self.fresh.pop(connection, None)
        self.meter.connections(-1)
        self.settle()

    def settle(self) -> None:
        """Tell ``drain`` when nothing is left."""
        if self._idle is not None and not self.connections and not self.waiting:
            self._idle.set()
