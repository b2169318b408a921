"""Rekey with and without verification, as recorded, and every way it can be interrupted."""

import msgspec
import pytest

from strongroom.core.rekey import Rekey, RekeyResult, RekeyStatus, VerifyResult, VerifyStatus
from strongroom.core.seal import InitResult, SealKeeper
from strongroom.errors import BadRequest, Conflict, NotInitialized, StorageFailed
from strongroom.storage.memory import MemoryStore
from unit.core.crashing_store import CrashingStore, Died, copy_of
from unit.core.seal_world import WRONG, initialised, now, opens


@pytest.fixture
def store() -> CrashingStore:
    return CrashingStore()


@pytest.fixture
async def old(store: CrashingStore) -> InitResult:
    return await initialised(store)


@pytest.fixture
def rekey(store: CrashingStore, old: InitResult) -> Rekey:
    return Rekey(store)


async def complete(rekey: Rekey, shares: tuple[str, ...], **how: bool) -> RekeyResult:
    """New shares (4, threshold 3) for two of the old ones."""
    nonce = (await rekey.start(4, 3, **how)).nonce
    await rekey.submit(shares[0], nonce)
    result = await rekey.submit(shares[1], nonce)
    assert isinstance(result, RekeyResult)
    return result


def keys(answer: msgspec.Struct) -> list[str]:
    return list(msgspec.to_builtins(answer))


async def test_it_answers_field_for_field_as_recorded(rekey: Rekey, old: InitResult) -> None:
    fields = [
        "nonce",
        "started",
        "t",
        "n",
        "progress",
        "required",
        "pgp_fingerprints",
        "backup",
        "verification_required",
    ]
    idle = RekeyStatus("", False, 0, 0, 0, 2)
    assert await rekey.status() == idle and keys(idle) == fields
    begun = await rekey.start(2, 2, require_verification=True)
    assert begun == RekeyStatus(begun.nonce, True, 2, 2, 0, 2, verification_required=True)
    one = await rekey.submit(old.keys[0], begun.nonce)
    assert one == msgspec.structs.replace(begun, progress=1) == await rekey.status()
    assert keys(one) == fields
    result = await rekey.submit(old.keys_base64[1], begun.nonce)
    assert isinstance(result, RekeyResult) and result.complete and result.verification_required
    assert keys(result) == [
        "nonce", "complete", "keys", "keys_base64", "pgp_fingerprints", "backup", "verification_required",
        "verification_nonce",
    ]  # fmt: skip
    waiting = await rekey.status()
    assert waiting.verification_nonce == result.verification_nonce and waiting.progress == 0
    assert rekey.verify_status() == VerifyStatus(str(result.verification_nonce), True, 2, 2, 0)
    nonce = str(result.verification_nonce)
    assert await rekey.verify(result.keys[0], nonce) == VerifyStatus(nonce, True, 2, 2, 1)
    assert await rekey.verify(result.keys[1], nonce) == VerifyResult(nonce, True)
    assert await rekey.status() == idle


async def test_without_verification_the_new_shares_hold_at_once(
    rekey: Rekey, store: CrashingStore, old: InitResult
) -> None:
    store.arm(0, "")
    result = await complete(rekey, old.keys)
    assert store.commits == 1 and len(result.keys) == 4
    assert "verification_nonce" not in keys(result)
    assert await opens(store, result.keys[1:]) and not await opens(store, old.keys[:2])
    assert (await rekey.status()).required == 3 and not (await rekey.status()).started


async def test_with_verification_the_old_shares_hold_until_the_end(
    rekey: Rekey, store: CrashingStore, old: InitResult
) -> None:
    result = await complete(rekey, old.keys, require_verification=True)
    nonce = str(result.verification_nonce)
    for share in result.keys[:2]:
        await rekey.verify(share, nonce)
        assert await opens(store, old.keys[:2]) and not await opens(store, result.keys[:3])
    assert await rekey.verify(result.keys[3], nonce) == VerifyResult(nonce, True)
    assert await opens(store, result.keys[:3]) and not await opens(store, old.keys[:2])


