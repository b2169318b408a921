"""Batch tokens: ``hvb.`` and the sealed entry, base64url without padding. See docs/formats/batch-token.md.

version (1 byte, = 1) || nonce (12) || AES-256-GCM(key, msgpack entry, AAD "batch-token")
"""

import base64

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.core.names import BATCH_PREFIX
from strongroom.core.token_entry import TokenEntry

_AAD = b"batch-token"
_MAX = 64 * 1024  # characters; longer ones are not looked at


def seal_batch(key: bytes, entry: TokenEntry, nonce: bytes) -> str:
    """The token that carries ``entry``.

    Args:
        key: 32 bytes.
        entry: what it grants.
        nonce: 12 random bytes (NIST SP 800-38D section 8.2.2).
    """
    sealed = AESGCM(key).encrypt(nonce, msgspec.msgpack.encode(entry), _AAD)
    return BATCH_PREFIX + base64.urlsafe_b64encode(b"\x01" + nonce + sealed).rstrip(b"=").decode()


def open_batch(key: bytes, token: str) -> TokenEntry | None:
    """The entry in a batch token, or None if it was not made with ``key``."""
    text = token[len(BATCH_PREFIX) :]
    if not token.startswith(BATCH_PREFIX) or len(text) > _MAX:
        return None
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if raw[:1] != b"\x01" or len(raw) < 30:
            return None
        plain = AESGCM(key).decrypt(raw[1:13], raw[13:], _AAD)
        return msgspec.msgpack.decode(plain, type=TokenEntry)
    except (ValueError, InvalidTag, msgspec.MsgspecError):
        return None
