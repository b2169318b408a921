"""A connection that audit lines go out on: TCP, TLS, UDP or a unix socket, with waits that are always short.

The event loop stands while a line is handed over, so nothing here waits longer than ``PATIENCE``; where an attempt to
connect took that long, lines are refused at once for ``PAUSE``.
"""

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from strongroom.errors import AuditFailed, BadRequest

PATIENCE = 0.25  # seconds
PAUSE = 1.0  # seconds
KINDS = ("tcp", "tls", "udp", "unix", "unixgram")
_STREAMS = frozenset({"tcp", "tls", "unix"})


class Place(msgspec.Struct, frozen=True):
    """Where lines go."""

    kind: str  # of KINDS
    host: str = ""  # or the path of a unix socket
    port: int = 0
    ca: str = ""  # PEM; empty: the system's authorities
    server_name: str = ""

    @property
    def stream(self) -> bool:
        return self.kind in _STREAMS


def place_of(kind: str, address: str, *, ca: str = "", server_name: str = "") -> Place:
    """``address``: host:port ([...]:port for IPv6), or an absolute path for unix sockets. Raises BadRequest."""
    if kind not in KINDS:
        raise BadRequest(f"the kind of socket must be one of {', '.join(KINDS)}")
    if kind in ("unix", "unixgram"):
        if not address.startswith("/") or "\0" in address or len(address.encode()) > 100:
            raise BadRequest("address must be the absolute path of a unix socket")
        return Place(kind, address)
    host, colon, port = address.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        raise BadRequest("address must be host:port")
    return Place(kind, host.removeprefix("[").removesuffix("]"), int(port), ca, server_name or host)


class Wire:
    """See the module. Used from one thread at a time.

    Args:
        clock: seconds that pass while the machine runs.
    """

    def __init__(self, place: Place, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._place, self._clock = place, clock
        self._sock: socket.socket | None = None
        self._addresses: list[tuple[int, Any]] = []
        self._not_before = 0.0
        self._tls = _context(place) if place.kind == "tls" else None

    def connect(self) -> None:
        """Connect if there is no connection. Raises AuditFailed."""
        if self._sock is not None:
            return
        if self._clock() < self._not_before:
            raise AuditFailed("the audit target does not answer")
        begun = self._clock()
        try:
            self._sock = self._connected(begun + PATIENCE)
        except (OSError, ValueError) as error:
            if self._clock() - begun >= PATIENCE / 2:
                self._not_before = self._clock() + PAUSE
            raise AuditFailed("the audit target cannot be reached") from error

    def send(self, data: bytes) -> None:
        """Hand ``data`` to the kernel whole; a broken connection is made anew once. Raises AuditFailed."""
        if self._sock is not None and self._place.stream and self._hung_up(self._sock):
            self.close()
        fresh = self._sock is None
        self.connect()
        try:
            self._hand_over(data)
        except OSError as error:
            self.close()
            if fresh or not _before_any_byte(error):
                raise AuditFailed("the audit target did not take the record") from error
            self.connect()
            try:
                self._hand_over(data)
            except OSError as again:
                self.close()
                raise AuditFailed("the audit target did not take the record") from again

    def _hand_over(self, data: bytes) -> None:
        sock = self._sock
        assert sock is not None
        if self._place.stream:
            sock.sendall(data)
            return
        sock.send(data)
        if problem := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):  # nobody listens: known at once, if near
            raise OSError(problem, "datagram refused")

    def close(self) -> None:
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.close()
            self._sock = None

    def renew(self) -> None:
        """Resolve and connect anew; the old connection stays if that fails. Raises AuditFailed."""
        old, self._sock, self._not_before = self._sock, None, 0.0
        known, self._addresses = self._addresses, []
        try:
            self.connect()
        except AuditFailed:
            self._sock, self._addresses = old, known
            raise
        if old is not None:
            with contextlib.suppress(OSError):
                old.close()

    def _connected(self, deadline: float) -> socket.socket:
        place = self._place
        if place.kind in ("unix", "unixgram"):
            kind = socket.SOCK_STREAM if place.kind == "unix" else socket.SOCK_DGRAM
            return self._opened(socket.AF_UNIX, kind, place.host, deadline)
        if not self._addresses:
            self._addresses = _resolved(place.host, place.port, deadline - self._clock())
        kind = socket.SOCK_DGRAM if place.kind == "udp" else socket.SOCK_STREAM
        problem: OSError | None = None
        for family, address in self._addresses:
            try:
                return self._opened(family, kind, address, deadline)
            except OSError as error:
                problem = error
        raise problem or OSError("no address")

    def _opened(self, family: int, kind: int, address: Any, deadline: float) -> socket.socket:
        sock = socket.socket(family, kind)
        try:
            sock.settimeout(max(deadline - self._clock(), 0.001))
            sock.connect(address)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_hostname=self._place.server_name)
            if kind == socket.SOCK_STREAM and family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(PATIENCE)
        except BaseException:
            sock.close()
            raise
        return sock

    def _hung_up(self, sock: socket.socket) -> bool:
        """Whether the other side has closed: what is written then is lost without an error. What it says is dropped."""
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN)
        events = poll.poll(0)
        if not events:
            return False
        if events[0][1] & (select.POLLHUP | select.POLLERR):
            return True
        sock.setblocking(False)
        try:
            return not sock.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False  # TLS had something to say to itself
        except OSError:
            return True
        finally:
            sock.settimeout(PATIENCE)


def _before_any_byte(error: OSError) -> bool:
    """Whether nothing of the line can have been taken: the connection was dead before. A line is never sent twice."""
    return isinstance(error, BrokenPipeError | ConnectionResetError | ConnectionRefusedError)


def _resolved(host: str, port: int, seconds: float) -> list[tuple[int, Any]]:
    """The addresses of ``host``. A resolver that takes its time does so in a thread of its own."""
    with contextlib.suppress(OSError):
        found = socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST)
        return [(family, address) for family, _, _, _, address in found[:1]]
    out: list[tuple[int, Any]] = []

    def ask() -> None:
        with contextlib.suppress(OSError):
            for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                out.append((family, address))

    thread = threading.Thread(target=ask, name="audit-resolver", daemon=True)
    thread.start()
    thread.join(max(seconds, 0.01))
    if not out:
        raise OSError("the name of the audit target cannot be resolved")
    return list(out)


def _context(place: Place) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=place.ca or None) if place.ca else ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
