"""The headers and the body of one HTTP message, as a Request."""

import functools
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from strongroom.errors import (
    BadRequest,
    PermissionDenied,
    UnsupportedMedia,
    VaultError,
)
from strongroom.sdk.fields import parse_duration
from strongroom.sdk.request import Op, Request, Response
from strongroom.server.http_paths import read_target, takes_body
from strongroom.server.http_settings import DoorSettings, Proxies

MERGE_PATCH = "application/merge-patch+json"
_CORS_METHODS = "DELETE, GET, OPTIONS, POST, PUT, PATCH, LIST, SCAN"
_SLOTS = {
    "host": "host",
    "x-vault-token": "token",
    "authorization": "authorization",
    "x-vault-namespace": "namespace",
    "x-vault-wrap-ttl": "wrap_ttl",
    "content-type": "content_type",
    "content-length": "length",
    "transfer-encoding": "transfer",
    "expect": "expect",
    "x-forwarded-for": "forwarded",
    "origin": "origin",
    "access-control-request-method": "cors_method",
}
_JOINED = frozenset({"transfer", "forwarded", "expect"})
_SECRET = frozenset({"token", "authorization"})  # never handed on


class Preflight(VaultError):
    """A CORS preflight on its way through the audit log; ``response`` is what the browser gets."""

    status = 204

    def __init__(self, response: Response) -> None:
        super().__init__("preflight")
        self.response = response


class Head:
    """One message's request line and headers while they are read."""

    __slots__ = (
        "authorization",
        "content_type",
        "cors_method",
        "count",
        "expect",
        "fault",
        "forwarded",
        "hosts",
        "kept",
        "length",
        "method",
        "namespace",
        "origin",
        "target",
        "token",
        "transfer",
        "wrap_ttl",
    )

    def __init__(self, method: bytes) -> None:
        self.method = method
        self.target = b""
        self.count = self.hosts = 0
        self.token: bytes | None = None
        self.authorization: bytes | None = None
        self.namespace: bytes | None = None
        self.wrap_ttl: bytes | None = None
        self.content_type: bytes | None = None
        self.length: bytes | None = None
        self.transfer: bytes | None = None
        self.expect: bytes | None = None
        self.forwarded: bytes | None = None
        self.origin: bytes | None = None
        self.cors_method: bytes | None = None
        self.kept: dict[str, str] | None = None
        self.fault: VaultError | None = None

    def add(self, meaning: "Meaning", value: bytes) -> None:
        """Take one header line whose name means something here."""
        slot, kept = meaning
        if slot == "host":
            self.hosts += 1
        elif slot in _JOINED:
            before = getattr(self, slot)
            setattr(self, slot, value if before is None else before + b"," + value)
        elif slot:
            if getattr(self, slot) is not None:
                self.fault = BadRequest(f"a header ({slot}) is given twice")
            setattr(self, slot, value)
        if kept:
            if self.kept is None:
                self.kept = {}
            shown = value.decode("latin-1")
            self.kept[kept] = f"{self.kept[kept]}, {shown}" if kept in self.kept else shown


class Meaning(NamedTuple):
    """What a header name means: the slot of ``Head`` it fills, and its name if it is handed on."""

    slot: str
    kept: str


@functools.lru_cache(maxsize=16)
def meanings(kept: frozenset[str]) -> Mapping[bytes, Meaning]:
    """The header names that mean something, as clients usually spell them and in lower case."""
    table: dict[bytes, Meaning] = {}
    for name in {*_SLOTS, *kept}:
        slot = _SLOTS.get(name, "")
        meaning = Meaning(slot, name if name in kept and slot not in _SECRET else "")
        for spelt in (name, name.title(), name.replace("ttl", "TTL")):
            table[spelt.encode()] = meaning
    return table


_random = ""
_at = 0
_VARIANT = {f"{n:x}": "89ab"[n & 3] for n in range(16)}


def new_id() -> str:
    """A random UUID (RFC 9562 version 4) as text; randomness is fetched 4 KiB at a time."""
    global _random, _at
    if _at >= len(_random):
        _random, _at = os.urandom(4096).hex(), 0
    h = _random[_at : _at + 32]
    _at += 32
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:]}"


