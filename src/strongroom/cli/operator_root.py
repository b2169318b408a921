"""The command ``operator generate-root``: a new root token out of the key shares."""

import base64
import binascii
import secrets
from typing import Any

from strongroom.cli import output, terminal
from strongroom.cli.command import argument, command, switch, value
from strongroom.cli.hints import Misused
from strongroom.cli.operator_keys import need_started, share_and_nonce, show_progress
from strongroom.cli.session import Session
from strongroom.client import calls
from strongroom.errors import BadRequest, VaultError

OTP_LENGTH = 28  # characters; as long as a token, hvs. and 24
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@command(
    "generate-root",
    switch("init", "Start."),
    switch("status", "Show how far it is."),
    switch("cancel", "Give it up."),
    switch("generate-otp", "Print a one-time password to start with."),
    value("decode", "Decode the encoded token that the last share gave (- reads it); needs -otp, and no server."),
    value("otp", "The one-time password."),
    value("nonce", "Nonce of the operation."),
    argument("key", required=False),
    field=True,
)
def generate_root(session: Session, key: str | None, decode: str | None, otp: str | None, **flags: Any) -> int:
    """Make a root token. Each holder of a share runs this once, giving the KEY share."""
    if sum(bool(flags[name]) for name in ("init", "status", "cancel", "generate_otp")) + (decode is not None) > 1:
        raise Misused("only one of -init, -status, -cancel, -generate-otp and -decode can be given")
    if decode is not None:
        return _decode(session, decode, otp)
    if flags["generate_otp"]:
        password = new_otp(_otp_length(session))
        if session.form in ("json", "yaml"):
            return session.show_data({"otp": password, "otp_length": len(password)})
        terminal.say_raw(password)
        return 0
    if flags["init"]:
        found = session.call(calls.generate_root_start(otp or "")).body or {}
        if found.get("otp"):
            terminal.note("The one-time password is shown once; it is needed to decode the token.\n")
        return show_progress(session, found, _rows(found))
    if flags["cancel"]:
        session.call(calls.generate_root_cancel())
        terminal.say("Success! Root token generation canceled (if it was started)")
        return 0
    status = session.call(calls.generate_root_status()).body or {}
    if flags["status"]:
        return show_progress(session, status, _rows(status))
    need_started(status, "root token generation", "strongroom operator generate-root -init")
    share, nonce = share_and_nonce(session, key, flags["nonce"], status, "root token generation")
    found = session.call(calls.generate_root_key(share, nonce)).body or {}
    return show_progress(session, found, _rows(found))


def _decode(session: Session, encoded: str, otp: str | None) -> int:
    if not otp:
        raise Misused("-decode needs the one-time password, with -otp")
    token = decode_token(session.stdin.take() if encoded == "-" else encoded, otp)
    if session.form in ("json", "yaml"):
        return session.show_data({"token": token})
    terminal.say_raw(token)
    return 0


def decode_token(encoded: str, otp: str) -> str:
    """The token in ``encoded``: base64 (padding optional) of the token's bytes XOR the OTP's bytes.

    Raises:
        BadRequest: ``encoded`` is not base64, is not as long as ``otp``, or the two do not belong together.
    """
    text = encoded.strip().rstrip("=")
    try:
        mixed = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest("the encoded token is not base64") from error
    password = otp.strip().encode("utf-8", "surrogateescape")
    if not mixed or len(mixed) != len(password):
        raise BadRequest("the one-time password and the encoded token are not equally long")
    token = bytes(a ^ b for a, b in zip(mixed, password, strict=True)).decode("ascii", "replace")
    if not token.isascii() or not token.isprintable():
        raise BadRequest("the one-time password does not belong to this encoded token")
    return token


def new_otp(length: int) -> str:
    """A one-time password of ``length`` letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _otp_length(session: Session) -> int:
    """What the server wants; without a server, the length of this program's own tokens."""
    try:
        length = (session.call(calls.generate_root_status(), aside=True).body or {}).get("otp_length")
    except VaultError:
        length = None
    return length if isinstance(length, int) and 0 < length <= 256 else OTP_LENGTH


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("Nonce", str(found.get("nonce") or "")),
        ("Started", output.go_value(bool(found.get("started")))),
        ("Progress", f"{found.get('progress') or 0}/{found.get('required') or 0}"),
        ("Complete", output.go_value(bool(found.get("complete")))),
    ]
    if encoded := found.get("encoded_token") or found.get("encoded_root_token"):
        rows.append(("Encoded Token", str(encoded)))
    if found.get("otp"):
        rows.append(("OTP", str(found["otp"])))
    if found.get("otp_length"):
        rows.append(("OTP Length", str(found["otp_length"])))
    return rows
