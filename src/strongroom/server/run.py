"""What starts a server: from configuration files, for development, for ``make serve``. Each blocks until it ends."""

import os
import shlex
import sys
import tempfile
from collections.abc import Sequence

import msgspec

from strongroom.errors import BadRequest
from strongroom.server.config import ServerConfig, Storage, load
from strongroom.server.config_listener import Listener, Tls
from strongroom.server.dev import KEEP_FILE, BringUp
from strongroom.server.supervisor import DEFAULT_NODE, Supervisor

DEV_LISTEN = "127.0.0.1:8200"


def serve(paths: Sequence[str], *, node: str = DEFAULT_NODE) -> int:
    """A server with the configuration in ``paths``. The exit code. Raises BadRequest for a bad configuration."""
    config = load(paths)
    supervisor = Supervisor(config, node=node, reread=lambda: load(paths), on_ready=_started)
    for warning in config.warnings:
        supervisor.log.warn(warning)
    return supervisor.run()


def run_dev(
    *,
    root_token_id: str = "",
    listen_address: str = DEV_LISTEN,
    tls: bool = False,
    tls_cert_dir: str = "",
    no_kv: bool = False,
    config_paths: Sequence[str] = (),
    log_level: str = "",
    node: str = DEFAULT_NODE,
) -> int:
    """``server -dev``: a store in memory, unsealed, kv version 2 at ``secret/``. Prints share and root token.

    ``config_paths`` may set anything but storage and listeners. Raises BadRequest.
    """
    files: Tls | None = None
    notes: list[str] = []
    if tls or tls_cert_dir:
        files, folder = _dev_tls(tls_cert_dir, listen_address)
        notes.append(f"CA certificate: {os.path.join(folder, 'vault-ca.pem')}")
    config = _development(listen_address, Storage(kind="inmem"), files, config_paths)
    if log_level:
        config = msgspec.structs.replace(config, log_level=log_level)
    if not config.audit_dir:
        config = msgspec.structs.replace(config, audit_dir=os.getcwd())
    wish = BringUp(root_token=root_token_id, mount_kv=not no_kv, notes=tuple(notes))
    return Supervisor(config, node=node, bring_up=msgspec.to_builtins(wish), on_ready=_started).run()


def serve_development(data_dir: str = "strongroom-data", listen: str = DEV_LISTEN, *, node: str = DEFAULT_NODE) -> int:
    """``make serve``: an LMDB store in ``data_dir``, unsealed at each start with the share kept beside it.

    Raises:
        BadRequest: a bad address, or a data folder that others can read.
    """
    from strongroom.storage.folder import private_folder

    folder = private_folder(data_dir, "development server")
    keep = os.path.join(folder, KEEP_FILE)
    config = _development(listen, Storage(kind="lmdb", options={"path": os.path.join(folder, "store")}), None, ())
    config = msgspec.structs.replace(config, audit_dir=config.audit_dir or folder)
    url, program = config.listeners[0].url(), shlex.quote(_program())
    notes = (
        f"Address: {url}",
        "",
        f"WARNING: for development only. The unseal key and the root token are kept in {keep}.",
        "To try it, paste into another terminal:",
        f"  export VAULT_ADDR={shlex.quote(url)} VAULT_TOKEN={{root_token}}",
        f"  {program} kv put secret/hello greeting=world",
        f"  {program} kv get secret/hello",
    )
    wish = BringUp(keep=keep, notes=notes)
    return Supervisor(config, node=node, bring_up=msgspec.to_builtins(wish), on_ready=lambda _s: None).run()


def _program() -> str:
    """How the command line is called from here: by its path if this interpreter has one beside it."""
    path = os.path.join(os.path.dirname(sys.executable), "strongroom")
    return os.path.relpath(path) if os.path.exists(path) else "strongroom"


def _development(address: str, storage: Storage, files: Tls | None, paths: Sequence[str]) -> ServerConfig:
    listener = Listener(kind="tcp", address=_with_port(address), tls=files)
    try:
        listener.host_port()
    except ValueError:
        raise BadRequest(f"{address} is not an address (host:port)") from None
    environ = {name: value for name, value in os.environ.items() if name != "VAULT_LOCAL_CONFIG"}
    base = ServerConfig(listeners=(listener,), storage=storage)
    if not paths:
        return _with_environment(base, environ)
    given = load(paths, environ, partial=True)
    return msgspec.structs.replace(given, listeners=base.listeners, storage=base.storage)


def _with_environment(base: ServerConfig, environ: dict[str, str]) -> ServerConfig:
    given = load([], environ, partial=True)
    return msgspec.structs.replace(given, listeners=base.listeners, storage=base.storage)


def _with_port(address: str) -> str:
    return address if ":" in address.rpartition("]")[2] else f"{address}:8200"


def _dev_tls(folder: str, address: str) -> tuple[Tls, str]:
    from strongroom.server.tls import development_files

    folder = os.path.abspath(folder) if folder else tempfile.mkdtemp(prefix="strongroom-tls-")
    os.makedirs(folder, exist_ok=True)
    host = address.rpartition(":")[0].strip("[]")
    addresses = {"127.0.0.1", "::1"}
    names = {"localhost"}
    if host and host not in ("0.0.0.0", "::"):  # noqa: S104 - a name for "every interface", not bound here
        (addresses if host.replace(".", "").isdigit() or ":" in host else names).add(host)
    return development_files(folder, tuple(sorted(names)), tuple(sorted(addresses))), folder


def _started(supervisor: Supervisor) -> None:
    where = ", ".join(one.listener.url() for one in supervisor.opened)
    try:
        sys.stdout.write(f"Strongroom server started: {where}\n")
        sys.stdout.flush()
    except OSError:
        pass  # nobody reads
