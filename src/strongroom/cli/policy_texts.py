"""What the commands of both languages of policies share: names, texts and files of expectations."""

from typing import NamedTuple

from strongroom.cli import output, terminal
from strongroom.cli.command import argument, value
from strongroom.cli.hints import Failed, NothingThere
from strongroom.cli.session import Session
from strongroom.cli.words import read_file
from strongroom.client import calls
from strongroom.errors import BadRequest

WRITE_ARGUMENTS = (
    argument("name"),
    argument("file"),
    value("tests", "File of expectations that this and every later text of the policy must meet."),
)


class Texts(NamedTuple):
    """One language's policies on a server."""

    called: str  # "policy", "Cedar policy"
    shown_by: str  # the command that lists them
    language: str  # as in sys/policies/<language>

    def show_names(self, session: Session) -> int:
        answer = session.read(calls.policies(self.language))
        keys = answer.data.get("keys") or answer.data.get("policies") if answer else None
        names = [str(name) for name in keys] if isinstance(keys, list) else []
        terminal.say(output.render(names, session.form) if session.form in ("json", "yaml") else "\n".join(names))
        return 0

    def show_text(self, session: Session, name: str) -> int:
        """Print a policy as it was written. Raises NothingThere."""
        name = name.strip().lower()
        answer = session.read(calls.policy_read(name, self.language))
        if answer is None:
            raise NothingThere(f"there is no {self.called} named {name}", f"{self.shown_by} shows them")
        text = str(answer.data.get("policy") or answer.data.get("rules") or "")
        if session.form in ("json", "yaml"):
            return session.show_data({"policy": text})
        terminal.say(text.strip())
        return 0

    def upload(self, session: Session, name: str, file: str, tests: str | None) -> int:
        """Write a policy from a file or, by ``-``, from standard input. Raises Failed, BadRequest."""
        try:
            text = session.stdin.take() if file == "-" else read_file(file)
            expected = None if tests is None else read_file(tests)
        except BadRequest as error:
            raise Failed(str(error)) from error
        if not text.strip():
            raise BadRequest("the policy is empty")
        if (given := name.strip()) != (name := given.lower()):
            terminal.note(f"Policies have names in small letters: {given} becomes {name}")
        terminal.warn(session.call(calls.policy_write(name, text, expected, self.language)).warnings)
        terminal.say(f"Success! Uploaded {self.called}: {name}")
        return 0

    def remove(self, session: Session, name: str) -> int:
        name = name.strip().lower()
        terminal.warn(session.call(calls.policy_delete(name, self.language)).warnings)
        terminal.say(f"Success! Deleted {self.called}: {name}")
        return 0
