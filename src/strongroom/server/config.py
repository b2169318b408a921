"""The server's configuration: what may be set, with which default, and how it is read (docs/configuration.md)."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from strongroom.core.inert_settings import LISTENER_NOT_SET
from strongroom.errors import BadRequest
from strongroom.server.config_listener import Listener, read_listener
from strongroom.server.config_read import Block, Place, read_files
from strongroom.server.watch import LEAST
from strongroom.vault.outside import check_hosts

STORES = {"lmdb": "lmdb", "file": "file", "inmem": "inmem", "inmem_ha": "inmem", "memory": "inmem"}
LOG_LEVELS = ("trace", "debug", "info", "warn", "error", "off")
HMAC_LEVELS = ("none", "compat", "high")
MONTH = 2764800  # seconds: Vault's 768 hours
MAX_WORKERS = 64
MAX_ENTRY = 1024 * 1024  # the stores take values of twice that, wrapping included


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """Where the ciphertext goes. ``options`` are the store's own."""

    kind: str = "inmem"
    options: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Storage({self.kind!r})"


class AuditDevice(msgspec.Struct, frozen=True, kw_only=True):
    """An audit device that is always enabled."""

    type: str
    path: str  # ends in "/"
    options: dict[str, str] = {}
    description: str = ""


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds, sizes in bytes."""

    storage: Storage = Storage()
    listeners: tuple[Listener, ...] = ()
    audit: tuple[AuditDevice, ...] = ()
    api_addr: str = ""
    cluster_addr: str = ""
    cluster_name: str = ""
    default_lease_ttl: int = MONTH
    max_lease_ttl: int = MONTH
    max_entry_size: int = 1024 * 1024
    audit_dir: str = ""  # "" = beside the data
    audit_required: bool = False
    allowed_private_hosts: tuple[str, ...] = ()
    workers: int = 0  # 0 = as many as there are cores
    version: str = ""  # "" = the vault's own
    unauthenticated_operator_endpoints: bool = False
    mount_entry_hmac_level: str = "compat"
    mounts_monitor_interval: int = 0
    disable_mlock: bool = False
    refuse_swap: bool = False  # do not start while swap is in use
    ui: bool = False
    log_level: str = "warn"
    log_format: str = "standard"
    pid_file: str = ""
    telemetry: dict[str, Any] = {}
    drain_timeout: int = 5  # how long a stopping worker's requests may take
    worker_timeout: int = 30  # how long a worker may stand still before it is replaced; 0 = for ever
    warnings: tuple[str, ...] = ()  # about unknown keys

    def __repr__(self) -> str:
        return f"ServerConfig(storage={self.storage.kind!r}, listeners={len(self.listeners)})"

    @property
    def worker_count(self) -> int:
        if self.workers:
            return self.workers
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(MAX_WORKERS, cores)

    def sanitized(self) -> dict[str, Any]:
        """The configuration as ``sys/config/state/sanitized`` shows it: nothing that could be a secret."""
        return {
            "api_addr": self.api_addr,
            "cluster_addr": self.cluster_addr,
            "cluster_name": self.cluster_name,
            "default_lease_ttl": self.default_lease_ttl,
            "max_lease_ttl": self.max_lease_ttl,
            "disable_mlock": self.disable_mlock,
            "enable_ui": self.ui,
            "log_format": self.log_format,
            "log_level": self.log_level,
            "pid_file": self.pid_file,
            "listeners": [
                {
                    "type": one.kind,
                    "config": {"address": one.address, "tls_disable": one.tls is None, **LISTENER_NOT_SET},
                }
                for one in self.listeners
            ],
            "storage": {
                "type": self.storage.kind,
                "cluster_addr": "",
                "disable_clustering": False,
                "redirect_addr": "",
            },
        }


_TEXTS = ("api_addr", "cluster_addr", "cluster_name", "audit_dir", "version", "pid_file")
_FLAGS = ("audit_required", "unauthenticated_operator_endpoints", "disable_mlock", "refuse_swap", "ui")
_TIMES = ("default_lease_ttl", "max_lease_ttl", "mounts_monitor_interval", "drain_timeout", "worker_timeout")
_WORDS = {"log_level": LOG_LEVELS, "log_format": ("standard", "json"), "mount_entry_hmac_level": HMAC_LEVELS}
_LISTS = ("allowed_private_hosts",)
_ENV_ONLY = {"workers", "max_entry_size"}
ENVIRONMENT = frozenset({*_TEXTS, *_FLAGS, *_TIMES, *_WORDS, *_LISTS, *_ENV_ONLY})  # each as STRONGROOM_<NAME>
_VAULT_ENV = ("api_addr", "cluster_addr", "log_level", "log_format")  # also as BAO_<NAME> and VAULT_<NAME>
# Vault's keys that mean nothing here and do no harm.
_IGNORED = """
    cluster_cipher_suites disable_cache disable_clustering disable_performance_standby disable_printable_check
    disable_sealwrap disable_standby_reads enable_response_header_hostname enable_response_header_raft_node_id
    experiments ha_storage introspection_endpoint license_path log_file log_rotate_bytes log_rotate_duration
    log_rotate_max_files log_requests_level plugin_directory plugin_file_permissions plugin_file_uid
    raw_storage_endpoint reporting request_limiter user_lockout detect_deadlocks imprecise_lease_role_tracking
    enable_post_unseal_trace post_unseal_trace_directory service_registration
