"""Hands requests of attempts that live in one worker (rekey, generate-root) to that worker.

A socket pair joins each other worker with the owner. Frames are a length (4 bytes, big-endian), a number (4 bytes) that
ties answer to question, and msgpack. Both ends are our own processes; the owner authenticates and records the request
like any other.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from strongroom import errors
from strongroom.errors import AuditFailed, TooLarge, Unavailable, VaultError
from strongroom.sdk.audit import WITHHELD
from strongroom.sdk.envelope import plain
from strongroom.sdk.request import Request, Response

_FRAME = struct.Struct(">II")
_WAIT = 60.0  # seconds for an answer; the owner may hang, and is then replaced
_MAX = 4 * 1024 * 1024  # bytes of a request or an answer; shares and nonces are far below
_encode = msgspec.msgpack.Encoder(enc_hook=plain).encode

Handle = Callable[[Request], Coroutine[Any, Any, Response]]


class Unanswered(Exception):
    """The owner did not get or did not answer a request, so it may not have recorded it. ``fault`` tells why."""

    def __init__(self, fault: VaultError) -> None:
        super().__init__(str(fault))
        self.fault = fault


class _Frames(asyncio.Protocol):
    """Reads frames; ``lost`` when the other end is gone."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _FRAME.size:
            size, number = _FRAME.unpack_from(self._buffer)
            if size > _MAX:
                self.close()
                return
            if len(self._buffer) < _FRAME.size + size:
                return
            body = bytes(self._buffer[_FRAME.size : _FRAME.size + size])
            del self._buffer[: _FRAME.size + size]
            self.frame(number, body)

    def frame(self, number: int, body: bytes) -> None:
        raise NotImplementedError

    def put(self, number: int, body: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(_FRAME.pack(len(body), number) + body)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


class Asker(_Frames):
    """The end of a worker that is not the owner."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[int, asyncio.Future[Response]] = {}
        self._next = 0

    async def ask(self, request: Request) -> Response:
        """The owner's answer. Raises what it raised, or Unanswered."""
        if self.transport is None or self.transport.is_closing():
            raise _gone()
        body = _encode(request_fields(request))
        if len(body) > _MAX:
            raise Unanswered(TooLarge("http: request body too large"))
        self._next = (self._next + 1) % 2**32
        number = self._next
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        late = asyncio.get_running_loop().call_later(_WAIT, self._late, future)
        try:
            self.put(number, body)
            return await future
        finally:
            late.cancel()
            self._waiting.pop(number, None)

    def _late(self, future: "asyncio.Future[Response]") -> None:
        if not future.done():
            future.set_exception(Unanswered(Unavailable("the process that holds this attempt does not answer")))

    def frame(self, number: int, body: bytes) -> None:
        future = self._waiting.get(number)
        if future is None or future.done():
            return
        try:
            future.set_result(outcome(body))
        except Exception as error:
            future.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(_gone())


class Answerer(_Frames):
    """The owner's end. ``recorded`` hands over the record that an answer waits for; without it no answer leaves."""

    def __init__(self, handle: Handle, recorded: Callable[[], bool]) -> None:
        super().__init__()
        self._handle, self._recorded = handle, recorded
        self._tasks: set[asyncio.Task[None]] = set()

    def frame(self, number: int, body: bytes) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(number, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, number: int, body: bytes) -> None:
        out: dict[str, Any]
        try:
            fields = msgspec.msgpack.decode(body)
            request = Request(**{**fields, "chain": tuple(fields["chain"])})
            out = {"response": await self._handle(request)}
        except VaultError as error:
            out = {"error": error_fields(error)}
        except Exception:
            out = {"error": {"type": "VaultError", "messages": ["internal error"]}}
        if not self._recorded():
            out = {"error": error_fields(AuditFailed(WITHHELD))}
        self.put(number, _encode(out))


async def connect(fd: int, end: _Frames) -> None:
    """Put ``end`` on the socket ``fd``, which is taken over."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    # A unix socket pair; create_connection(sock=...) takes only TCP under uvloop.
    await loop.create_unix_connection(lambda: end, sock=sock)


def request_fields(request: Request) -> dict[str, Any]:
    """A request without its fault: a faulty one is refused where it came in."""
    fields = {name: getattr(request, name) for name in request.__struct_fields__ if name != "fault"}
    fields["headers"] = dict(request.headers)
    return fields


def error_fields(error: VaultError) -> dict[str, Any]:
    """A deliberate error, for the trip to another process."""
    return {
        "type": type(error).__name__,
        "messages": error.messages,
        "data": error.data,
        "warnings": error.warnings,
        "headers": dict(error.headers),
        "retry_after": getattr(error, "retry_after", 0),
    }


class _Outcome(msgspec.Struct):
    response: Response | None = None
    error: dict[str, Any] | None = None


def outcome(body: bytes) -> Response:
    """The Response in a frame. Raises the error in it."""
    found = msgspec.msgpack.decode(body, type=_Outcome)
    if found.response is not None:
        return found.response
    fields = found.error or {}
    kind = getattr(errors, str(fields.get("type")), VaultError)
    if not (isinstance(kind, type) and issubclass(kind, VaultError)):
        kind = VaultError
    error: VaultError = kind.__new__(kind)
    VaultError.__init__(
        error, *fields["messages"], data=fields.get("data"), warnings=tuple(fields.get("warnings") or ())
    )
    error.headers = fields.get("headers") or {}
    if kind is errors.QuotaExceeded:
        error.retry_after = fields.get("retry_after") or 1  # type: ignore[attr-defined]
    raise error


def _gone() -> Unanswered:
    return Unanswered(Unavailable("the process that held this attempt has ended; start the attempt again"))
