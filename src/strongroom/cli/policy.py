"""The commands ``policy list``, ``read``, ``write``, ``delete`` and ``fmt``."""

from strongroom.cli import output, terminal
from strongroom.cli.command import Group, argument, command, value
from strongroom.cli.hints import Failed, NothingThere
from strongroom.cli.session import Session
from strongroom.cli.words import read_file
from strongroom.client import calls
from strongroom.errors import BadRequest

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


@command("list")
def list_(session: Session) -> int:
    """List the policies."""
    answer = session.read(calls.policies())
    keys = answer.data.get("keys") or answer.data.get("policies") if answer else None
    names = [str(name) for name in keys] if isinstance(keys, list) else []
    terminal.say(output.render(names, session.form) if session.form in ("json", "yaml") else "\n".join(names))
    return 0


@command("read", argument("name"))
def read_(session: Session, name: str) -> int:
    """Print the policy NAME as it was written."""
    name = name.strip().lower()
    answer = session.read(calls.policy_read(name))
    text = (answer.data.get("policy") or answer.data.get("rules") or "") if answer else None
    if text is None:
        raise NothingThere(f"there is no policy named {name}", "strongroom policy list shows them")
    if session.form in ("json", "yaml"):
        return session.show_data({"policy": text})
    terminal.say(str(text).strip())
    return 0


@command(
    "write",
    argument("name"),
    argument("file"),
    value("tests", "File of expectations that this and every later text of the policy must meet."),
    form=False,
)
def write_(session: Session, name: str, file: str, tests: str | None) -> int:
    """Write the policy NAME from FILE, or from standard input (-)."""
    try:
        text = session.stdin.take() if file == "-" else read_file(file)
        expected = None if tests is None else read_file(tests)
    except BadRequest as error:
        raise Failed(str(error)) from error
    if not text.strip():
        raise BadRequest("the policy is empty")
    if (given := name.strip()) != (name := given.lower()):
        terminal.note(f"Policies have names in small letters: {given} becomes {name}")
    terminal.warn(session.call(calls.policy_write(name, text, expected)).warnings)
    terminal.say(f"Success! Uploaded policy: {name}")
    return 0


@command("delete", argument("name"), form=False)
def delete_(session: Session, name: str) -> int:
    """Delete the policy NAME."""
    name = name.strip().lower()
    terminal.warn(session.call(calls.policy_delete(name)).warnings)
    terminal.say(f"Success! Deleted policy: {name}")
    return 0
