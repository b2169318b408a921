"""Offline copies between all kinds: whole, resumable, compared, and with revisions of their own."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from contracts.test_storage import OPEN
from strongroom.errors import BadRequest, Conflict, StorageFailed
from strongroom.sdk.storage import MAX_VALUE, Backend, Storage, View, Write
from strongroom.storage.memory import MemoryStore
from strongroom.storage.migrate import UNFINISHED, CopyReport, copy


async def filled(store: Backend, entries: int = 300) -> dict[str, bytes]:
    chance = random.Random(7)
    content = {f"ns/{i % 5}/{i}": chance.randbytes(chance.randrange(300)) for i in range(entries)}
    content |= {
        "big": bytes(MAX_VALUE),
        "half": bytes(480 * 1024),
        "k" * 4096: b"long",
        "\x01" * 4096: b"escaped",
        "e": b"",
    }
    for key, value in content.items():
        await store.commit([Write(key, value)])
    await store.commit([Write("gone", b"1")])
    await store.commit([Write("gone", None)])
    return content


async def content_of(store: Storage) -> dict[str, bytes]:
    return {key: entry.value for key, entry in await store.scan("", limit=10**6)}


class Stops:
    """A target that fails after some commits."""

    def __init__(self, store: Backend, after: int) -> None:
        self._store, self._left = store, after

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def commit(self, writes: Sequence[Write], *, expect: dict[str, int] | None = None) -> None:
        self._left -= 1
        if self._left < 0:
            raise StorageFailed("stopped")
        await self._store.commit(writes, expect=expect or {})


@pytest.mark.parametrize(("source", "target"), [("memory", "lmdb"), ("lmdb", "file"), ("file", "memory")])
async def test_copy(tmp_path: Path, source: str, target: str) -> None:
    ours, theirs = OPEN[source](tmp_path / "a"), OPEN[target](tmp_path / "b")
    content = await filled(ours)
    seen: list[tuple[int, int | None]] = []
    report = await copy(ours, theirs, progress=lambda done, total: seen.append((done, total)))
    assert report == CopyReport(copied=len(content), compared=len(content), resumed=False)
    assert seen[-1] == (len(content), None)
    assert len(seen) > 2
    assert await content_of(theirs) == content
    old = {key: entry.revision for key, entry in await ours.scan("", limit=10**6)}
    new = {key: entry.revision for key, entry in await theirs.scan("", limit=10**6)}
    assert min(new.values()) > max(old.values())
    with pytest.raises(Conflict):
        await theirs.commit([Write("big", b"x")], expect={"big": old["big"]})
    await ours.close()
    await theirs.close()


@pytest.mark.parametrize("stop", [0, 1, 2, 5, 8])
async def test_resume(stop: int) -> None:
    source, target = MemoryStore(), MemoryStore()
    content = await filled(source)
    with pytest.raises(StorageFailed, match="stopped"):
        await copy(source, Stops(target, stop), progress=None)  # type: ignore[arg-type]
    if stop:
        assert await target.get(UNFINISHED) is not None
        with pytest.raises(BadRequest, match="unfinished"):
            await copy(target, MemoryStore())
    report = await copy(source, target)
    assert report.resumed is bool(stop)
    assert report.compared == len(content)
    assert report.copied < len(content) if stop > 1 else report.copied == len(content)
    assert await content_of(target) == content


async def test_a_source_that_changed_is_found_and_the_next_run_mends_it() -> None:
    source, target = MemoryStore(), MemoryStore()
    content = await filled(source)
    with pytest.raises(StorageFailed):
        await copy(source, Stops(target, 6))  # type: ignore[arg-type]
    await source.commit([Write("big", None), Write("ns/0/0", b"changed"), Write("a new one", b"1")])
    with pytest.raises(StorageFailed, match="differs"):
        await copy(source, target)
    report = await copy(source, target)
    assert report.resumed
    assert await content_of(target) == await content_of(source) != content


async def test_a_full_target_is_refused() -> None:
    source, target = MemoryStore(), MemoryStore()
    await filled(source, 3)
    await target.commit([Write("mine", b"1")])
    with pytest.raises(BadRequest, match="not empty"):
        await copy(source, target)
    assert await content_of(target) == {"mine": b"1"}


async def test_a_cancelled_copy_goes_on() -> None:
    source, target = MemoryStore(), MemoryStore()
    content = await filled(source)

    def stop(done: int, total: int | None) -> None:
        if done > 100:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await copy(source, target, progress=stop)
    await copy(source, target)
    assert await content_of(target) == content


async def test_any_storage_can_be_copied() -> None:
    """Not only backends: a view has no revision counter, and still works as a source."""
    backend, target = MemoryStore(), MemoryStore()
    await backend.commit([Write("in/a", b"1"), Write("out", b"2")])
    await copy(View(backend, "in/"), target)
    assert await content_of(target) == {"a": b"1"}
