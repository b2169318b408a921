"""What the vault takes from a configuration, from a mapping with the configuration file's names."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from strongroom.core.audit_devices import DeviceEntry, new_entry
from strongroom.core.core import REPORTED_VERSION
from strongroom.errors import BadRequest
from strongroom.sdk.fields import parse_bool, parse_duration, parse_list
from strongroom.vault.outside import check_hosts

HMAC_LEVELS = ("none", "compat", "high")
MIN_ENTRY_SIZE = 1024  # bytes
_ELSEWHERE = frozenset(
    {"storage", "backend", "listener", "cluster_addr", "disable_mlock", "ui", "log_level", "log_format", "telemetry",
     "pid_file", "workers", "disable_cache", "seal", "ha_storage", "plugin_directory", "raw_storage_endpoint"}
)  # fmt: skip


class VaultConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the vault itself takes from a configuration (the names are the configuration file's)."""

    default_lease_ttl: int = 2764800  # seconds
    max_lease_ttl: int = 2764800  # seconds
    max_entry_size: int = 1024 * 1024  # bytes
    mount_entry_hmac_level: str = "compat"  # "none" | "compat" | "high"
    mounts_monitor_interval: float = 0.0  # seconds; 0 = only when something changed
    version: str = REPORTED_VERSION
    cluster_name: str = ""
    storage_type: str = ""
    api_addr: str = ""
    unauthenticated_operator_endpoints: bool = False
    audit: tuple[DeviceEntry, ...] = ()
    audit_dir: str = ""
    audit_required: bool = False
    allowed_private_hosts: tuple[str, ...] = ()  # names, "*.suffix" and networks, see vault/outside.py
    sanitized: dict[str, Any] = {}

    def __repr__(self) -> str:
        return "VaultConfig()"


def read_config(config: Mapping[str, Any] | None) -> VaultConfig:
    """A VaultConfig from a mapping with the configuration file's names. None counts as not said.

    Args:
        config: durations in seconds or as text ("1h"); ``audit`` as ``{type: {name: options}}`` or a list of
            ``{"type", "path", "options"}``.

    Raises:
        BadRequest: a value is wrong. An unknown name only warns.
    """
    if config is not None and not isinstance(config, Mapping):
        raise BadRequest("the configuration must be a mapping")
    values: dict[str, Any] = {}
    for name, value in (config or {}).items():
        read = _READERS.get(name)
        if read is not None:
            if value is not None:
                values[name] = read(value, name)
        elif name not in _ELSEWHERE:
            warnings.warn(f"unknown configuration name {name!r}", stacklevel=3)
    made = VaultConfig(**values)
    if made.default_lease_ttl > made.max_lease_ttl:
        raise BadRequest("default_lease_ttl must not be larger than max_lease_ttl")
    return made


def _duration(value: Any, name: str) -> int:
    return parse_duration(value, name=name)


def _ttl(value: Any, name: str) -> int:
    """Zero means the default, as it does in Vault's configuration."""
    return parse_duration(value, name=name) or int(getattr(VaultConfig(), name))


def _interval(value: Any, name: str) -> float:
    if isinstance(value, float) and 0 < value < 2**31:
        return value  # parts of a second count here
    return float(parse_duration(value, name=name))


def _size(value: Any, name: str) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"{name} must be a number of bytes")
    if not MIN_ENTRY_SIZE <= value <= VaultConfig().max_entry_size:
        raise BadRequest(f"{name} must be between {MIN_ENTRY_SIZE} and {VaultConfig().max_entry_size} bytes")
    return value


def _flag(value: Any, name: str) -> bool:
    return parse_bool(value, name=name)


def _string(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be text")
    return value


def _folder(value: Any, name: str) -> str:
    return _string(value.__fspath__() if hasattr(value, "__fspath__") else value, name)


def _level(value: Any, name: str) -> str:
    if value not in HMAC_LEVELS:
        raise BadRequest(f"{name} must be none, compat or high")
    return str(value)


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise BadRequest(f"{name} must be a map")
    return dict(value)


def _hosts(value: Any, name: str) -> tuple[str, ...]:
    return check_hosts(parse_list(value, name=name), name=name)


def _audit(value: Any, name: str) -> tuple[DeviceEntry, ...]:
    return tuple(_devices(value))


_READERS: Mapping[str, Callable[[Any, str], Any]] = {
    "default_lease_ttl": _ttl,
    "max_lease_ttl": _ttl,
    "max_entry_size": _size,
    "mount_entry_hmac_level": _level,
    "mounts_monitor_interval": _interval,
    "version": _string,
    "cluster_name": _string,
    "storage_type": _string,
    "api_addr": _string,
    "unauthenticated_operator_endpoints": _flag,
    "audit": _audit,
    "audit_dir": _folder,
    "audit_required": _flag,
    "allowed_private_hosts": _hosts,
    "sanitized": _mapping,
}


def _devices(value: Any) -> list[DeviceEntry]:
    rows: list[tuple[Any, Any, Mapping[str, Any]]] = []
    if isinstance(value, Mapping):
        for kind, named in value.items():
            for each in named if isinstance(named, list) else [named]:
                rows += _named(str(kind), each)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        rows = [(_row(row).get("type", ""), row.get("path") or row.get("type", ""), row) for row in value]
    else:
        raise BadRequest("audit must be a map or a list of devices")
    return [_device(kind, path, row) for kind, path, row in rows]


def _named(kind: str, each: Any) -> list[tuple[Any, Any, Mapping[str, Any]]]:
    """``{name: options, ...}``, or the options of one device that is named after its type."""
    row = _row(each)
    if "options" not in row and row and all(isinstance(options, Mapping) for options in row.values()):
        return [(kind, path, options) for path, options in row.items()]
    return [(kind, kind, row)]


def _row(row: Any) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise BadRequest("an audit device must be a map")
    return row


def _device(kind: Any, path: Any, row: Mapping[str, Any]) -> DeviceEntry:
    inner = row.get("options", row)
    if not (isinstance(inner, Mapping) and isinstance(kind, str) and kind and isinstance(path, str)):
        raise BadRequest("an audit device needs a type, a path as text and options as a map")
    options = {str(k): _text(v) for k, v in inner.items() if k not in ("type", "path", "description", "options")}
    if "path" in inner and inner is not row:
        options["path"] = str(inner["path"])
    return new_entry(path, kind, description=str(row.get("description", "")), options=options, configured=True)


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
