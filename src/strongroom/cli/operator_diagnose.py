"""The command ``operator diagnose``: what is wrong with an installation, or soon will be, and what to do about it.

Each check is one function that returns findings; the checks are in ``diagnosis``. Exit codes are Vault's: 0 all well,
1 something fails, 2 something is to be warned of.
"""

import sys

from strongroom.cli import output, terminal
from strongroom.cli.command import command, value
from strongroom.cli.diagnosis import FAIL, OK, WARN, Finding, examine
from strongroom.cli.session import Session

_MARKS = {OK: ("[ ok ]", "32"), WARN: ("[warn]", "33"), FAIL: ("[fail]", "31")}


@command(
    "diagnose",
    value("config", "Configuration file or folder; may be repeated.", many=True),
    value("skip", "Check to leave out; may be repeated.", many=True),
)
def diagnose(session: Session, config: tuple[str, ...], skip: tuple[str, ...]) -> int:
    """Check configuration, storage, host and seal, and tell how to recover from what people lose."""
    findings = examine(session, list(config), frozenset(skip))
    if session.form in ("json", "yaml"):
        terminal.say(output.render([finding._asdict() for finding in findings], session.form))
    else:
        for finding in findings:
            _show(finding)
    states = {finding.state for finding in findings}
    return 1 if FAIL in states else 2 if WARN in states else 0


def _show(finding: Finding) -> None:
    mark, colour = _MARKS[finding.state]
    if sys.stdout.isatty():
        mark = f"\x1b[{colour}m{mark}\x1b[0m"
    sys.stdout.write(f"{mark} {output.visible(f'{finding.check}: {finding.says}')}\n")
    if finding.hint:
        sys.stdout.write(f"       hint: {output.visible(finding.hint)}\n")