def build(
    head: Head, body: bytes, peer: tuple[str, int], proxies: Proxies, settings: DoorSettings, fault: VaultError | None
) -> Request:
    """The Request of a message whose framing is sound. What else is wrong with it goes into its ``fault``."""
    target = read_target(head.method, head.target)
    op = Op.UNKNOWN if isinstance(fault, BadRequest) else target.op  # what a broken message asks is not known
    if head.origin is not None and settings.cors_enabled:  # before target.fault: OPTIONS is one in itself
        fault = fault or _origin_fault(head, settings)
    fault = fault or head.fault or target.fault
    remote, port = peer
    token, wrap_ttl, namespace = "", 0, ""
    content_type = head.content_type.decode("latin-1") if head.content_type else ""
    if head.token:
        token = head.token.decode("latin-1")
    elif head.authorization is not None and head.authorization[:7].lower() == b"bearer ":
        token = head.authorization[7:].strip().decode("latin-1")
    try:
        if proxies.authorized:
            remote, port = proxies.client(remote, port, head.forwarded.decode("latin-1") if head.forwarded else None)
        if head.wrap_ttl:
            wrap_ttl = _wrap_ttl(head.wrap_ttl.decode("latin-1"))
        if head.namespace:
            namespace = _namespace(head.namespace)
        if target.op is Op.PATCH:
            _check_patch(content_type)
    except VaultError as error:
        fault = fault or error
    with_body = fault is None and takes_body(target.op, target.path)
    fields: dict[str, Any] = target.data
    return Request(
        id=new_id(),
        op=op,
        path=target.path,
        data=fields,
        token=token,
        remote=remote,
        wrap_ttl=wrap_ttl,
        body=body if with_body else b"",
        content_type=content_type,
        namespace_path=namespace,
        remote_port=port,
        headers=head.kept or {},
        fault=fault,
    )


def with_certificates(request: Request, sent: tuple[bytes, ...], proxies: Proxies, peer: str) -> Request:
    """``request`` with the client's certificate: of the TLS connection, or by the word of a proxy that may give it."""
    if proxies.certificate_header:
        try:
            told = proxies.certificates(peer, request.headers.get(proxies.certificate_header))
        except VaultError as error:
            return msgspec.structs.replace(request, fault=request.fault or error, body=b"")
        sent = sent if told is None else told
    if not sent:
        return request
    return msgspec.structs.replace(request, certificate=sent[0], chain=sent[1:])


def cors_headers(origin: bytes | None, settings: DoorSettings) -> dict[str, str]:
    """What an answer to ``origin`` carries. A foreign origin is never echoed."""
    if origin is None or not settings.cors_enabled:
        return {}
    if "*" in settings.cors_origins:
        return {"Access-Control-Allow-Origin": "*"}
    text = origin.decode("latin-1")
    if text in settings.cors_origins:
        return {"Access-Control-Allow-Origin": text, "Vary": "Origin"}
    return {"Vary": "Origin"}


def _origin_fault(head: Head, settings: DoorSettings) -> VaultError | None:
    assert head.origin is not None
    if "*" not in settings.cors_origins and head.origin.decode("latin-1") not in settings.cors_origins:
        return PermissionDenied("origin not allowed")
    if head.method == b"OPTIONS" and head.cors_method is not None:
        headers = {
            "Access-Control-Allow-Methods": _CORS_METHODS,
            "Access-Control-Allow-Headers": ", ".join(settings.cors_headers),
            "Access-Control-Max-Age": "300",
        }
        return Preflight(Response(headers=headers))
    return None


def _wrap_ttl(text: str) -> int:
    """Whole seconds. A wish for less than one is refused: cut to 0 it would mean an answer in the open."""
    seconds = parse_duration(text, name="X-Vault-Wrap-TTL")
    if not seconds and any(digit in text for digit in "123456789"):
        raise BadRequest("X-Vault-Wrap-TTL is shorter than a second")
    return seconds


def _namespace(value: bytes) -> str:
    """The header's text with one slash less at each end; "" for the root namespace. The core does the rest."""
    try:
        text = value.strip().decode().removeprefix("/").removesuffix("/")
    except UnicodeDecodeError:
        raise BadRequest("X-Vault-Namespace is not valid UTF-8") from None
    return "" if text == "root" else text


def _check_patch(content_type: str) -> None:
    media = content_type.partition(";")[0].strip().lower()
    if not media:
        raise BadRequest("mime: no media type")
    if media != MERGE_PATCH:
        raise UnsupportedMedia(f"PATCH requires Content-Type of {MERGE_PATCH}, provided {media[:80]}")
