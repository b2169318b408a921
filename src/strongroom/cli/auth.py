"""The commands ``auth enable``, ``disable``, ``list``, ``move``, ``tune`` and ``help``."""

from typing import Any

from strongroom.cli import output, terminal
from strongroom.cli.command import Group, argument, command, switch, value
from strongroom.cli.hints import Failed
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
from strongroom.cli.secrets import tune_fields
from strongroom.cli.session import Session, sanitise
from strongroom.client import calls

AUTH = Group(
    "auth",
    {name: f"auth:{name}_" for name in ("enable", "disable", "list", "move", "tune", "help")},
    "Enable, disable, list, move and tune auth methods.",
)

TOKEN_TYPE = ("token-type", "Type of the tokens it makes: default-service, default-batch, service or batch.")
LOCKOUT = (
    ("user-lockout-threshold", "Failed logins after which a user is locked out."),
    ("user-lockout-duration", "How long a lockout lasts, as 15m."),
    ("user-lockout-counter-reset-duration", "How long failed logins are remembered, as 15m."),
)


@command(
    "enable",
    value("path", "Where to mount it below auth/ (default: its type)."),
    value("plugin-name", "Name of the plug-in (default: its type)."),
    value(*TOKEN_TYPE),
    switch("local", "Leave it out of replication."),
    switch("seal-wrap", "Wrap its values with the seal as well."),
    *mount_flags(),
    argument("type"),
    form=False,
)
def enable_(session: Session, **flags: Any) -> int:
    """Mount an auth method of TYPE."""
    kind = flags["type"].strip()
    path = sanitise(flags["path"] or kind).removeprefix("auth/")
    config = settings(flags)
    if flags["token_type"]:
        config["token_type"] = flags["token_type"]
    fields = {
        "type": flags["plugin_name"] or kind,
        "description": flags["description"],
        "local": flags["local"],
        "seal_wrap": flags["seal_wrap"],
        "options": options(flags),
        "config": config,
    }
    terminal.warn(session.call(calls.auth_enable(path, without_empty(fields))).warnings)
    terminal.say(f"Success! Enabled {kind} auth method at: {path}/")
    return 0


@command("disable", argument("path"), form=False)
def disable_(session: Session, path: str) -> int:
    """Unmount the auth method at PATH; everybody who logged in by it is logged out."""
    path = sanitise(path)
    terminal.warn(session.call(calls.auth_disable(path)).warnings)
    terminal.say(f"Success! Disabled the auth method (if it existed) at: {path}/")
    return 0


@command("list", switch("detailed", "Show all that is known."))
def list_(session: Session, detailed: bool | None) -> int:
    """List the auth methods."""
    found = entries(session.call(calls.auth_methods()).body)
    if session.form != "table":
        return session.show_data(found)
    if detailed:
        heads = [*DETAILED[:5], "Token Type", *DETAILED[6:]]
        rows = []
        for path in sorted(found):
            row = detailed_row(path, found[path])
            row[5] = str((found[path].get("config") or {}).get("token_type") or "")
            rows.append(row)
        terminal.say(output.table(heads, rows))
        return 0
    names = ("type", "accessor", "description", "plugin_version")
    table = [(path, *(str(found[path].get(name) or "") for name in names)) for path in sorted(found)]
    terminal.say(output.table(("Path", "Type", "Accessor", "Description", "Version"), table))
    return 0


@command("move", argument("source"), argument("destination"), form=False)
def move_(session: Session, source: str, destination: str) -> int:
    """Move the auth method at SOURCE to DESTINATION. Its leases are revoked."""
    source, destination = (f"auth/{sanitise(path).removeprefix('auth/')}/" for path in (source, destination))
    migration = session.call(calls.remount(source, destination)).data.get("migration_id") or ""
    what = f"auth method {source} to {destination}, with migration ID {migration}"
    if migration:
        terminal.say(f"Started moving {what}")
        wait_for_move(session, str(migration), f"auth method {source}")
    terminal.say(f"Success! Finished moving {what}")
    return 0


@command(
    "tune",
    value(*TOKEN_TYPE),
    *(value(name, text) for name, text in LOCKOUT),
    switch("user-lockout-disable", "Turn the lockout off."),
    *mount_flags(),
    argument("path"),
    form=False,
)
def tune_(session: Session, **flags: Any) -> int:
    """Change the settings of the auth method at PATH."""
    path = sanitise(flags["path"])
    fields = tune_fields(flags)
    if flags["token_type"]:
        fields["token_type"] = flags["token_type"]
    names = [name.replace("-", "_") for name, _ in LOCKOUT]
    lockout = {name.removeprefix("user_"): flags[name] for name in names if flags[name] is not None}
    if flags["user_lockout_disable"] is not None:
        lockout["lockout_disable"] = flags["user_lockout_disable"]
    if lockout:
        fields["user_lockout_config"] = lockout
    terminal.warn(session.call(calls.mount_tune(f"auth/{path}", fields)).warnings)
    terminal.say(f"Success! Tuned the auth method at: {path}/")
    return 0


LOGIN_HELP = {
    "token": "strongroom login [TOKEN]: use a token; without one it is asked for.",
    "userpass": "strongroom login -method=userpass username=NAME [password=-]: the password is asked for.",
    "approle": "strongroom login -method=approle role_id=ID [secret_id=-]: log in as a machine.",
}


@command("help", argument("path"), form=False)
def help_(session: Session, path: str) -> int:
    """Show how to log in with the auth method of this type or at this PATH."""
    name = sanitise(path)
    if name not in LOGIN_HELP:
        entry = entries(session.call(calls.auth_methods()).body).get(f"{name}/")
        if entry is None:
            raise Failed(f"there is no auth method at {name}/", "strongroom auth list shows them", code=1)
        name = str(entry.get("type"))
        if name not in LOGIN_HELP:
            body = session.call(calls.path_help(f"auth/{sanitise(path)}")).body or {}
            terminal.say(str(body.get("help") or "").strip("\n"))
            return 0
    terminal.say(f"Usage: {LOGIN_HELP[name]}")
    return 0
