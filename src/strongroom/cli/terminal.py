"""The rules of talking to people: data to standard output, everything else to standard error, no colours in a pipe.

Errors have the form ``error: ...`` then ``hint: ...``, in lower case and without a full stop. Secrets are asked for on
the terminal without echo.
"""

import os
import sys

from strongroom.cli.output import visible
from strongroom.client.settings import variable
from strongroom.errors import BadRequest


def prepare() -> None:
    """Make standard output and error take any text, whatever the locale says."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(encoding="utf-8", errors="replace")


def say(text: str) -> None:
    """Print lines of data. On a terminal control characters are written out."""
    sys.stdout.write((visible(text) if sys.stdout.isatty() else text) + "\n")


def say_raw(text: str) -> None:
    """Print exactly ``text``; only a terminal gets a newline behind it."""
    tty = sys.stdout.isatty()
    sys.stdout.write((visible(text) if tty else text) + ("\n" if tty else ""))


def note(text: str) -> None:
    """Print talk, to standard error."""
    print(visible(text), file=sys.stderr)


def warn(lines: list[str]) -> None:
    """Show the server's warnings."""
    if lines:
        note("WARNING! The following warnings were returned:\n")
        for line in lines:
            note(f"  * {line}")
        note("")


def error(text: str, hint: str = "") -> None:
    """Print an error and, below it, what may help."""
    note_coloured("error:", "31", text)
    if hint:
        note_coloured("hint:", "36", hint)


def warning(text: str) -> None:
    """Print a warning of this program's own, in one line."""
    note_coloured("warning:", "33", text)


def note_coloured(head: str, colour: str, text: str) -> None:
    plain = not sys.stderr.isatty() or os.environ.get("NO_COLOR") or variable(os.environ, "CLI_NO_COLOR")
    start = head if plain else f"\x1b[{colour}m{head}\x1b[0m"
    sys.stderr.write(f"{start} {visible(text)}\n")


def can_ask() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


def ask_secret(prompt: str, instead: str) -> str:
    """Ask for a secret without echo. Raises ``BadRequest`` when there is no terminal; ``instead`` says what to do."""
    if not can_ask():
        raise BadRequest(f"there is no terminal to ask on; {instead}")
    import getpass

    try:
        return getpass.getpass(f"{prompt} (will be hidden): ", stream=sys.stderr).strip()
    except EOFError:
        raise BadRequest("nothing was entered") from None
