"""Audit lines to a syslog server (RFC 5424): unix datagrams, UDP (RFC 5426), TCP and TLS with octet counting (RFC 6587,
RFC 5425)."""

import os
import re
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from strongroom.audit.options import check_options
from strongroom.audit.socket import connected
from strongroom.audit.wire import Wire, place_of
from strongroom.errors import BadRequest
from strongroom.sdk.audit import AuditSink
from strongroom.sdk.engine import run_inline

_OWN = frozenset({"facility", "tag", "address", "ca_cert", "tls_server_name"})
_FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "security", "console", "solaris-cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
)  # fmt: skip
_INFO = 6  # severity
_NAME = re.compile(r"[!-~]{1,48}\Z")  # APP-NAME: printable ASCII
_SCHEMES = {"udp": "udp", "tcp": "tcp", "tls": "tls", "unix": "unixgram"}
_PORTS = {"udp": "514", "tcp": "514", "tls": "6514"}


def open_sink(
    options: Mapping[str, str], *, audit_dir: str = "", offload: Callable[[Any], Awaitable[Any]] = run_inline
) -> AuditSink:
    """A sink for a syslog server.

    Args:
        options: ``facility`` (a name; default auth), ``tag`` (APP-NAME; default strongroom), ``address``
            (unix:///dev/log, the default, udp://host:514, tcp://host:514, tls://host:6514), ``ca_cert`` (PEM of the
            authority; default the system's), ``tls_server_name``.

    Raises:
        BadRequest: an option that is not allowed, or nobody listens there.
    """
    check_options("syslog", options, _OWN)
    facility = (options.get("facility") or "auth").lower()
    if facility not in _FACILITIES:
        raise BadRequest("facility must be one of " + ", ".join(_FACILITIES))
    tag = options.get("tag") or "strongroom"
    if not _NAME.match(tag):
        raise BadRequest("tag must be 1 to 48 printable ASCII characters")
    scheme, colon, rest = (options.get("address") or "unix:///dev/log").partition("://")
    if not colon or scheme not in _SCHEMES:
        raise BadRequest("address must begin with unix://, udp://, tcp:// or tls://")
    if scheme in _PORTS and not re.search(r":\d+\Z", rest):
        rest = f"{rest}:{_PORTS[scheme]}"
    try:
        place = place_of(
            _SCHEMES[scheme],
            rest,
            ca=options.get("ca_cert", ""),
            server_name=options.get("tls_server_name", ""),
        )
        wire = Wire(place)
    except (OSError, ValueError) as error:
        raise BadRequest("ca_cert is not a certificate in PEM") from error
    framer = Framer(_FACILITIES.index(facility), tag, counted=place.stream)
    return connected(wire, stream=place.stream, frame=framer)


class Framer:
    """Makes a syslog message of a line.

    Args:
        facility: 0 to 23 (RFC 5424, section 6.2.1).
        counted: put the number of its octets before it.
        now: seconds since the Unix epoch.
    """

    def __init__(self, facility: int, tag: str, *, counted: bool, now: Callable[[], float] = time.time) -> None:
        host = re.sub(r"[^!-~]", "", socket.gethostname())[:255] or "-"
        self._head = f"<{facility * 8 + _INFO}>1 ".encode()
        self._tail = f" {host} {tag} {os.getpid()} audit - ".encode()
        self._counted, self._now = counted, now

    def __call__(self, line: bytes) -> bytes:
        """``line`` with its newline; the message has none (its end is known by its length)."""
        now = self._now()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1_000_000):06d}Z"
        message = b"%b%b%b%b" % (self._head, stamp.encode(), self._tail, line.rstrip(b"\n"))
        return b"%d %b" % (len(message), message) if self._counted else message
