"""The command ``kubevault lint``: every error and every warning of a vault."""

from typing import Any

from strongroom.cli import output, terminal
from strongroom.cli.command import command
from strongroom.cli.kubevault import FINDINGS
from strongroom.cli.kubevault_vault import make, naming_flags, source_of, vault_flags, wanted_of
from strongroom.cli.session import Session


@command("lint", *vault_flags(), *naming_flags(), http=False)
def lint(session: Session, vault_dir: str | None, rev: str | None, **flags: Any) -> int:
    """List everything that is wrong with a vault, or odd. Exit code 3 when there is something."""
    from strongroom.kubevault.tree import Invalid

    source = source_of(vault_dir, rev)
    try:
        found = [("warning", problem) for problem in make(source, wanted_of(flags)).warnings]
    except Invalid as error:
        found = [("error", problem) for problem in error.problems]
        found += [("warning", problem) for problem in error.notes]
    if session.form in ("json", "yaml"):
        rows = [
            {"level": level, "file": problem.where, "line": problem.line, "code": problem.code, "text": problem.text}
            for level, problem in found
        ]
        terminal.say(output.render({"findings": rows}, session.form))
    else:
        for level, problem in found:
            terminal.say(f"{level}: {problem}")
        if not found:
            terminal.note("Nothing to say against it.")
    return FINDINGS if found else 0
