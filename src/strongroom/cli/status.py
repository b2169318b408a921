"""The command ``status``."""

from collections.abc import Mapping
from typing import Any

from strongroom.cli import output
from strongroom.cli.command import FIELD, command, value
from strongroom.cli.hints import Failed, hint_for, words_for
from strongroom.cli.session import Session
from strongroom.client import calls
from strongroom.client.messages import Refused, Unreachable

SEALED = 2
_ORDER = (
    "type",
    "initialized",
    "sealed",
    "t",
    "n",
    "progress",
    "nonce",
    "version",
    "build_date",
    "migration",
    "cluster_name",
    "cluster_id",
    "recovery_seal",
    "recovery_seal_type",
    "storage_type",
    "warnings",
)


def status_rows(status: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The rows of the seal status table."""
    sealed = bool(status.get("sealed"))
    recovery = "Recovery " if status.get("recovery_seal") else ""
    rows = [
        (f"{recovery}Seal Type", str(status.get("type") or "")),
        ("Initialized", output.go_value(bool(status.get("initialized")))),
        ("Sealed", output.go_value(sealed)),
        (f"Total {recovery}Shares", str(status.get("n") or 0)),
        ("Threshold", str(status.get("t") or 0)),
    ]
    if sealed:
        rows += [
            ("Unseal Progress", f"{status.get('progress') or 0}/{status.get('t') or 0}"),
            ("Unseal Nonce", str(status.get("nonce") or "")),
        ]
    rows += [
        ("Version", str(status.get("version") or "")),
        ("Build Date", str(status.get("build_date") or status.get("commit_date") or "")),
        ("Storage Type", str(status.get("storage_type") or "")),
    ]
    for name, label in (("cluster_name", "Cluster Name"), ("cluster_id", "Cluster ID")):
        if status.get(name):
            rows.append((label, str(status[name])))
    return rows


def leader_rows(leader: Mapping[str, Any]) -> list[tuple[str, str]]:
    enabled = bool(leader.get("ha_enabled"))
    rows = [("HA Enabled", output.go_value(enabled))]
    if enabled:
        active = bool(leader.get("is_self"))
        rows += [
            ("HA Cluster", str(leader.get("leader_cluster_address") or "")),
            ("HA Mode", "active" if active else "standby"),
        ]
        if active:
            rows.append(("Active Since", str(leader.get("active_time") or "")))
        else:
            rows.append(("Active Node Address", str(leader.get("leader_address") or "<none>")))
    return rows


def ask_leader(session: Session) -> Mapping[str, Any]:
    """Who leads. A server that does not say so while it is sealed is one of several."""
    try:
        return session.call(calls.leader()).body or {}
    except Refused as refusal:
        if refusal.code != 503:
            raise
        return {"ha_enabled": True}


def show_status(session: Session, status: Mapping[str, Any], leader: Mapping[str, Any]) -> int:
    """Print a seal status; the exit code is 2 when sealed."""
    rows = status_rows(status) + leader_rows(leader)
    shown = {name: status[name] for name in _ORDER if name in status}
    later = {name: leader[name] for name in leader if leader[name] or name == "ha_enabled"}
    shown |= {"ha_enabled": False, "active_time": "0001-01-01T00:00:00Z", **later}
    session.show_data(shown, output.table(("Key", "Value"), rows))
    return SEALED if status.get("sealed") else 0


@command("status", value(*FIELD))
def status(session: Session, field: str | None) -> int:
    """Show whether the server is sealed. The exit code is 0 when it is open, 2 when sealed, 1 when it does not say."""
    session.field = field or ""
    try:
        found = session.call(calls.seal_status()).body
        leader = ask_leader(session)
    except (Refused, Unreachable) as error:
        # 2 would say "sealed".
        raise Failed(words_for(error), hint_for(error), code=1) from error
    if found is None:
        raise Failed("the answer is not a seal status", "check VAULT_ADDR", code=1)
    return show_status(session, found, leader)
