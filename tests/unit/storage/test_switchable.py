"""Moving a store in use: nothing written meanwhile is lost, no stale revision passes."""

import asyncio
import threading
from pathlib import Path

import pytest

from contracts.storage_contract import StorageContract, increment
from contracts.test_storage import OPEN
from strongroom.errors import BadRequest, Conflict, StorageFailed
from strongroom.sdk.storage import Backend, Storage, Write
from strongroom.storage.completion import drive
from strongroom.storage.memory import MemoryStore
from strongroom.storage.migrate import UNFINISHED
from strongroom.storage.switchable import SwitchableBackend


class TestContract(StorageContract):
    @pytest.fixture
    def store(self) -> Storage:
        return SwitchableBackend(MemoryStore())


class TestContractAfterAMove(StorageContract):
    @pytest.fixture
    async def store(self) -> Storage:
        switchable = SwitchableBackend(MemoryStore())
        await switchable.move(MemoryStore())
        return switchable


async def fill(store: Backend, entries: int) -> None:
    for start in range(0, entries, 50):
        await store.commit([Write(f"f/{i}", b"%d" % i) for i in range(start, start + 50)])


@pytest.mark.parametrize(
    ("source", "target"), [("memory", "lmdb"), ("lmdb", "memory"), ("lmdb", "file"), ("file", "lmdb")]
)
async def test_concurrent_writers_lose_nothing(tmp_path: Path, source: str, target: str) -> None:
    store = SwitchableBackend(OPEN[source](tmp_path / "a"))
    new = OPEN[target](tmp_path / "b")
    await fill(store, 500)
    acknowledged: dict[str, bytes] = {}
    stop = threading.Event()

    def writer(name: int) -> None:
        turn = 0
        while not stop.is_set():
            key, value = f"w/{name}/{turn % 40}", b"%d" % turn
            drive(store.commit([Write(key, value), Write(key + "/twin", value)]))
            acknowledged[key] = acknowledged[key + "/twin"] = value
            turn += 1

    threads = [threading.Thread(target=writer, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    counting = asyncio.ensure_future(increment(store, "n", 40))
    report = await store.move(new)
    assert store.kind == target
    await counting
    stop.set()
    for thread in threads:
        thread.join(60)
    assert report.copied >= 500
    content = {key: entry.value for key, entry in await new.scan("", limit=10**6)}
    assert {key: value for key, value in content.items() if key.startswith("w/")} == acknowledged
    assert content["n"] == b"40"
    assert {content[f"f/{i}"] for i in range(500)} == {b"%d" % i for i in range(500)}
    assert UNFINISHED not in content
    await store.close()


def test_without_a_loop() -> None:
    store = SwitchableBackend(MemoryStore())
    drive(fill(store, 100))
    failures: list[BaseException] = []

    def count() -> None:
        try:
            drive(increment(store, "n", 200))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        drive(store.move(MemoryStore()))
    for thread in threads:
        thread.join(60)
    assert failures == []
    entry = drive(store.get("n"))
    assert entry is not None
    assert entry.value == b"600"


async def test_what_was_read_before_conflicts_after() -> None:
    store = SwitchableBackend(MemoryStore())
    await store.commit([Write("a", b"1"), Write("b", b"1")])
    await store.commit([Write("b", None)])
    old, stamp = await store.get("a"), store.stamp()
    await store.move(MemoryStore())
    new = await store.get("a")
    assert old is not None
    assert new is not None
    assert new.value == b"1"
    assert new.revision > old.revision
    assert store.stamp() != stamp
    with pytest.raises(Conflict):
        await store.commit([Write("a", b"2")], expect={"a": old.revision})
    await store.commit([Write("a", b"2"), Write("b", b"2")], expect={"a": new.revision, "b": 0})


async def test_writers_faster_than_the_target_are_held_soon() -> None:
    """Each copied batch meets as many new keys: catching up never ends, so the commits are held instead."""
    store = SwitchableBackend(MemoryStore())
    commits = 0

    class Behind(MemoryStore):
        async def commit(self, *args: object, **more: object) -> None:
            nonlocal commits
            commits += 1
            if store._held is None:
                await store.commit([Write(f"new/{commits}/{i}", b"") for i in range(60)])
            await super().commit(*args, **more)  # type: ignore[arg-type]

    await fill(store, 640)
    report = await store.move(Behind())
    assert report.copied >= 640
    assert commits < 50
    total = len(await store.scan("", limit=10**6))
    assert total >= 640 + 60 * 10


class Failing(MemoryStore):
    """Takes some commits, then none."""

    left = 3

    async def commit(self, *args: object, **more: object) -> None:
        self.left -= 1
        if self.left < 0:
            raise StorageFailed("full")
        await super().commit(*args, **more)  # type: ignore[arg-type]


async def test_a_move_that_fails_changes_nothing() -> None:
    store = SwitchableBackend(MemoryStore())
    await fill(store, 300)
    target = Failing()
    with pytest.raises(StorageFailed, match="full"):
        await store.move(target)
    await store.commit([Write("f/0", b"later"), Write("f/1", None)])
    with pytest.raises(BadRequest, match="not empty"):
        other = MemoryStore()
        await other.commit([Write("x", b"1")])
        await store.move(other)
    target.left = 10**6
    report = await store.move(target)
    assert report.resumed
    first = await store.get("f/0")
    assert first is not None
    assert first.value == b"later"
    assert await store.get("f/1") is None
    assert len(await store.list("f/", limit=1000)) == 299


async def test_one_move_at_a_time() -> None:
    store = SwitchableBackend(MemoryStore())

    class Slow(MemoryStore):
        async def commit(self, *args: object, **more: object) -> None:
            await asyncio.sleep(0)
            await super().commit(*args, **more)  # type: ignore[arg-type]

    await fill(store, 100)
    first = asyncio.ensure_future(store.move(Slow()))
    await asyncio.sleep(0)
    with pytest.raises(Conflict):
        await store.move(MemoryStore())
    with pytest.raises(StorageFailed):
        await store.close()
    await first
    await store.close()
