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
    denied: bool = False  # a rule says no, which is more than that none says yes


class Principal(msgspec.Struct, frozen=True):
    """Who asks, in Cedar's terms. ``groups`` are the names of all its groups, inherited ones too."""

    kind: str  # "User" | "Service"
    name: str
    groups: tuple[str, ...] = ()


class Asked(msgspec.Struct, frozen=True):
    """What is asked, in Cedar's terms: an action on the secret at ``path`` ("secret/app/db", no slash at the end).

    ``of_lease``: it is asked of the lease that the request names; ``path`` is not yet known.
    """

    action: str
    path: str
    of_lease: bool = False


class Circumstances(msgspec.Struct, frozen=True, kw_only=True):
    """Cedar's ``context``: what the server itself knows of a request. Nothing in it comes from a header."""

    now: float  # seconds since the Unix epoch
    ip: str
    namespace: str
    operation: str
    auth_method: str
    mfa: bool = False
    ttl: int | None = None  # seconds; of generate and renew alone


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What Cedar policies say. One that fails forbids, whatever the others say."""

    effect: str = "none"  # "permit" | "forbid" | "none": no policy speaks about it
    policies: tuple[str, ...] = ()  # ids of those that decided
    errors: tuple[str, ...] = ()  # "id: what failed"
    lasting: bool = False  # it depends on nothing that changes by itself: time, address, TTL


class Authorizer(Protocol):
    """ACL policies, Cedar."""

    def decide(self, question: Question) -> Decision: ...
