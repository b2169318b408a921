"""The program ``kubevault``, which is also ``strongroom kubevault``: its table of commands and its exit codes.

Exit codes: 0 done, 1 it could not be done (and no command given), 2 used wrongly, 3 ``lint`` found something (or ``diff
--exit-code`` a difference), 130 interrupted.
"""

import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from strongroom.cli.command import Group

if TYPE_CHECKING:
    from strongroom.errors import VaultError

FAILED, USAGE, FINDINGS, INTERRUPTED = 1, 2, 3, 130

KUBEVAULT = Group(
    "kubevault",
    {
        "new": "kubevault_new:new",
        "generate": "kubevault_generate:generate",
        "krm": "kubevault_generate:krm",
        "can-read": "kubevault_access:can_read",
        "who-can-read": "kubevault_access:who_can_read",
        "explain": "kubevault_access:explain",
        "lint": "kubevault_lint:lint",
        "diff": "kubevault_diff:diff",
        "external-secret-store": "kubevault_store:external_secret_store",
        "push": "kubevault_bridge:push",
        "pull": "kubevault_bridge:pull",
        "completion": "kubevault_new:completion",
        "help": "kubevault_new:help_",
    },
    "A directory of secrets and ACLs into Kubernetes manifests.",
)


def main(args: Sequence[str] | None = None, name: str = "kubevault") -> int:
    """Run one command line of kubevault and return its exit code."""
    words = list(sys.argv[1:] if args is None else args)
    from strongroom.cli import terminal

    terminal.prepare()
    if args is None:
        gc.disable()  # a process of its own, soon over: there is no garbage worth looking for
    try:
        code = _run(words, name)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader went away. Python would complain again while closing standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return FAILED
    return code


def _run(words: list[str], name: str) -> int:
    import click

    from strongroom.cli import terminal
    from strongroom.cli.command import UnknownCommand
    from strongroom.cli.hints import small
    from strongroom.cli.session import Instead
    from strongroom.errors import VaultError

    if words and words[0] in ("--version", "-V", "-version"):
        from strongroom import __version__

        terminal.say(f"kubevault {__version__}")
        return 0
    if not words and "_KUBEVAULT_COMPLETE" not in os.environ:
        terminal.error("no command is given", f"{name} --help lists the commands")
        return FAILED
    try:
        result = KUBEVAULT.main(words, prog_name=name, standalone_mode=False)
    except Instead:
        return 0
    except UnknownCommand as error:
        near = f"did you mean {error.near}?" if error.near else f"{name} --help lists the commands"
        terminal.error(f"there is no command {error.name!r}", near)
        return USAGE
    except click.UsageError as error:
        terminal.error(
            small(error.format_message()), f"{error.ctx.command_path if error.ctx else name} --help tells more"
        )
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        terminal.note("")
        terminal.error("interrupted")
        return INTERRUPTED
    except VaultError as error:
        return _refused(error)
    return result if isinstance(result, int) else 0


def _refused(error: "VaultError") -> int:
    from strongroom.cli import terminal
    from strongroom.cli.argv import BadFlag
    from strongroom.cli.hints import Misused, hint_for, words_for
    from strongroom.kubevault.tree import Invalid

    if isinstance(error, Invalid):
        for problem in error.problems:
            terminal.error(str(problem))
        for hint in dict.fromkeys(problem.hint for problem in error.problems if problem.hint):
            terminal.note_coloured("hint:", "36", hint)
        count = len(error.problems)
        terminal.note(f"Nothing was done: {count} {'problem' if count == 1 else 'problems'}.")
        return FAILED
    terminal.error(words_for(error), hint_for(error))
    return USAGE if isinstance(error, BadFlag | Misused) else FAILED


if __name__ == "__main__":
    sys.exit(main())
