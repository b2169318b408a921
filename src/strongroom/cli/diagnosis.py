"""The checks of ``operator diagnose``. None of them changes anything: a store that is not there is not made."""

import errno
import os
import resource
import socket
import stat
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from strongroom.cli.session import Session
from strongroom.client import calls
from strongroom.client.messages import Refused, Unreachable
from strongroom.errors import VaultError

if TYPE_CHECKING:
    from strongroom.server.config import ServerConfig

OK, WARN, FAIL = "ok", "warn", "fail"
LOW_DISK, NO_DISK = 1024**3, 64 * 1024**2  # bytes
KEY_MEMORY = 64 * 1024  # bytes of locked memory a server wants
EARLIEST = 1767225600  # 2026-01-01; a clock before that is wrong
SKEW = 5.0  # seconds


class Finding(NamedTuple):
    """One line of the diagnosis."""

    check: str
    state: str  # OK, WARN or FAIL
    says: str
    hint: str = ""


class Subject(NamedTuple):
    """What is examined."""

    session: Session
    config: "ServerConfig | None"
    paths: list[str]


def examine(session: Session, paths: list[str], skipped: frozenset[str]) -> list[Finding]:
    """Run every check that is not skipped. A check that breaks is a failed check, not a broken command."""
    config, findings = (None, []) if "configuration" in skipped else _configuration(paths)
    subject = Subject(session, config, paths)
    for name, check in CHECKS.items():
        if name in skipped:
            continue
        try:
            for rest in check(subject):
                findings.append(Finding(name, *rest))
        except (VaultError, OSError) as error:
            findings.append(Finding(name, FAIL, str(error)))
    return findings


def _configuration(paths: list[str]) -> tuple["ServerConfig | None", list[Finding]]:
    name = "configuration"
    if not paths:
        return None, [Finding(name, WARN, "none was given to check", "name it with -config")]
    from strongroom.server.config import load
    from strongroom.server.tls import check_files

    try:
        config = load(paths)
    except VaultError as error:
        return None, [Finding(name, FAIL, str(error))]
    found = [Finding(name, WARN, line) for line in config.warnings]
    for listener in config.listeners:
        if listener.tls:
            found += [Finding("tls", FAIL, problem) for problem in check_files(listener.tls)]
        elif listener.kind == "tcp" and not listener.address.startswith(("127.", "localhost:", "[::1]")):
            says = f"the listener {listener.address} speaks plain HTTP to the network"
            found.append(Finding("tls", WARN, says, "set tls_cert_file and tls_key_file"))
    return config, found or [Finding(name, OK, f"{len(paths)} file(s) read")]


Rest = tuple[str, str] | tuple[str, str, str]


def _storage(subject: Subject) -> Iterator[Rest]:
    store = subject.config.storage if subject.config else None
    if store is None:
        return
    path = str(store.options.get("path", ""))
    if store.kind == "inmem":
        yield WARN, "the store is in memory: all is lost when the server ends"
        return
    if not os.path.exists(path):
        parent = next(p for p in _parents(path) if os.path.isdir(p))
        can = os.access(parent, os.W_OK | os.X_OK)
        yield (OK if can else FAIL), f"{path} is not there yet and {'can' if can else 'cannot'} be made"
        return
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode) and found.st_mode & 0o077:
        yield FAIL, f"{path} lets other users in", f"chmod 700 {path}"
        return
    if found.st_uid != os.geteuid():
        yield WARN, f"{path} belongs to another user", "run this as the user the server runs as"
    if not os.access(path, os.R_OK | os.W_OK):
        yield FAIL, f"{path} cannot be read and written"
        return
    free = os.statvfs(path)
    room = free.f_bavail * free.f_frsize
    state = FAIL if room < NO_DISK else WARN if room < LOW_DISK else OK
    yield state, f"{room // 1024**2} MiB are free below {path}"
    yield from _inside(store.kind, dict(store.options))


def _parents(path: str) -> Iterator[str]:
    while True:
        path = os.path.dirname(path)
        yield path or "/"
        if path in ("", "/"):
            return


def _inside(kind: str, options: dict[str, object]) -> Iterator[Rest]:
    """Open the store and look whether a vault lives in it. Several processes may have one open."""
    from strongroom.storage.completion import drive
    from strongroom.vault.assemble import open_backend

    if not os.listdir(str(options["path"])):
        yield OK, "the folder is empty: a new store will be made in it"
        return
    backend = open_backend({kind: options})
    try:
        entry = drive(backend.get("core/seal-config"))
    finally:
        drive(backend.close())
    yield OK, f"the {kind} store opens; {'it holds a vault' if entry else 'no vault is initialized in it'}"


