"""What both faces of the embedded vault share: requests made, answers understood. No waiting happens here."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from strongroom.core.names import request_id
from strongroom.core.parse import MAX_DEPTH, MAX_TOKENS
from strongroom.core.seal import InitResult, SealConfig, SealStatus
from strongroom.errors import BadRequest, NotFound, UnsupportedPath
from strongroom.sdk.paths import canonical_text
from strongroom.sdk.request import Op, Request, Response


def request(op: Op, path: str, data: Mapping[str, Any] | None, token: str) -> Request:
    """A Request as a door would make it.

    Raises:
        BadRequest: the path is one that no door would let in, ``data`` is no JSON object, or the token is no text.
    """
    if not isinstance(path, str):
        raise BadRequest("the path must be text")
    token_text(token)
    text = path.removeprefix("/")
    if op in (Op.LIST, Op.SCAN):
        text = canonical_text(text if text.endswith("/") else text + "/")
    elif text.endswith("/"):
        raise BadRequest("a path that ends in '/' can only be listed")
    else:
        text = canonical_text(text)
    return Request(id=request_id(), op=op, path=text, data=plain(data) if data else {}, token=token, remote="127.0.0.1")


def token_text(token: Any) -> str:
    """``token``. Raises BadRequest if it is no text, or text that is no Unicode."""
    if not isinstance(token, str):
        raise BadRequest("the token must be text")
    if not token.isascii():
        _unicode(token, "the token")
    return token


def plain(data: Any) -> dict[str, Any]:
    """A copy of ``data`` that is JSON and within the bounds that the other doors keep.

    Args:
        data: a mapping of text to None, booleans, numbers, text, lists, tuples and such mappings.

    Raises:
        BadRequest: something else is in it, a number is NaN or infinite, or it is too deep or too large. The text
            names types, never a value.
    """
    if not isinstance(data, Mapping):
        raise BadRequest(f"data must be a mapping, not {type(data).__name__}")
    made: dict[str, Any] = _copy(data, 1, [MAX_TOKENS])
    return made


def _copy(value: Any, depth: int, room: list[int]) -> Any:
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _unicode(value)
        return value
    if value is None or kind is bool or kind is int:
        return value
    if kind is float:
        if not math.isfinite(value):
            raise BadRequest("data holds a number that JSON does not have")
        return value
    if isinstance(value, Mapping | list | tuple):
        room[0] -= len(value) + 1
        if depth > MAX_DEPTH or room[0] < 0:
            raise BadRequest("data is nested too deeply" if depth > MAX_DEPTH else "data holds too many values")
        if not isinstance(value, Mapping):
            return [_copy(item, depth + 1, room) for item in value]
        return {_key(key): _copy(item, depth + 1, room) for key, item in value.items()}
    for base in (str, bool, int, float):
        if isinstance(value, base):  # a subclass (an enum, say) counts as what it stands for
            return _copy(base(value), depth, room)
    raise BadRequest(f"data holds a value of the type {kind.__name__}, which JSON does not have")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise BadRequest(f"data has a key of the type {type(key).__name__}; keys are text")
    if not key.isascii():
        _unicode(key)
    return str(key)


def _unicode(text: str, what: str = "data") -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"{what} holds text that is not Unicode") from None


def absent(error: NotFound, *, mounted: bool) -> Response | None:
    """What a read of nothing gives: None, or the facts about a deleted version.

    Args:
        mounted: whether an engine is mounted where the path leads.

    Raises:
        NotFound: there is no such mount, or the mount has no such path.
    """
    if error.data is not None:
        return Response(data=error.data, status=error.status, warnings=error.warnings)
    if isinstance(error, UnsupportedPath) or not mounted:
        raise error
    return None


def init_fields(config: SealConfig) -> dict[str, Any]:
    if not isinstance(config, SealConfig):
        raise BadRequest("init takes a SealConfig")
    return {"secret_shares": config.secret_shares, "secret_threshold": config.secret_threshold}


def init_result(response: Response) -> InitResult:
    data = response.data or {}
    return InitResult(
        keys=tuple(data["keys"]), keys_base64=tuple(data["keys_base64"]), root_token=str(data["root_token"])
    )


def seal_status(response: Response) -> SealStatus:
    data = dict(response.data or {})
    return msgspec.convert({name: data[name] for name in SealStatus.__struct_fields__}, SealStatus)


def mount_fields(kind: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The body that enables an engine; ``config`` and ``description`` among the options go where they belong."""
    if options is not None and not isinstance(options, Mapping):
        raise BadRequest("options must be a mapping")
    fields: dict[str, Any] = {"type": kind}
    rest = dict(options or {})
    for name in ("config", "description", "local", "seal_wrap"):
        if name in rest:
            fields[name] = rest.pop(name)
    if rest:
        fields["options"] = {str(k): _option(v) for k, v in rest.items()}
    return fields


def _option(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def mount_path(path: str, verb: str) -> str:
    """sys/mounts/x, or sys/auth/x for a path that begins with auth/."""
    if not isinstance(path, str):
        raise BadRequest("the path must be text")
    path = path.strip("/")
    if path.startswith("auth/"):
        return f"sys/auth/{path.removeprefix('auth/')}{verb}"
    return f"sys/mounts/{path}{verb}"
