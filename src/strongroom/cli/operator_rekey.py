"""The command ``operator rekey``."""

from typing import Any

from strongroom.cli import output, terminal
from strongroom.cli.command import argument, command, switch, value
from strongroom.cli.hints import Misused
from strongroom.cli.operator_init import SHARES, THRESHOLD
from strongroom.cli.operator_keys import need_started, share_and_nonce, show_progress
from strongroom.cli.session import Session
from strongroom.client import calls

HEADS = ("Key", "Value")


@command(
    "rekey",
    switch("init", "Start."),
    switch("status", "Show how far it is."),
    switch("cancel", "Give it up."),
    switch("verify", "With -init: want the new shares given back before they count. Else: give one back."),
    SHARES,
    THRESHOLD,
    value("nonce", "Nonce of the operation."),
    switch("backup-retrieve", "Show the encrypted shares that a rekey kept."),
    switch("backup-delete", "Forget the encrypted shares that a rekey kept."),
    value("target", "Only barrier is known here."),
    argument("key", required=False),
    field=True,
)
def rekey(session: Session, key: str | None, key_shares: int | None, key_threshold: int | None, **flags: Any) -> int:
    """Make new key shares. Each holder of an old share runs this once, giving the KEY share."""
    if flags["target"] not in (None, "barrier"):
        raise Misused("-target must be barrier")
    if sum(bool(flags[name]) for name in ("init", "status", "cancel")) > 1:
        raise Misused("only one of -init, -status and -cancel can be given")
    if flags["backup_retrieve"]:
        return session.show_answer(session.call(calls.read("sys/rekey/backup")))
    if flags["backup_delete"]:
        session.call(calls.delete("sys/rekey/backup"))
        terminal.say("Success! Delete stored keys (if they existed)")
        return 0
    verify = bool(flags["verify"])
    if flags["init"]:
        shares = 5 if key_shares is None else key_shares
        threshold = 3 if key_threshold is None else key_threshold
        found = session.call(calls.rekey_start(shares, threshold, verification=verify)).body or {}
        terminal.note(
            "The new shares are shown once, when the last old share is given. Without them the vault is lost.\n"
        )
        return show_progress(session, found, _rows(found), HEADS)
    if flags["cancel"]:
        session.call(calls.rekey_cancel(flags["nonce"] or "", verify=verify))
        terminal.say("Success! Canceled rekeying (if it was started)")
        return 0
    status = session.call(calls.rekey_status(verify=verify)).body or {}
    if flags["status"]:
        return show_progress(session, status, _rows(status), HEADS)
    need_started(status, "verification of a rekey" if verify else "rekey", "strongroom operator rekey -init")
    share, nonce = share_and_nonce(session, key, flags["nonce"], status, "rekey")
    found = session.call(calls.rekey_key(share, nonce, verify=verify)).body or {}
    if not found.get("complete"):
        return show_progress(session, found or status, _rows(found or status), HEADS)
    if verify:
        return session.show_data(found, "Success! Rekey verified. The new shares count from now on.")
    return session.show_data(found, _done(found, status))


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    shares = [("New Shares", str(found.get("n") or 0)), ("New Threshold", str(found.get("t") or 0))]
    started = ("Started", output.go_value(bool(found.get("started"))))
    if "required" not in found:
        progress = f"{found.get('progress') or 0}/{found.get('t') or 0}"
        return [
            started,
            *shares,
            ("Verification Nonce", str(found.get("nonce") or "")),
            ("Verification Progress", progress),
        ]
    rows = [("Nonce", str(found.get("nonce") or "")), started]
    if found.get("started"):
        rows += [("Rekey Progress", f"{found.get('progress') or 0}/{found['required']}"), *shares]
        if "verification_required" in found:
            rows.append(("Verification Required", output.go_value(bool(found["verification_required"]))))
    return rows


def _done(found: dict[str, Any], status: dict[str, Any]) -> str:
    keys = found.get("keys_base64") or []
    lines = [f"Key {at}: {key}" for at, key in enumerate(keys, 1)]
    lines += ["", f"Operation nonce: {found.get('nonce') or ''}", ""]
    if found.get("verification_required"):
        lines += [
            f"Verification nonce: {found.get('verification_nonce') or ''}",
            "",
            "The old shares stay in force until enough of the new ones were given with",
            "strongroom operator rekey -verify -nonce=<verification nonce>.",
        ]
    else:
        lines += [f"Vault rekeyed with {len(keys)} key shares and a key threshold of {status.get('t') or 0}."]
    return "\n".join(lines)
