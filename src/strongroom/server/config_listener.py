"""One ``listener`` block: address, TLS, limits, proxies, headers."""

import ipaddress
import os
import re
from typing import Any

import msgspec

from strongroom.server.config_read import Block, Place
from strongroom.server.http_settings import Limits, Proxies

DEFAULT_ADDRESS = "127.0.0.1:8200"


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """Files of a TLS listener."""

    cert_file: str
    key_file: str
    client_ca_file: str = ""
    min_version: str = "tls12"  # "tls12" | "tls13"
    max_version: str = ""
    require_client_cert: bool = False
    request_client_cert: bool = True

    def __repr__(self) -> str:
        return f"Tls(cert_file={self.cert_file!r})"


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """Where clients connect."""

    kind: str  # "tcp" | "unix"
    address: str  # "127.0.0.1:8200", "[::1]:8200" or a path
    tls: Tls | None = None
    limits: Limits = Limits()
    authorized: tuple[str, ...] = ()  # networks whose X-Forwarded-For is believed
    hop_skips: int = 0
    reject_not_present: bool = True
    reject_not_authorized: bool = True
    client_cert_header: str = ""  # lower case
    client_cert_header_decoders: tuple[str, ...] = ()
    headers: dict[str, dict[str, str]] = {}  # custom_response_headers
    socket_mode: int = 0o600
    socket_user: str = ""
    socket_group: str = ""

    def proxies(self) -> Proxies:
        return Proxies(
            authorized=tuple(ipaddress.ip_network(text, strict=False) for text in self.authorized),
            hop_skips=self.hop_skips,
            reject_not_present=self.reject_not_present,
            reject_not_authorized=self.reject_not_authorized,
            certificate_header=self.client_cert_header,
            certificate_decoders=self.client_cert_header_decoders,
        )

    def host_port(self) -> tuple[str, int]:
        """Of a TCP listener; an empty host means every interface."""
        host, _, port = self.address.rpartition(":")
        return host.strip("[]"), int(port)

    def url(self) -> str:
        """How a client on this machine reaches it."""
        if self.kind == "unix":
            return f"unix://{self.address}"
        host, port = self.host_port()
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        shown = f"[{host}]" if ":" in host else host
        return f"{'http' if self.tls is None else 'https'}://{shown}:{port}"


def read_listener(kind: str, place: Place) -> Listener:
    """The listener in ``place``. Raises BadRequest."""
    if kind not in ("tcp", "unix"):
        raise place.error("unknown kind; supported are tcp and unix")
    values: dict[str, Any] = {"kind": kind, "limits": _limits(place), "headers": _headers(place)}
    if kind == "unix":
        values |= _unix(place)
    else:
        values["address"] = _address(place)
        values["tls"] = _tls(place)
    values["authorized"] = tuple(place.names("x_forwarded_for_authorized_addrs"))
    for text in values["authorized"]:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise place.error("x_forwarded_for_authorized_addrs must hold addresses or networks") from None
    values["hop_skips"] = place.number("x_forwarded_for_hop_skips", 0)
    values["reject_not_present"] = place.flag("x_forwarded_for_reject_not_present", default=True)
    values["reject_not_authorized"] = place.flag("x_forwarded_for_reject_not_authorized", default=True)
    values |= _certificate_header(place, trusted=bool(values["authorized"]))
    place.ignore(_IGNORED)
    return Listener(**values)


def _certificate_header(place: Place, *, trusted: bool) -> dict[str, Any]:
    header = place.text("x_forwarded_for_client_cert_header").lower()
    decoders = tuple(
        one.strip().upper() for one in place.names("x_forwarded_for_client_cert_header_decoders") if one.strip()
    )
    if header and not re.fullmatch(r"[a-z0-9-]{1,64}", header):
        raise place.error("x_forwarded_for_client_cert_header must be the name of a header")
    if header.startswith("x-vault-") or header in ("authorization", "x-forwarded-for", "host", "content-length"):
        raise place.error("x_forwarded_for_client_cert_header names a header that has another meaning")
    if header and not trusted:
        raise place.error("x_forwarded_for_client_cert_header needs x_forwarded_for_authorized_addrs")
    if set(decoders) - {"URL", "BASE64", "DER"}:
        raise place.error("x_forwarded_for_client_cert_header_decoders are URL, BASE64 and DER")
    return {"client_cert_header": header, "client_cert_header_decoders": decoders}


