"""The devices in the store, and the list for the sealed node beside it."""

import base64
import json

import pytest

from contracts.audit_harness import Store
from strongroom.core import layout
from strongroom.core.audit_devices import (
    MAX_DEVICES,
    DeviceEntry,
    DeviceTable,
    Target,
    device_path,
    new_entry,
    read_targets,
)
from strongroom.core.barrier import Barrier
from strongroom.core.keyring import Keyring
from strongroom.crypto import aead
from strongroom.errors import BadRequest, IntegrityError, StorageFailed
from strongroom.sdk.storage import Entry, Write
from strongroom.storage.memory import MemoryStore


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def table(store: Store) -> DeviceTable:
    return DeviceTable(store)


async def test_add_load_remove(store: Store, table: DeviceTable) -> None:
    entry = new_entry("file", "file", description="d", options={"file_path": "a.log", "fsync": "true"})
    await table.add(entry)
    assert await table.load() == [entry]
    assert set(store.entries) == {layout.audit("root", "file"), layout.epoch("root")}
    assert await table.remove("file/")
    assert not await table.remove("file/")
    assert await table.load() == []


async def test_each_device_has_a_salt_of_its_own() -> None:
    one, two = new_entry("a", "file"), new_entry("b", "file")
    assert len(one.key()) == 32
    assert one.key() != two.key()
    assert one.salt not in repr(one)


async def test_the_clear_list_has_files_and_nothing_else(store: Store, table: DeviceTable) -> None:
    entry = new_entry("file", "file", description="needle", options={"path": "a.log", "hmac_accessor": "needle"})
    await table.add(entry)
    await table.add(new_entry("sock", "socket", options={"address": "needle"}))
    raw = store.clear[layout.AUDIT_TARGETS].value
    assert json.loads(raw) == {"version": 1, "targets": [{"type": "file", "file_path": "a.log", "chain": True}]}
    assert b"needle" not in raw
    assert entry.salt.encode() not in raw
    assert await read_targets(store.below()) == (Target("file", "a.log", chain=True),)
    await table.remove("file/")
    assert await read_targets(store.below()) == ()


async def test_a_damaged_clear_list_is_not_an_empty_one(store: Store) -> None:
    assert await read_targets(store.below()) == ()
    store.clear[layout.AUDIT_TARGETS] = Entry(b"{}", 1)
    with pytest.raises(StorageFailed):
        await read_targets(store.below())


async def test_every_change_moves_the_epoch(store: Store, table: DeviceTable) -> None:
    await table.add(new_entry("a", "file"))
    first = store.entries[layout.epoch("root")].revision
    await table.remove("a/")
    assert store.entries[layout.epoch("root")].revision > first


async def test_a_change_is_tried_again_on_conflict(store: Store, table: DeviceTable) -> None:
    store.conflicts = 3
    await table.add(new_entry("a", "file"))
    assert len(await table.load()) == 1
    store.conflicts = 1000
    with pytest.raises(StorageFailed):
        await table.remove("a/")


@pytest.mark.parametrize("path", ["a", "a/", "a/b", "a/b/c"])
async def test_taken_paths(table: DeviceTable, path: str) -> None:
    await table.add(new_entry("a/b", "file"))
    with pytest.raises(BadRequest, match="already in use"):
        await table.add(new_entry(path, "file"))


async def test_free_paths(table: DeviceTable) -> None:
    await table.add(new_entry("a", "file"))
    await table.add(new_entry("ab", "file"))


async def test_no_end_of_devices(table: DeviceTable) -> None:
    for n in range(MAX_DEVICES):
        await table.add(new_entry(f"d{n}", "file"))
    with pytest.raises(BadRequest, match="no more than"):
        await table.add(new_entry("more", "file"))


async def test_a_declared_device_is_not_removed(table: DeviceTable) -> None:
    await table.add(new_entry("a", "file", configured=True))
    with pytest.raises(BadRequest, match="configuration"):
        await table.remove("a/")


@pytest.mark.parametrize("path", ["", "/", "a//b", "a/../b", ".", "a b", "a\n", "x" * 300])
def test_bad_paths(path: str) -> None:
    with pytest.raises(BadRequest):
        device_path(path)


def test_paths() -> None:
    assert device_path("file") == device_path("file/") == device_path("/file/") == "file/"


def test_bad_entries() -> None:
    for make in (
        lambda: new_entry("a", ""),
        lambda: new_entry("a", "file", description="d" * 2000),
        lambda: new_entry("a", "file", options={"k": "v" * 20000}),
    ):
        with pytest.raises(BadRequest):
            make()


def test_salts_come_from_the_given_source() -> None:
    entry = new_entry("a", "file", rng=bytes)
    assert entry == DeviceEntry(
        path="a/", type="file", salt=base64.b64encode(bytes(32)).decode(), seed=base64.b64encode(bytes(32)).decode()
    )


async def test_a_damaged_entry_is_not_skipped(store: Store, table: DeviceTable) -> None:
    store.entries[layout.audit("root", "a")] = Entry(b"{}", 1)
    with pytest.raises(IntegrityError):
        await table.load()


async def test_behind_the_real_barrier() -> None:
    below, key = MemoryStore(), aead.new_key()
    with Keyring.create(1.0) as keyring:
        await below.commit([Write(layout.KEYRING, keyring.seal(key))])
    barrier = await Barrier.open_with(below, key, now=lambda: 1.0)
    await DeviceTable(barrier).add(entry := new_entry("file", "file", options={"file_path": "a.log"}))
    assert await DeviceTable(barrier).load() == [entry]
    assert await read_targets(below) == (Target("file", "a.log", chain=True),)
    stored = await below.get(layout.audit("root", "file"))
    assert stored is not None
    assert entry.salt.encode() not in stored.value
    barrier.wipe()
