"""The settings of a mount, shared by ``secrets`` and ``auth``: their flags, and the request fields they become."""

from typing import Any

from strongroom.cli import output
from strongroom.cli.command import switch, value
from strongroom.cli.hints import Failed
from strongroom.cli.session import Session
from strongroom.cli.words import parse_pairs
from strongroom.client import calls

LISTS = (
    ("audit-non-hmac-request-keys", "Request key that the audit log shows in clear; may be repeated."),
    ("audit-non-hmac-response-keys", "Response key that the audit log shows in clear; may be repeated."),
    ("passthrough-request-headers", "Request header the engine may see; may be repeated."),
    ("allowed-response-headers", "Response header the engine may set; may be repeated."),
    ("allowed-managed-keys", "Managed key the mount may use; may be repeated."),
    ("delegated-auth-accessors", "Accessor of an auth method that the mount may log in by; may be repeated."),
)
TEXTS = (
    ("default-lease-ttl", "Lease duration when none is asked for, as 1h."),
    ("max-lease-ttl", "Longest lease duration, as 24h."),
    ("listing-visibility", "unauth shows the mount before login; hidden does not."),
    ("plugin-version", "Version of the plug-in to run."),
    ("identity-token-key", "Key that signs the mount's identity tokens."),
)


def mount_flags() -> list[Any]:
    """Fresh flags for one command."""
    return [
        value("description", "Text shown in lists."),
        value("options", "key=value option of the engine; may be repeated.", many=True),
        *(value(name, text) for name, text in TEXTS),
        *(value(name, text, many=True) for name, text in LISTS),
        switch("trim-request-trailing-slashes", "Take a slash off the end of paths that are no lists."),
    ]


def settings(flags: dict[str, Any]) -> dict[str, Any]:
    """The ``config`` fields that flags give; those not given are left out."""
    config: dict[str, Any] = {}
    for name, _ in TEXTS:
        given = flags.get(name.replace("-", "_"))
        if given is not None:
            config[name.replace("-", "_")] = given
    for name, _ in LISTS:
        if items := flags.get(name.replace("-", "_")):
            config[name.replace("-", "_")] = [part for item in items for part in item.split(",")]
    if (trim := flags.get("trim_request_trailing_slashes")) is not None:
        config["trim_request_trailing_slashes"] = trim
    return config


def options(flags: dict[str, Any]) -> dict[str, str]:
    """The engine's own options; ``-version`` is one of them."""
    found = parse_pairs(flags.get("options") or (), "options")
    if flags.get("version") is not None:
        found["version"] = str(flags["version"])
    return found


def without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in fields.items() if item not in (None, "", [], {}, ())}


def entries(answer_body: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    """The mounts of a list answer: from ``data``, or from the top level of an old server's answer."""
    body = answer_body or {}
    found = body.get("data") if isinstance(body.get("data"), dict) else body
    return {path: entry for path, entry in (found or {}).items() if isinstance(entry, dict) and path.endswith("/")}


def ttl(entry: dict[str, Any], name: str) -> str:
    """A TTL of a mount's configuration: its seconds, or ``system`` for the system's."""
    if entry.get("type") in ("system", "cubbyhole"):
        return ""
    given = (entry.get("config") or {}).get(name)
    return str(given) if given else "system"


DETAILED = (
    "Path",
    "Plugin",
    "Accessor",
    "Default TTL",
    "Max TTL",
    "Force No Cache",
    "Replication",
    "Seal Wrap",
    "External Entropy Access",
    "Options",
    "Description",
    "UUID",
    "Version",
    "Running Version",
    "Running SHA256",
    "Deprecation Status",
)


def detailed_row(path: str, entry: dict[str, Any]) -> list[str]:
    config = entry.get("config") or {}
    return [
        path,
        str(entry.get("type") or ""),
        str(entry.get("accessor") or ""),
        ttl(entry, "default_lease_ttl"),
        ttl(entry, "max_lease_ttl"),
        output.go_value(bool(config.get("force_no_cache"))),
        "local" if entry.get("local") else "replicated",
        output.go_value(bool(entry.get("seal_wrap"))),
        output.go_value(bool(entry.get("external_entropy_access"))),
        output.go_value(entry.get("options") or {}),
        str(entry.get("description") or ""),
        str(entry.get("uuid") or ""),
        str(entry.get("plugin_version") or ""),
        str(entry.get("running_plugin_version") or ""),
        str(entry.get("running_sha256") or ""),
        str(entry.get("deprecation_status") or ""),
    ]


def wait_for_move(session: Session, migration: str, what: str) -> None:
    """Ask until a move is done. Raises ``Failed`` when the server gave it up or takes more than five minutes."""
    import time

    pause = 0.05
    for _ in range(400):
        info = session.call(calls.remount_status(migration)).data.get("migration_info") or {}
        if info.get("status") == "success":
            return
        if info.get("status") == "failure":
            raise Failed(f"the move of {what} failed", "the server's log tells why")
        time.sleep(pause)
        pause = min(1.0, pause * 1.5)
    raise Failed(f"the move of {what} is not done yet", f"strongroom read sys/remount/status/{migration}")
