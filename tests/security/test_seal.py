"""Threats against the seal, the barrier and the arithmetic below them, each with its positive control.

The ids are those of docs/threat-model.md.
"""

import base64
import itertools
import random
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from strongroom.core import seal
from strongroom.core.barrier import Barrier
from strongroom.core.generate_root import GenerateRoot
from strongroom.core.keyring import Keyring, RotationConfig
from strongroom.core.layout import KEYRING, SEAL_ROOT
from strongroom.core.rekey import Rekey
from strongroom.core.seal import SealConfig, SealKeeper, open_root, read_seal
from strongroom.core.shares import ShareBox, parse_share
from strongroom.crypto import aead, shamir
from strongroom.errors import BadRequest, IntegrityError, Sealed, StorageFailed, VaultError
from strongroom.sdk.storage import Write
from unit.core.crashing_store import CrashingStore, Died, copy_of
from unit.core.seal_world import FIRST, VALUE, initialised, now, opens, seed, unseal


async def open_vault() -> tuple[CrashingStore, tuple[str, ...], Barrier]:
    store = CrashingStore()
    keys = (await initialised(store)).keys
    return store, keys, await unseal(SealKeeper(store, now=now), keys[:2])


# Shamir


def test_sec_cve_2023_25000_no_secret_is_ever_a_small_integer() -> None:
    """Whatever the secret, every intermediate value is as long as every other: no table, no early end."""
    lanes = shamir._Lanes(32)
    lengths = set()
    for vector in (bytes(32), b"\xff" * 32, b"\x80" * 32, b"\x01" + bytes(31), random.Random(1).randbytes(32)):
        held = lanes.load(vector)
        for factor in (0, 1, 2, 0x1B, 0x80, 0xFF):
            held = lanes.add(lanes.times(held, factor), lanes.load(vector))
            lengths |= {held.bit_length(), lanes.double(held).bit_length()}
    assert lengths == {lanes.guard.bit_length()}
    assert int.from_bytes(bytes(32), "little").bit_length() == 0  # control: without the guard it would show


def chi_square(samples: bytes) -> float:
    expected = len(samples) / 256
    return sum((samples.count(value) - expected) ** 2 / expected for value in range(256))


def test_sec_rustsec_2024_0398_coefficients_may_be_zero() -> None:
    drawn = bytearray()
    for _ in range(3000):
        for share in shamir.split(bytes(32), 2, 2):
            pass
        inverse = shamir._public_inverse(share[-1])  # secret 0, one coefficient: y = c * x
        lanes = shamir._Lanes(32)
        drawn += lanes.store(lanes.times(lanes.load(share[:-1]), inverse))
    assert chi_square(bytes(drawn)) < 380  # 255 degrees of freedom: p < 1e-6
    assert chi_square(bytes(byte for byte in drawn if byte)) > 380  # control: the flaw is seen


def test_sec_rustsec_2020_0160_fewer_than_the_threshold_never_combine() -> None:
    secret = b"only together, never a part only"
    for threshold in (3, 4, 5):
        for _ in range(40):
            shares = shamir.split(secret, 5, threshold)
            for few in itertools.combinations(shares, threshold - 1):
                assert shamir.combine(few) != secret
            assert shamir.combine(shares[:threshold]) == secret  # control


@pytest.mark.parametrize("shares", [[b"aa\x01", b"bb\x01"], [b"aa\x00", b"bb\x01"], [b"aa\x01", b"b\x02"], [b"aa\x01"]])
def test_sec_rustsec_2020_0160_malformed_sets_are_refused(shares: list[bytes]) -> None:
    with pytest.raises(BadRequest):
        shamir.combine(shares)
    shamir.combine([b"aa\x01", b"bb\x02"])  # control


