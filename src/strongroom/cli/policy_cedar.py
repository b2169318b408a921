"""The commands ``policy cedar list``, ``read``, ``write`` and ``delete``."""

from strongroom.cli.command import Group, argument, command
from strongroom.cli.policy_texts import WRITE_ARGUMENTS, Texts
from strongroom.cli.session import Session

CEDAR = Group(
    "cedar",
    {
        **{name: f"policy_cedar:{name}_" for name in ("list", "read", "write", "delete")},
        **{name: f"policy_cedar_files:{name}" for name in ("validate", "test", "explain")},
    },
    "Cedar policies: keep them on the server; validate, test and explain them, also without one.",
)
_TEXTS = Texts("Cedar policy", "strongroom policy cedar list", "cedar")


@command("list")
def list_(session: Session) -> int:
    """List the Cedar policies."""
    return _TEXTS.show_names(session)


@command("read", argument("name"))
def read_(session: Session, name: str) -> int:
    """Print the Cedar policy NAME as it was written."""
    return _TEXTS.show_text(session, name)


@command("write", *WRITE_ARGUMENTS, form=False)
def write_(session: Session, name: str, file: str, tests: str | None) -> int:
    """Write the Cedar policy NAME from FILE, or from standard input (-)."""
    return _TEXTS.upload(session, name, file, tests)


@command("delete", argument("name"), form=False)
def delete_(session: Session, name: str) -> int:
    """Delete the Cedar policy NAME."""
    return _TEXTS.remove(session, name)
