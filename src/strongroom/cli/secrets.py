"""The commands ``secrets enable``, ``disable``, ``list``, ``move`` and ``tune``."""

from typing import Any

from strongroom.cli import output, terminal
from strongroom.cli.command import Group, argument, command, switch, value
from strongroom.cli.mount_flags import (
    DETAILED,
    detailed_row,
    entries,
    mount_flags,
    options,
    settings,
    wait_for_move,
    without_empty,
)
from strongroom.cli.session import Session, sanitise
from strongroom.client import calls

SECRETS = Group(
    "secrets",
    {name: f"secrets:{name}_" for name in ("enable", "disable", "list", "move", "tune")},
    "Enable, disable, list, move and tune secrets engines.",
)


@command(
    "enable",
    value("path", "Where to mount it (default: its type)."),
    value("version", "Version of the key-value store, 1 or 2.", kind=int),
    value("plugin-name", "Name of the plug-in (default: its type)."),
    switch("local", "Leave it out of replication."),
    switch("seal-wrap", "Wrap its values with the seal as well."),
    switch("external-entropy-access", "Let it use the outside source of randomness."),
    switch("force-no-cache", "Keep nothing of it in caches."),
    *mount_flags(),
    argument("type"),
    form=False,
)
def enable_(session: Session, **flags: Any) -> int:
    """Mount a secrets engine of TYPE."""
    kind = flags["type"].strip()
    path = sanitise(flags["path"] or kind)
    config = settings(flags)
    if flags["force_no_cache"]:
        config["force_no_cache"] = True
    fields = {
        "type": flags["plugin_name"] or kind,
        "description": flags["description"],
        "local": flags["local"],
        "seal_wrap": flags["seal_wrap"],
        "external_entropy_access": flags["external_entropy_access"],
        "options": options(flags),
        "config": config,
    }
    answer = session.call(calls.mount(path, without_empty(fields)))
    terminal.warn(answer.warnings)
    terminal.say(f"Success! Enabled the {kind} secrets engine at: {path}/")
    return 0


@command("disable", argument("path"), form=False)
def disable_(session: Session, path: str) -> int:
    """Unmount the secrets engine at PATH; everything in it is lost."""
    path = sanitise(path)
    terminal.warn(session.call(calls.unmount(path)).warnings)
    terminal.say(f"Success! Disabled the secrets engine (if it existed) at: {path}/")
    return 0


@command("list", switch("detailed", "Show all that is known."))
def list_(session: Session, detailed: bool | None) -> int:
    """List the secrets engines."""
    found = entries(session.call(calls.mounts()).body)
    if session.form != "table":
        return session.show_data(found)
    if detailed:
        terminal.say(output.table(DETAILED, [detailed_row(path, found[path]) for path in sorted(found)]))
        return 0
    rows = [
        (path, *(str(found[path].get(name) or "") for name in ("type", "accessor", "description")))
        for path in sorted(found)
    ]
    terminal.say(output.table(("Path", "Type", "Accessor", "Description"), rows))
    return 0


@command("move", argument("source"), argument("destination"), form=False)
def move_(session: Session, source: str, destination: str) -> int:
    """Move the secrets engine at SOURCE to DESTINATION. Its leases are revoked."""
    source, destination = sanitise(source) + "/", sanitise(destination) + "/"
    migration = session.call(calls.remount(source, destination)).data.get("migration_id") or ""
    what = f"secrets engine {source} to {destination}, with migration ID {migration}"
    if migration:
        terminal.say(f"Started moving {what}")
        wait_for_move(session, str(migration), f"secrets engine {source}")
    terminal.say(f"Success! Finished moving {what}")
    return 0


@command(
    "tune",
    value("version", "Version of the key-value store, 1 or 2.", kind=int),
    *mount_flags(),
    argument("path"),
    form=False,
)
def tune_(session: Session, **flags: Any) -> int:
    """Change the settings of the secrets engine at PATH."""
    path = sanitise(flags["path"])
    terminal.warn(session.call(calls.mount_tune(path, tune_fields(flags))).warnings)
    terminal.say(f"Success! Tuned the secrets engine at: {path}/")
    return 0


def tune_fields(flags: dict[str, Any]) -> dict[str, Any]:
    """The body of a tune request: only what was given; an empty description clears it."""
    fields = settings(flags)
    if flags["description"] is not None:
        fields["description"] = flags["description"]
    if given := options(flags):
        fields["options"] = given
    return fields
