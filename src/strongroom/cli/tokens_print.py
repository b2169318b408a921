"""The command ``print token``."""

from strongroom.cli import terminal
from strongroom.cli.command import Group, command
from strongroom.cli.session import Session

PRINT = Group("print", {"token": "tokens_print:token"}, "Print what this program knows.")


@command("token", form=False)
def token(session: Session) -> int:
    """Print the token that commands would use, the current one."""
    if found := session.settings.token:
        terminal.say(found)
    return 0
