"""Hash chains over lines, and Ed25519 signatures (RFC 8032) over their heads: what makes a log tamper evident.

Anybody can follow a chain; only the holder of the seed can sign how far it had come. Page: docs/formats/audit-chain.md.
"""

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SEED = 32  # bytes
HEAD = 32  # bytes
_START = b"strongroom audit chain 1\0"
_SIGNED = b"strongroom audit checkpoint 1\0"


def start(writer: bytes) -> bytes:
    """The head (32 bytes) of a chain without links; ``writer`` is its name, so chains cannot be exchanged."""
    return hashlib.sha256(_START + writer).digest()


def link(head: bytes, line: bytes) -> bytes:
    """The head (32 bytes) after ``line`` (any length) was added behind ``head`` (32 bytes)."""
    return hashlib.sha256(head + line).digest()


class Signer:
    """Signs heads. ``seed``: 32 random bytes, the Ed25519 private key."""

    __slots__ = ("_key", "public")

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)  # 32 bytes

    def __repr__(self) -> str:
        return "Signer()"

    def sign(self, text: bytes) -> bytes:
        """64 bytes (RFC 8032, section 5.1.6) over ``text`` under this format's own prefix."""
        return self._key.sign(_SIGNED + text)


def signed(public: bytes, text: bytes, signature: bytes) -> bool:
    """Whether ``signature`` (64 bytes) over ``text`` was made by the holder of ``public`` (32 bytes)."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _SIGNED + text)
    except (InvalidSignature, ValueError):
        return False
    return True
