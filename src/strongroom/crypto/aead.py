"""AES-256-GCM sealing of stored values (docs/formats/barrier-entry.md).

    term, 4 bytes big-endian | version, 1 byte | nonce, 12 bytes | ciphertext | tag, 16 bytes

The associated data are the first five bytes followed by the key path in UTF-8, so a value opens only at its own key
and with its own header. Nonces are random (NIST SP 800-38D, 8.2.2): at most 2**32 values under one key.
"""

import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.crypto.memory import SecretBytes
from strongroom.errors import IntegrityError

VERSION = 1
KEY_BYTES = 32
HEADER = 5  # term and version
NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD = HEADER + NONCE_BYTES + TAG_BYTES
MAX_SEALED = 2**32  # values under one key with random nonces
NO_TERM = 0  # of values that are not under a term: the wrapped keys and the keyring
_BODY = HEADER + NONCE_BYTES
_COPY_BELOW = 1024  # bytes; slicing beats a memoryview up to about here

Rng = Callable[[int], bytes]


class _Damaged(Exception):
    """Names the key of an entry that failed, for the server log."""


def new_key(rng: Rng = os.urandom) -> SecretBytes:
    """A random AES-256 key."""
    return SecretBytes.take_over(bytearray(rng(KEY_BYTES)))


def cipher_of(key: SecretBytes) -> AESGCM:
    """The cipher under ``key`` (32 bytes). It keeps a copy of its own until it is deleted."""
    return AESGCM(key.view())


def header(term: int) -> bytes:
    """The first five bytes of every value sealed under ``term`` (0 .. 2**32-1)."""
    return term.to_bytes(4, "big") + bytes((VERSION,))


def seal(cipher: AESGCM, head: bytes, key: str, plaintext: bytes | memoryview, *, rng: Rng = os.urandom) -> bytes:
    """``plaintext`` sealed for the key path ``key``: ``OVERHEAD`` bytes longer. ``head`` is from ``header``."""
    return seal_with(rng(NONCE_BYTES), cipher, head, key, plaintext)


def seal_with(nonce: bytes, cipher: AESGCM, head: bytes, key: str, plaintext: bytes | memoryview) -> bytes:
    """``seal`` with a nonce (12 random bytes) that is used for nothing else."""
    return head + nonce + cipher.encrypt(nonce, plaintext, head + key.encode())


def open_sealed(cipher: AESGCM, key: str, sealed: bytes) -> bytes:
    """The plaintext of what was sealed for ``key``. Raises IntegrityError."""
    body = sealed[_BODY:] if len(sealed) < _COPY_BELOW else memoryview(sealed)[_BODY:]
    try:
        return cipher.decrypt(sealed[HEADER:_BODY], body, sealed[:HEADER] + key.encode())
    except (InvalidTag, ValueError) as error:  # ValueError: too short to hold a nonce
        raise damaged(key) from error


def open_into(cipher: AESGCM, key: str, sealed: bytes) -> SecretBytes:
    """As ``open_sealed``, straight into locked memory. Raises IntegrityError."""
    size = len(sealed) - OVERHEAD
    if size < 1 or sealed[:HEADER] != header(NO_TERM):
        raise damaged(key)
    secret = SecretBytes(size)
    try:
        cipher.decrypt_into(sealed[HEADER:_BODY], sealed[_BODY:], sealed[:HEADER] + key.encode(), secret.view())
    except InvalidTag as error:
        secret.close()
        raise damaged(key) from error
    return secret


def wrap(wrapping: SecretBytes, key: str, secret: SecretBytes, *, rng: Rng = os.urandom) -> bytes:
    """``secret`` sealed under ``wrapping`` for the key path ``key``."""
    return seal(cipher_of(wrapping), header(NO_TERM), key, secret.view(), rng=rng)


def unwrap(wrapping: SecretBytes, key: str, sealed: bytes) -> SecretBytes:
    """What ``wrap`` sealed. Raises IntegrityError: another wrapping key, another key path, or tampered with."""
    return open_into(cipher_of(wrapping), key, sealed)


def damaged(key: str) -> IntegrityError:
    """The one error of every failed opening; the key path goes to the log only."""
    error = IntegrityError("a stored entry fails authentication")
    error.__cause__ = _Damaged(key)
    return error
