"""The barrier wears Storage, seals every value for its key, and says no to what was not written by it."""

from collections.abc import AsyncIterator

import pytest

from strongroom.core.barrier import Barrier
from strongroom.core.keyring import Keyring
from strongroom.core.layout import AUDIT_TARGETS, KEYRING, RESERVED, SEAL_CONFIG
from strongroom.crypto import aead
from strongroom.errors import BadRequest, Conflict, IntegrityError, Sealed
from strongroom.sdk.storage import Entry, View, Write
from strongroom.storage.memory import MemoryStore

NEEDLE = b"needle-in-the-store"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def barrier(store: MemoryStore) -> AsyncIterator[Barrier]:
    key = aead.new_key()
    with Keyring.create(1.0) as keyring:
        await store.commit([Write(KEYRING, keyring.seal(key))])
    barrier = await Barrier.open_with(store, key, now=lambda: 1.0, max_entry_size=1000)
    yield barrier
    barrier.wipe()


async def test_values_are_sealed_and_names_are_not(barrier: Barrier, store: MemoryStore) -> None:
    await barrier.commit([Write("a/b", NEEDLE), Write("a/empty", b"")])
    raw = await store.get("a/b")
    assert raw is not None and NEEDLE not in raw.value and len(raw.value) == len(NEEDLE) + aead.OVERHEAD
    assert await barrier.get("a/b") == Entry(NEEDLE, raw.revision)
    assert await barrier.get("a/empty") == Entry(b"", raw.revision)
    assert await barrier.get("a/none") is None


async def test_the_same_value_never_looks_the_same(barrier: Barrier, store: MemoryStore) -> None:
    await barrier.commit([Write("a", NEEDLE), Write("b", NEEDLE)])
    first, second = await store.get_many(["a", "b"])
    assert first is not None and second is not None and first.value[5:] != second.value[5:]


async def test_it_wears_storage(barrier: Barrier, store: MemoryStore) -> None:
    await barrier.commit([Write("f/a", b"1"), Write("f/b/c", b"2"), Write("g", b"3")])
    assert await barrier.list("f/") == ["a", "b/"]
    assert await barrier.list("f/", after="a", limit=1) == ["b/"]
    assert [(key, entry.value) for key, entry in await barrier.scan("f/")] == [("a", b"1"), ("b/c", b"2")]
    assert [key for key, _ in await barrier.scan("f/", after="a", until="z", limit=5)] == ["b/c"]
    assert [entry and entry.value for entry in await barrier.get_many(["g", "no", "f/a"])] == [b"3", None, b"1"]
    await barrier.commit([Write("g", None)])
    assert await barrier.get("g") is None
    assert barrier.kind == store.kind and barrier.stamp() == store.stamp()


async def test_expectations_reach_the_store(barrier: Barrier) -> None:
    await barrier.commit([Write("a", b"1")], expect={"a": 0})
    with pytest.raises(Conflict):
        await barrier.commit([Write("a", b"2")], expect={"a": 0})
    entry = await barrier.get("a")
    assert entry is not None and entry.value == b"1"
    await barrier.commit([Write("a", b"2")], expect={"a": entry.revision})


async def test_a_cache_can_check_the_revision_without_decrypting(barrier: Barrier) -> None:
    await barrier.commit([Write("a", NEEDLE)])
    raw = await barrier.get_sealed("a")
    assert raw is not None and NEEDLE not in raw.value and barrier.open("a", raw) == NEEDLE
    assert await barrier.get_sealed("none") is None


async def test_a_view_over_it_binds_the_whole_key(barrier: Barrier, store: MemoryStore) -> None:
    await View(barrier, "ns/root/data/1/").commit([Write("k", NEEDLE)])
    raw = await store.get("ns/root/data/1/k")
    assert raw is not None
    await store.commit([Write("ns/root/data/2/k", raw.value)])
    with pytest.raises(IntegrityError):
        await View(barrier, "ns/root/data/2/").get("k")


async def test_entries_over_the_limit_are_refused_before_anything_is_written(
    barrier: Barrier, store: MemoryStore
) -> None:
    await barrier.commit([Write("fits", b"x" * 1000)])
    before = store.stamp()
    with pytest.raises(BadRequest, match="1001 bytes is over the limit of 1000"):
        await barrier.commit([Write("a", b"1"), Write("b", b"x" * 1001)])
    assert store.stamp() == before


@pytest.mark.parametrize("key", sorted(RESERVED | {AUDIT_TARGETS}))
async def test_the_seals_own_keys_are_out_of_reach(barrier: Barrier, key: str) -> None:
    with pytest.raises(BadRequest):
        await barrier.commit([Write(key, b"mine")])
    with pytest.raises(BadRequest):
        await barrier.commit([Write(key, None)])


async def test_clear_entries_ride_in_the_same_commit(barrier: Barrier, store: MemoryStore) -> None:
    await barrier.commit([Write("a", b"1")], clear=[Write(AUDIT_TARGETS, b"[]")])
    clear, sealed = await store.get_many([AUDIT_TARGETS, "a"])
    assert clear is not None and sealed is not None
    assert clear.value == b"[]" and clear.revision == sealed.revision
    for key in ("a", SEAL_CONFIG):
        with pytest.raises(BadRequest):
            await barrier.commit([], clear=[Write(key, b"open")])


async def test_closed_means_sealed(barrier: Barrier, store: MemoryStore) -> None:
    await barrier.commit([Write("a", b"1")])
    raw = await barrier.get_sealed("a")
    assert raw is not None
    await barrier.close()
    await barrier.close()
    for call in (
        barrier.get("a"),
        barrier.get("none"),
        barrier.get_sealed("a"),
        barrier.get_many(["a"]),
        barrier.list(""),
        barrier.scan(""),
        barrier.commit([Write("a", b"2")]),
        barrier.commit([Write("a", None)]),
        barrier.key_status(),
        barrier.rotation_config(),
    ):
        with pytest.raises(Sealed):
            await call
    with pytest.raises(Sealed):
        barrier.open("a", raw)
    assert await store.get("a") == raw  # the store below stays open


async def test_closing_on_a_broken_store_still_seals(barrier: Barrier, store: MemoryStore) -> None:
    await barrier.commit([Write("a", b"1")])
    await store.close()
    await barrier.close()
    assert barrier.closed and not barrier._keyring.ciphers


async def test_another_worker_opens_with_the_handed_key(barrier: Barrier, store: MemoryStore) -> None:
    await barrier.commit([Write("a", NEEDLE)])
    other = await Barrier.open_with(store, barrier.copy_keyring_key(), now=lambda: 1.0)
    barrier.wipe()
    entry = await other.get("a")
    assert entry is not None and entry.value == NEEDLE


async def test_repr_says_little(barrier: Barrier) -> None:
    assert repr(barrier) == "Barrier(over memory, open)"
    await barrier.close()
    assert repr(barrier) == "Barrier(over memory, sealed)"