async def test_sec_gh_2619_after_every_operation_old_or_new_shares_unseal() -> None:
    """Each operation is stopped at each of its commits; a copy of the store must open with a known set of shares."""

    async def rekeying(store: CrashingStore, keys: tuple[str, ...], barrier: Barrier) -> Any:
        rekey = Rekey(store)
        nonce = (await rekey.start(5, 3)).nonce
        await rekey.submit(keys[0], nonce)
        return await rekey.submit(keys[1], nonce)

    async def verified(store: CrashingStore, keys: tuple[str, ...], barrier: Barrier) -> Any:
        rekey = Rekey(store)
        nonce = (await rekey.start(5, 3, require_verification=True)).nonce
        await rekey.submit(keys[0], nonce)
        result: Any = await rekey.submit(keys[1], nonce)
        known.append(result.keys)
        for share in result.keys[:3]:
            await rekey.verify(share, result.verification_nonce)
        return result

    async def once(store: CrashingStore, keys: tuple[str, ...], barrier: Barrier) -> Any:
        return await SealKeeper(store, now=now).unseal_once(keys)

    async def rotating(store: CrashingStore, keys: tuple[str, ...], barrier: Barrier) -> Any:
        await barrier.rotate()
        await barrier.commit([Write("x", b"y")])
        await barrier.set_rotation_config(RotationConfig(2_000_000))
        await barrier.maintain()

    async def sealing(store: CrashingStore, keys: tuple[str, ...], barrier: Barrier) -> Any:
        await barrier.commit([Write("x", b"y")])
        await barrier.close()

    async def generating(store: CrashingStore, keys: tuple[str, ...], barrier: Barrier) -> Any:
        root = GenerateRoot(store)
        nonce = (await root.start()).nonce
        for share in keys[:2]:
            await root.submit(share, nonce)

    points = 0
    operations: list[Callable[[CrashingStore, tuple[str, ...], Barrier], Awaitable[Any]]]
    operations = [rekeying, verified, once, rotating, sealing, generating]
    for operation in operations:
        for how in ("lose", "keep", "refuse"):
            for at in itertools.count(1):
                store, keys, barrier = await open_vault()
                known: list[tuple[str, ...]] = []
                made = capture(store, known)
                store.arm(at, how)
                try:
                    await operation(store, keys, barrier)
                except (Died, StorageFailed):
                    pass
                made()
                found = await copy_of(store)
                fits = [await opens(found, keys[:2]), *[await opens(found, new[:3]) for new in known]]
                assert fits.count(True) == 1, (operation.__name__, how, at)
                points += 1
                if store.commits < at:
                    break
    assert points >= 30


def capture(store: CrashingStore, known: list[tuple[str, ...]]) -> Callable[[], None]:
    """Note every set of shares made from now on, as if it had been delivered."""
    original = seal.make_shares

    def noting(*arguments: Any) -> Any:
        shares = original(*arguments)
        known.append(shares.keys)
        return shares

    seal.make_shares = noting  # type: ignore[assignment]

    def restore() -> None:
        seal.make_shares = original
        known[:] = list(dict.fromkeys(known))

    return restore


# Init


@pytest.mark.parametrize("how", ["lose", "keep", "refuse"])
async def test_sec_init_is_whole_or_not_at_all(how: str) -> None:
    """Keys lost for good: init stored something and failed. Here the keys are recorded before the one commit."""
    store, delivered = CrashingStore(), []

    async def record(result: Any) -> None:
        delivered.append(result)

    store.arm(1, how)
    with pytest.raises((Died, StorageFailed)):
        await SealKeeper(store, now=now).initialize(SealConfig(3, 2), seed, before_commit=record)
    found = await copy_of(store)
    if how == "keep":
        assert await opens(found, delivered[0].keys[:2])
    else:
        assert not await found.scan("")
        assert await opens(found, (await initialised(found)).keys[:2])  # init may be tried again


async def test_sec_ghsa_q74w_init_whose_audit_fails_changes_nothing() -> None:
    store = CrashingStore()

    async def audit_fails(_: Any) -> None:
        raise StorageFailed("no audit")

    with pytest.raises(StorageFailed):
        await SealKeeper(store, now=now).initialize(SealConfig(3, 2), seed, before_commit=audit_fails)
    assert store.commits == 0 and not await store.scan("")
    await initialised(store)
    assert store.commits == 1  # control


# The barrier


