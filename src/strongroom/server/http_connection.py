"""One client of the HTTP door.

A request whose coroutine never suspends is read, answered and written within one callback. One that suspends on a
loop future goes on in that future's callback; meanwhile the connection's next requests wait in its buffer, so that
pipelined requests are answered in order.
"""

import asyncio
import time
import traceback
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.errors import BadRequest, QuotaExceeded, StorageFailed, VaultError
from strongroom.sdk.request import Request, Response
from strongroom.server import http_encode
from strongroom.server.http_encode import Answer
from strongroom.server.http_frame import Framer, Malformed, refused
from strongroom.server.http_request import Preflight, build, cors_headers, with_certificates
from strongroom.server.http_settings import Limits, Proxies
from strongroom.server.tls_clients import peer_certificates

if TYPE_CHECKING:
    from strongroom.server.http import Door

Headers = Mapping[str, Mapping[str, str]]  # "default" | "2xx" | "404" -> name -> value

_HIGH_WATER = 256 * 1024  # bytes of requests that wait behind one in progress
_LINGER = 5.0  # seconds in which a refused body is read and thrown away, so that the peer sees the answer
_FIRST_REQUEST = 0.3  # seconds that a new connection has for its first request while the door is being closed
_BURST = 64  # pipelined requests answered before other connections get their turn
_CLOSE = b"Connection: close\r\n"
_KEEP_10 = b"Connection: keep-alive\r\n"


