"""Audit lines to a TCP, UDP or unix socket, one JSON object a line (a datagram holds one line)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from strongroom.audit.options import check_options
from strongroom.audit.wire import Wire, place_of
from strongroom.errors import AuditFailed, BadRequest
from strongroom.sdk.audit import AuditSink
from strongroom.sdk.engine import run_inline
from strongroom.sdk.fields import parse_duration

_OWN = frozenset({"address", "socket_type", "write_timeout"})
_TYPES = ("tcp", "udp", "unix")
Framed = Callable[[bytes], bytes]


def open_sink(
    options: Mapping[str, str], *, audit_dir: str = "", offload: Callable[[Any], Awaitable[Any]] = run_inline
) -> AuditSink:
    """A sink for the device options of Vault's socket device.

    Args:
        options: ``address`` (host:port, or the path of a unix socket), ``socket_type`` (tcp, udp or unix; default tcp),
            ``write_timeout`` (read; a write never waits longer than a quarter of a second).

    Raises:
        BadRequest: an option that is not allowed, or nobody listens there.
    """
    check_options("socket", options, _OWN)
    kind = options.get("socket_type") or "tcp"
    if kind not in _TYPES:
        raise BadRequest("socket_type must be tcp, udp or unix")
    if options.get("write_timeout"):
        parse_duration(options["write_timeout"], name="write_timeout")
    wire = Wire(place_of(kind, options.get("address", "")))
    return connected(wire, stream=kind != "udp")


def connected(wire: Wire, *, stream: bool, frame: Framed = bytes) -> "WireSink":
    """A sink over ``wire``. Raises BadRequest if there is nobody at the other end."""
    try:
        wire.connect()
    except AuditFailed as error:
        raise BadRequest(str(error)) from error
    return WireSink(wire, stream=stream, frame=frame)


class WireSink:
    """Lines, each in its ``frame``, over a connection."""

    __slots__ = ("_frame", "_stream", "_wire")

    def __init__(self, wire: Wire, *, stream: bool, frame: Framed = bytes) -> None:
        self._wire, self._stream, self._frame = wire, stream, frame

    def request(self, line: bytes) -> None:
        self.both(line)

    def response(self, line: bytes) -> None:
        self.both(line)

    def both(self, lines: bytes) -> None:
        frames = [self._frame(line) for line in lines.splitlines(keepends=True)]
        if self._stream:
            self._wire.send(b"".join(frames))
            return
        for frame in frames:
            self._wire.send(frame)

    def reopen(self) -> None:
        """Connect anew (the address may be another one). Raises AuditFailed; the old connection stays then."""
        self._wire.renew()

    async def sync(self) -> None:
        """What is on the way is on the way."""

    def close(self) -> None:
        self._wire.close()