def _audit(subject: Subject) -> Iterator[Rest]:
    config = subject.config
    if config is None:
        return
    if not config.audit:
        hint = "add an audit stanza, or: strongroom audit enable file file_path=audit.log"
        more = " and audit_required is set: every request is refused" if config.audit_required else ""
        yield (FAIL if more else WARN), f"no audit device is in the configuration{more}", hint
    folder = config.audit_dir
    if folder and folder != "/" and not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        yield FAIL, f"audit_dir {folder} is not a folder that can be written"


def _host(subject: Subject) -> Iterator[Rest]:
    """Swap, core dumps, locked memory and open files: where keys might end up, or the server might stop."""
    swap = _swap_bytes()
    locked, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    unlimited = resource.RLIM_INFINITY
    if locked != unlimited and locked < KEY_MEMORY:
        hint = "raise it with ulimit -l, or LimitMEMLOCK= of the service"
        yield (WARN if swap else OK), f"only {locked // 1024} KiB of memory may be locked against swapping", hint
    else:
        yield OK, f"memory may be locked; {'swap is on' if swap else 'there is no swap'}"
    core, _ = resource.getrlimit(resource.RLIMIT_CORE)
    yield OK, f"core dumps are {'on' if core else 'off'} here; the server turns them off for itself"
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != unlimited and files < 1024:
        yield WARN, f"only {files} files and connections may be open", "raise it with ulimit -n, or LimitNOFILE="
    if os.geteuid() == 0:
        yield WARN, "this runs as root, and a server should not", "run it as a user of its own"


def _swap_bytes() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith("SwapTotal:")), 0)
    except OSError:
        return 0


def _time(subject: Subject) -> Iterator[Rest]:
    now = time.time()
    if now < EARLIEST:
        yield FAIL, "the clock is years behind; tokens and leases would not expire", "set the clock, keep it with NTP"
        return
    try:
        body = subject.session.transport.exchange(calls.read("sys/health")).body or {}
    except VaultError:
        body = {}
    there = body.get("server_time_utc")
    if isinstance(there, int) and abs(there - now) > SKEW:
        yield WARN, f"the clocks of this machine and the server are {abs(there - now):.0f} s apart", "use NTP on both"
    else:
        yield OK, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))


def _listeners(subject: Subject) -> Iterator[Rest]:
    for listener in subject.config.listeners if subject.config else ():
        if listener.kind != "tcp":
            continue
        host, _, port = listener.address.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host.strip("[]"), int(port)))
                yield OK, f"{listener.address} is free"
            except OSError as error:
                in_use = error.errno == errno.EADDRINUSE  # most likely by the server itself
                yield (OK if in_use else FAIL), f"{listener.address}: {(error.strerror or 'cannot be bound').lower()}"


def _seal(subject: Subject) -> Iterator[Rest]:
    try:
        status = subject.session.call(calls.seal_status(), aside=True).body or {}
    except (Refused, Unreachable) as error:
        yield WARN, f"no server tells its seal status: {error}", "set VAULT_ADDR when it runs"
        return
    if not status.get("initialized"):
        yield WARN, "the vault is not initialized", "strongroom operator init"
    elif status.get("sealed"):
        done = f"{status.get('progress') or 0} of {status.get('t') or 0} shares given"
        yield WARN, f"the vault is sealed, {done}", "strongroom operator unseal"
    else:
        yield OK, f"the vault is open; {status.get('t')} of {status.get('n')} shares open it after a restart"


def _root_token(subject: Subject) -> Iterator[Rest]:
    how = (
        "a lost root token comes back by a restart with unauthenticated_operator_endpoints = true, then "
        "strongroom operator generate-root -init and enough key shares; take the setting out again afterwards"
    )
    if subject.config is not None and subject.config.unauthenticated_operator_endpoints:
        says = "unauthenticated_operator_endpoints is set: anybody may start or cancel a rekey or a root token"
        yield WARN, says, "take it out when it is no longer needed"
    else:
        yield OK, how


CHECKS: dict[str, Callable[[Subject], Iterator[Rest]]] = {
    "storage": _storage,
    "audit": _audit,
    "listener": _listeners,
    "host": _host,
    "time": _time,
    "seal": _seal,
    "root token": _root_token,
}
