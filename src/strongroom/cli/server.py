"""The command ``server``: reads its flags and hands over to ``strongroom.server.run``, which is loaded only here."""

import os
import secrets
import string
from typing import Any

from strongroom.cli import terminal
from strongroom.cli.command import command, switch, value
from strongroom.cli.hints import Misused
from strongroom.cli.session import Session
from strongroom.client.settings import variable

_ALPHABET = string.ascii_letters + string.digits
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
    if flags["check_config"]:
        return check(config)
    from strongroom.server import run

    if dev:
        return _run_dev(session, config, level, flags)
    if level:
        os.environ["STRONGROOM_LOG_LEVEL"] = level
    return run.serve(list(config))


def check(paths: tuple[str, ...]) -> int:
    """Say what is wrong with each configuration; warnings alone are no failure."""
    from strongroom.server.config_check import check_config

    bad = False
    for problem in [problem for path in paths for problem in check_config(path)]:
        if problem.startswith("warning: "):
            terminal.note(problem)
        else:
            terminal.error(problem)
            bad = True
    if not bad:
        terminal.say("The configuration can be used.")
    return int(bad)


def _check_flags(session: Session, config: tuple[str, ...], flags: dict[str, Any], dev: bool) -> None:
    """Refuse flags that do not go together."""
    if flags["check_config"] and not config:
        raise Misused("-check-config needs -config")
    given = [f"-{name.replace('_', '-')}" for name in _DEV_FLAGS if flags[name]]
    if given and not dev:
        raise Misused(f"{given[0]} goes with -dev only")
    if not dev and not config and not variable(session.environ, "LOCAL_CONFIG"):
        raise Misused("no configuration is given", "name it with -config, or try the server with -dev")


def _run_dev(session: Session, config: tuple[str, ...], level: str, flags: dict[str, Any]) -> int:
    """Run a development server; its root token is kept as ``login`` would keep it, unless that is not wanted."""
    from strongroom.server import run

    options: dict[str, Any] = {
        "root_token_id": flags["dev_root_token_id"] or variable(session.environ, "DEV_ROOT_TOKEN_ID"),
        "tls": bool(flags["dev_tls"]),
        "tls_cert_dir": flags["dev_tls_cert_dir"] or "",
        "no_kv": bool(flags["dev_no_kv"]),
        "config_paths": list(config),
        "log_level": level,
    }
    if address := flags["dev_listen_address"] or variable(session.environ, "DEV_LISTEN_ADDRESS"):
        options["listen_address"] = address
    if flags["dev_no_store_token"]:
        return run.run_dev(**options)
    options["root_token_id"] = options["root_token_id"] or new_token()
    before = session.tokens.get()
    session.tokens.put(options["root_token_id"])
    code = 1
    try:
        code = run.run_dev(**options)
    finally:
        if code and before:
            session.tokens.put(before)
        elif code:
            session.tokens.erase()
    return code


def new_token() -> str:
    """A root token for a development server, in the form of every other token."""
    return "hvs." + "".join(secrets.choice(_ALPHABET) for _ in range(24))
