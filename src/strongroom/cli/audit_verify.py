"""The command ``audit verify``."""

import base64
import binascii
import os
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from strongroom.cli import terminal
from strongroom.cli.command import argument, command, value
from strongroom.cli.hints import Failed
from strongroom.cli.session import Session
from strongroom.client import calls
from strongroom.errors import BadRequest


@command(
    "verify",
    value("key", "Public key of the device in base64 (sys/audit-proof shows it); then no server is asked."),
    value("device", "Ask the server for key and last checkpoint of this device (default: file)."),
    argument("files", "FILE", count=-1),
)
def verify(session: Session, key: str | None, device: str | None, files: Sequence[str]) -> int:
    """Verify the log of one audit device; give rotated files oldest first. Exits 2 when something was changed, cut or
    reordered, and 1 when lines stand in it that no checkpoint vouches for."""
    from strongroom.audit.verify import Report, Verifier

    until = ""
    if key is None:
        data = (session.call(calls.audit_proof(device or "file")).body or {}).get("data") or {}
        key, until = str(data.get("public_key") or ""), str(data.get("checkpoint") or "")
    report: Report = Verifier(_key(key)).files([lines_of(name) for name in files], until=until)
    if session.form == "table":
        _say(report, files)
    else:
        session.show_data(_shown(report, files))
    return 2 if report.bad is not None else 1 if report.strange else 0


def _key(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("the public key is not base64") from None


def lines_of(name: str) -> Iterator[bytes]:
    """A log's lines, one at a time. Raises BadRequest if it cannot be read."""
    try:
        with open(os.path.expanduser(name), "rb") as file:
            yield from file
    except OSError as error:
        raise BadRequest(f"cannot read {name}: {(error.strerror or 'unknown reason').lower()}") from error


def _shown(report: Any, files: Sequence[str]) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(report)
    for name in ("bad", "last"):
        place = getattr(report, name)
        shown[name] = None if place is None else f"{files[place.file]}:{place.line}"
    shown["strange_at"] = [f"{files[place.file]}:{place.line}" for place in report.strange_at]
    return shown


def _say(report: Any, files: Sequence[str]) -> None:
    shown = _shown(report, files)
    if report.bad is not None:
        raise Failed(f"{shown['bad']}: {report.why}", "keep the files as they are: they are evidence")
    if report.last is None:
        terminal.say("There is nothing in these files.")
        return
    upto = f"the checkpoint of {report.last_time} in {shown['last']}"
    terminal.say(f"Proved: {report.proved} of {report.lines} lines, up to {upto}.")
    if not report.from_start:
        terminal.say("The files begin after a rotation; older ones are not proved by this.")
    if report.tail:
        terminal.say(f"{report.tail} lines are younger than the last checkpoint of their writer.")
    if report.strange:
        terminal.say(f"{report.strange} lines are vouched for by no checkpoint: {', '.join(shown['strange_at'])}")