"""


def load(paths: Sequence[str], environ: Mapping[str, str] = os.environ, *, partial: bool = False) -> ServerConfig:
    """The configuration in ``paths`` (files or folders), VAULT_LOCAL_CONFIG and the environment, the later winning.

    ``partial``: storage and listeners may be missing (they come from elsewhere).

    Raises:
        BadRequest: ``<file>: line N: <what is wrong>``; never quotes a value.
    """
    return _build(read_files(paths, environ.get("VAULT_LOCAL_CONFIG", "")), environ, partial=partial)


def _build(root: Place, environ: Mapping[str, str], *, partial: bool) -> ServerConfig:
    values: dict[str, Any] = {name: root.text(name) for name in _TEXTS}
    values |= {name: root.flag(name) for name in _FLAGS}
    defaults = ServerConfig()
    values |= {name: int(root.seconds(name, getattr(defaults, name))) for name in _TIMES}
    values |= {name: root.names(name) for name in _LISTS}
    values["workers"] = root.number("workers", 0)
    values["max_entry_size"] = root.number("max_entry_size", defaults.max_entry_size, least=1024, most=MAX_ENTRY)
    for name in _WORDS:
        values[name] = _word(name, root.text(name, getattr(defaults, name)))
    warnings: list[str] = []
    values["listeners"] = tuple(_listeners(root, warnings))
    values["storage"] = _storage(root, partial=partial)
    values["audit"] = tuple(_audit(root))
    values["telemetry"] = {k: v for block in root.blocks("telemetry") for k, v in _scalars(block).items()}
    root.ignore(_IGNORED)
    values["warnings"] = (*root.unknown(), *warnings)
    _override(values, environ)
    if not partial and not values["listeners"]:
        raise BadRequest("no listener is configured")
    _check(values)
    return ServerConfig(**values)


def _word(name: str, text: str) -> str:
    word = text.lower()
    if name == "log_level":
        word = {"warning": "warn", "err": "error", "": "warn"}.get(word, word)
    if word not in _WORDS[name]:
        raise BadRequest(f"{name} must be one of {', '.join(_WORDS[name])}")
    return word


def _override(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    for name in ENVIRONMENT:
        names = [f"{prefix}_{name.upper()}" for prefix in ("VAULT", "BAO") if name in _VAULT_ENV]
        for variable in (*names, f"STRONGROOM_{name.upper()}"):
            text = environ.get(variable)
            if not text:
                continue
            item = Place("", [("the environment", _item(variable, text))])
            if name in _FLAGS:
                values[name] = item.flag(variable)
            elif name in _TIMES:
                values[name] = int(item.seconds(variable, 0))
            elif name in _LISTS:
                values[name] = item.names(variable)
            elif name in _ENV_ONLY:
                values[name] = item.number(variable, 0)
            else:
                values[name] = _word(name, text) if name in _WORDS else text


def _item(key: str, text: str) -> Any:
    from strongroom.policy.hcl import Item

    return Item(key, (), text)


def _check(values: Mapping[str, Any]) -> None:
    if not 0 <= values["workers"] <= MAX_WORKERS:
        raise BadRequest(f"workers must be between 1 and {MAX_WORKERS}, or 0 for one per core")
    if 0 < values["worker_timeout"] < LEAST:
        raise BadRequest(f"worker_timeout must be at least {LEAST} s, or 0 for no limit")
    if values["default_lease_ttl"] > values["max_lease_ttl"]:
        raise BadRequest("default_lease_ttl is longer than max_lease_ttl")
    check_hosts(values["allowed_private_hosts"], name="allowed_private_hosts")
    if values["default_lease_ttl"] < 1:
        raise BadRequest("default_lease_ttl must be positive")


def _listeners(root: Place, warnings: list[str]) -> list[Listener]:
    found = []
    for outer in root.blocks("listener"):
        for block in outer.split(1):
            place = block.place(f'listener "{block.labels[0]}"')
            found.append(read_listener(block.labels[0], place))
            warnings += place.unknown()
    return found


def _storage(root: Place, *, partial: bool) -> Storage:
    found = [block for key in ("storage", "backend") for outer in root.blocks(key) for block in outer.split(1)]
    if not found and partial:
        return Storage()
    if not found:
        raise BadRequest('no storage is configured (storage "lmdb" { path = "..." })')
    block = found[-1]
    place = block.place("storage")
    kind = STORES.get(block.labels[0])
    if kind is None:
        raise place.error(f"unknown kind; supported are {', '.join(sorted(set(STORES.values())))}")
    options = place.scalars()
    if kind != "inmem" and not options.get("path"):
        raise place.error("needs a path")
    if kind == "inmem":
        options = {}
    elif isinstance(options["path"], str):
        options["path"] = os.path.abspath(options["path"])
    return Storage(kind=kind, options=options)


def _audit(root: Place) -> list[AuditDevice]:
    devices: list[AuditDevice] = []
    for outer in root.blocks("audit"):
        for block in outer.split(1) if len(outer.labels) < 1 else [outer]:
            devices += _devices(block)
    names = [device.path for device in devices]
    if len(set(names)) < len(names):
        raise BadRequest("two audit devices have the same name")
    return devices


def _devices(block: Block) -> list[AuditDevice]:
    """``audit "file" "name" { }``, ``audit "file" { path = "name" options { } }`` or ``{"file": {"name": { }}}``."""
    keys = {item.key for item in block.body.items}
    one = len(block.labels) >= 2 or "options" in keys or not _only_blocks(block)
    if not one:
        return [_device(inner) for inner in block.split(2)]
    if len(block.labels) > 2:
        raise block.place("audit").error("has at most two labels")
    return [_device(block)]


def _only_blocks(block: Block) -> bool:
    items = block.body.items
    return bool(items) and len(block.place("audit").scalars()) == 0


def _device(block: Block) -> AuditDevice:
    kind = block.labels[0]
    place = block.place(f'audit "{kind}"')
    scalars = place.scalars()
    nested = [_scalars(inner) for inner in place.blocks("options")]
    description = str(scalars.pop("description", ""))
    scalars.pop("local", None)
    kind = str(scalars.pop("type", kind))
    name = block.labels[1] if len(block.labels) > 1 else ""
    if nested:
        name = str(scalars.pop("path", "")) or name
        scalars = {**scalars, **nested[0]}
    options = {key: _option(value) for key, value in scalars.items()}
    return AuditDevice(type=kind, path=(name or kind).strip("/") + "/", options=options, description=description)


def _option(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _scalars(block: Block) -> dict[str, Any]:
    return block.place("").scalars()
