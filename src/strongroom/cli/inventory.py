"""What a server is made of: ``plugin``, ``version-history``, ``operator members`` and ``step-down``."""

from typing import Any

from strongroom.cli import output, terminal
from strongroom.cli.command import Group, argument, command, switch
from strongroom.cli.hints import Misused, NothingThere
from strongroom.cli.session import Session, sanitise
from strongroom.client import calls

PLUGIN = Group(
    "plugin",
    {name: f"inventory:plugin_{name}" for name in ("list", "info")},
    "Show the engines and auth methods that the server has.",
)
KINDS = ("auth", "database", "secret")


def _text(entry: dict[str, Any], name: str) -> str:
    return output.go_value(entry[name]) if entry.get(name) is not None else ""


@command("list", switch("detailed", "Show all that is known."), argument("kind", "TYPE", required=False))
def plugin_list(session: Session, kind: str | None, detailed: bool | None) -> int:
    """List the plug-ins, of one TYPE (auth, database, secret) if it is given."""
    if kind is not None and kind not in KINDS:
        raise Misused(f"unknown type {kind!r}", f"use one of {', '.join(KINDS)}")
    data = session.call(calls.read("sys/plugins/catalog")).data
    if session.form != "table":
        shown = {key: item for key, item in data.items() if key != "detailed" and kind in (None, key)}
        return session.show_data({"types": shown, **data} if detailed else shown)
    found = [e for e in data.get("detailed") or [] if isinstance(e, dict) and kind in (None, e.get("type"))]
    heads = ["Name", *([] if kind else ["Type"]), "Version", *(["Deprecation Status"] if detailed else [])]
    names = [head.lower().replace(" ", "_") for head in heads]
    terminal.say(output.table(heads, [[_text(entry, name) for name in names] for entry in found]))
    return 0


@command("info", argument("kind", "TYPE"), argument("name"), field=True)
def plugin_info(session: Session, kind: str, name: str) -> int:
    """Show what is known about the plug-in NAME of a TYPE (auth, database, secret)."""
    path = f"sys/plugins/catalog/{sanitise(kind)}/{sanitise(name)}"
    answer = session.read(calls.read(path))
    if answer is None:
        raise NothingThere(f"there is no {kind} plug-in {name}", "strongroom plugin list shows them")
    return session.show_data(answer.data)


@command("version-history")
def version_history(session: Session) -> int:
    """Show which versions ran on the server's store."""
    answer = session.call(calls.list_keys("sys/version-history"))
    if session.form != "table":
        return session.show_answer(answer)
    info = answer.data.get("key_info") or {}
    rows = [
        (name, _text(info.get(name) or {}, "timestamp_installed"), _text(info.get(name) or {}, "build_date"))
        for name in answer.data.get("keys") or []
    ]
    terminal.say(output.table(("Version", "Installation Time", "Build Date"), rows))
    return 0


_MEMBER = (
    ("Host Name", "hostname"),
    ("API Address", "api_address"),
    ("Cluster Address", "cluster_address"),
    ("Active Node", "active_node"),
    ("Version", "version"),
    ("Upgrade Version", "upgrade_version"),
    ("Redundancy Zone", "redundancy_zone"),
    ("Last Echo", "last_echo"),
)


@command("members")
def members(session: Session) -> int:
    """Show the nodes of the server's cluster."""
    data = session.call(calls.read("sys/ha-status")).data
    if session.form != "table":
        return session.show_data(data)
    rows = [[_text(node, name) for _, name in _MEMBER] for node in data.get("nodes") or [] if isinstance(node, dict)]
    terminal.say(output.table([head for head, _ in _MEMBER], rows))
    return 0


@command("step-down", form=False)
def step_down(session: Session) -> int:
    """Have the node give up leadership."""
    session.call(calls.write("sys/step-down", {}))
    terminal.say(f"Success! Stepped down: {session.settings.address}")
    return 0
