"""Generate-root: the shares prove the authority, the one-time password carries the token."""

import base64
import string

import msgspec
import pytest

from strongroom.core.generate_root import (
    OTP_LENGTH,
    GenerateRoot,
    GenerateRootStatus,
    decode_token,
    encode_token,
    new_otp,
)
from strongroom.core.seal import InitResult
from strongroom.errors import BadRequest, NotInitialized
from strongroom.storage.memory import MemoryStore
from unit.core.seal_world import WRONG, initialised

TOKEN = "hvs.abcdefghijklmnopqrstuvwx"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def keys(store: MemoryStore) -> InitResult:
    return await initialised(store)


@pytest.fixture
def root(store: MemoryStore, keys: InitResult) -> GenerateRoot:
    return GenerateRoot(store)


async def test_it_answers_as_recorded(root: GenerateRoot, keys: InitResult) -> None:
    idle = GenerateRootStatus("", False, 0, 2, otp_length=28)
    assert await root.status() == idle
    begun = await root.start()
    assert list(msgspec.to_builtins(begun)) == [
        "nonce", "started", "progress", "required", "complete", "encoded_token", "encoded_root_token",
        "pgp_fingerprint", "otp", "otp_length",
    ]  # fmt: skip
    assert len(begun.otp) == begun.otp_length == OTP_LENGTH == len(TOKEN)
    assert await root.status() == msgspec.structs.replace(begun, otp="")
    with pytest.raises(BadRequest, match="^root generation already in progress for this namespace$"):
        await root.start()
    one = await root.submit(keys.keys[0], begun.nonce)
    assert one == GenerateRootStatus(begun.nonce, True, 1, 2)
    last = await root.submit(keys.keys_base64[1], begun.nonce)
    assert last == GenerateRootStatus(begun.nonce, True, 2, 2, True)
    assert await root.status() == idle
    done = root.finish(TOKEN)
    assert done.encoded_token == done.encoded_root_token and "=" not in done.encoded_token
    assert decode_token(done.encoded_token, begun.otp) == TOKEN
    with pytest.raises(BadRequest):
        root.finish(TOKEN)


async def test_an_otp_may_be_brought_along(root: GenerateRoot, keys: InitResult) -> None:
    otp = "x" * 28
    begun = await root.start(otp)
    assert (begun.otp, begun.otp_length) == ("", 28)  # who brought it knows it
    for share in keys.keys[1:]:
        await root.submit(share, begun.nonce)
    assert decode_token(root.finish(TOKEN).encoded_token, otp) == TOKEN


@pytest.mark.parametrize("otp", ["short", "x" * 27, "x" * 29, "é" * 28])
async def test_an_otp_of_another_length(root: GenerateRoot, otp: str) -> None:
    with pytest.raises(BadRequest, match="^OTP string has incorrect length$"):
        await root.start(otp)


async def test_what_is_refused(root: GenerateRoot, keys: InitResult) -> None:
    with pytest.raises(BadRequest, match="PGP"):
        await root.start(pgp_key="x")
    with pytest.raises(BadRequest, match="no root generation in progress"):
        await root.submit(keys.keys[0], "")
    with pytest.raises(BadRequest, match="no root generation is complete"):
        root.finish(TOKEN)
    nonce = (await root.start()).nonce
    with pytest.raises(BadRequest, match="nonce"):
        await root.submit(keys.keys[0], "other")
    with pytest.raises(BadRequest, match="must be specified"):
        await root.submit("", nonce)
    for junk in ("zz", "00" * 32):
        with pytest.raises(BadRequest, match="valid hex or base64"):
            await root.submit(junk, nonce)
    await root.submit(keys.keys[0], nonce)
    with pytest.raises(BadRequest, match="already given"):
        await root.submit(keys.keys[0], nonce)
    with pytest.raises(NotInitialized):
        await GenerateRoot(MemoryStore()).start()


async def test_wrong_shares_prove_nothing(root: GenerateRoot, keys: InitResult) -> None:
    nonce = (await root.start()).nonce
    await root.submit(keys.keys[0], nonce)
    with pytest.raises(BadRequest) as caught:
        await root.submit("11" * 33, nonce)
    assert str(caught.value) == WRONG
    with pytest.raises(BadRequest):
        root.finish(TOKEN)
    assert (await root.status()).progress == 0 and (await root.status()).started


async def test_cancelling(root: GenerateRoot, keys: InitResult) -> None:
    root.cancel()
    nonce = (await root.start()).nonce
    await root.submit(keys.keys[0], nonce)
    with pytest.raises(BadRequest, match="nonce"):
        root.cancel("other")
    root.cancel(nonce)
    assert not (await root.status()).started
    nonce = (await root.start()).nonce
    for share in keys.keys[:2]:
        await root.submit(share, nonce)
    root.cancel()
    with pytest.raises(BadRequest):
        root.finish(TOKEN)


def test_encoding_a_recorded_kind_of_token() -> None:
    otp = "AG6uJo7U6LsZLUgMixn9OC1gMG"
    token = decode_token("MmleJQs9dDN3DhcIB2QkHiAIJkE+dlgrGHc", otp)  # a recorded answer
    assert token.startswith("s.") and len(token) == 26 and token[2:].isalnum()
    assert encode_token(token, otp) == "MmleJQs9dDN3DhcIB2QkHiAIJkE+dlgrGHc"
    padded = base64.b64encode(bytes(28)).decode()
    assert decode_token(padded, "o" * 28) == decode_token(padded.rstrip("="), "o" * 28) == "o" * 28


@pytest.mark.parametrize(
    ("encoded", "otp"), [("!!", "xx"), ("AAAA", "xx"), ("AAAA", "éxx"), ("gICA", "abc"), ("é", "x"), ("AAAAA", "abc")]
)
def test_what_does_not_decode(encoded: str, otp: str) -> None:
    with pytest.raises(BadRequest):
        decode_token(encoded, otp)


def test_tokens_and_otps_must_fit() -> None:
    for token, otp in ((TOKEN, "short"), (TOKEN, "é" * 28), ("€" * 28, "x" * 28)):
        with pytest.raises(BadRequest):
            encode_token(token, otp)


def test_otps_use_the_whole_alphabet_evenly() -> None:
    counts: dict[str, int] = {}
    for _ in range(500):
        for letter in new_otp():
            counts[letter] = counts.get(letter, 0) + 1
    assert set(counts) == set(string.ascii_letters + string.digits)
    expected = 500 * 28 / 62
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 130  # 61 degrees: p < 1e-6
