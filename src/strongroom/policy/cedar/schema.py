"""The schema that every policy is checked against: who may ask, what may be asked, what ``context`` holds."""

import functools

import cedarpy

ACTIONS = (
    "read", "write", "list", "delete", "generate", "renew", "revoke", "rotate", "sign", "encrypt", "decrypt", "manage",
)  # fmt: skip
WITH_TTL = frozenset({"generate", "renew"})  # whose context has ``ttl``; it has none elsewhere
STABLE = frozenset({"namespace", "mfa", "auth_method", "operation"})  # context that is the same for the same caller

_COMMON = "now: datetime, ip: ipaddr, namespace: String, mfa: Bool, auth_method: String, operation: String"


def _action(names: list[str], context: str) -> str:
    return (
        f"action {', '.join(names)} appliesTo "
        f"{{ principal: [User, Service], resource: [Secret], context: {{ {context} }} }};"
    )


SCHEMA = "\n".join(
    (
        "entity Group in [Group];",
        "entity User in [Group];",
        "entity Service in [Group];",
        "entity Secret in [Secret];",
        _action([name for name in ACTIONS if name not in WITH_TTL], _COMMON),
        _action(sorted(WITH_TTL), f"ttl: duration, {_COMMON}"),
        "",
    )
)


@functools.cache
def schema() -> cedarpy.Schema:
    """The parsed schema, made once."""
    return cedarpy.Schema.from_str(SCHEMA)
