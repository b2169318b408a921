"""Terms: rotation, counting, and what several processes see of each other."""

import pytest

from strongroom.core.barrier import Barrier
from strongroom.core.keyring import (
    MAX_OPERATIONS,
    MIN_INTERVAL,
    MIN_OPERATIONS,
    PERSIST_EVERY,
    Keyring,
    KeyringKeeper,
    RotationConfig,
)
from strongroom.core.layout import KEYRING
from strongroom.crypto import aead
from strongroom.errors import BadRequest, Conflict, IntegrityError, Sealed, StorageFailed
from strongroom.sdk.storage import Write
from strongroom.storage.memory import MemoryStore
from unit.core.crashing_store import CrashingStore


class Clock:
    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


class World:
    """One store and the processes over it, each with a barrier of its own."""

    def __init__(self) -> None:
        self.store = CrashingStore()
        self.clock = Clock()
        self.key = aead.new_key()

    async def start(self) -> "World":
        with Keyring.create(self.clock()) as keyring:
            await self.store.commit([Write(KEYRING, keyring.seal(self.key))])
        return self

    async def process(self) -> Barrier:
        return await Barrier.open_with(self.store, self.key.copy(), now=self.clock)

    async def overwrite(self, encryptions: int) -> None:
        """As if that many values had been sealed under the active term."""
        entry = await self.store.get(KEYRING)
        assert entry is not None
        with Keyring.open(self.key, entry.value) as keyring:
            keyring.active.encryptions = encryptions
            await self.store.commit([Write(KEYRING, keyring.seal(self.key))])


@pytest.fixture
async def world() -> World:
    return await World().start()


def test_a_keyring_is_read_back_as_it_was_written() -> None:
    key = aead.new_key()
    with Keyring.create(5.5) as keyring:
        keyring.add_term(6.5)
        keyring.credit({1: 10, 2: 3, 9: 7})
        keyring.config = RotationConfig(2_000_000, 90_000, False)
        with Keyring.open(key, keyring.seal(key)) as again:
            assert again.config == keyring.config
            assert [(t.number, t.install_time, t.encryptions) for t in again.terms] == [(1, 5.5, 10), (2, 6.5, 3)]
            assert [t.key for t in again.terms] == [t.key for t in keyring.terms]
        assert all(t.key.closed for t in again.terms)


def test_a_damaged_keyring_is_refused() -> None:
    key = aead.new_key()
    with Keyring.create(1.0) as keyring:
        sealed = keyring.seal(key)
    for broken in (sealed[:-1], sealed[:10], b"", bytes(len(sealed)), aead.wrap(key, KEYRING, aead.new_key())):
        with pytest.raises(IntegrityError):
            Keyring.open(key, broken)
    with pytest.raises(IntegrityError):
        Keyring.open(aead.new_key(), sealed)


async def test_loading_needs_the_right_key(world: World) -> None:
    with pytest.raises(IntegrityError):
        await KeyringKeeper.load(world.store, aead.new_key(), now=world.clock)
    with pytest.raises(IntegrityError):
        await KeyringKeeper.load(MemoryStore(), world.key.copy(), now=world.clock)


async def test_rotation_makes_a_new_term_and_old_values_stay_readable(world: World) -> None:
    barrier = await world.process()
    await barrier.commit([Write("a", b"old")])
    world.clock.time += 60
    status = await barrier.rotate()
    assert (status.term, status.install_time, status.encryptions) == (2, world.clock.time, 0)
    await barrier.commit([Write("b", b"new")])
    terms = [(await world.store.get(key)).value[:4] for key in "ab"]  # type: ignore[union-attr]
    assert terms == [b"\0\0\0\1", b"\0\0\0\2"]
    assert [entry.value for entry in await barrier.get_many(["a", "b"]) if entry] == [b"old", b"new"]


@pytest.mark.parametrize("way", ["get", "get_many", "scan", "get_sealed"])
async def test_a_process_learns_of_a_rotation_elsewhere(world: World, way: str) -> None:
    here, there = await world.process(), await world.process()
    await there.rotate()
    await there.commit([Write("ns/x", b"value")])
    if way == "get":
        entry = await here.get("ns/x")
    elif way == "get_many":
        entry = (await here.get_many(["none", "ns/x"]))[1]
    elif way == "scan":
        entry = (await here.scan("ns/"))[0][1]
    else:
        raw = await here.get_sealed("ns/x")
        assert raw is not None and here.open("ns/x", raw) == b"value"
        return
    assert entry is not None and entry.value == b"value"


async def test_after_a_rotation_elsewhere_new_values_use_the_new_term(world: World) -> None:
    here, there = await world.process(), await world.process()
    await there.rotate()
    await here.commit([Write("x", b"value")])
    entry = await world.store.get("x")
    assert entry is not None and entry.value[:4] == b"\0\0\0\2"
    await there.rotate()
    assert (await here.key_status()).term == 3


