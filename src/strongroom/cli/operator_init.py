"""The commands ``operator init``, ``unseal`` and ``seal``."""

from collections.abc import Mapping
from typing import Any

from strongroom.cli import terminal
from strongroom.cli.command import argument, command, switch, value
from strongroom.cli.hints import Failed, Misused
from strongroom.cli.session import Session
from strongroom.cli.status import ask_leader, show_status
from strongroom.client import calls

SHARES = value("key-shares", "Into how many shares the key is split (default 5).", kind=int, short="n")
THRESHOLD = value("key-threshold", "How many shares open the vault (default 3).", kind=int, short="t")
UNINITIALISED = 2


@command(
    "init",
    SHARES,
    THRESHOLD,
    switch("status", "Only tell whether the vault is initialized; exit code 0 yes, 2 no."),
    value("recovery-shares", "Accepted for outside seals.", kind=int),
    value("recovery-threshold", "Accepted for outside seals.", kind=int),
    field=True,
)
def init(session: Session, key_shares: int | None, key_threshold: int | None, status: bool | None, **_: Any) -> int:
    """Initialize a new vault and print its key shares and root token, once."""
    if status:
        return _init_status(session)
    shares = 5 if key_shares is None else key_shares
    threshold = 3 if key_threshold is None else key_threshold
    found = session.call(calls.init(shares, threshold)).body or {}
    keys = found.get("keys_base64") or []
    recovery = found.get("recovery_keys_base64") or []
    shown = {
        "unseal_keys_b64": keys,
        "unseal_keys_hex": found.get("keys") or [],
        "unseal_shares": shares,
        "unseal_threshold": threshold,
        "recovery_keys_b64": recovery,
        "recovery_keys_hex": found.get("recovery_keys") or [],
        "recovery_keys_shares": len(recovery),
        "recovery_keys_threshold": threshold if recovery else 0,
        "root_token": found.get("root_token") or "",
    }
    return session.show_data(shown, _init_text(shown, shares, threshold))


def _init_status(session: Session) -> int:
    ready = bool((session.call(calls.init_status()).body or {}).get("initialized"))
    session.show_data({"Initialized": ready}, f"Vault is {'' if ready else 'not '}initialized")
    return 0 if ready else UNINITIALISED


def _init_text(shown: Mapping[str, Any], shares: int, threshold: int) -> str:
    lines = [f"Unseal Key {at}: {key}" for at, key in enumerate(shown["unseal_keys_b64"], 1)]
    lines += [f"Recovery Key {at}: {key}" for at, key in enumerate(shown["recovery_keys_b64"], 1)]
    return "\n".join(
        [
            *lines,
            "",
            f"Initial Root Token: {shown['root_token']}",
            "",
            f"Vault initialized with {shares} key shares and a key threshold of {threshold}.",
            "Give the shares to different people: this is the only time they are shown, and",
            f"without {threshold} of them nobody can open the vault after it was sealed or restarted.",
        ]
    )


@command(
    "unseal",
    switch("reset", "Forget the shares given so far."),
    switch("migrate", "Accepted for outside seals."),
    argument("key", required=False),
)
def unseal(session: Session, key: str | None, reset: bool | None, **_: Any) -> int:
    """Give one share of the unseal KEY; without one it is asked for, which keeps it out of the shell's history."""
    if reset:
        return _after(session, session.call(calls.unseal_reset()).body or {})
    if key == "-":
        share = session.stdin.take().strip()
    else:
        share = (key or session.ask_secret("Unseal Key", "give the share, or - to read it from standard input")).strip()
    if not share:
        raise Misused("no key share was given")
    return _after(session, session.call(calls.unseal(share)).body or {})


def _after(session: Session, status: Mapping[str, Any]) -> int:
    """Show the status that an unseal step leaves. The step itself succeeded, so the exit code is 0."""
    show_status(session, status, ask_leader(session))
    return 0


@command("seal", form=False)
def seal(session: Session) -> int:
    """Seal the vault: its keys leave the memory of the server, and it answers nothing until it is unsealed."""
    answer = session.call(calls.seal())
    if answer.status >= 300:
        raise Failed(f"the server answered {answer.status}")
    terminal.say("Success! Vault is sealed.")
    return 0
