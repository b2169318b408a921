"""One Cedar policy read: its statements with scope, effect and id, checked against the schema."""

import json
import re
from collections.abc import Mapping
from typing import Any

import cedarpy
import msgspec

from strongroom.errors import BadRequest
from strongroom.policy.cedar.schema import STABLE, schema
from strongroom.policy.cedar.statements import Piece, cut, error, reads_only

MAX_ID = 128  # characters of an @id

_NUMBERED = re.compile(r"policy\d+")

Uid = tuple[str, str]  # entity type and id


class Scope(msgspec.Struct, frozen=True):
    """What a statement says of its principal or resource before any condition."""

    relation: str = ""  # "" = anything | "==" | "in"
    uid: Uid | None = None
    kind: str = ""  # entity type, where "is" names one


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One ``permit`` or ``forbid``."""

    policy: str
    n: int
    line: int
    text: str
    id: str  # its @id, or "<policy>#<n>"
    forbids: bool
    principal: Scope
    actions: frozenset[str] | None  # None = any
    resource: Scope
    lasting: bool  # reads nothing that changes by itself

    @property
    def place(self) -> str:
        return f"{self.policy}#{self.n} (line {self.line})"

    @property
    def annotated(self) -> bool:
        return self.id != f"{self.policy}#{self.n}"


def read(name: str, text: str) -> tuple[Statement, ...]:
    """The statements of a policy that parses. Types are not checked.

    Raises:
        BadRequest: with ``<policy>#<n>`` and the first line of the statement that is wrong.
    """
    statements = tuple(_statement(name, piece) for piece in cut(name, text))
    if len(_parsed(text)) != len(statements):
        raise BadRequest(f"failed to parse policy: {name}: its statements cannot be told apart")
    seen: dict[str, Statement] = {}
    for statement in statements:
        if (first := seen.setdefault(statement.id, statement)) is not statement:
            raise error(name, statement.n, statement.line, f"its id is that of {first.place}")
    return statements


def check(name: str, text: str) -> tuple[Statement, ...]:
    """The statements of a policy that parses and fits the schema.

    Raises:
        BadRequest: as ``read``, or the types of a statement are wrong (all that are wrong are named).
    """
    statements = read(name, text)
    result = cedarpy.validate_policies("\n".join(statement.text for statement in statements), schema())
    wrong: dict[Statement, set[str]] = {}
    for found in result.errors:
        number = int(found.policy_id.removeprefix("policy")) if _NUMBERED.fullmatch(found.policy_id) else 0
        what = re.sub(r"^for policy `[^`]*`, ", "", found.error)
        wrong.setdefault(statements[number], set()).add(what)
    if wrong or not result.validation_passed:
        raise BadRequest("failed to validate policy: " + ("; ".join(map(_mistake, wrong.items())) or name))
    return statements


def _mistake(found: tuple[Statement, set[str]]) -> str:
    """One statement and the first of what is wrong with it: the same mistake is found once for each action."""
    statement, what = found
    first, *more = sorted(what)
    return f"{statement.place}: {first}" + (f" (and {len(more)} more)" if more else "")


def _parsed(text: str) -> cedarpy.PolicySet:
    return cedarpy.PolicySet.from_str(text)


def _statement(name: str, piece: Piece) -> Statement:
    try:
        found = _parsed(piece.text)
        if found.templates():
            raise error(name, piece.n, piece.line, "templates are not supported: a slot is never filled")
        if len(found) != 1:
            raise error(name, piece.n, piece.line, "more than one statement")
        head = json.loads(cedarpy.policies_to_json_str(piece.head))["staticPolicies"]["policy0"]
    except ValueError as failed:
        raise error(name, piece.n, piece.line, str(failed)) from None
    return Statement(
        policy=name,
        n=piece.n,
        line=piece.line,
        text=piece.text,
        id=_id(name, piece, head.get("annotations") or {}),
        forbids=head["effect"] == "forbid",
        principal=_scope(head["principal"]),
        actions=_actions(head["action"]),
        resource=_scope(head["resource"]),
        lasting=reads_only(piece.tokens, STABLE),
    )


def _id(name: str, piece: Piece, annotations: Mapping[str, Any]) -> str:
    given = annotations.get("id") or ""
    if len(given) > MAX_ID or not given.isprintable():
        raise error(name, piece.n, piece.line, f"an @id has at most {MAX_ID} printable characters")
    return given or f"{name}#{piece.n}"


def _scope(found: Mapping[str, Any]) -> Scope:
    relation = found["op"]
    if relation == "All":
        return Scope()
    if relation == "is":
        inside = found.get("in")
        return Scope("in" if inside else "", _uid(inside["entity"]) if inside else None, found["entity_type"])
    return Scope(relation, _uid(found["entity"]))


def _uid(entity: Mapping[str, str]) -> Uid:
    return entity["type"], entity["id"]


def _actions(found: Mapping[str, Any]) -> frozenset[str] | None:
    if found["op"] == "All":
        return None
    entities = found["entities"] if "entities" in found else [found["entity"]]
    return frozenset(entity["id"] for entity in entities if entity["type"] == "Action")
