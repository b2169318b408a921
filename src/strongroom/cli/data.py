"""The commands that work on any path: read, write, patch, delete, list, unwrap and path-help."""

from strongroom.cli import output, terminal
from strongroom.cli.command import argument, command, switch
from strongroom.cli.hints import Misused, NothingThere
from strongroom.cli.session import Session, sanitise
from strongroom.cli.words import parse_data, parse_texts
from strongroom.client import calls
from strongroom.client.messages import Refused

NOTHING = 2


@command("read", argument("path"), argument("data", "K=V", count=-1, required=False), field=True, raw=True)
def read(session: Session, path: str, data: tuple[str, ...]) -> int:
    """Read what is at PATH. K=V words become query parameters."""
    path = sanitise(path)
    answer = session.read(calls.read(path, parse_texts(data, session.stdin)))
    if answer is None or not answer.raw:
        raise NothingThere(f"no value found at {path}")
    return session.show_answer(answer)


@command(
    "write",
    switch("force", "Write although no data is given.", short="f"),
    argument("path"),
    argument("data", "K=V", count=-1, required=False),
    field=True,
)
def write(session: Session, path: str, data: tuple[str, ...], force: bool | None) -> int:
    """Write K=V, K=@FILE, K=-, @FILE or - (JSON on standard input) to PATH."""
    path = sanitise(path)
    _need_data(data, force)
    answer = session.call(calls.write(path, parse_data(data, session.stdin)))
    return session.show_written(answer, f"Success! Data written to: {path}")


@command(
    "patch",
    switch("force", "Patch although no data is given.", short="f"),
    argument("path"),
    argument("data", "K=V", count=-1, required=False),
    field=True,
)
def patch(session: Session, path: str, data: tuple[str, ...], force: bool | None) -> int:
    """Merge K=V, K=@FILE, K=-, @FILE or - into what is at PATH (a JSON merge patch)."""
    path = sanitise(path)
    _need_data(data, force)
    answer = session.call(calls.patch(path, parse_data(data, session.stdin)))
    return session.show_written(answer, f"Success! Data written to: {path}")


@command("delete", argument("path"), argument("data", "K=V", count=-1, required=False), field=True)
def delete(session: Session, path: str, data: tuple[str, ...]) -> int:
    """Delete what is at PATH. Nothing there is not an error."""
    path = sanitise(path)
    answer = session.call(calls.delete(path, parse_texts(data, session.stdin)))
    return session.show_written(answer, f"Success! Data deleted (if it existed) at: {path}")


@command("list", switch("detailed", "Show what the engine says about each key."), argument("path"))
def list_keys(session: Session, path: str, detailed: bool | None) -> int:
    """List the keys below PATH."""
    return show_list(session, sanitise(path) + "/", detailed=bool(detailed))


def show_list(session: Session, path: str, *, detailed: bool = False) -> int:
    """List ``path`` and show the names; nothing there is exit code 2."""
    try:
        answer = session.read(calls.list_keys(path))
    except Refused as refusal:
        if refusal.code != 404 or session.form == "table":
            raise
        answer = None
    keys = answer.data.get("keys") if answer else None
    if answer and (answer.body or {}).get("wrap_info"):
        return session.show_answer(answer)
    if session.form in ("json", "yaml") and not keys:
        terminal.say(output.render({}, session.form))
        return NOTHING
    if not answer or not isinstance(keys, list) or not keys:
        raise NothingThere(f"no value found at {path}")
    info = answer.data.get("key_info")
    if detailed and isinstance(info, dict) and info:
        if session.form in ("json", "yaml"):
            return session.show_data(answer.data)
        heads = sorted({name for entry in info.values() if isinstance(entry, dict) for name in entry})
        rows = [[key, *(output.go_value((info.get(key) or {}).get(name, "")) for name in heads)] for key in keys]
        terminal.say(output.table(["Keys", *heads], rows))
        return 0
    terminal.warn(answer.warnings)
    return session.show_keys(keys)


@command("unwrap", argument("which", "TOKEN", required=False), field=True)
def unwrap(session: Session, which: str | None) -> int:
    """Take out what a wrapping TOKEN (default: the current token) holds. It can be taken once."""
    token = session.stdin.take().strip() if which == "-" else which or ""
    answer = session.call(calls.unwrap(token))
    return session.show_answer(answer) if answer.body else 0


@command("path-help", argument("path"))
def path_help(session: Session, path: str) -> int:
    """Show what a path takes."""
    answer = session.call(calls.path_help(sanitise(path)))
    body = answer.body or {}
    if not body.get("help"):
        raise NothingThere(f"there is no help at {path}")
    return session.show_data(body, str(body["help"]).strip("\n"))


def _need_data(data: tuple[str, ...], force: bool | None) -> None:
    if not data and not force:
        raise Misused("no data is given", "give K=V words, or -force to write nothing on purpose")
