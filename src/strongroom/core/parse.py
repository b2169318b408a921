"""Bodies into fields, within bounds, before anything else costs time (threats A6)."""

import re
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from strongroom.errors import BadRequest
from strongroom.sdk.engine import Call
from strongroom.sdk.request import Op, Response

MAX_DEPTH = 64
MAX_TOKENS = 50_000  # values, keys and brackets of one document
_FORM = "application/x-www-form-urlencoded"
# A string, or what of one stands at the end: an unterminated one must not make the search start again at each quote.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_decode = msgspec.json.Decoder().decode
_WITH_BODY = frozenset({Op.CREATE, Op.UPDATE, Op.PATCH, Op.DELETE})


class Parse:
    """Fills ``call.request.data`` from ``body`` and drops the body. GET and LIST bodies are ignored.

    A DELETE arrives with a body only where the door lets one in.
    """

    def concerns(self, call: Call) -> bool:
        return bool(call.request.body)

    async def pre_route(self, call: Call) -> Response | None:
        request = call.request
        data = dict(request.data)
        if request.op in _WITH_BODY:
            try:
                data.update(parse_body(request.body, request.content_type))
            except BadRequest:
                call.request = msgspec.structs.replace(request, op=Op.UNKNOWN, body=b"")
                raise
        call.request = msgspec.structs.replace(request, data=data, body=b"")
        return None


def parse_body(body: bytes, content_type: str = "") -> dict[str, Any]:
    """A JSON object, or a form, as a dict.

    The content type only counts for a body that does not look like JSON: ``curl -d`` sends JSON as a form
    (wire facts B.3).

    Args:
        body: the raw bytes.
        content_type: the header's value, any case.

    Raises:
        BadRequest: not JSON (RFC 8259), not an object, a key twice, NaN, over ``MAX_DEPTH`` or ``MAX_TOKENS``.
            The text never quotes the body.
    """
    first = body.lstrip(b" \t\r\n")[:1]
    if content_type.lower().startswith(_FORM) and first not in (b"{", b"["):
        return _form(body)
    return parse_json(body)


def parse_json(body: bytes) -> dict[str, Any]:
    """A bounded JSON object; see ``parse_body``. ``null`` and blank bodies are an empty object."""
    if not body.strip():
        return {}
    colons = _measure(body)
    try:
        value = _decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"failed to decode JSON input: {_reason(error)}") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest("failed to decode JSON input: not an object")
    if len(value) != colons and _count_keys(value) != colons:
        raise BadRequest("failed to decode JSON input: a key stands twice in one object")
    return value


def _measure(body: bytes) -> int:
    """Check depth and size without decoding; give the number of colons outside strings (one for each key)."""
    bare = _STRING.sub(b"", body)
    opens = bare.count(b"{") + bare.count(b"[")
    colons = bare.count(b":")
    if opens + colons + bare.count(b",") > MAX_TOKENS:
        raise BadRequest("failed to decode JSON input: too many values")
    if opens > MAX_DEPTH:
        depth = 0
        for byte in bare:
            if byte in b"{[":
                depth += 1
                if depth > MAX_DEPTH:
                    raise BadRequest("failed to decode JSON input: nested too deeply")
            elif byte in b"}]":
                depth -= 1
    return colons


def _count_keys(value: dict[str, Any] | list[Any]) -> int:
    inside, count = (value.values(), len(value)) if isinstance(value, dict) else (value, 0)
    for item in inside:
        if isinstance(item, dict | list):
            count += _count_keys(item)
    return count


def _reason(error: Exception) -> str:
    """Why it failed, in words that cannot hold a part of the body."""
    if isinstance(error, msgspec.DecodeError) and (at := re.search(r"\(byte (\d+)\)", str(error))):
        return f"invalid character at byte {at[1]}"
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return "malformed or out of range"


def _form(body: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=MAX_TOKENS // 2)
    except ValueError as error:
        raise BadRequest("failed to parse form values") from error
    data: dict[str, Any] = {}
    for key, value in pairs:
        data.setdefault(key, value)
    return data
