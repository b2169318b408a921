"""What is stored of a mount, and how it is shown."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import msgspec

from strongroom.errors import IntegrityError

PLUGIN_VERSION = "v0.1.0+builtin.strongroom"


class MountConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What ``tune`` changes. TTLs in seconds, 0 = the system's."""

    default_lease_ttl: int = 0
    max_lease_ttl: int = 0
    force_no_cache: bool = False
    token_type: str = ""  # auth mounts: "default-service" when empty
    listing_visibility: str = ""  # "" | "unauth" | "hidden"
    filter_lists: bool = False  # a LIST shows only what the caller may see
    audit_non_hmac_request_keys: tuple[str, ...] = ()
    audit_non_hmac_response_keys: tuple[str, ...] = ()
    passthrough_request_headers: tuple[str, ...] = ()
    allowed_response_headers: tuple[str, ...] = ()
    allowed_managed_keys: tuple[str, ...] = ()
    plugin_version: str = ""
    user_lockout: dict[str, Any] = {}


class MountEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One mounted engine or auth method."""

    uuid: str
    path: str  # "secret/", "auth/userpass/"
    type: str  # the name it was enabled under: "kv"
    accessor: str
    description: str = ""
    options: dict[str, str] | None = None
    local: bool = False
    seal_wrap: bool = False
    external_entropy_access: bool = False
    config: MountConfig = MountConfig()
    state: str = ""  # "" | "removing": no longer answers, its data is being deleted
    mac: bytes = b""  # see ``entry_mac``

    @property
    def mount_class(self) -> str:
        return "auth" if self.path.startswith("auth/") else "secret"

    @property
    def shown_path(self) -> str:
        """The path as sys/auth and sys/mounts print it: without "auth/"."""
        return self.path.removeprefix("auth/")


def entry_mac(key: bytes, entry: MountEntry) -> bytes:
    """HMAC-SHA-256 over all of the entry but ``mac`` itself (setting ``mount_entry_hmac_level``)."""
    plain = msgspec.msgpack.encode(msgspec.structs.replace(entry, mac=b""))
    return hmac.digest(key, plain, hashlib.sha256)


def check_mac(key: bytes, entry: MountEntry, level: str) -> None:
    """Refuse a tampered entry.

    Args:
        key: 32 bytes.
        entry: as read from the store.
        level: "none" checks nothing, "compat" takes entries without a MAC, "high" wants one on each.

    Raises:
        IntegrityError: the MAC is wrong or missing.
    """
    if level == "none" or (level == "compat" and not entry.mac):
        return
    if not hmac.compare_digest(entry.mac, entry_mac(key, entry)):
        raise IntegrityError(f"the entry of mount {entry.path!r} was tampered with")


def shown(entry: MountEntry) -> dict[str, Any]:
    """The entry as sys/mounts, sys/auth and sys/internal/ui/mounts print it (wire facts B.5)."""
    config: dict[str, Any] = {
        "default_lease_ttl": entry.config.default_lease_ttl,
        "force_no_cache": entry.config.force_no_cache,
        "max_lease_ttl": entry.config.max_lease_ttl,
    }
    if entry.mount_class == "auth":
        config["token_type"] = entry.config.token_type or "default-service"
    config.update(_extras(entry.config))
    data: dict[str, Any] = {
        "accessor": entry.accessor,
        "config": config,
        "description": entry.description,
        "external_entropy_access": entry.external_entropy_access,
        "local": entry.local,
        "options": entry.options,
        "plugin_version": entry.config.plugin_version,
        "running_plugin_version": PLUGIN_VERSION,
        "running_sha256": "",
        "seal_wrap": entry.seal_wrap,
        "type": entry.type,
        "uuid": entry.uuid,
    }
    if entry.type not in ("system", "identity", "cubbyhole", "token"):
        data["deprecation_status"] = "supported"
    return data


def tune_data(entry: MountEntry, default_ttl: int, max_ttl: int) -> dict[str, Any]:
    """The answer of ``GET .../tune``: TTLs as they apply, in seconds."""
    data: dict[str, Any] = {
        "default_lease_ttl": default_ttl,
        "description": entry.description,
        "force_no_cache": entry.config.force_no_cache,
        "max_lease_ttl": max_ttl,
    }
    if entry.mount_class == "auth":
        data["token_type"] = entry.config.token_type or "default-service"
    if entry.options is not None:
        data["options"] = entry.options
    data.update(_extras(entry.config))
    return data


def _extras(config: MountConfig) -> Mapping[str, Any]:
    names = (
        "listing_visibility",
        "filter_lists",
        "audit_non_hmac_request_keys",
        "audit_non_hmac_response_keys",
        "passthrough_request_headers",
        "allowed_response_headers",
        "allowed_managed_keys",
    )
    out: dict[str, Any] = {}
    for name in names:
        value = getattr(config, name)
        if value:
            out[name] = list(value) if isinstance(value, tuple) else value
    if config.user_lockout:
        out["user_lockout_config"] = dict(config.user_lockout)
    return out
