"""What a policy is once it is read: rules with a pattern, capabilities and limits."""

from collections.abc import Mapping
from typing import Any

import msgspec

CAPABILITIES: Mapping[str, int] = {
    "create": 1,
    "read": 2,
    "update": 4,
    "patch": 8,
    "delete": 16,
    "list": 32,
    "scan": 64,
    "sudo": 128,
    "deny": 256,
}
DENY, SUDO = CAPABILITIES["deny"], CAPABILITIES["sudo"]

Parameters = Mapping[str, tuple[Any, ...]]  # lower-cased name -> values; none = any value


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What one policy says about one pattern."""

    pattern: str  # without leading slash, NFC; "a/b" exact, "a/*" prefix, "a/+/b" one free segment
    capabilities: int = 0  # sum of CAPABILITIES; DENY stands alone
    allowed: Parameters | None = None
    denied: Parameters | None = None
    required: tuple[str, ...] = ()  # lower-cased names
    min_wrapping_ttl: int = 0  # seconds, 0 = no limit
    max_wrapping_ttl: int = 0  # seconds, 0 = no limit
    line: int = 0


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A named list of rules. One that is ``templated`` or ``broken`` makes an ``Acl`` deny everything."""

    name: str
    rules: tuple[Rule, ...] = ()
    templated: bool = False  # must go through ``templating.render`` before an Acl takes it
    broken: str = ""  # why it cannot be used for this identity
    warnings: tuple[str, ...] = ()  # for the one who writes the policy


def pattern_kind(pattern: str) -> str:
    """``"exact"``, ``"prefix"`` (ends in ``*``, no ``+`` segment) or ``"segments"`` (a segment is ``+``)."""
    if "+" in pattern and "+" in pattern.split("/"):
        return "segments"
    return "prefix" if pattern.endswith("*") else "exact"
