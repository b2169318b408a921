"""The entry point of the command line: finds the command, runs it, and turns every failure into words and a code.

Exit codes are Vault's: 0 done, 1 the command was used wrongly or something is wrong on this side, 2 the server said no
or could not be reached, 127 there is no such command, 130 interrupted.
"""

import os
import sys
from collections.abc import Sequence

from strongroom.errors import VaultError

USAGE, REFUSED, UNKNOWN_COMMAND, INTERRUPTED = 1, 2, 127, 130


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    words = list(sys.argv[1:] if args is None else args)
    from strongroom.cli import terminal

    terminal.prepare()
    try:
        if words and words[0] in ("version", "-version", "--version", "-v"):
            code = _version(words)
        elif words and words[0] == "kubevault":
            from strongroom.cli.kubevault import main as kubevault

            return kubevault(words[1:], "strongroom kubevault")
        else:
            code = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader went away. Python would complain again while closing standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    return code


def _version(words: Sequence[str]) -> int:
    from strongroom.cli import terminal
    from strongroom.cli.version import version_line

    if len(words) > 1 and words[1] in ("-h", "-help", "--help"):
        terminal.say("Usage: strongroom version")
    else:
        terminal.say(version_line())
    return 0


def _run(words: list[str]) -> int:
    import click

    from strongroom.cli import terminal
    from strongroom.cli.command import UnknownCommand
    from strongroom.cli.hints import hint_for, small, words_for
    from strongroom.cli.root import ROOT
    from strongroom.cli.session import Instead

    try:
        result = ROOT.main(words, prog_name="strongroom", standalone_mode=False)
    except Instead:
        return 0
    except UnknownCommand as error:
        near = f"did you mean {error.near}?" if error.near else "strongroom -help lists the commands"
        terminal.error(f"there is no command {error.name!r}", near)
        return UNKNOWN_COMMAND
    except click.exceptions.NoArgsIsHelpError as error:
        terminal.note(error.format_message())
        return USAGE if error.ctx is not None and error.ctx.parent else UNKNOWN_COMMAND
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "strongroom"
        terminal.error(small(error.format_message()), f"{path} -help shows how it is used")
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        terminal.note("")
        terminal.error("interrupted")
        return INTERRUPTED
    except VaultError as error:
        terminal.error(words_for(error), hint_for(error))
        return exit_code(error)
    except RecursionError:
        terminal.error("the answer is nested too deeply")
        return REFUSED
    return result if isinstance(result, int) else 0


def exit_code(error: VaultError) -> int:
    """2 when the server said no or gave no answer, else 1."""
    from strongroom.cli.hints import Failed
    from strongroom.client.messages import Refused, Unreachable

    if isinstance(error, Failed):
        return error.code
    return REFUSED if isinstance(error, Refused | Unreachable) else USAGE


if __name__ == "__main__":
    sys.exit(main())