async def test_to_one_share_and_back(rekey: Rekey, store: CrashingStore, old: InitResult) -> None:
    nonce = (await rekey.start(1, 1, require_verification=True)).nonce
    await rekey.submit(old.keys[0], nonce)
    one = await rekey.submit(old.keys[2], nonce)
    assert isinstance(one, RekeyResult) and len(one.keys[0]) == 64
    with pytest.raises(BadRequest, match="'key' must be"):
        await rekey.verify(old.keys[0], str(one.verification_nonce))
    await rekey.verify(one.keys[0], str(one.verification_nonce))
    assert await opens(store, one.keys)
    nonce = (await rekey.start(3, 2)).nonce
    three = await rekey.submit(one.keys_base64[0], nonce)
    assert isinstance(three, RekeyResult) and await opens(store, three.keys[1:])


async def test_what_start_refuses(rekey: Rekey) -> None:
    for shares, threshold, text in ((0, 0, "shares must be at least one"), (2, 3, "threshold cannot be larger")):
        with pytest.raises(BadRequest, match=f"invalid rekey seal configuration: {text}"):
            await rekey.start(shares, threshold)
    for options in ({"pgp_keys": ["x"]}, {"backup": True}):
        with pytest.raises(BadRequest, match="PGP"):
            await rekey.start(3, 2, **options)  # type: ignore[arg-type]
    await rekey.start(3, 2)
    with pytest.raises(BadRequest, match="rekey already in progress"):
        await rekey.start(3, 2)
    with pytest.raises(NotInitialized):
        await Rekey(MemoryStore()).start(3, 2)


async def test_what_submit_refuses(rekey: Rekey, old: InitResult) -> None:
    with pytest.raises(BadRequest, match="no rekey in progress"):
        await rekey.submit(old.keys[0], "")
    nonce = (await rekey.start(3, 2)).nonce
    for given in ("", "other", "é", "\ud800"):
        with pytest.raises(BadRequest, match="nonce"):
            await rekey.submit(old.keys[0], given)
    with pytest.raises(BadRequest, match="must be specified"):
        await rekey.submit("", nonce)
    for junk in ("zz", "00" * 32):
        with pytest.raises(BadRequest, match="valid hex or base64"):
            await rekey.submit(junk, nonce)
    await rekey.submit(old.keys[0], nonce)
    with pytest.raises(BadRequest, match="already given"):
        await rekey.submit(old.keys_base64[0], nonce)
    assert (await rekey.status()).progress == 1


async def test_wrong_shares_take_the_progress_back(rekey: Rekey, store: CrashingStore, old: InitResult) -> None:
    nonce = (await rekey.start(3, 2)).nonce
    await rekey.submit(old.keys[0], nonce)
    with pytest.raises(BadRequest) as caught:
        await rekey.submit("11" * 33, nonce)
    assert str(caught.value) == WRONG
    assert (await rekey.status()).progress == 0 and await opens(store, old.keys[:2])
    await rekey.submit(old.keys[0], nonce)
    assert isinstance(await rekey.submit(old.keys[1], nonce), RekeyResult)


async def test_the_verification_of_a_rekey_that_still_takes_old_shares(rekey: Rekey) -> None:
    await rekey.start(3, 2, require_verification=True)
    assert rekey.verify_status() == VerifyStatus("", False, 2, 3, 0)


