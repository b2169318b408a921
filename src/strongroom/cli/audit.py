"""The commands ``audit enable``, ``disable`` and ``list``."""

from typing import Any

from strongroom.cli import output, terminal
from strongroom.cli.command import Group, argument, command, switch, value
from strongroom.cli.hints import Failed
from strongroom.cli.mount_flags import entries, without_empty
from strongroom.cli.session import Session, sanitise
from strongroom.cli.words import parse_texts
from strongroom.client import calls

AUDIT = Group(
    "audit",
    {
        **{name: f"audit:{name}_" for name in ("enable", "disable", "list")},
        "verify": "audit_verify:verify",
        "query": "audit_query:query",
    },
    "Enable, disable and list audit devices, verify their logs, and ask them who did what.",
)


@command(
    "enable",
    value("path", "Name of the device (default: its type)."),
    value("description", "Text shown in lists."),
    switch("local", "Leave it out of replication."),
    argument("type"),
    argument("options", "K=V", count=-1, required=False),
    form=False,
)
def enable_(session: Session, **flags: Any) -> int:
    """Enable an audit device of TYPE with K=V options, as: audit enable file file_path=audit.log"""
    kind = flags["type"].strip()
    path = sanitise(flags["path"] or kind)
    fields = {
        "type": kind,
        "description": flags["description"],
        "local": flags["local"],
        "options": parse_texts(flags["options"], session.stdin),
    }
    terminal.warn(session.call(calls.audit_enable(path, without_empty(fields))).warnings)
    terminal.say(f"Success! Enabled the {kind} audit device at: {path}/")
    return 0


@command("disable", argument("path"), form=False)
def disable_(session: Session, path: str) -> int:
    """Disable the audit device at PATH."""
    path = sanitise(path)
    terminal.warn(session.call(calls.audit_disable(path)).warnings)
    terminal.say(f"Success! Disabled audit device (if it was enabled) at: {path}/")
    return 0


@command("list", switch("detailed", "Show all that is known."))
def list_(session: Session, detailed: bool | None) -> int:
    """List the audit devices."""
    found = entries(session.call(calls.audit_devices()).body)
    if session.form != "table":
        return session.show_data(found)
    if not found:
        raise Failed("no audit devices are enabled", "strongroom audit enable file file_path=audit.log")
    rows = []
    for path in sorted(found):
        entry = found[path]
        row = [path, str(entry.get("type") or ""), str(entry.get("description") or "")]
        if detailed:
            options = entry.get("options") or {}
            words = " ".join(f"{key}={output.go_value(options[key])}" for key in sorted(options))
            row += ["local" if entry.get("local") else "replicated", words]
        rows.append(row)
    heads = ["Path", "Type", "Description", *(["Replication", "Options"] if detailed else [])]
    terminal.say(output.table(heads, rows))
    return 0
