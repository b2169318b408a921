"""Init, unseal, seal: Vault's answers step by step, and nothing half done."""

import itertools

import pytest

from strongroom.core.first_entries import MAX_ENTRIES, FirstEntries
from strongroom.core.layout import AUDIT_TARGETS, KEYRING, SEAL_CONFIG, SEAL_KEYRING_KEY, SEAL_ROOT
from strongroom.core.seal import InitResult, SealConfig, SealKeeper, SealStatus
from strongroom.core.shares import MALFORMED
from strongroom.errors import BadRequest, Conflict, IntegrityError, NotInitialized, Sealed, StorageFailed
from strongroom.sdk.storage import Write
from strongroom.storage.memory import MemoryStore
from unit.core.crashing_store import CrashingStore
from unit.core.seal_world import FIRST, VALUE, WRONG, initialised, now, opens, seed, unseal


@pytest.fixture
def store() -> CrashingStore:
    return CrashingStore()


@pytest.fixture
def keeper(store: CrashingStore) -> SealKeeper:
    return SealKeeper(store, now=now)


async def test_before_init(keeper: SealKeeper) -> None:
    assert await keeper.initialized() is False
    assert await keeper.status() == SealStatus("shamir", False, True, 0, 0, 0, "")
    with pytest.raises(BadRequest, match="'key' must be a valid hex or base64 string"):
        await keeper.submit("aa")
    with pytest.raises(NotInitialized):
        await keeper.submit("00" * 33)
    with pytest.raises(NotInitialized):
        await keeper.unseal_once(["00" * 33])


