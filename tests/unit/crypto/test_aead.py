"""Sealed values open at their own key with every byte as written, and not otherwise."""

import pytest

from strongroom.crypto import aead
from strongroom.errors import IntegrityError

KEY = aead.new_key()
CIPHER = aead.cipher_of(KEY)


@pytest.mark.parametrize("size", [0, 1, 200, 1023, 1024, 70_000])
def test_round_trip(size: int) -> None:
    plain = b"p" * size
    sealed = aead.seal(CIPHER, aead.header(7), "a/b", plain)
    assert len(sealed) == size + aead.OVERHEAD and sealed[:5] == b"\x00\x00\x00\x07\x01"
    assert aead.open_sealed(CIPHER, "a/b", sealed) == plain


def test_every_byte_counts() -> None:
    sealed = aead.seal(CIPHER, aead.header(1), "a/b", b"plain")
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes((sealed[at] ^ 0x40,)) + sealed[at + 1 :]
        with pytest.raises(IntegrityError):
            aead.open_sealed(CIPHER, "a/b", changed)
    for cut in range(len(sealed)):
        with pytest.raises(IntegrityError):
            aead.open_sealed(CIPHER, "a/b", sealed[:cut])
    with pytest.raises(IntegrityError):
        aead.open_sealed(CIPHER, "a/b", sealed + b"\x00")


def test_it_opens_at_its_own_key_only() -> None:
    sealed = aead.seal(CIPHER, aead.header(1), "a/b", b"plain")
    for elsewhere in ("a/c", "a", "a/b/", ""):
        with pytest.raises(IntegrityError) as caught:
            aead.open_sealed(CIPHER, elsewhere, sealed)
        assert "a/" not in str(caught.value)  # the key path is for the log


def test_keys_wrap_keys() -> None:
    inner = aead.new_key()
    wrapped = aead.wrap(KEY, "core/x", inner)
    assert aead.unwrap(KEY, "core/x", wrapped) == inner
    with pytest.raises(IntegrityError):
        aead.unwrap(aead.new_key(), "core/x", wrapped)
    with pytest.raises(IntegrityError):
        aead.unwrap(KEY, "core/y", wrapped)
    for broken in (wrapped[:-1], wrapped[: aead.OVERHEAD], b"", b"\x00\x00\x00\x01" + wrapped[4:]):
        with pytest.raises(IntegrityError):
            aead.unwrap(KEY, "core/x", broken)


def test_a_known_random_source_makes_a_known_value() -> None:
    sealed = aead.seal(CIPHER, aead.header(1), "k", b"v", rng=lambda n: b"n" * n)
    assert sealed[5:17] == b"n" * 12
    assert sealed == aead.seal(CIPHER, aead.header(1), "k", b"v", rng=lambda n: b"n" * n)
