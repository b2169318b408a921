"""The commands ``policy list``, ``read``, ``write``, ``delete`` and ``fmt``."""

from strongroom.cli.command import Group, argument, command
from strongroom.cli.policy_texts import WRITE_ARGUMENTS, Texts
from strongroom.cli.session import Session

POLICY = Group(
    "policy",
    {
        **{name: f"policy:{name}_" for name in ("list", "read", "write", "delete")},
        "fmt": "policy_fmt:fmt",
        **{name: f"policy_explain:{name}_" for name in ("explain", "lint", "test")},
        "who-can": "policy_explain:who_can",
        "reach": "policy_explain:reach",
        "cedar": "policy_cedar:CEDAR",
    },
    "List, read, write, delete, test and explain policies.",
)
_TEXTS = Texts("policy", "strongroom policy list", "acl")


@command("list")
def list_(session: Session) -> int:
    """List the policies."""
    return _TEXTS.show_names(session)


@command("read", argument("name"))
def read_(session: Session, name: str) -> int:
    """Print the policy NAME as it was written."""
    return _TEXTS.show_text(session, name)


@command("write", *WRITE_ARGUMENTS, form=False)
def write_(session: Session, name: str, file: str, tests: str | None) -> int:
    """Write the policy NAME from FILE, or from standard input (-)."""
    return _TEXTS.upload(session, name, file, tests)


@command("delete", argument("name"), form=False)
def delete_(session: Session, name: str) -> int:
    """Delete the policy NAME."""
    return _TEXTS.remove(session, name)
