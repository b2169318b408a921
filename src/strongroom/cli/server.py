"""The command ``server``: reads its flags and hands over to ``strongroom.server.main``, which is loaded only here."""

import importlib
from typing import Any

from strongroom.cli.command import command, switch, value
from strongroom.cli.hints import Misused
from strongroom.cli.session import Session
from strongroom.client.settings import variable

LEVELS = ("trace", "debug", "info", "warn", "error")
_DEV_FLAGS = (
    "dev_root_token_id",
    "dev_listen_address",
    "dev_no_store_token",
    "dev_tls",
    "dev_tls_cert_dir",
    "dev_no_kv",
)


@command(
    "server",
    value("config", "Configuration file or folder (HCL, JSON or TOML); may be repeated.", many=True),
    switch("check-config", "Only check the configuration, and tell what is wrong with it."),
    value("log-level", f"One of {', '.join(LEVELS)}."),
    switch("dev", "For development: a store in memory, unsealed, with a known root token."),
    value("dev-root-token-id", "The root token of -dev (VAULT_DEV_ROOT_TOKEN_ID)."),
    value("dev-listen-address", "The address of -dev, as 127.0.0.1:8200 (VAULT_DEV_LISTEN_ADDRESS)."),
    switch("dev-no-store-token", "Do not write the root token of -dev to ~/.vault-token."),
    switch("dev-tls", "-dev with TLS and certificates of its own."),
    value("dev-tls-cert-dir", "Where -dev-tls writes its certificates."),
    switch("dev-no-kv", "-dev without a key-value store at secret/."),
    form=False,
    http=False,
)
def server(session: Session, config: tuple[str, ...], log_level: str | None, **flags: Any) -> int:
    """Run a server, in the foreground, until SIGINT or SIGTERM."""
    level = (log_level or variable(session.environ, "LOG_LEVEL") or "").lower()
    level = {"warning": "warn", "err": "error"}.get(level, level)
    if level and level not in LEVELS:
        raise Misused("unknown -log-level", f"use one of {', '.join(LEVELS)}")
    dev = bool(flags["dev"] or flags["dev_tls"])
    _check_flags(session, config, flags, dev)
    main = importlib.import_module("strongroom.server.main")
    if flags["check_config"]:
        return int(main.check(list(config)) or 0)
    if dev:
        return int(main.run_dev(dev_options(session, config, level, flags)) or 0)
    return int(main.run(list(config), level) or 0)


def _check_flags(session: Session, config: tuple[str, ...], flags: dict[str, Any], dev: bool) -> None:
    """Refuse flags that do not go together."""
    if flags["check_config"] and not config:
        raise Misused("-check-config needs -config")
    given = [f"-{name.replace('_', '-')}" for name in _DEV_FLAGS if flags[name]]
    if given and not dev:
        raise Misused(f"{given[0]} goes with -dev only")
    if not dev and not config and not variable(session.environ, "LOCAL_CONFIG"):
        raise Misused("no configuration is given", "name it with -config, or try the server with -dev")


def dev_options(session: Session, config: tuple[str, ...], level: str, flags: dict[str, Any]) -> dict[str, Any]:
    """What ``run_dev`` takes: plain names and values, flags before environment variables."""
    return {
        "config_paths": list(config),
        "log_level": level,
        "root_token_id": flags["dev_root_token_id"] or variable(session.environ, "DEV_ROOT_TOKEN_ID"),
        "listen_address": flags["dev_listen_address"]
        or variable(session.environ, "DEV_LISTEN_ADDRESS")
        or "127.0.0.1:8200",
        "store_token": not flags["dev_no_store_token"],
        "tls": bool(flags["dev_tls"]),
        "tls_cert_dir": flags["dev_tls_cert_dir"] or "",
        "kv": not flags["dev_no_kv"],
    }
