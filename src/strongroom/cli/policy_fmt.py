"""The command ``policy fmt``."""

import os
import tempfile

from strongroom.cli import terminal
from strongroom.cli.command import argument, command
from strongroom.cli.session import Session
from strongroom.cli.words import read_file
from strongroom.errors import BadRequest


@command("fmt", argument("file"), form=False, http=False)
def fmt(session: Session, file: str) -> int:
    """Bring the policy in FILE into its canonical form, in place; - formats standard input to standard output."""
    from strongroom.policy.hcl_format import format as formatted

    if file == "-":
        terminal.say(formatted(session.stdin.take()).rstrip("\n"))
        return 0
    path = os.path.expanduser(file)
    replace(path, formatted(read_file(path)))
    terminal.say(f"Success! Formatted policy: {file}")
    return 0


def replace(path: str, text: str) -> None:
    """Put ``text`` in place of a file's content, all of it or nothing, with the mode the file had."""
    place = os.path.realpath(path)
    try:
        mode = os.stat(place).st_mode & 0o777
        handle, name = tempfile.mkstemp(prefix=".policy.", dir=os.path.dirname(place))
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                out.write(text)
            os.chmod(name, mode)
            os.replace(name, place)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise BadRequest(f"cannot write {path}: {(error.strerror or 'unknown reason').lower()}") from error
