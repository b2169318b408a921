"""Claims of OIDC tokens from a template: JSON in which ``{{identity.entity.name}}`` stands where a value belongs.

Each parameter becomes one whole JSON value, encoded, so nothing that an entity is called or carries can end its place
or add a claim beside it.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from strongroom.errors import BadRequest
from strongroom.sdk.fields import parse_duration

# What a token says by itself; templates may not.
RESERVED = frozenset(
    {"iat", "aud", "exp", "iss", "sub", "namespace", "nonce", "auth_time", "at_hash", "c_hash", "nbf", "jti"}
)
MAX_TEMPLATE = 64 * 1024  # characters
_PARAMETER = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")
_ALIAS = re.compile(r"([^.]+)\.(id|name|metadata|custom_metadata)(?:\.(.+))?")


def template_of(text: str) -> str:
    """A template as it was sent: JSON, or JSON in base64.

    Raises:
        BadRequest: filled in it would be no JSON object, it names what there is not, or claims what is the token's own.
    """
    if len(text) > MAX_TEMPLATE:
        raise BadRequest("the template is too long")
    try:
        text = base64.b64decode(text, validate=True).decode() if text else ""
    except (binascii.Error, ValueError):
        pass  # it is the template itself
    claims(text, {}, 0.0)
    return str(text)


def claims(template: str, identity: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The template filled in.

    Args:
        template: "" for no claims.
        identity: as ``Views.template`` gives it; what is missing becomes "" or an empty object or list.
        now: seconds since the Unix epoch.

    Raises:
        BadRequest: see ``template_of``.
    """
    if not template:
        return {}

    def fill(found: re.Match[str]) -> str:
        return msgspec.json.encode(_value(found[1], identity, now)).decode()

    try:
        made = msgspec.json.decode(_PARAMETER.sub(fill, template), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise BadRequest("error parsing template JSON: filled in it must be one JSON object") from None
    if own := sorted(RESERVED & made.keys()):
        raise BadRequest(f"top level key {own[0]!r} not allowed. Restricted keys: {', '.join(sorted(RESERVED))}")
    return made


def _value(name: str, identity: Mapping[str, Any], now: float) -> Any:
    entity: Mapping[str, Any] = identity.get("entity", {})
    groups: Mapping[str, Any] = identity.get("groups", {})
    known: dict[str, Callable[[], Any]] = {
        "identity.entity.id": lambda: entity.get("id", ""),
        "identity.entity.name": lambda: entity.get("name", ""),
        "identity.entity.metadata": lambda: entity.get("metadata", {}),
        "identity.entity.groups.ids": lambda: list(groups.get("ids", {})),
        "identity.entity.groups.names": lambda: list(groups.get("names", {})),
        "time.now": lambda: int(now),
    }
    if name in known:
        return known[name]()
    if (rest := _after(name, "identity.entity.metadata.")) is not None:
        return entity.get("metadata", {}).get(rest, "")
    if (rest := _after(name, "identity.entity.aliases.")) is not None and (way := _ALIAS.fullmatch(rest)):
        return _of_alias(entity.get("aliases", {}).get(way[1], {}), way[2], way[3])
    for word, sign in (("plus", 1), ("minus", -1)):
        if (rest := _after(name, f"time.now.{word}.")) is not None:
            return int(now) + sign * parse_duration(rest, name="time in the template")
    raise BadRequest("the template names a parameter that there is not")


def _of_alias(alias: Mapping[str, Any], what: str, key: str | None) -> Any:
    if what in ("id", "name"):
        if key is not None:
            raise BadRequest("the template names a parameter that there is not")
        return alias.get(what, "")
    data: Mapping[str, str] = alias.get(what, {})
    return data if key is None else data.get(key, "")


def _after(name: str, start: str) -> str | None:
    return name[len(start) :] if name.startswith(start) and len(name) > len(start) else None
