"""The commands ``kubevault new``, ``completion`` and ``help``."""

import click

from strongroom.cli import terminal
from strongroom.cli.command import argument, command
from strongroom.cli.hints import Misused
from strongroom.cli.kubevault_vault import folder_of
from strongroom.cli.session import Session


@command("new", argument("vault_dir", required=False), form=False, http=False)
def new(session: Session, vault_dir: str | None) -> int:
    """Make a vault folder: kvstore, access_control, a README and a .gitignore. What exists already stays as it is."""
    from strongroom.kubevault.scaffold import make_vault

    folder = folder_of(vault_dir)
    for path in make_vault(folder):
        terminal.note(f"made {path}")
    return 0


@command("completion", argument("shell", "bash|zsh|fish"), form=False, http=False)
def completion(session: Session, shell: str) -> int:
    """Print what makes a shell complete this program's commands, as: eval "$(kubevault completion bash)"."""
    from strongroom.cli.completion import script
    from strongroom.cli.kubevault import KUBEVAULT

    terminal.say(script(shell, KUBEVAULT, "kubevault"))
    return 0


@command("help", argument("words", "COMMAND", count=-1, required=False), form=False, http=False)
def help_(session: Session, words: tuple[str, ...]) -> int:
    """Show how a command is used."""
    from strongroom.cli.kubevault import KUBEVAULT

    parent = click.get_current_context().parent
    assert parent is not None
    if not words:
        terminal.say(parent.get_help())
        return 0
    found = KUBEVAULT.get_command(parent, words[0])
    if found is None:
        raise Misused(f"there is no command {words[0]!r}", "kubevault --help lists the commands")
    terminal.say(found.get_help(click.Context(found, info_name=words[0], parent=parent)))
    return 0
