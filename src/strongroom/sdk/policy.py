"""What an authorizer is: a pure function from who, what and where to a decision."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from strongroom.sdk.request import Caller, Op


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """May ``caller`` do ``op`` on ``path``? ``path`` is canonical and folded; a LIST path ends in ``/``."""

    caller: Caller
    op: Op
    path: str
    data: Mapping[str, Any] = {}
    wrap_ttl: int = 0  # seconds
    sudo: bool = False  # the route demands the sudo capability
    facts: Mapping[str, Any] = {}


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """``reason`` is for the audit record and for explain, never for the refused caller."""

    allowed: bool
    granting: tuple[str, ...] = ()  # names of the policies that granted it
    rule: str = ""  # the path pattern that decided
    reason: str = ""


class Authorizer(Protocol):
    """ACL policies, Cedar."""

    def decide(self, question: Question) -> Decision: ...