async def test_two_rotations_at_once_make_two_terms(world: World) -> None:
    here, there = await world.process(), await world.process()
    await here.rotate()
    assert (await there.rotate()).term == 3


async def test_a_store_that_keeps_conflicting_gives_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    barrier = await world.process()

    async def conflict(*_: object, **__: object) -> None:
        raise Conflict

    monkeypatch.setattr(world.store, "commit", conflict)
    with pytest.raises(Conflict):
        await barrier.rotate()
    assert (await barrier.key_status()).term == 1


async def test_encryptions_are_counted_written_back_and_summed(world: World) -> None:
    here, there = await world.process(), await world.process()
    await here.commit([Write("a", b"1"), Write("b", b"2"), Write("c", None)])
    await there.commit([Write("d", b"3")])
    assert (await here.key_status()).encryptions == 2
    await here.maintain()
    await there.maintain()
    assert (await here.key_status()).encryptions == 3
    before = world.store.stamp()
    assert await here.maintain() is False and world.store.stamp() == before  # nothing new: nothing written


async def test_a_count_that_could_not_be_written_is_kept(world: World) -> None:
    barrier = await world.process()
    await barrier.commit([Write("a", b"1")])
    world.store.arm(1, "refuse")
    with pytest.raises(StorageFailed):
        await barrier.maintain()
    await barrier.maintain()
    await barrier.close()
    assert (await (await world.process()).key_status()).encryptions == 1


async def test_closing_writes_the_count_back_and_forgets_the_keys(world: World) -> None:
    barrier = await world.process()
    await barrier.commit([Write("a", b"1")])
    await barrier.close()
    with pytest.raises(Sealed):
        await barrier.rotate()
    with pytest.raises(Sealed):
        barrier.copy_keyring_key()
    assert (await (await world.process()).key_status()).encryptions == 1


async def test_the_limit_rotates_by_itself(world: World) -> None:
    await world.overwrite(MAX_OPERATIONS - 1)
    barrier = await world.process()
    await barrier.commit([Write("a", b"1")])
    assert (await barrier.key_status()).term == 2
    entry = await barrier.get("a")
    assert entry is not None and entry.value == b"1"


async def test_turning_rotation_off_leaves_the_hard_limit(world: World) -> None:
    barrier = await world.process()
    await barrier.set_rotation_config(RotationConfig(MIN_OPERATIONS, 0, False))
    await world.overwrite(MIN_OPERATIONS + 1)
    assert await barrier.maintain() is False
    await world.overwrite(MAX_OPERATIONS)
    assert await barrier.maintain() is True


async def test_a_failing_rotation_does_not_fail_the_callers_commit(world: World) -> None:
    await world.overwrite(MAX_OPERATIONS)
    barrier = await world.process()
    world.store.arm(2, "refuse")
    await barrier.commit([Write("a", b"1")])
    assert (await barrier.key_status()).term == 1
    await barrier.commit([Write("a", b"2")])
    assert (await barrier.key_status()).term == 2


async def test_a_full_counter_is_written_back_without_being_asked(world: World) -> None:
    barrier = await world.process()
    barrier._keyring._counted[1] = PERSIST_EVERY - 1
    await barrier.commit([Write("a", b"1")])
    other = await world.process()
    assert (await other.key_status()).encryptions == PERSIST_EVERY


async def test_rotation_by_age(world: World) -> None:
    barrier = await world.process()
    stored = await barrier.set_rotation_config(RotationConfig(interval=MIN_INTERVAL))
    assert stored == await barrier.rotation_config() == RotationConfig(MAX_OPERATIONS, MIN_INTERVAL, True)
    world.clock.time += MIN_INTERVAL - 1
    assert await barrier.maintain() is False
    world.clock.time += 1
    assert await barrier.maintain() is True
    assert (await barrier.key_status()).term == 2


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (RotationConfig(), RotationConfig()),
        (RotationConfig(0), RotationConfig(MAX_OPERATIONS)),
        (RotationConfig(MIN_OPERATIONS - 1), RotationConfig(MAX_OPERATIONS)),
        (RotationConfig(MAX_OPERATIONS + 1), RotationConfig(MAX_OPERATIONS)),
        (RotationConfig(MIN_OPERATIONS), RotationConfig(MIN_OPERATIONS)),
        (RotationConfig(interval=60), RotationConfig(interval=MIN_INTERVAL)),
    ],
)
def test_rotation_limits_are_bounded(given: RotationConfig, kept: RotationConfig) -> None:
    assert given.bounded() == kept


@pytest.mark.parametrize("bad", [RotationConfig(-1), RotationConfig(interval=-1), RotationConfig(interval=2**60)])
def test_senseless_rotation_limits_are_refused(bad: RotationConfig) -> None:
    with pytest.raises(BadRequest):
        bad.bounded()
