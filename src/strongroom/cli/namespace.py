"""The commands ``namespace list``, ``create``, ``delete``, ``lookup`` and ``patch``."""

from strongroom.cli import terminal
from strongroom.cli.command import Group, argument, command, value
from strongroom.cli.data import show_list
from strongroom.cli.hints import NothingThere
from strongroom.cli.session import Session, sanitise
from strongroom.cli.words import parse_pairs
from strongroom.client import calls

NAMESPACE = Group(
    "namespace",
    {name: f"namespace:{name}_" for name in ("list", "create", "delete", "lookup", "patch")},
    "List, create, delete, look up and patch namespaces.",
)


@command("list")
def list_(session: Session) -> int:
    """List the namespaces below the current one."""
    return show_list(session, calls.namespaces().path)


@command(
    "create",
    value("custom-metadata", "key=value kept with it; may be repeated.", many=True),
    argument("path"),
    field=True,
)
def create_(session: Session, path: str, custom_metadata: tuple[str, ...]) -> int:
    """Create the namespace PATH."""
    body = {"custom_metadata": parse_pairs(custom_metadata, "custom-metadata")}
    answer = session.call(calls.namespace("PUT", sanitise(path), body))
    return session.show_written(answer, f"Success! Created namespace: {sanitise(path)}/")


@command("delete", argument("path"))
def delete_(session: Session, path: str) -> int:
    """Delete the namespace PATH with everything in it."""
    answer = session.call(calls.namespace("DELETE", sanitise(path)))
    terminal.warn(answer.warnings)
    terminal.say(f"Success! Namespace deleted at: {sanitise(path)}/")
    return 0


@command("lookup", argument("path"), field=True)
def lookup_(session: Session, path: str) -> int:
    """Show what is known about the namespace PATH."""
    answer = session.read(calls.namespace("GET", sanitise(path)))
    if answer is None:
        raise NothingThere(f"there is no namespace {sanitise(path)}/")
    return session.show_answer(answer)


@command(
    "patch",
    value("custom-metadata", "key=value to set; may be repeated.", many=True),
    value("remove-custom-metadata", "Key to remove; may be repeated.", many=True),
    argument("path"),
    field=True,
)
def patch_(
    session: Session, path: str, custom_metadata: tuple[str, ...], remove_custom_metadata: tuple[str, ...]
) -> int:
    """Change some of the metadata of the namespace PATH."""
    metadata: dict[str, object] = dict.fromkeys(remove_custom_metadata)
    metadata.update(parse_pairs(custom_metadata, "custom-metadata"))
    answer = session.call(calls.namespace("PATCH", sanitise(path), {"custom_metadata": metadata}))
    return session.show_written(answer, f"Success! Updated namespace: {sanitise(path)}/")
