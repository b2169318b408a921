"""Who did what, when, and which policy allowed it: questions to audit lines of either shape, one line at a time."""

import datetime
import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from strongroom.errors import BadRequest


class Found(msgspec.Struct):
    """One answered call."""

    time: str
    who: str  # display name, else the entity's id, else the token's accessor as the log has it
    operation: str
    path: str
    outcome: str  # "ok", or why not
    allowed_by: list[str]  # the policies that decided, "cedar:<id>" for Cedar's
    address: str
    request_id: str
    entity_id: str


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for; an empty field asks for nothing. Times are RFC 3339 in UTC, compared as text."""

    who: str = ""  # a display name, entity id, or accessor or token as the log has it
    path: str = ""  # exact, or a beginning that ends in "*"
    since: str = ""
    until: str = ""

    def wants(self, line: dict[str, Any]) -> bool:
        """Whether ``line``, a response record, is an answer."""
        when = str(line.get("time") or line.get("timestamp") or "")
        if (self.since and when < self.since) or (self.until and when >= self.until):
            return False
        asked = _part(line, "request")
        path = str(asked.get("path") or "")
        if self.path and not (path.startswith(self.path[:-1]) if self.path.endswith("*") else path == self.path):
            return False
        return not self.who or self.who in _names(line)


def _part(line: dict[str, Any], name: str) -> dict[str, Any]:
    part = line.get(name)
    return part if isinstance(part, dict) else {}


def _names(line: dict[str, Any]) -> tuple[str, ...]:
    auth, asked = _part(line, "auth"), _part(line, "request")
    both = (
        *(auth.get(n) for n in ("display_name", "entity_id", "accessor", "client_token")),
        asked.get("client_token"),
    )
    return tuple(str(name) for name in both if name)


def answers(lines: Iterable[bytes], question: Question) -> Iterator[Found]:
    """The calls in ``lines`` that ``question`` asks for, in the order of their response records.

    What is no line of ours is passed over: an answer must not depend on who else wrote into the file.
    """
    for raw in lines:
        if b'"response"' not in raw:
            continue
        try:
            line = json.loads(raw)
        except ValueError:
            continue
        if isinstance(line, dict) and line.get("type") == "response" and question.wants(line):
            yield _found(line)


def _found(line: dict[str, Any]) -> Found:
    auth, asked = _part(line, "auth"), _part(line, "request")
    return Found(
        time=str(line.get("time") or line.get("timestamp") or ""),
        who=next(iter(_names(line)), ""),
        operation=str(asked.get("operation") or ""),
        path=str(asked.get("path") or ""),
        outcome=_outcome(line),
        allowed_by=_allowed_by(line),
        address=str(asked.get("remote_address") or ""),
        request_id=str(asked.get("id") or ""),
        entity_id=str(auth.get("entity_id") or ""),
    )


def _outcome(line: dict[str, Any]) -> str:
    error = line.get("error")
    if error:
        return str(error)
    status = _part(line, "response").get("status")
    return "ok" if status is None or int(status) < 400 else str(status)


def _allowed_by(line: dict[str, Any]) -> list[str]:
    """The policies that decided: those that granted it, of Cedar the one that permitted or forbade."""
    results = _part(_part(line, "auth"), "policy_results")
    granting = results.get("granting_policies")
    out = [str(p.get("name")) for p in granting if isinstance(p, dict)] if isinstance(granting, list) else []
    cedar = _part(line, "cedar_policy") or _part(results, "cedar")
    if cedar.get("policy_id"):
        out.append(f"cedar:{cedar['policy_id']}")
    if not out and "policy_results" not in _part(line, "auth") and _outcome(line) == "ok":
        policies = _part(line, "auth").get("policies")  # the short shape says which the caller held
        out = [f"one of {', '.join(map(str, policies))}"] if policies else []
    return out


def moment(text: str, now: datetime.datetime) -> str:
    """``text`` as a time in a line: RFC 3339 with any offset, a date, or how long ago it was ("90m", "24h", "7d").

    Raises:
        BadRequest: it is none of these.
    """
    if not text:
        return ""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    try:
        if text[:-1].isascii() and text[:-1].isdigit() and text[-1] in units:
            when = now - datetime.timedelta(seconds=int(text[:-1]) * units[text[-1]])
        else:
            when = datetime.datetime.fromisoformat(text)
            if when.tzinfo is None:
                when = when.replace(tzinfo=datetime.UTC)
        return when.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    except (ValueError, OverflowError):
        raise BadRequest("a time must be RFC 3339, a date, or a duration such as 24h") from None


def table_lines(dsn: str, password: str, table: str, since: str) -> Iterator[bytes]:
    """The lines of a database device, in batches, oldest first.

    Args:
        since: a time of ``moment``; what arrived before it is not fetched (a line never arrives before its time).

    Raises:
        BadRequest: the options are wrong, or the database cannot be read.
    """
    from strongroom.audit.database import Options, fetched

    options = Options({"dsn": dsn, "password": password, "table": table})
    for rows in fetched(options, since):
        for row in rows:
            yield row.encode() + b"\n"