@pytest.mark.parametrize(
    ("shares", "threshold", "text"),
    [
        (0, 0, "shares must be at least one"),
        (-1, 3, "shares must be at least one"),
        (256, 3, "shares must be less than 256"),
        (3, 0, "threshold must be at least one"),
        (2, 3, "threshold cannot be larger than shares"),
        (3, 1, "threshold must be greater than one for multiple shares"),
    ],
)
async def test_configurations_that_are_refused(
    keeper: SealKeeper, store: CrashingStore, shares: int, threshold: int, text: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        await keeper.initialize(SealConfig(shares, threshold), seed)
    assert str(caught.value) == f"invalid seal configuration: {text}"
    assert store.commits == 0


async def test_init_makes_everything_in_one_commit(keeper: SealKeeper, store: CrashingStore) -> None:
    result = await keeper.initialize(SealConfig(), seed)
    assert store.commits == 1
    assert len(result.keys) == len(result.keys_base64) == 5 and result.root_token == ""
    assert [len(key) for key in result.keys] == [66] * 5 and [len(key) for key in result.keys_base64] == [44] * 5
    assert await keeper.status() == SealStatus("shamir", True, True, 3, 5, 0, "")
    with pytest.raises(BadRequest, match="Vault is already initialized"):
        await keeper.initialize(SealConfig(1, 1), seed)
    assert await opens(store, result.keys[1:4])


async def test_two_inits_at_once_make_one_vault(store: CrashingStore) -> None:
    async def meanwhile(first: FirstEntries) -> None:
        other.append(await initialised(store))

    other: list[InitResult] = []
    with pytest.raises(BadRequest, match="already initialized"):
        await SealKeeper(store, now=now).initialize(SealConfig(3, 2), meanwhile)
    assert await opens(store, other[0].keys[:2])


@pytest.mark.parametrize("what", ["seed", "before_commit", "store"])
async def test_init_that_fails_leaves_nothing(keeper: SealKeeper, store: CrashingStore, what: str) -> None:
    async def fail(*_: object) -> None:
        raise StorageFailed("no")

    store.arm(1 if what == "store" else 0, "refuse")
    with pytest.raises(StorageFailed):
        await keeper.initialize(
            SealConfig(), fail if what == "seed" else seed, before_commit=fail if what == "before_commit" else None
        )
    assert store.stamp() == 0 and not await keeper.initialized()
    assert await opens(store, (await initialised(store)).keys[:2])


async def test_the_result_can_be_recorded_before_the_commit(keeper: SealKeeper, store: CrashingStore) -> None:
    seen: list[tuple[InitResult, int | None]] = []

    async def record(result: InitResult) -> None:
        seen.append((result, store.stamp()))

    assert seen == [] and [(await keeper.initialize(SealConfig(), seed, before_commit=record), 0)] == seen


async def test_first_entries_behave_like_a_store_and_must_fit(keeper: SealKeeper, store: CrashingStore) -> None:
    async def many(first: FirstEntries) -> None:
        await first.commit([Write("f/a", b"1"), Write("f/b/c", b"2")], expect={"f/a": 0})
        await first.commit([Write("gone", b"3")], clear=[Write(AUDIT_TARGETS, b"[]")])
        await first.commit([Write("gone", None)])
        with pytest.raises(Conflict):
            await first.commit([Write("f/a", b"4")], expect={"f/a": 0})
        for refused in ({"writes": [Write(KEYRING, b"")]}, {"writes": [], "clear": [Write("x", b"")]}):
            with pytest.raises(BadRequest):
                await first.commit(**refused)
        entry = await first.get_sealed("f/a")
        assert entry is not None and first.open("f/a", entry) == b"1"
        assert await first.list("f/") == ["a", "b/"]
        assert [key for key, _ in await first.scan("f/", after="a")] == ["b/c"]
        assert await first.get_many(["f/a", "gone"]) == [entry, None]

    result = await keeper.initialize(SealConfig(), many)
    assert (await store.get(AUDIT_TARGETS)).value == b"[]"  # type: ignore[union-attr]
    barrier = await unseal(keeper, result.keys[:3])
    assert [entry and entry.value for entry in await barrier.get_many(["f/a", "f/b/c"])] == [b"1", b"2"]
    assert (await barrier.key_status()).encryptions == 2

    async def too_many(first: FirstEntries) -> None:
        await first.commit([Write(f"k{at}", b"") for at in range(MAX_ENTRIES + 1)])

    async def too_large(first: FirstEntries) -> None:
        await first.commit([Write("k", b"x" * 2**21)])

    for bad in (too_many, too_large):
        with pytest.raises(BadRequest):
            await SealKeeper(MemoryStore(), now=now).initialize(SealConfig(), bad)


async def test_unseal_as_recorded(keeper: SealKeeper, store: CrashingStore) -> None:
    keys = await initialised(store)
    with pytest.raises(BadRequest) as caught:
        await keeper.submit("")
    assert str(caught.value) == "'key' must be specified in request body as JSON, or 'reset' set to true"
    one = await keeper.submit(keys.keys[0])
    assert (one.sealed, one.t, one.n, one.progress, len(one.nonce)) == (True, 2, 3, 1, 36)
    assert await keeper.submit(keys.keys[0]) == one == await keeper.submit(keys.keys_base64[0])  # the same again
    keeper.reset()
    assert await keeper.status() == SealStatus("shamir", True, True, 2, 3, 0, "")
    wrong = await keeper.submit("00" * 33)
    assert wrong.progress == 1 and wrong.nonce != one.nonce
    with pytest.raises(BadRequest) as caught:
        await keeper.submit("11" * 33)
    assert str(caught.value) == WRONG
    assert (await keeper.status()).progress == 0
    await keeper.submit(keys.keys_base64[0])
    done = await keeper.submit(keys.keys[2].upper())
    assert done == SealStatus("shamir", True, False, 2, 3, 0, "")
    assert await keeper.submit("22" * 33) == done  # unsealed already
    with pytest.raises(BadRequest, match="^vault is unsealed$"):
        keeper.reset()
    barrier = await keeper.open_barrier(keeper.take_keyring_key())
    assert (await barrier.get(FIRST)).value == VALUE  # type: ignore[union-attr]
    await keeper.seal()
    assert barrier.closed and (await keeper.status()).sealed


@pytest.mark.parametrize(
    "junk", ["zz!!", "aa", "00" * 31, "00" * 34, "0" * 65, " " + "00" * 32, "é" * 44, "A" * 44 + "=", "\x00" * 44]
)
async def test_what_is_not_a_share(keeper: SealKeeper, store: CrashingStore, junk: str) -> None:
    keys = await initialised(store)
    await keeper.submit(keys.keys[0])
    with pytest.raises(BadRequest) as caught:
        await keeper.submit(junk)
    assert str(caught.value) == MALFORMED and (await keeper.status()).progress == 1


async def test_a_share_of_the_wrong_length_for_this_vault(store: CrashingStore) -> None:
    await initialised(store)
    one = MemoryStore()
    await initialised(one, 1, 1)
    for target, share in ((store, "00" * 32), (one, "00" * 33)):
        with pytest.raises(BadRequest, match="'key' must be"):
            await SealKeeper(target, now=now).submit(share)


async def test_a_single_share_is_the_key_itself(store: CrashingStore) -> None:
    keys = await initialised(store, 1, 1)
    assert [len(keys.keys[0]), len(keys.keys_base64[0])] == [64, 44]
    with pytest.raises(BadRequest, match="message authentication failed"):
        await SealKeeper(store, now=now).submit("00" * 32)
    assert await opens(store, keys.keys) and await opens(store, keys.keys_base64)


async def test_two_shares_with_one_coordinate_are_wrong_shares(keeper: SealKeeper, store: CrashingStore) -> None:
    keys = await initialised(store)
    await keeper.submit(keys.keys[0])
    with pytest.raises(BadRequest) as caught:
        await keeper.submit("00" * 32 + keys.keys[0][-2:])
    assert str(caught.value) == WRONG


async def test_any_two_of_three_unseal_and_one_does_not(store: CrashingStore) -> None:
    keys = await initialised(store)
    for pair in itertools.permutations(keys.keys, 2):
        assert await opens(store, pair)
    assert not await opens(store, keys.keys[:1])


async def test_the_keyring_key_is_given_once(keeper: SealKeeper, store: CrashingStore) -> None:
    keys = await initialised(store)
    with pytest.raises(Sealed):
        keeper.take_keyring_key()
    for key in keys.keys[:2]:
        await keeper.submit(key)
    key = keeper.take_keyring_key()
    with pytest.raises(Sealed):
        keeper.take_keyring_key()
    worker = SealKeeper(store, now=now)  # another process, to which the key was handed
    barrier = await worker.open_barrier(key.copy())
    assert not worker.sealed and (await barrier.get(FIRST)).value == VALUE  # type: ignore[union-attr]


async def test_a_key_nobody_took_is_wiped_at_seal(keeper: SealKeeper, store: CrashingStore) -> None:
    for key in (await initialised(store)).keys[:2]:
        await keeper.submit(key)
    held = keeper._keyring_key
    await keeper.seal()
    await keeper.seal()
    assert held is not None and held.closed
    with pytest.raises(Sealed):
        keeper.take_keyring_key()


async def test_sealing_forgets_the_attempt(keeper: SealKeeper, store: CrashingStore) -> None:
    await keeper.submit((await initialised(store)).keys[0])
    await keeper.seal()
    assert (await keeper.status()).progress == 0


async def test_shares_of_an_older_set_do_not_linger(keeper: SealKeeper, store: CrashingStore) -> None:
    old = await initialised(store)
    await keeper.submit(old.keys[0])
    fresh = await SealKeeper(store, now=now).unseal_once(old.keys[:2])
    assert (await keeper.status()).progress == 0
    await keeper.submit(fresh.keys[0])
    assert not (await keeper.submit(fresh.keys[1])).sealed


async def test_unseal_once_changes_the_shares(keeper: SealKeeper, store: CrashingStore) -> None:
    old = await initialised(store)
    store.arm(0, "")
    fresh = await keeper.unseal_once([old.keys[2], old.keys_base64[0]])
    assert store.commits == 1 and not keeper.sealed
    assert len(fresh.keys) == 3 and not {*fresh.keys} & {*old.keys}
    barrier = await keeper.open_barrier(keeper.take_keyring_key())
    assert (await barrier.get(FIRST)).value == VALUE  # type: ignore[union-attr]
    assert await opens(store, fresh.keys[:2]) and not await opens(store, old.keys[:2])
    with pytest.raises(BadRequest, match="vault is unsealed"):
        await keeper.unseal_once(fresh.keys)


async def test_unseal_once_refused_changes_nothing(keeper: SealKeeper, store: CrashingStore) -> None:
    old = await initialised(store)
    stamp = store.stamp()
    for shares, text in (
        (old.keys[:1], "1 key shares were given, 2 are needed"),
        ([old.keys[0], old.keys_base64[0]], "1 key shares were given, 2 are needed"),
        (["junk"], MALFORMED),
        ([old.keys[0], "00" * 32], MALFORMED),
        ([old.keys[0], "11" * 33], WRONG),
        ([*old.keys, "77" * 33], WRONG),
    ):
        with pytest.raises(BadRequest) as caught:
            await keeper.unseal_once(shares)
        assert str(caught.value) == text
    store.arm(1, "refuse")
    with pytest.raises(StorageFailed):
        await keeper.unseal_once(old.keys)
    assert keeper.sealed and store.stamp() == stamp and await opens(store, old.keys[:2])


async def test_all_shares_may_be_given_at_once(keeper: SealKeeper, store: CrashingStore) -> None:
    old = await initialised(store, 5, 3)
    fresh = await keeper.unseal_once(old.keys)
    assert await opens(store, fresh.keys[2:])


@pytest.mark.parametrize("key", [SEAL_CONFIG, SEAL_ROOT, SEAL_KEYRING_KEY, KEYRING])
@pytest.mark.parametrize("damage", ["gone", "cut", "zeros"])
async def test_a_damaged_seal_is_refused_and_named(store: CrashingStore, key: str, damage: str) -> None:
    keys = await initialised(store)
    entry = await store.get(key)
    assert entry is not None
    bad = {"gone": None, "cut": entry.value[:-1], "zeros": bytes(len(entry.value))}[damage]
    await store.commit([Write(key, bad)])
    keeper = SealKeeper(store, now=now)
    with pytest.raises((IntegrityError, BadRequest, NotInitialized)) as caught:
        await unseal(keeper, keys.keys[:2])
    wrong_shares = key == SEAL_ROOT and damage != "gone"  # cannot be told from wrong shares
    assert isinstance(caught.value, BadRequest) == wrong_shares
    assert isinstance(caught.value, NotInitialized) == (key == SEAL_CONFIG and damage == "gone")


@pytest.mark.parametrize(
    "config",
    [b"{}", b"nonsense", b'{"type":"awskms","shares":1,"threshold":1,"generation":1}',
     b'{"type":"shamir","shares":3,"threshold":0,"generation":1}'],
)  # fmt: skip
async def test_a_seal_configuration_that_makes_no_sense(store: CrashingStore, config: bytes) -> None:
    await initialised(store)
    await store.commit([Write(SEAL_CONFIG, config)])
    with pytest.raises(IntegrityError):
        await SealKeeper(store, now=now).status()