async def test_sec_d_every_class_of_byte_of_an_entry_is_authenticated() -> None:
    store, _, barrier = await open_vault()
    await barrier.commit([Write("ns/k", VALUE)])
    sealed = (await store.get("ns/k")).value  # type: ignore[union-attr]
    for at in range(len(sealed)):  # term, version, nonce, ciphertext, tag
        for bit in (0x01, 0x80):
            await store.commit([Write("ns/k", sealed[:at] + bytes((sealed[at] ^ bit,)) + sealed[at + 1 :])])
            with pytest.raises(IntegrityError):
                await barrier.get("ns/k")
    for cut in range(len(sealed)):
        await store.commit([Write("ns/k", sealed[:cut])])
        with pytest.raises(IntegrityError):
            await barrier.get("ns/k")
        with pytest.raises(IntegrityError):
            await barrier.scan("ns/")
    await store.commit([Write("ns/k", sealed)])
    assert (await barrier.get("ns/k")).value == VALUE  # type: ignore[union-attr]


async def test_sec_d_entries_cannot_change_places() -> None:
    store, _, barrier = await open_vault()
    await barrier.commit([Write("ns/a", b"of a"), Write("ns/b", b"of b")])
    a, b = await store.get_many(["ns/a", "ns/b"])
    assert a is not None and b is not None
    await store.commit([Write("ns/a", b.value), Write("ns/b", a.value)])
    for key in ("ns/a", "ns/b"):
        with pytest.raises(IntegrityError):
            await barrier.get(key)
        with pytest.raises(IntegrityError):
            await barrier.get_many([key])
    await store.commit([Write("ns/a", a.value), Write("ns/b", b.value)])
    assert (await barrier.get("ns/a")).value == b"of a"  # type: ignore[union-attr]


async def test_sec_d_an_entry_of_another_vault_is_refused() -> None:
    _, _, ours = await open_vault()
    theirs, _, _ = await open_vault()
    foreign = await theirs.get(FIRST)
    assert foreign is not None
    with pytest.raises(IntegrityError):
        ours.open(FIRST, foreign)
    assert (await ours.get(FIRST)).value == VALUE  # type: ignore[union-attr]


async def test_sec_d_the_keyring_cannot_be_swapped_for_an_attackers() -> None:
    store, keys, _ = await open_vault()
    with Keyring.create(now()) as mine:
        await store.commit([Write(KEYRING, mine.seal(aead.new_key()))])
    with pytest.raises(IntegrityError):
        await unseal(SealKeeper(store, now=now), keys[:2])


async def test_sec_rustfs_3520_without_a_key_nothing_is_written() -> None:
    store, _, barrier = await open_vault()
    barrier.wipe()
    before = store.stamp()
    with pytest.raises(Sealed):
        await barrier.commit([Write("x", b"y")])
    assert store.stamp() == before


def test_sec_rustfs_3564_nonces_never_repeat() -> None:
    cipher, head = aead.cipher_of(aead.new_key()), aead.header(1)
    nonces = {aead.seal(cipher, head, "k", b"")[5:17] for _ in range(20_000)}
    assert len(nonces) == 20_000


async def test_sec_cve_2023_4680_a_key_is_retired_before_its_nonces_run_out() -> None:
    store, keys, barrier = await open_vault()
    entry = await store.get(KEYRING)
    assert entry is not None
    key = barrier.copy_keyring_key()
    with Keyring.open(key, entry.value) as keyring:
        keyring.active.encryptions = 2**32 - 2**28
        keyring.config = RotationConfig(enabled=False)  # not even this turns it off
        await store.commit([Write(KEYRING, keyring.seal(key))])
    await barrier.commit([Write("x", b"y")])
    assert (await barrier.key_status()).term == 2


# Nothing shows a key


def forms(secret: bytes) -> list[str]:
    return [secret.hex(), base64.b64encode(secret).decode(), repr(secret)[2:-1], repr(list(secret))[1:-1]]


