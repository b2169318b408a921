"""The commands ``operator rotate`` and ``key-status``."""

from typing import Any

from strongroom.cli import output, terminal
from strongroom.cli.command import command
from strongroom.cli.session import Session
from strongroom.client import calls
from strongroom.client.messages import Answer

_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"


@command("rotate")
def rotate(session: Session) -> int:
    """Take a new encryption key into use; the old ones stay for reading."""
    session.call(calls.rotate())
    status = _status(session.call(calls.key_status()))
    return session.show_data(status, f"Success! Rotated key\n\n{_text(status)}")


@command("key-status", field=True)
def key_status(session: Session) -> int:
    """Show the current encryption key's term, age and use."""
    status = _status(session.call(calls.key_status()))
    return session.show_data(status, _text(status))


def _status(answer: Answer) -> dict[str, Any]:
    found = answer.data or answer.body or {}
    return {name: found.get(name) for name in ("term", "install_time", "encryptions")}


def _text(status: dict[str, Any]) -> str:
    return output.columns(
        [
            ("Key Term", str(status["term"])),
            ("Install Time", _minutes(str(status["install_time"]))),
            ("Encryption Count", str(status["encryptions"])),
        ]
    )


def _minutes(text: str) -> str:
    """An RFC 3339 time as people read it: ``22 Nov 26 00:17 UTC``."""
    from datetime import UTC, datetime

    try:
        when = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return text
    return f"{when.day:02} {_MONTHS[3 * when.month - 3 : 3 * when.month]} {when:%y %H:%M} UTC"


def show_progress(
    session: Session, found: dict[str, Any], rows: list[tuple[str, str]], heads: tuple[str, ...] = ()
) -> int:
    """Show how far an operation with key shares is, under ``heads`` if there are any."""
    return session.show_data(found, output.table(heads, rows) if heads else output.columns(rows))


def need_started(found: dict[str, Any], what: str, how: str) -> None:
    """Raise when no such operation is under way."""
    from strongroom.cli.hints import Failed

    if not found.get("started"):
        raise Failed(f"no {what} is in progress", f"start one with {how}", code=1)


def share_and_nonce(
    session: Session, key: str | None, nonce: str | None, status: dict[str, Any], what: str
) -> tuple[str, str]:
    """The share to give and the nonce it is meant for.

    A share on the command line or on standard input needs ``-nonce``, so that it cannot go into an operation that
    somebody else began meanwhile; asked for on the terminal, the nonce is shown first.
    """
    from strongroom.cli.hints import Misused

    current = str(status.get("nonce") or "")
    if key:
        if not nonce:
            raise Misused("the nonce is missing", f"give the nonce of the {what} with -nonce")
        share = session.stdin.take().strip() if key == "-" else key.strip()
    else:
        terminal.note(f"Nonce of the {what}: {current}")
        share = session.ask_secret("Unseal Key", "give the share and -nonce, or - to read it from standard input")
    if not share:
        raise Misused("no key share was given")
    return share, nonce or current