class Connection(asyncio.Protocol):
    """One client."""

    __slots__ = (
        "_admitted",
        "_body_since",
        "_buffer",
        "_busy",
        "_certificates",
        "_coroutine",
        "_counted",
        "_custom",
        "_discard",
        "_door",
        "_eof",
        "_framer",
        "_future",
        "_keep_alive",
        "_limits",
        "_linger",
        "_paused",
        "_peer",
        "_proxies",
        "_pumping",
        "_reading",
        "_request",
        "_started",
        "_tls",
        "_transport",
        "_writable",
        "deadline",
        "fresh",
        "since",
    )

    def __init__(self, door: "Door", limits: Limits, proxies: Proxies, custom: Headers, *, tls: bool) -> None:
        self._door, self._limits, self._proxies, self._custom, self._tls = door, limits, proxies, custom, tls
        door.renew()  # so that the first request on it is read by the settings of now
        self._framer = Framer(limits, door.settings())
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._coroutine: Coroutine[Any, Any, Response] | None = None
        self._future: Any = None
        self._request: Request | None = None
        self._admitted: dict[str, str] | None = None  # see ``Request``
        self._started = 0.0
        self._counted = 0  # bytes of this connection in door.buffered
        self._body_since = 0.0
        self._discard = -1  # bytes of a refused body still to be thrown away; -1: none, the end is not known otherwise
        self._busy = self._pumping = self._eof = self._linger = self._keep_alive = False
        self._reading = self._writable = self.fresh = True
        self._peer = ("", 0)
        self._certificates: tuple[bytes, ...] = ()  # of the TLS client, its own first
        self.since = door.now
        self.deadline = door.now + limits.header_timeout

    # -- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        door = self._door
        door.connections[self] = door.fresh[self] = None
        door.meter.connections(1)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self._peer = (peer[0], peer[1])
        if self._tls and door.settings().client_trust:
            self._certificates = peer_certificates(transport.get_extra_info("ssl_object"))
        if len(door.connections) > self._limits.max_connections and not door.make_room(self):
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._cut_off("ended before it was whole")
        self._buffer = b""
        self._count_body(0)
        self._door.forget(self)

    def data_received(self, data: bytes) -> None:
        if self._linger:
            self._throw_away(len(data))
            return
        self._buffer = self._buffer + data if self._buffer else data
        if self._busy or not self._writable:
            if len(self._buffer) > _HIGH_WATER:
                self._hold(True)
            return
        self._pump()

    def eof_received(self) -> bool:
        self._eof = True
        if (self._busy or not self._writable) and not self._tls:
            return True  # half-closed: it still wants its answers
        self._cut_off("ended before it was whole")
        return self._busy and not self._tls  # its record waits for a disk

    def _cut_off(self, how: str) -> None:
        """What was begun and will not be ended is recorded if it has a request line, else counted."""
        if self._busy or self._linger:
            return
        if self._framer.begun(self._buffer):
            self._refuse_body(BadRequest(f"the request {how}"))
        elif self._buffer:
            self._buffer = b""
            self._door.meter.bad_bytes()

    def pause_writing(self) -> None:
        self._writable = False
        self._set_deadline()

    def resume_writing(self) -> None:
        self._writable = True
        self._set_deadline()
        if not self._busy:
            self._pump()

    # -- reading

    def _pump(self) -> None:
        """Take messages from the buffer until one has to wait."""
        if self._pumping:
            return
        self._pumping, burst = True, 0
        try:
            while self._buffer and not self._busy and self._open():
                burst += 1
                if burst > _BURST:
                    asyncio.get_running_loop().call_soon(self._pump)
                    break
                if not self._take():
                    break
        finally:
            self._pumping = False
        if self._transport is None or self._linger:
            return
        if not self._busy and self._writable:
            if self._eof and burst <= _BURST:
                self._door.release()
                self._transport.close()  # what is left in the buffer will never be whole
                return
            self._hold(False)
        self._set_deadline()

    def _open(self) -> bool:
        transport = self._transport
        return transport is not None and self._writable and not self._linger and not transport.is_closing()

    def _take(self) -> bool:
        """Feed the parser; True if it may be called again at once."""
        framer = self._framer
        fresh = framer.head is None
        try:
            self._buffer = framer.feed(self._buffer)
        except Malformed as error:
            self._refuse(error)
            return False
        if framer.complete:
            self._count_body(0)
            self._dispatch(framer.fault)
            return True
        if framer.fault is not None:
            self._refuse_body(framer.fault)
        elif framer.headers_done:
            self._count_body(framer.received)
            if self._door.buffered > self._limits.max_buffered:
                self._refuse_body(QuotaExceeded("too many request bodies at once"))
            elif fresh and not self._refused_early():
                self._expect_body()
        return False

    def _refused_early(self) -> bool:
        """A request that is over its rate limit is refused before its body is buffered."""
        door, head = self._door, self._framer.head
        if head is None or not door.limiting():
            return False
        request = build(head, b"", self._peer, self._proxies, door.settings(), None)
        if request.fault is not None:
            return False  # refused in any case, once it is whole
        request = door.admit(request)
        if request.fault is None:
            self._admitted = request.admitted
            return False
        self._refuse_body(request.fault)
        return True

    def _expect_body(self) -> None:
        self._body_since = self._door.now
        head = self._framer.head
        if head is not None and head.expect is not None and self._framer.version == "1.1" and not self._buffer:
            assert self._transport is not None
            if not self._framer.received:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, error: Malformed) -> None:
        """Not HTTP. What has a request line is recorded; the rest is counted. Either way the connection ends."""
        self._count_body(0)
        fault = refused(error)
        asked = self._framer.begun(self._buffer)
        self._buffer = b""
        self._framer.keep_alive = False
        self._discard = 0
        if asked:
            self._dispatch(fault)
            return
        self._door.meter.bad_bytes()
        self.write(http_encode.refusal(fault, ""), close=True, head_only=False)

    def _refuse_body(self, fault: VaultError) -> None:
        """A sound head whose body will not be read."""
        framer = self._framer
        self._count_body(0)
        self._discard = max(0, framer.remaining - len(self._buffer)) if framer.head and framer.head.length else 0
        self._buffer = b""
        framer.keep_alive = False
        self._dispatch(fault)

    def _count_body(self, size: int) -> None:
        if size != self._counted:
            self._door.buffered += size - self._counted
            self._counted = size

    def _throw_away(self, size: int) -> None:
        if self._discard > 0:
            self._discard -= size
            if self._discard <= 0 and self._transport is not None:
                self._transport.close()

    def _hold(self, hold: bool) -> None:
        if self._transport is None or self._reading is not hold:
            return
        if hold:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
        self._reading = not hold

    # -- answering

    def _dispatch(self, fault: VaultError | None) -> None:
        door, framer = self._door, self._framer
        head = framer.head
        assert head is not None
        self._started = time.perf_counter()
        self._busy = True
        if self.fresh:
            self.fresh = False
            door.fresh.pop(self, None)
        self._keep_alive = framer.keep_alive
        if fault is None and len(door.waiting) >= self._limits.max_in_flight:
            fault = QuotaExceeded("too many requests in flight")
        if head.origin is not None:
            door.renew()
        request = build(head, framer.body(), self._peer, self._proxies, door.settings(), fault)
        if self._certificates or self._proxies.certificate_header:
            request = with_certificates(request, self._certificates, self._proxies, self._peer[0])
        if self._admitted is not None:
            request = msgspec.structs.replace(request, admitted=self._admitted)
            self._admitted = None
        self._request = request
        self._coroutine = door.handle(request)
        self._step()

    def _step(self, future: Any = None) -> None:
        """Drive the coroutine until it ends or has to wait."""
        if future is not self._future:
            return  # a wake-up that came after the time limit threw in its own
        self._future = None
        coroutine = self._coroutine
        assert coroutine is not None
        try:
            waited = coroutine.send(None)
        except StopIteration as stop:
            self._finish(stop.value)
        except VaultError as error:
            self._finish(error)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self._finish(error)
        else:
            self._wait(waited)

    def _wait(self, waited: Any) -> None:
        request = self._request
        assert request is not None
        if request.id not in self._door.waiting:
            self._door.waiting[request.id] = (request, self._door.now)
            self._door.meter.in_flight(1)
            self._set_deadline()
        loop = asyncio.get_running_loop()
        if waited is None:
            self._future = None
            loop.call_soon(self._step)
        elif getattr(waited, "_asyncio_future_blocking", None):
            waited._asyncio_future_blocking = False
            self._future = waited
            waited.add_done_callback(self._step)
        else:
            self._throw(RuntimeError(f"a handler awaited a {type(waited).__name__}, which this door cannot drive"))

    def _throw(self, error: BaseException) -> None:
        """End the request with ``error``, raised where it waits."""
        self._future = self  # no wake-up is this
        coroutine = self._coroutine
        assert coroutine is not None
        try:
            waited = coroutine.throw(error)
        except StopIteration as stop:
            self._finish(stop.value)
        except BaseException as raised:
            self._finish(raised)
        else:  # it catches and waits on: for its audit record, say
            self._wait(waited)

    def _finish(self, outcome: Any) -> None:
        """The outcome of a request: a Response or an exception."""
        door, request, head = self._door, self._request, self._framer.head
        assert request is not None and head is not None
        if door.waiting.pop(request.id, None) is not None:
            door.meter.in_flight(-1)
        answer = self._answer(outcome, request)
        settings = door.settings()
        if head.origin is not None:
            for name, value in cors_headers(head.origin, settings).items():
                answer.add(name, value)
        door.meter.request(request.op, answer.status, time.perf_counter() - self._started)
        close = answer.close or not self._keep_alive or door.draining or (self._eof and not self._buffer)
        version = self._framer.version
        self._coroutine = self._request = self._future = None
        self._busy = False
        self._framer.reset(settings)
        if self._transport is None:
            door.release()  # nobody waits for the answer any more, but its record is to be in the log
            door.settle()
            return
        keep = _KEEP_10 if version == "1.0" and not close else b""
        door.answered(self, answer, close=close, head_only=head.method == b"HEAD", keep=keep)
        if not self._pumping and not close:
            self._pump()

    def _answer(self, outcome: Any, request: Request) -> Answer:
        door = self._door
        try:
            if isinstance(outcome, Response):
                answer = http_encode.answer(outcome, request.id)
            elif isinstance(outcome, Preflight):
                answer = http_encode.answer(outcome.response, request.id)
            elif isinstance(outcome, VaultError):
                answer = http_encode.refusal(outcome, request.id)
                if outcome.__cause__ is not None and outcome.status >= 500:
                    door.log(f"request {request.id}: {_where(outcome.__cause__)}")
            else:
                door.log(f"request {request.id}: {_where(outcome)}")
                answer = Answer(500, http_encode.INTERNAL)
        except Exception as error:
            door.log(f"request {request.id}: answer cannot be encoded: {_where(error)}")
            answer = Answer(500, http_encode.INTERNAL)
        for custom in (self._custom, door.settings().custom_headers):
            if custom:
                status = str(answer.status)
                for part in ("default", status[0] + "xx", status):
                    for name, value in custom.get(part, {}).items():
                        answer.add(name, value)
        return answer

    def write(self, answer: Answer, *, close: bool, head_only: bool, keep: bytes = b"") -> None:
        transport = self._transport
        if transport is None:
            return
        transport.write(answer.bytes(self._door.date, head_only=head_only, keep=_CLOSE if close else keep))
        if not close:
            return
        self._buffer = b""  # what follows a last answer is no request
        if self._discard < 0:
            transport.close()
            return
        # Closing with unread bytes resets the connection, and the peer may never see the answer.
        self._linger = True
        self._hold(False)
        self.deadline = self._door.now + _LINGER
        if self._eof:
            transport.close()
        elif not self._tls and transport.can_write_eof():
            transport.write_eof()

    # -- time

    def _set_deadline(self) -> None:
        limits, now = self._limits, self._door.now
        if not self._writable:
            self.deadline = now + limits.write_timeout
        elif self._busy:
            self.deadline = now + limits.max_request_duration
        elif self._framer.headers_done:
            self.deadline = min(now + limits.body_timeout, self._body_since + limits.max_body_duration)
        elif self._buffer:
            self.deadline = min(self.deadline, now + limits.header_timeout)  # bytes that trickle win no time
        else:
            self.deadline = now + limits.idle_timeout

    def expire(self) -> None:
        """The deadline has passed."""
        self._door.release()
        if self._linger or not self._writable:
            self.abort()
        elif self._busy:
            self._set_deadline()
            if self._future is not None and self._future is not self:
                self._throw(StorageFailed("the request took longer than max_request_duration"))
        elif self._framer.headers_done:
            self._refuse_body(BadRequest("the request body did not arrive in time"))
        else:
            self._cut_off("did not arrive in time")
            if self._transport is not None and not self._busy and not self._linger:
                self._transport.close()

    def drain(self, *, fresh_too: bool = False) -> None:
        """Close if nothing is in progress. A connection that was just made may still send its first request."""
        self._door.release()
        if self.fresh and not fresh_too:
            asyncio.get_running_loop().call_later(_FIRST_REQUEST, lambda: self.drain(fresh_too=True))
            return
        if not self._busy and self._framer.head is None and not self._buffer and self._transport is not None:
            self._transport.close()

    @property
    def idle(self) -> bool:
        """Nothing is owed to it: it is between two requests, or in the middle of a head."""
        return not (self._busy or self._linger) and self._framer.head is None and self._writable

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()


def _where(error: BaseException) -> str:
    """The type of an error and where it was raised: no message and no values, they may be secret."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = " < ".join(f"{frame.filename.rpartition('strongroom/')[2]}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__name__} at {places or 'unknown'}"