_IGNORED = """
    cluster_address proxy_protocol_behavior proxy_protocol_authorized_addrs tls_cipher_suites
    tls_prefer_server_cipher_suites tls_disable_client_certs max_json_depth purpose
    disable_request_limiter disable_replication_status_endpoints redact_addresses redact_cluster_name
    redact_version chroot_namespace disable_unauthed_rekey_endpoints telemetry profiling inflight_requests_logging cors
"""


def _address(place: Place) -> str:
    address = place.text("address", DEFAULT_ADDRESS)
    host, colon, port = address.rpartition(":")
    if not colon:
        host, port = address, "8200"
    if not port.isdigit() or int(port) > 65535:
        raise place.error("address must be host:port")
    if host and not host.startswith("[") and ":" in host:
        raise place.error("an IPv6 address needs brackets: [::1]:8200")
    return f"{host}:{port}"


def _unix(place: Place) -> dict[str, Any]:
    path = place.text("address")
    if not path:
        raise place.error("needs an address: the path of the socket")
    if len(os.fsencode(os.path.abspath(path))) > 100:
        raise place.error("the path of a unix socket may have 100 bytes")
    mode = place.text("socket_mode", "0600")
    try:
        number = int(mode, 8)
    except ValueError:
        raise place.error("socket_mode must be octal digits") from None
    if number & ~0o777:
        raise place.error("socket_mode must be between 0 and 0777")
    return {
        "address": os.path.abspath(path),
        "socket_mode": number,
        "socket_user": place.text("socket_user"),
        "socket_group": place.text("socket_group"),
    }


def _tls(place: Place) -> Tls | None:
    disabled = place.flag("tls_disable")
    cert, key, ca = place.text("tls_cert_file"), place.text("tls_key_file"), place.text("tls_client_ca_file")
    least, most = place.text("tls_min_version", "tls12"), place.text("tls_max_version")
    required = place.flag("tls_require_and_verify_client_cert")
    asked = not place.flag("tls_disable_client_certs")
    if disabled:
        return None
    if not cert or not key:
        raise place.error("needs tls_cert_file and tls_key_file, or tls_disable = true")
    if least not in ("tls12", "tls13") or most not in ("", "tls12", "tls13"):
        raise place.error("tls_min_version and tls_max_version must be tls12 or tls13")
    if required and not ca:
        raise place.error("tls_require_and_verify_client_cert needs tls_client_ca_file")
    return Tls(
        cert_file=os.path.abspath(cert),
        key_file=os.path.abspath(key),
        client_ca_file=os.path.abspath(ca) if ca else "",
        min_version=least,
        max_version=most,
        require_client_cert=required,
        request_client_cert=asked,
    )


def _limits(place: Place) -> Limits:
    usual = Limits()
    return Limits(
        max_request_size=place.number("max_request_size", usual.max_request_size, least=1024),
        max_request_duration=place.seconds("max_request_duration", usual.max_request_duration) or float("1e9"),
        idle_timeout=place.seconds("http_idle_timeout", usual.idle_timeout) or float("1e9"),
        header_timeout=place.seconds("http_read_header_timeout", usual.header_timeout) or float("1e9"),
        body_timeout=place.seconds("http_read_timeout", usual.body_timeout) or float("1e9"),
        write_timeout=place.seconds("http_write_timeout", 0) or usual.write_timeout,
        max_connections=place.number("max_connections", usual.max_connections, least=1),
        max_in_flight=place.number("max_in_flight", usual.max_in_flight, least=1),
    )


def _headers(place: Place) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for block in place.blocks("custom_response_headers"):
        for inner in block.split(len(block.labels) + 1):
            found.setdefault(inner.labels[-1], {}).update(_header_values(inner, place))
    for status in found:
        if status != "default" and not (status[:1] in "12345" and (status[1:] == "xx" or status.isdigit())):
            raise place.error('custom_response_headers are by "default", "2xx" or "404"')
    return found


def _header_values(block: Block, place: Place) -> dict[str, str]:
    values = {}
    for name, value in block.place("custom_response_headers").scalars().items():
        text = "; ".join(str(part) for part in value) if isinstance(value, list) else str(value)
        if not name.isascii() or not text.isprintable() or name.lower().startswith("x-vault-"):
            raise place.error("a custom response header is not allowed")
        values[name] = text
    return values