async def test_sec_d_no_repr_shows_a_key_or_a_value() -> None:
    store = CrashingStore()
    keeper, rekey, root = SealKeeper(store, now=now), Rekey(store), GenerateRoot(store)
    result = await keeper.initialize(SealConfig(3, 2), seed)
    record = await read_seal(store)
    box = ShareBox("nonce")
    for share in result.keys[:2]:
        box.add(parse_share(share))
    shown: list[object] = [result, box, keeper, rekey, root, record]
    root_key = open_root(box, record.root)
    keyring_key = aead.unwrap(root_key, "core/seal/keyring-key", record.keyring_key)
    keyring = Keyring.open(keyring_key, (await store.get(KEYRING)).value)  # type: ignore[union-attr]
    secrets = [bytes(root_key.view()), bytes(keyring_key.view()), bytes(keyring.active.key.view()), VALUE]
    await keeper.submit(result.keys[0])
    shown += [repr(keeper), await keeper.status()]
    barrier = await unseal(keeper, result.keys[1:2])
    begun = await root.start()
    nonce = (await rekey.start(3, 2, require_verification=True)).nonce
    await root.submit(result.keys[0], begun.nonce)
    await rekey.submit(result.keys[0], nonce)
    fresh: Any = await rekey.submit(result.keys[1], nonce)
    await rekey.verify(fresh.keys[0], fresh.verification_nonce)
    shown += [begun, fresh, root_key, keyring_key, keyring, keyring.active, keyring.terms, barrier, barrier._keyring]
    shown += [
        await barrier.get(FIRST),
        await barrier.get_many([FIRST]),
        store,
        rekey,
        root,
        keeper,
        await rekey.status(),
    ]
    text = "\n".join(f"{one!r} {one} {vars(one) if hasattr(one, '__dict__') else ''}" for one in shown if one != store)
    shares = [bytes.fromhex(key) for key in (*result.keys, *fresh.keys)]
    for secret in (*secrets, *shares):
        assert not [form for form in forms(secret) if form in text]
    assert begun.otp not in text
    leaky = f"{result.keys} {bytes(root_key.view())!r}"
    assert all(any(form in leaky for form in forms(secret)) for secret in (shares[0], secrets[0]))  # control


async def test_sec_d_no_error_shows_a_share_or_a_key() -> None:
    store, keys, barrier = await open_vault()
    seen = []

    async def note(call: Awaitable[Any]) -> None:
        try:
            await call
        except VaultError as error:
            seen.append("".join(traceback.format_exception(error)) + repr(error) + str(error))

    keeper, rekey, root = SealKeeper(store, now=now), Rekey(store), GenerateRoot(store)
    wrong = "a7" * 33
    for share in (keys[0], wrong, keys[0] + "00", keys[0][:-1] + "g", "\x00" + keys[0]):
        await note(keeper.submit(share))
        await note(keeper.unseal_once([keys[0], share]))
    nonce, attempt = (await rekey.start(3, 2)).nonce, (await root.start()).nonce
    for share in (keys[0], keys[0], keys[0] + "00", wrong):
        await note(rekey.submit(share, nonce))
        await note(rekey.submit(share, keys[0]))
        await note(root.submit(share, attempt))
        await note(root.submit(share, keys[0]))
    await note(barrier.commit([Write("x", VALUE * 100_000)]))
    await store.commit([Write(FIRST, b"\x00" * 60)])
    await note(barrier.get(FIRST))
    text = "\n".join(seen)
    assert len(seen) >= 15 and "authentication failed" in text
    for needle in (keys[0], keys[0][:20], wrong, "a7" * 16, VALUE.decode()):
        assert needle not in text


async def test_sec_d_seal_leaves_no_key_of_ours_behind() -> None:
    store, keys, _ = await open_vault()
    keeper = SealKeeper(store, now=now)
    await keeper.submit(keys[0])
    barrier = await unseal(keeper, keys[1:2])
    key = barrier._keyring._key
    view = key.view()
    assert any(view)  # control
    await keeper.seal()
    assert key.closed and not any(view) and not barrier._keyring.ciphers and barrier._keyring.active is None


async def test_sec_b2_wrong_shares_and_a_damaged_root_look_the_same() -> None:
    store, keys, _ = await open_vault()
    with pytest.raises(BadRequest) as wrong:
        await unseal(SealKeeper(store, now=now), [keys[0], "11" * 33])
    entry = await store.get(SEAL_ROOT)
    assert entry is not None
    await store.commit([Write(SEAL_ROOT, entry.value[:-1] + b"\x00")])
    with pytest.raises(BadRequest) as damaged:
        await unseal(SealKeeper(store, now=now), keys[:2])
    assert str(wrong.value) == str(damaged.value)
