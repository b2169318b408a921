"""Every built-in store through the contract, and against a model with random commits."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contracts.storage_contract import StorageContract
from strongroom.errors import Conflict
from strongroom.sdk.storage import Backend, Entry, Storage, View, Write
from strongroom.storage import file, lmdb, memory
from strongroom.storage.completion import drive
from writer_thread import WriterThread

SHARED = "lmdb through a shared writer"
OPEN: dict[str, Callable[[Path], Backend]] = {
    "memory": lambda path: memory.open_store({}),
    "lmdb": lambda path: lmdb.open_store({"path": str(path / "s"), "sync": False}),
    "file": lambda path: file.open_store({"path": str(path / "s"), "sync": False}),
    SHARED: lambda path: lmdb.open_store({"path": str(path / "s"), "sync": False}),
}


class Shared:
    """A store in an event loop that commits through a writer, to be seen to have done so."""

    def __init__(self, store: Backend) -> None:
        assert isinstance(store, lmdb.LmdbStore)
        self.batches = 0
        self._write = store.write_batch
        self._writer = WriterThread(self._count)
        store.write_through(self._writer.connect())

    def _count(self, take: Any) -> None:
        self.batches += 1
        self._write(take)

    def end(self) -> None:
        self._writer.end()
        assert self.batches, "nothing went through the writer"


@pytest.fixture
def shares() -> Iterator[list[Shared]]:
    """Ended after the store was closed."""
    made: list[Shared] = []
    yield made
    for shared in made:
        shared.end()


class TestStores(StorageContract):
    @pytest.fixture(params=[*OPEN, "view"])
    async def store(
        self, request: pytest.FixtureRequest, tmp_path: Path, shares: list[Shared]
    ) -> AsyncIterator[Storage]:
        kind = request.param
        backend = OPEN["memory" if kind == "view" else kind](tmp_path)
        if kind == SHARED:
            shares.append(Shared(backend))
            await backend.commit([])
        if kind == "view":
            await backend.commit([Write("vie", b"outside"), Write("view0", b"outside")])
            yield View(backend, "view/")
            assert [k for k, _ in await backend.scan("") if not k.startswith("view/")] == ["vie", "view0"]
        else:
            yield backend
        await backend.close()


class TestBackends:
    @pytest.fixture(params=[*OPEN])
    async def store(
        self, request: pytest.FixtureRequest, tmp_path: Path, shares: list[Shared]
    ) -> AsyncIterator[Backend]:
        backend = OPEN[request.param](tmp_path)
        if request.param == SHARED:
            shares.append(Shared(backend))
        assert backend.kind == request.param.split()[0]
        yield backend
        await backend.close()

    async def test_stamp_moves_with_every_change(self, store: Backend) -> None:
        seen = {store.stamp()}
        for writes in (
            [Write("a", b"1")],
            [Write("a", b"1")],
            [Write("a", None)],
            [Write("b", b"1"), Write("c", b"1")],
        ):
            await store.commit(writes)
            seen.add(store.stamp())
        assert None not in seen
        assert len(seen) == 5

    async def test_stamp_stands_while_nothing_changes(self, store: Backend) -> None:
        await store.commit([Write("a", b"1")])
        stamp = store.stamp()
        await store.get("a")
        with pytest.raises(Conflict):
            await store.commit([Write("a", b"2")], expect={"a": 0})
        assert store.stamp() == stamp


# Keys that share long prefixes and straddle the places where a store cuts them.
_STEMS = [
    "",
    "a/",
    "b",
    "p" * 479,
    "p" * 480,
    "p" * 481 + "/",
    "q" * 959,
    "q" * 960,
    "q" * 960 + "/",
    "é" * 240,
    "é" * 255,
]
_TAILS = ["x", "x/y", "-", "0", "é", "x" * 40, "p", "q" * 480, "q" * 481, "x/" * 260 + "x", "p" * 1000]
KEYS = st.builds(lambda stem, tail: stem + tail, st.sampled_from(_STEMS), st.sampled_from(_TAILS))
PREFIXES = st.sampled_from([*_STEMS, "p" * 481, "q" * 1440, "\x01", "z"])
BOUNDS = st.one_of(st.just(""), st.sampled_from([*_STEMS, *_TAILS]))
WRITES = st.lists(st.builds(Write, KEYS, st.one_of(st.none(), st.binary(max_size=8))), min_size=1, max_size=6)


class Model(RuleBasedStateMachine):
    """A store beside a dict: both must tell the same."""

    kind = ""

    @initialize(folder=st.none())
    def begin(self, folder: Any) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = OPEN[self.kind](Path(self.folder.name))
        self.drive: Callable[[Any], Any] = drive
        if self.kind == SHARED:
            self.loop = asyncio.new_event_loop()
            self.drive = self.loop.run_until_complete

            async def share() -> Shared:
                return Shared(self.store)

            self.shared = self.drive(share())
        self.model: dict[str, Entry] = {}
        self.top = 0

    @rule(writes=WRITES)
    def commit(self, writes: list[Write]) -> None:
        self.drive(self.store.commit(writes))
        for write in writes:
            self.model.pop(write.key, None)
            if write.value is not None:
                self.model[write.key] = Entry(write.value, 0)
        for write in writes:
            entry = self.drive(self.store.get(write.key))
            if entry is not None:
                assert entry.revision > self.top
        self.top = max([self.top, *(e.revision for _, e in self.drive(self.store.scan("", limit=10**6)))])

    @rule(writes=WRITES, key=KEYS, wrong=st.booleans())
    def compare_and_commit(self, writes: list[Write], key: str, wrong: bool) -> None:
        entry = self.drive(self.store.get(key))
        revision = entry.revision if entry else 0
        try:
            self.drive(self.store.commit(writes, expect={key: revision + 1 if wrong else revision}))
        except Conflict:
            assert wrong
            return
        assert not wrong
        for write in writes:
            self.model.pop(write.key, None)
            if write.value is not None:
                self.model[write.key] = Entry(write.value, 0)

    @rule(prefix=PREFIXES, after=BOUNDS, until=BOUNDS, limit=st.sampled_from([1, 2, 5, 1000]))
    def scan(self, prefix: str, after: str, until: str, limit: int) -> None:
        found = self.drive(self.store.scan(prefix, after=after, until=until, limit=limit))
        keys = sorted(key[len(prefix) :] for key in self.model if key.startswith(prefix))
        keys = [key for key in keys if key > after and (not until or key < until)][:limit]
        assert [key for key, _ in found] == keys
        assert all(entry.value == self.model[prefix + key].value for key, entry in found)

    @rule(prefix=PREFIXES, after=BOUNDS, limit=st.sampled_from([1, 2, 5, 1000]))
    def list_names(self, prefix: str, after: str, limit: int) -> None:
        if prefix and not prefix.endswith("/"):
            prefix += "/"
        tails = (key[len(prefix) :].partition("/") for key in self.model if key.startswith(prefix))
        names = sorted({head + slash for head, slash, _ in tails})
        assert self.drive(self.store.list(prefix, after=after, limit=limit)) == [n for n in names if n > after][:limit]

    @invariant()
    def same_keys(self) -> None:
        if hasattr(self, "store"):
            assert [k for k, _ in self.drive(self.store.scan("", limit=10**6))] == sorted(self.model)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.drive(self.store.close())
            if self.kind == SHARED:
                self.drive(asyncio.sleep(0))  # the loop lets go of the socket
                self.shared._writer.end()
                self.loop.close()
            self.folder.cleanup()


@pytest.mark.parametrize("kind", [*OPEN])
def test_model(kind: str) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    machine = type(f"Model_{kind.replace(' ', '_')}", (Model,), {"kind": kind})
    examples = {"file": 10, SHARED: 20}.get(kind, 60)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
