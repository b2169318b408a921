"""What both faces of the embedded vault share: requests made, answers understood. No waiting happens here."""

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from strongroom.core.seal import InitResult, SealConfig, SealStatus
from strongroom.errors import NotFound
from strongroom.sdk.paths import canonical_text
from strongroom.sdk.request import Op, Request, Response


def request(op: Op, path: str, data: Mapping[str, Any] | None, token: str) -> Request:
    """A Request as a door would make it. Raises BadRequest for a path that no door would let in."""
    text = path.lstrip("/")
    listing = op in (Op.LIST, Op.SCAN)
    if listing:
        text = canonical_text(text.rstrip("/")) + "/"
    else:
        text = canonical_text(text)
    return Request(id=_id(), op=op, path=text, data=dict(data) if data else {}, token=token, remote="127.0.0.1")


def _id() -> str:
    raw = os.urandom(16).hex()
    return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"


def absent(error: NotFound) -> Response | None:
    """What a read of nothing gives: None; the facts about a deleted version; else the error."""
    if error.data is not None:
        return Response(data=error.data, status=error.status, warnings=error.warnings)
    if error.messages or error.warnings:
        raise error
    return None


def init_fields(config: SealConfig) -> dict[str, Any]:
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
    fields: dict[str, Any] = {"type": kind}
    rest = dict(options or {})
    for name in ("config", "description", "local", "seal_wrap"):
        if name in rest:
            fields[name] = rest.pop(name)
    if rest:
        fields["options"] = {str(k): str(v) for k, v in rest.items()}
    return fields


def mount_path(path: str, verb: str) -> str:
    """sys/mounts/x, or sys/auth/x for a path that begins with auth/."""
    path = path.strip("/")
    if path.startswith("auth/"):
        return f"sys/auth/{path.removeprefix('auth/')}{verb}"
    return f"sys/mounts/{path}{verb}"
