"""From a method and a request target to an operation, a path and its query fields.

The path is made canonical once, from the raw target (``sdk.paths``); nothing behind the door looks at the target again.
"""

import re
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from strongroom.errors import BadRequest, NotFound, UnsupportedOperation, VaultError
from strongroom.sdk.fields import parse_bool
from strongroom.sdk.paths import canonical, sanitised
from strongroom.sdk.request import Op

MAX_QUERY_FIELDS = 100
PREFIX = b"/v1/"

_OPS = {
    b"GET": Op.READ,
    b"HEAD": Op.READ,
    b"POST": Op.UPDATE,
    b"PUT": Op.UPDATE,
    b"PATCH": Op.PATCH,
    b"DELETE": Op.DELETE,
    b"LIST": Op.LIST,
    b"SCAN": Op.SCAN,
    b"HELP": Op.HELP,
}
_QUERY_OPS = frozenset({b"GET", b"HEAD", b"LIST", b"SCAN", b"DELETE", b"HELP"})
_BODY_OPS = frozenset({Op.UPDATE, Op.PATCH})
_CANCELLED = ("sys/rekey/", "sys/rotate/root/", "sys/generate-root")


class Target(NamedTuple):
    """What is asked. With a ``fault`` the path is only good for showing it."""

    op: Op
    path: str
    data: dict[str, Any]
    fault: VaultError | None = None


_PLAIN_OPS = {method: _OPS[method] for method in (b"GET", b"POST", b"PUT")}
_PLAIN_PATH = re.compile(rb"/v1/([A-Za-z0-9_\-~.:@!$&'()*+,;=/]{1,1024})")


def read_target(method: bytes, target: bytes) -> Target:
    """The meaning of ``method target`` (RFC 9112 section 3). Never raises: what is wrong is in ``fault``."""
    plain_op = _PLAIN_OPS.get(method)
    if plain_op is not None and (match := _PLAIN_PATH.fullmatch(target)) is not None:
        path = match[1].decode("ascii")
        if "//" not in path and "/." not in path and path[0] not in "/." and path[-1] != "/":
            return Target(plain_op, path, {})  # what ``canonical`` would say, sooner
    path_part, _, query = target.partition(b"?")
    if not path_part.startswith(b"/"):
        path_part = path_part.rpartition(b"@")[2]  # of http://name:password@host/ no record shows the first half
    raw = path_part[4:] if path_part.startswith(PREFIX) else path_part
    op = _OPS.get(method, Op.UNKNOWN)
    try:
        if not path_part.startswith(PREFIX):
            return Target(op, sanitised(raw), {}, NotFound())
        path = canonical(raw)
        if op is Op.UNKNOWN:
            return Target(op, path, {}, _unserved(method))
        if method == b"HEAD" and path != "sys/health":
            return Target(Op.UNKNOWN, path, {}, UnsupportedOperation(""))
    except BadRequest as error:
        return Target(op, sanitised(raw), {}, error)
    data: dict[str, Any] = {}
    try:
        if query and method in _QUERY_OPS:
            data = _fields(query)
            op = _asked_by_query(op, data)
        plain = op is Op.READ and not path.endswith("/")
        return Target(op, path if plain else _with_slash(op, path), data)
    except BadRequest as error:
        return Target(op, path, data, error)


def takes_body(op: Op, path: str) -> bool:
    """Whether the fields of ``op`` come from the body; a body sent with anything else is ignored, as in Vault.

    A DELETE has one where it cancels an operation with key shares: Vault's clients send its nonce that way.
    """
    return op in _BODY_OPS or (op is Op.DELETE and path.startswith(_CANCELLED))


def _unserved(method: bytes) -> VaultError:
    if method == b"OPTIONS":
        return BadRequest("cannot handle internal-only request operation")  # Vault's answer while CORS is off
    return UnsupportedOperation("")


def _with_slash(op: Op, path: str) -> str:
    """A LIST path ends in one slash; nothing else may."""
    if op is Op.LIST or op is Op.SCAN:
        return path if path.endswith("/") else path + "/"
    if path.endswith("/") and op is not Op.HELP:
        word = "write to" if op in _BODY_OPS else op.value
        raise BadRequest(f"cannot {word} a path ending in '/'")
    return path


def _fields(query: bytes) -> dict[str, Any]:
    """The first value of each query field."""
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS
        )
    except ValueError as error:  # UnicodeDecodeError is one
        raise BadRequest("query string is malformed") from error
    fields: dict[str, Any] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields


def _asked_by_query(op: Op, data: dict[str, Any]) -> Op:
    """``list``, ``scan`` and ``help`` turn a GET into another operation; they are no fields of their own."""
    listed = parse_bool(data.pop("list", ""), name="list")
    scanned = parse_bool(data.pop("scan", ""), name="scan")
    helped = bool(data.pop("help", ""))
    if op is Op.DELETE:
        return op
    listed, scanned = listed or op is Op.LIST, scanned or op is Op.SCAN
    if listed and scanned:
        raise BadRequest("a request cannot be a list and a scan at once")
    if helped:
        return Op.HELP
    return Op.LIST if listed else Op.SCAN if scanned else op
