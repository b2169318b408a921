"""Puts a vault together from names: the one place that knows all parts."""

import functools
import os
import time
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from strongroom.core.audit_devices import DeviceEntry, new_entry
from strongroom.core.core import REPORTED_VERSION, Core, CoreConfig
from strongroom.core.lockout import Counters, Lockout, LockoutConfig, LockoutRecheck
from strongroom.core.mounts import Kinds
from strongroom.core.sys import System
from strongroom.core.token_engine import TokenEngine
from strongroom.errors import BadRequest
from strongroom.policy import hcl
from strongroom.policy.acl import Acl
from strongroom.policy.acl_parse import parse_policy, parse_stored
from strongroom.policy.defaults import DEFAULT_POLICY, RESPONSE_WRAPPING_POLICY
from strongroom.policy.templating import render
from strongroom.sdk.engine import Call, Engine, Mount, Route, run_inline
from strongroom.sdk.fields import parse_bool, parse_duration
from strongroom.sdk.storage import Backend
from strongroom.vault import plugins
from strongroom.vault.audit_switch import AuditSwitch

Offload = Callable[[Callable[[], Any]], Awaitable[Any]]
_IGNORED = frozenset(
    {"storage", "backend", "listener", "api_addr", "cluster_addr", "disable_mlock", "ui", "log_level", "log_format",
     "telemetry", "pid_file", "workers", "disable_cache", "seal", "ha_storage", "plugin_directory", "raw_storage_endpoint"}
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
    sanitized: dict[str, Any] = {}

    def __repr__(self) -> str:
        return "VaultConfig()"


def read_config(config: Mapping[str, Any] | None) -> VaultConfig:
    """A VaultConfig from a mapping with the configuration file's names.

    Args:
        config: durations as seconds or text; ``audit`` as ``{type: {name: options}}`` or a list of
            ``{"type", "path", "options"}``.

    Raises:
        BadRequest: a value is wrong. An unknown name only warns.
    """
    values: dict[str, Any] = {}
    for name, value in (config or {}).items():
        if name in ("default_lease_ttl", "max_lease_ttl", "max_entry_size"):
            values[name] = parse_duration(value, name=name)
        elif name == "mounts_monitor_interval":
            values[name] = float(parse_duration(value, name=name))
        elif name in ("audit_required", "unauthenticated_operator_endpoints"):
            values[name] = parse_bool(value, name=name)
        elif name == "audit":
            values[name] = tuple(_devices(value))
        elif name == "mount_entry_hmac_level":
            if value not in ("none", "compat", "high"):
                raise BadRequest("mount_entry_hmac_level must be none, compat or high")
            values[name] = value
        elif name in ("version", "cluster_name", "audit_dir"):
            values[name] = str(value)
        elif name not in _IGNORED:
            warnings.warn(f"unknown configuration name {name!r}", stacklevel=3)
    made = VaultConfig(**values)
    if made.default_lease_ttl > made.max_lease_ttl:
        raise BadRequest("default_lease_ttl must not be larger than max_lease_ttl")
    return made


def _devices(value: Any) -> list[DeviceEntry]:
    rows: list[tuple[str, str, Mapping[str, Any]]] = []
    if isinstance(value, Mapping):
        for kind, named in value.items():
            for each in named if isinstance(named, list) else [named]:
                if all(isinstance(options, Mapping) for options in each.values()) and "options" not in each:
                    rows += [(kind, path, options) for path, options in each.items()]
                else:
                    rows.append((kind, kind, each))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        rows = [(row.get("type", ""), row.get("path") or row.get("type", ""), row) for row in value]
    else:
        raise BadRequest("audit must be a map or a list of devices")
    made = []
    for kind, path, row in rows:
        inner = row.get("options", row)
        options = {str(k): _text(v) for k, v in inner.items() if k not in ("type", "path", "description", "options")}
        if "path" in inner and inner is not row:
            options["path"] = str(inner["path"])
        made.append(
            new_entry(path, kind, description=str(row.get("description", "")), options=options, configured=True)
        )
    return made


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


class Language:
    """``strongroom.policy`` as the core wants it."""

    default_policy = DEFAULT_POLICY
    response_wrapping_policy = RESPONSE_WRAPPING_POLICY

    def parse(self, name: str, text: str) -> Any:
        return parse_policy(name, text)

    def parse_stored(self, name: str, text: str) -> Any:
        return parse_stored(name, text)

    def plain(self, text: str, what: str) -> Mapping[str, Any]:
        return hcl.to_plain(hcl.parse(text, what=what), what=what)

    def compile(self, policies: Sequence[Any], identity: Mapping[str, Any]) -> Acl:
        return Acl([render(policy, identity) for policy in policies])


class IdentityPlaceholder:
    """The ``identity/`` mount: listed, without routes as yet."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount

    def routes(self) -> Sequence[Route]:
        return ()

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """Nothing is leased."""


class Assembled(msgspec.Struct, frozen=True):
    """A vault's parts."""

    core: Core
    audit: AuditSwitch
    lockout: Lockout
    kinds: Kinds

    def __repr__(self) -> str:
        return "Assembled()"


def open_backend(backend: Any) -> Backend:
    """A store object as it is, or one made from ``{kind: options}``.

    Raises:
        BadRequest: there is no such kind, or its options are wrong.
    """
    if not isinstance(backend, Mapping):
        made: Backend = backend
        return made
    if len(backend) != 1:
        raise BadRequest("name one store: {kind: {options}}")
    ((kind, options),) = backend.items()
    name = "memory" if kind == "inmem" else str(kind)
    opened: Backend = plugins.load("storage", name)(dict(options or {}))
    return opened


def assemble(
    backend: Backend,
    config: VaultConfig,
    *,
    now: Callable[[], float] = time.time,
    offload: Offload = run_inline,
    handlers: Sequence[Any] = (),
    counters: Counters | None = None,
) -> Assembled:
    """A vault over ``backend``, sealed.

    Args:
        backend: the store.
        config: see VaultConfig.
        now: seconds since the Unix epoch.
        offload: runs CPU-heavy work (password hashes) where it does not hold up other requests.
        handlers: added behind the built-in checks.
        counters: where failed logins are counted; workers of one server share them.
    """
    spaces: dict[str, Core] = {}

    def space(namespace: str) -> Any:
        return spaces["core"].space(namespace)

    def system(mount: Mount) -> Engine:
        return System(spaces["core"], mount)

    def token(mount: Mount) -> Engine:
        return TokenEngine(mount, space)

    engines = {**plugins.factories("engines"), "system": system, "identity": IdentityPlaceholder}
    kinds = Kinds(engines, {**plugins.factories("auth"), "token": token})
    audit_dir = config.audit_dir or os.getcwd()
    audit = AuditSwitch(
        backend,
        open_sink=lambda kind, options: plugins.load("audit", kind)(options, audit_dir=audit_dir, offload=offload),
        configured=config.audit,
        required=config.audit_required,
        now=now,
    )
    lockout = Lockout(now, counters=counters, config_of=functools.partial(_lockout_of, space))
    fields = {f: getattr(config, f) for f in CoreConfig.__struct_fields__}
    core = Core(
        backend,
        CoreConfig(**fields),
        kinds=kinds,
        language=Language(),
        audit=audit,
        system=System,
        handlers=list(handlers),
        guards=[lockout, LockoutRecheck(lockout)],
        now=now,
        offload=offload,
    )
    core.lockout = lockout
    spaces["core"] = core
    return Assembled(core, audit, lockout, kinds)


def _lockout_of(space: Callable[[str], Any], call: Call) -> LockoutConfig | None:
    """The lockout settings that ``tune`` gave a mount."""
    entry = space(call.request.namespace).mounts.entries.get(call.match.mount_path)
    if entry is None or not entry.config.user_lockout:
        return None
    return LockoutConfig().merged(entry.config.user_lockout)
