"""The commands ``policy cedar list``, ``read``, ``write`` and ``delete``."""

from strongroom.cli import output, terminal
from strongroom.cli.command import Group, argument, command, value
from strongroom.cli.hints import Failed, NothingThere
from strongroom.cli.session import Session
from strongroom.cli.words import read_file
from strongroom.client import calls
from strongroom.errors import BadRequest

CEDAR = Group(
    "cedar",
    {
        **{name: f"policy_cedar:{name}_" for name in ("list", "read", "write", "delete")},
        **{name: f"policy_cedar_files:{name}" for name in ("validate", "test", "explain")},
    },
    "Cedar policies: keep them on the server; validate, test and explain them, also without one.",
)


@command("list")
def list_(session: Session) -> int:
    """List the Cedar policies."""
    answer = session.read(calls.cedar_policies())
    keys = answer.data.get("keys") if answer else None
    names = [str(name) for name in keys] if isinstance(keys, list) else []
    terminal.say(output.render(names, session.form) if session.form in ("json", "yaml") else "\n".join(names))
    return 0


@command("read", argument("name"))
def read_(session: Session, name: str) -> int:
    """Print the Cedar policy NAME as it was written."""
    name = name.strip().lower()
    answer = session.read(calls.cedar_policy_read(name))
    if answer is None:
        raise NothingThere(f"there is no Cedar policy named {name}", "strongroom policy cedar list shows them")
    text = str(answer.data.get("policy") or "")
    if session.form in ("json", "yaml"):
        return session.show_data({"policy": text})
    terminal.say(text.rstrip())
    return 0


@command(
    "write",
    argument("name"),
    argument("file"),
    value("tests", "File of expectations that this and every later text of the policy must meet."),
    form=False,
)
def write_(session: Session, name: str, file: str, tests: str | None) -> int:
    """Write the Cedar policy NAME from FILE, or from standard input (-)."""
    try:
        text = session.stdin.take() if file == "-" else read_file(file)
        expected = None if tests is None else read_file(tests)
    except BadRequest as error:
        raise Failed(str(error)) from error
    if not text.strip():
        raise BadRequest("the policy is empty")
    if (given := name.strip()) != (name := given.lower()):
        terminal.note(f"Policies have names in small letters: {given} becomes {name}")
    terminal.warn(session.call(calls.cedar_policy_write(name, text, expected)).warnings)
    terminal.say(f"Success! Uploaded Cedar policy: {name}")
    return 0


@command("delete", argument("name"), form=False)
def delete_(session: Session, name: str) -> int:
    """Delete the Cedar policy NAME."""
    name = name.strip().lower()
    terminal.warn(session.call(calls.cedar_policy_delete(name)).warnings)
    terminal.say(f"Success! Deleted Cedar policy: {name}")
    return 0
