"""What the HTTP door is told: limits from the configuration, and settings that the vault may change while running."""

import ipaddress
from collections.abc import Mapping

import msgspec

from strongroom.errors import BadRequest
from strongroom.server.certificate_header import read_certificates

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

KEPT_HEADERS = frozenset({"user-agent", "x-forwarded-for", "x-vault-mfa", "x-vault-request", "x-vault-wrap-format"})


class DoorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Replaced as a whole when ``sys/config/cors`` and the like change; read once per request."""

    kept_headers: frozenset[str] = KEPT_HEADERS  # lower case: those handed on in Request.headers
    custom_headers: Mapping[str, Mapping[str, str]] = {}  # "default" | "2xx" | "404" -> name -> value
    cors_enabled: bool = False
    cors_origins: tuple[str, ...] = ()  # "*" allows any
    cors_headers: tuple[str, ...] = ()
    client_trust: frozenset[bytes] = frozenset()  # certificates (DER) that clients' may lead to; empty: ask for none


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Of one listener. Times are seconds, sizes are bytes."""

    max_request_size: int = 32 * 1024 * 1024
    max_request_duration: float = 90.0
    idle_timeout: float = 300.0
    header_timeout: float = 10.0
    body_timeout: float = 30.0  # without a byte; a body that trickles has ``max_body_duration``
    max_body_duration: float = 300.0
    write_timeout: float = 60.0  # while the peer reads nothing
    handshake_timeout: float = 10.0
    max_head: int = 64 * 1024  # request line and headers together
    max_target: int = 16 * 1024  # a 4 KiB path, each byte percent-encoded, and a query
    max_headers: int = 100
    max_connections: int = 4096  # per worker
    max_in_flight: int = 1024  # requests that wait for something, per worker
    max_buffered: int = 256 * 1024 * 1024  # bytes of unfinished bodies, per worker


class Proxies(msgspec.Struct, frozen=True, kw_only=True):
    """Whose word about the client's address is taken (Vault's ``x_forwarded_for_*`` of a listener)."""

    authorized: tuple[Network, ...] = ()
    hop_skips: int = 0
    reject_not_present: bool = True
    reject_not_authorized: bool = True
    certificate_header: str = ""  # lower case; where an authorised proxy tells of the client's certificate
    certificate_decoders: tuple[str, ...] = ()  # what makes DER of its value; empty: by its looks

    def certificates(self, peer: str, value: str | None) -> tuple[bytes, ...] | None:
        """The client's certificate (DER) and those sent with it, if ``peer`` is a proxy that may tell; else None.

        A proxy that may speak for clients speaks for all of them: its own certificate is never theirs.

        Raises:
            BadRequest: the value cannot be read, or there was more than one header.
        """
        if not self._trusts(peer):
            return None
        return read_certificates(value, self.certificate_decoders) if value else ()

    def client(self, peer: str, port: int, forwarded: str | None) -> tuple[str, int]:
        """The client's address and port.

        Raises:
            BadRequest: the header is missing, malformed or comes from somebody not authorised, and that is refused.
        """
        if not self.authorized:
            return peer, port
        if not self._trusts(peer):
            if self.reject_not_authorized:
                raise BadRequest("client address not authorized for x-forwarded-for")
            return peer, port
        if forwarded is None:
            if self.reject_not_present:
                raise BadRequest("missing x-forwarded-for header")
            return peer, port
        hops = [hop.strip() for hop in forwarded.split(",")]
        at = len(hops) - 1 - self.hop_skips
        if at < 0:
            raise BadRequest("malformed x-forwarded-for header: too few hops")
        try:
            return str(ipaddress.ip_address(hops[at].strip("[]"))), port
        except ValueError as error:
            raise BadRequest("malformed x-forwarded-for header: not an address") from error

    def _trusts(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return not peer  # a unix socket: whoever may open it stands where the proxy stands
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network or address in network for network in self.authorized)
