"""User names by Vault's template: ``v-<display name>-<role>-<random>-<unix time>``."""

import os
import unicodedata

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_PART = 8  # characters of display name and role
_RANDOM = 20  # characters: 119 bits


def user_name(display_name: str, role: str, now: float, *, limit: int) -> str:
    """A name that nobody has: 20 random letters and digits are in it even after it was cut.

    Characters other than letters, digits and ``_.@-`` become ``-``, so that a name is harmless wherever it is put.

    Args:
        display_name: of the caller, any text; its first 8 characters are used.
        role: likewise.
        now: seconds since the Unix epoch.
        limit: bytes of UTF-8, at least 32. The time is cut first, then the readable part, never the random part.
    """
    head = f"v-{_harmless(display_name)}-{_harmless(role)}-"
    drawn = random_text(_RANDOM)
    if len((head + drawn).encode()) > limit:
        head = head.encode()[: limit - _RANDOM].decode(errors="ignore")
    return f"{head}{drawn}-{int(now)}".encode()[:limit].decode(errors="ignore").rstrip("-")


def random_text(length: int) -> str:
    """``length`` letters and digits, each drawn uniformly (bytes of 248 and more are drawn again)."""
    out = ""
    while len(out) < length:
        out += "".join(_ALPHABET[byte % 62] for byte in os.urandom(2 * length) if byte < 248)
    return out[:length]


def default_password() -> str:
    """20 characters (about 119 bits), with a small letter, a capital, a digit and a dash among them."""
    while True:
        drawn = random_text(19)
        if any(c.islower() for c in drawn) and any(c.isupper() for c in drawn) and any(c.isdigit() for c in drawn):
            place = 1 + int.from_bytes(os.urandom(4)) % 18
            return drawn[:place] + "-" + drawn[place:]


def _harmless(text: str) -> str:
    plain = unicodedata.normalize("NFC", text)
    return "".join(c if c.isalnum() or c in "_.@-" else "-" for c in plain)[:_PART]
