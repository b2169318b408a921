"""The command ``audit query``."""

import datetime
import itertools
import os
from collections.abc import Iterable, Sequence

import msgspec

from strongroom.cli import output, terminal
from strongroom.cli.audit_verify import lines_of
from strongroom.cli.command import argument, command, value
from strongroom.cli.session import Session
from strongroom.errors import BadRequest


@command(
    "query",
    value("who", "Display name, entity id, or token or accessor as sys/audit-hash shows it."),
    value("path", "Path of the request; a trailing * stands for the rest."),
    value("since", "From this time on: RFC 3339, a date, or a duration such as 24h."),
    value("until", "Before this time."),
    value("dsn", "Ask this PostgreSQL instead of files; the password comes from PGPASSWORD."),
    value("table", "Its table (default strongroom_audit)."),
    argument("files", "FILE", count=-1, required=False),
    http=False,
)
def query(
    session: Session,
    who: str | None,
    path: str | None,
    since: str | None,
    until: str | None,
    dsn: str | None,
    table: str | None,
    files: Sequence[str],
) -> int:
    """Who did what, when, and which policy allowed it, from audit logs: strongroom audit query -path=secret/data/app
    -since=24h audit.log. Prints as it reads; -format=json prints one object a line."""
    from strongroom.audit.query import Question, answers, moment, table_lines

    if bool(files) == bool(dsn):
        raise BadRequest("give the files of a log, or -dsn")
    now = datetime.datetime.now(datetime.UTC)
    asked = Question(
        who=who or "", path=(path or "").lstrip("/"), since=moment(since or "", now), until=moment(until or "", now)
    )
    lines: Iterable[bytes]
    if dsn:
        lines = table_lines(dsn, os.environ.get("PGPASSWORD", ""), table or "", asked.since)
    else:
        lines = itertools.chain.from_iterable(map(lines_of, files))
    if session.form == "table":
        terminal.say("Time\tWho\tOperation\tPath\tOutcome\tAllowed by\tAddress")
    for found in answers(lines, asked):
        if session.form == "table":
            row = (found.time, found.who, found.operation, found.path, found.outcome, ", ".join(found.allowed_by))
            terminal.say("\t".join(_cell(word) for word in (*row, found.address)))
        else:
            terminal.say(msgspec.json.encode(found).decode())
    return 0


def _cell(text: str) -> str:
    return output.visible(text).replace("\n", "\\n").replace("\t", "\\t") or "-"