async def test_what_verification_refuses(rekey: Rekey, store: CrashingStore, old: InitResult) -> None:
    for call in (rekey.verify_status, rekey.verify_cancel):
        with pytest.raises(BadRequest, match="no rekey verification"):
            call()
    result = await complete(rekey, old.keys, require_verification=True)
    nonce = str(result.verification_nonce)
    with pytest.raises(BadRequest, match="waits for its new key shares"):
        await rekey.submit(old.keys[0], result.nonce)
    with pytest.raises(BadRequest, match="nonce"):
        await rekey.verify(result.keys[0], result.nonce)
    with pytest.raises(BadRequest, match="must be specified"):
        await rekey.verify("", nonce)
    for share in result.keys[:2]:
        await rekey.verify(share, nonce)
    with pytest.raises(BadRequest, match="already given"):
        await rekey.verify(result.keys[0], nonce)
    with pytest.raises(BadRequest, match="authentication failed"):
        await rekey.verify(old.keys[0], nonce)
    assert rekey.verify_status().progress == 0 and await opens(store, old.keys[:2])
    for share in result.keys[:3]:
        await rekey.verify(share, nonce)
    assert await opens(store, result.keys[:3])


async def test_cancelling(rekey: Rekey, store: CrashingStore, old: InitResult) -> None:
    rekey.cancel()
    rekey.cancel("anything")
    nonce = (await rekey.start(3, 2)).nonce
    await rekey.submit(old.keys[0], nonce)
    with pytest.raises(BadRequest, match="nonce"):
        rekey.cancel("other")
    rekey.cancel(nonce)
    assert not (await rekey.status()).started
    result = await complete(rekey, old.keys, require_verification=True)
    await rekey.verify(result.keys[0], str(result.verification_nonce))
    with pytest.raises(BadRequest, match="nonce"):
        rekey.verify_cancel("other")
    again = rekey.verify_cancel(str(result.verification_nonce))
    assert again.progress == 0 and again.nonce != result.verification_nonce
    rekey.cancel()
    with pytest.raises(BadRequest):
        rekey.verify_status()
    assert await opens(store, old.keys[:2])


async def test_shares_changed_elsewhere_end_the_rekey(rekey: Rekey, store: CrashingStore, old: InitResult) -> None:
    first = (await rekey.start(3, 2)).nonce
    await rekey.submit(old.keys[0], first)
    fresh = await SealKeeper(store, now=now).unseal_once(old.keys[:2])
    with pytest.raises(Conflict):
        await rekey.submit(old.keys[1], first)
    assert not (await rekey.status()).started
    result = await complete(rekey, fresh.keys, require_verification=True)
    newest = await SealKeeper(store, now=now).unseal_once(fresh.keys[:2])
    for share in result.keys[:2]:
        await rekey.verify(share, str(result.verification_nonce))
    with pytest.raises(Conflict):
        await rekey.verify(result.keys[2], str(result.verification_nonce))
    assert await opens(store, newest.keys[:2]) and not (await rekey.status()).started


@pytest.mark.parametrize("verification", [False, True])
async def test_a_store_that_refuses_may_be_asked_again(
    rekey: Rekey, store: CrashingStore, old: InitResult, verification: bool
) -> None:
    store.arm(1, "refuse")
    if verification:
        result = await complete(rekey, old.keys, require_verification=True)
        nonce = str(result.verification_nonce)
        with pytest.raises(StorageFailed):
            for share in result.keys[:3]:
                await rekey.verify(share, nonce)
        for share in result.keys[:3]:
            await rekey.verify(share, nonce)
    else:
        with pytest.raises(StorageFailed):
            await complete(rekey, old.keys)
        assert await opens(store, old.keys[:2])
        nonce = (await rekey.status()).nonce
        await rekey.submit(old.keys[0], nonce)
        again = await rekey.submit(old.keys[1], nonce)
        assert isinstance(again, RekeyResult)
        result = again
    assert await opens(store, result.keys[:3])


@pytest.mark.parametrize("how", ["lose", "keep"])
async def test_death_at_the_commit_leaves_one_set_that_works(
    rekey: Rekey, store: CrashingStore, old: InitResult, how: str
) -> None:
    result = await complete(rekey, old.keys, require_verification=True)
    store.arm(1, how)
    with pytest.raises(Died):
        for share in result.keys[:3]:
            await rekey.verify(share, str(result.verification_nonce))
    found = await copy_of(store)
    assert await opens(found, old.keys[:2]) == (how == "lose")
    assert await opens(found, result.keys[:3]) == (how == "keep")
