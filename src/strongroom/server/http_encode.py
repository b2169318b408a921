"""From a Response or an error to the bytes of an HTTP answer, in Vault's shapes (wire facts B.1 and B.2)."""

from http import HTTPStatus

import msgspec

from strongroom.errors import AuditFailed, QuotaExceeded, VaultError
from strongroom.sdk.audit import WITHHELD
from strongroom.sdk.envelope import Envelope, plain, wire_auth
from strongroom.sdk.request import Response, WrapInfo

_REASONS = {status.value: status.phrase for status in HTTPStatus} | {472: "DR Secondary", 473: "Performance Standby"}
_NO_STORE = b"Cache-Control: no-store\r\n"
_FIXED = _NO_STORE + b"Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n"
_JSON = b"Content-Type: application/json\r\n" + _FIXED
INTERNAL = b'{"errors":["internal error"]}'


class WireWrap(msgspec.Struct):
    token: str
    accessor: str
    ttl: int
    creation_time: str
    creation_path: str
    wrapped_accessor: str | msgspec.UnsetType


_encode = msgspec.json.Encoder(enc_hook=plain).encode


class Answer:
    """One answer ready to be framed: status, body and header lines (each with its CRLF)."""

    __slots__ = ("body", "close", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: bytes = _JSON, *, close: bool = False) -> None:
        self.status, self.body, self.headers, self.close = status, body, headers, close

    def add(self, name: str, value: str) -> None:
        """Put one more header line; a value that would break the line is dropped."""
        line = f"{name}: {value}"
        if "\r" in line or "\n" in line or "\0" in line:
            return
        self.headers += line.encode("latin-1", "replace") + b"\r\n"

    def bytes(self, date: bytes, *, head_only: bool, keep: bytes) -> bytes:
        """The whole answer (RFC 9112). ``date`` and ``keep`` are header lines or empty."""
        if self.status == 204 or self.status == 304:
            return b"".join((status_line(self.status), self.headers, date, keep, b"\r\n"))
        length = b"Content-Length: %d\r\n" % len(self.body)
        body = b"" if head_only else self.body
        return b"".join((status_line(self.status), self.headers, date, length, keep, b"\r\n", body))


_status_lines: dict[int, bytes] = {
    status: f"HTTP/1.1 {status} {reason}\r\n".encode() for status, reason in _REASONS.items()
}


def status_line(status: int) -> bytes:
    """The status line; a code that nobody registered has no reason phrase."""
    return _status_lines.get(status) or f"HTTP/1.1 {status} \r\n".encode()


def answer(response: Response, request_id: str) -> Answer:
    """An answer of the pipeline. Raises TypeError if an engine answers with something JSON cannot hold."""
    if response.raw is not None:
        headers = b"Content-Type: " + response.content_type.encode("latin-1") + b"\r\n" + _FIXED
        out = Answer(response.status or 200, response.raw, headers, close=response.close)
    elif response.bare:
        data = response.data
        status = response.status or (200 if data is not None else 204)
        out = Answer(status, b"" if data is None else _encode(data), close=response.close)
    elif _empty(response):
        out = Answer(204, b"", close=response.close)
    else:
        out = Answer(response.status or 200, _body(response, request_id), close=response.close)
    for name, value in response.headers.items():
        if name == "Cache-Control":  # in the place of the usual one
            out.headers = out.headers.replace(_NO_STORE, b"")
        out.add(name, value)
    return out


def refusal(error: VaultError, request_id: str) -> Answer:
    """A deliberate error. One with data or warnings is sent in the envelope, as Vault does."""
    if error.data is not None or error.warnings:
        body = _encode(Envelope(request_id, "", False, 0, error.data, None, error.warnings or None, None))
    else:
        body = _encode({"errors": error.messages})
    out = Answer(error.status, body)
    for name, value in error.headers.items():
        out.add(name, value)
    if isinstance(error, QuotaExceeded):
        out.add("Retry-After", str(max(1, int(error.retry_after))))
    return out


def withheld() -> Answer:
    """In place of an answer whose audit record nobody took."""
    return refusal(AuditFailed(WITHHELD), "")


def _empty(response: Response) -> bool:
    return (
        response.data is None
        and response.auth is None
        and response.wrap_info is None
        and not response.warnings
        and not response.lease_id
        and response.status in (0, 204)
    )


def _body(response: Response, request_id: str) -> bytes:
    wrap = response.wrap_info
    if wrap is not None:  # nothing of the real answer shows, not even its id
        return _encode(Envelope("", "", False, 0, None, _wrap(wrap), response.warnings or None, None))
    envelope = Envelope(
        request_id,
        response.lease_id,
        response.renewable,
        response.lease_duration,
        response.data,
        None,
        response.warnings or None,
        None if response.auth is None else wire_auth(response.auth),
    )
    if response.flat and response.data is not None:
        beside = {key: value for key, value in response.data.items() if key not in Envelope.__struct_fields__}
        return _encode(msgspec.structs.asdict(envelope) | beside)
    return _encode(envelope)


def _wrap(wrap: WrapInfo) -> WireWrap:
    return WireWrap(
        token=wrap.token,
        accessor=wrap.accessor,
        ttl=wrap.ttl,
        creation_time=wrap.creation_time,
        creation_path=wrap.creation_path,
        wrapped_accessor=wrap.wrapped_accessor or msgspec.UNSET,
    )
