"""Known answers for every primitive, checked at start: a vault whose cryptography is broken must not unseal.

Sources: AES-256-GCM, test case 16 of McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)"; HMAC-SHA-256,
RFC 4231 test case 2; SHA-256, FIPS 180-4 example "abc"; Shamir shares made by another implementation
(tests/vectors/shamir/SOURCES.md).
"""

import hashlib
import hmac
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.crypto import shamir
from strongroom.errors import VaultError

_GCM_KEY = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
_GCM_NONCE = bytes.fromhex("cafebabefacedbaddecaf888")
_GCM_AAD = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
_GCM_PLAIN = bytes.fromhex(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
)
_GCM_SEALED = bytes.fromhex(
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
    "76fc6ece0f4e1768cddf8853bb2d551b"
)
_HMAC = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
_SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
_SECRET = "b3537e5c5544f22a63656b4bdb97644f49d817661e0583fd264a54fab15c9b43"
_SHARES = (  # any two
    "b92e463a6304be0d166050fa95fd42a538712b1b81acbb92ebcb048629d4c04807",
    "4307087bb31e084ff71d35511110197cbd990132b944f50270e695b65e28b2ab48",
    "8b74502ffd513eee2379b88a483d02cfb7b08741de6dad4b62c28f7f3211dad943",
)


def run() -> None:
    """Check every primitive (a few milliseconds). Raises VaultError naming the one that failed."""
    for name, passes in _CHECKS.items():
        try:
            good = passes()
        except Exception as error:  # whatever a broken library throws
            raise VaultError(f"cryptographic self-test failed: {name}") from error
        if not good:
            raise VaultError(f"cryptographic self-test failed: {name}")


def _aes_gcm() -> bool:
    cipher = AESGCM(_GCM_KEY)
    sealed = cipher.encrypt(_GCM_NONCE, _GCM_PLAIN, _GCM_AAD)
    opened = bytearray(len(_GCM_PLAIN))
    cipher.decrypt_into(_GCM_NONCE, _GCM_SEALED, _GCM_AAD, opened)
    return sealed == _GCM_SEALED and opened == _GCM_PLAIN and _refuses_a_forgery(cipher)


def _refuses_a_forgery(cipher: AESGCM) -> bool:
    forged = _GCM_SEALED[:-1] + bytes((_GCM_SEALED[-1] ^ 1,))
    try:
        cipher.decrypt(_GCM_NONCE, forged, _GCM_AAD)
    except InvalidTag:
        return True
    return False


def _sha256() -> bool:
    return hashlib.sha256(b"abc").hexdigest() == _SHA256


def _hmac_sha256() -> bool:
    return hmac.new(b"Jefe", b"what do ya want for nothing?", "sha256").hexdigest() == _HMAC


def _shamir() -> bool:
    shares = [bytes.fromhex(share) for share in _SHARES]
    secret = bytes.fromhex(_SECRET)
    pairs = ((0, 1), (0, 2), (1, 2))
    combined = all(shamir.combine([shares[a], shares[b]]) == secret for a, b in pairs)
    made = shamir.split(secret, 4, 3)
    return combined and shamir.combine(made[1:]) == secret and shamir.combine(made[:2]) != secret


_CHECKS: dict[str, Callable[[], bool]] = {
    "AES-256-GCM": _aes_gcm,
    "SHA-256": _sha256,
    "HMAC-SHA-256": _hmac_sha256,
    "Shamir": _shamir,
}
