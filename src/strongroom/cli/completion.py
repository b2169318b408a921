"""The commands ``completion`` and ``version``."""

import click

from strongroom.cli import terminal
from strongroom.cli.command import argument, command
from strongroom.cli.session import Session
from strongroom.cli.version import version_line

SHELLS = ("bash", "zsh", "fish")


@command("completion", argument("shell", "bash|zsh|fish"), form=False, http=False)
def completion(session: Session, shell: str) -> int:
    """Print what makes a shell complete this program's commands, as: eval "$(strongroom completion bash)"."""
    from strongroom.cli.root import ROOT

    terminal.say(script(shell, ROOT, "strongroom"))
    return 0


def script(shell: str, root: click.Command, program: str) -> str:
    """What ``shell`` evaluates to complete the commands of ``program``. Raises ``Misused``."""
    from click.shell_completion import get_completion_class

    from strongroom.cli.hints import Misused

    kind = get_completion_class(shell) if shell in SHELLS else None
    if kind is None:
        raise Misused(f"no completion for {shell!r}", f"use one of {', '.join(SHELLS)}")
    try:
        return kind(root, {}, program, f"_{program.upper()}_COMPLETE").source().rstrip("\n")
    except (RuntimeError, click.ClickException) as error:
        raise Misused(f"cannot make the completion for {shell}") from error


@command("version", form=False, http=False)
def version(session: Session) -> int:
    """Print the version."""
    terminal.say(version_line())
    return 0
