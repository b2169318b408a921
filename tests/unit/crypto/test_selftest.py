"""The self-test passes here, is quick, and fails when a primitive does."""

import hashlib
import hmac
import time

import pytest

from strongroom.crypto import selftest, shamir
from strongroom.errors import VaultError


def test_it_passes_and_is_quick() -> None:
    started = time.process_time()
    selftest.run()
    assert time.process_time() - started < 0.05


class _AcceptsAnything:
    def __init__(self, key: bytes) -> None: ...

    def encrypt(self, *_: object) -> bytes:
        return selftest._GCM_SEALED

    def decrypt_into(self, nonce: object, data: object, aad: object, buffer: bytearray) -> int:
        buffer[:] = selftest._GCM_PLAIN
        return len(buffer)

    def decrypt(self, *_: object) -> bytes:
        return selftest._GCM_PLAIN


@pytest.mark.parametrize(
    ("name", "module", "attribute", "broken"),
    [
        ("AES-256-GCM", selftest, "AESGCM", _AcceptsAnything),
        ("SHA-256", hashlib, "sha256", hashlib.sha1),
        ("HMAC-SHA-256", hmac, "new", lambda *_: hmac.HMAC(b"k", b"m", "sha256")),
        ("Shamir", shamir, "combine", lambda shares: bytearray(32)),
        ("Shamir", shamir, "split", lambda *_: 1 / 0),
    ],
)
def test_a_broken_primitive_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, module: object, attribute: str, broken: object
) -> None:
    monkeypatch.setattr(module, attribute, broken)
    with pytest.raises(VaultError, match=f"self-test failed: {name}"):
        selftest.run()
