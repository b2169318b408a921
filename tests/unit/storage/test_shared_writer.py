"""Link and writer over real sockets: what each waiter hears, whatever becomes of the other side."""

import asyncio
import contextlib
import hashlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from strongroom.errors import Conflict, StorageFailed
from strongroom.sdk.storage import Write
from strongroom.storage.completion import Completion, settle
from strongroom.storage.group import MAX_BATCH, MAX_BATCH_BYTES, Job, Take
from strongroom.storage.lmdb import LmdbStore, open_store
from strongroom.storage.shared_writer import SharedWriter, WriterLink
from writer_thread import WriterThread

MIB = 1 << 20


def job(key: str = "k", value: bytes = b"v", **expect: int) -> Job:
    return Job([Write(key, value)], expect)


class Store:
    """Takes batches as the test wants it; every expectation fails."""

    def __init__(self) -> None:
        self.batches: list[list[Job]] = []
        self.entered, self.go = threading.Event(), threading.Event()
        self.go.set()
        self.error: BaseException | None = None

    def write_batch(self, take: Take) -> None:
        self.entered.set()
        assert self.go.wait(20)
        if self.error is not None:
            raise self.error
        jobs = take()
        self.batches.append(jobs)
        for one in jobs:
            if one.expect:
                one.error = Conflict("no")

    @property
    def keys(self) -> list[str]:
        return [put[0].decode() for batch in self.batches for one in batch for put in one.puts]


class Alone:
    """Commits what the writer never got."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.error: StorageFailed | None = None

    def __call__(self, one: Job) -> Completion:
        if self.error is not None:
            raise self.error
        self.keys.append(one.puts[0][0].decode())
        settle([(one.completion, None)])
        return one.completion


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def thread(store: Store) -> Iterator[WriterThread]:
    with WriterThread(store.write_batch) as writer:
        yield writer
        store.go.set()


def linked(sock: socket.socket, alone: Callable[[Job], object] | None = None) -> WriterLink:
    return WriterLink(sock, asyncio.get_running_loop(), alone or Alone())


async def outcome(completion: Completion, seconds: float = 20) -> Any:
    """None or the exception."""
    try:
        async with asyncio.timeout(seconds):
            await completion
    except (Conflict, StorageFailed) as error:
        return error


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def happens(condition: Callable[[], Any], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen"
        await asyncio.sleep(0.001)


def framed(body: Any) -> bytes:
    raw = msgspec.msgpack.encode(body)
    return struct.pack(">I", len(raw)) + raw


def unframed(data: bytes) -> list[Any]:
    found = []
    while data:
        (size,) = struct.unpack_from(">I", data)
        found.append(msgspec.msgpack.decode(data[4 : 4 + size]))
        data = data[4 + size :]
    return found


def commits(count: int, size: int = 1) -> list[Any]:
    return [[[(b"k%d" % n, bytes(size))], [], size + 4] for n in range(count)]


def end_of(sock: socket.socket) -> bool:
    """Whether the other side parts from it; what it sent before is skipped."""
    sock.settimeout(20)
    try:
        while sock.recv(MIB):
            pass
    except ConnectionError:
        pass
    return True


# -- what waiters hear


async def test_durable_and_conflict(thread: WriterThread, store: Store) -> None:
    link = linked(thread.connect())
    waiting = [link.submit(job("a")), link.submit(job("b", a=7)), link.submit(job("c"))]
    heard = [await outcome(one) for one in waiting]
    assert heard[0] is heard[2] is None and isinstance(heard[1], Conflict)
    assert store.keys == ["a", "b", "c"] and len(store.batches) == 1
    assert store.batches[0][1].expect == [(b"a", 7)]
    link.close()


async def test_a_failing_batch_tells_each_waiter_its_own_exception(thread: WriterThread, store: Store) -> None:
    links = [linked(thread.connect()) for _ in range(2)]
    store.go.clear()
    store.error = StorageFailed("the disk is full")
    waiting = [links[n % 2].submit(job(f"k{n}")) for n in range(6)]
    await happens(store.entered.is_set)
    store.go.set()
    heard = [await outcome(one) for one in waiting]
    assert all(isinstance(error, StorageFailed) and str(error) == "the disk is full" for error in heard)
    assert len({id(error) for error in heard}) == 6
    store.error = ValueError("a canary that nobody may see")
    error = await outcome(links[0].submit(job()))
    assert isinstance(error, StorageFailed) and "canary" not in str(error)
    store.error = None
    assert await outcome(links[1].submit(job("after"))) is None and store.keys == ["after"]
    for link in links:
        link.close()


async def test_several_links_share_a_batch(thread: WriterThread, store: Store) -> None:
    links = [linked(thread.connect()) for _ in range(3)]
    await outcome(links[0].submit(job("first")))
    store.go.clear()
    store.entered.clear()
    waiting = [link.submit(job(f"k{n}")) for n, link in enumerate(links)]
    await happens(store.entered.is_set)
    await turns()
    waiting += [link.submit(job(f"l{n}")) for n, link in enumerate(links)]
    await turns()
    store.go.set()
    assert [await outcome(one) for one in waiting] == [None] * 6
    assert sorted(store.keys[1:]) == ["k0", "k1", "k2", "l0", "l1", "l2"] and len(store.batches) == 2
    for link in links:
        link.close()


async def test_large_values_arrive_whole(thread: WriterThread, store: Store) -> None:
    links = [linked(thread.connect()) for _ in range(2)]
    sent = {f"{n}": bytes([n]) * (2 * MIB) for n in range(10)}
    waiting = []
    for n, (key, value) in enumerate(sent.items()):
        waiting.append(links[n % 2].submit(job(key, value)))
        await turns(n % 3)
    assert [await outcome(one, 60) for one in waiting] == [None] * 10
    got = {put[0].decode(): put[1] for batch in store.batches for one in batch for put in one.puts}
    assert {k: hashlib.sha256(v or b"").digest() for k, v in got.items()} == {
        k: hashlib.sha256(v).digest() for k, v in sent.items()
    }
    assert all(sum(one.size for one in batch) <= MAX_BATCH_BYTES for batch in store.batches)
    for link in links:
        link.close()


async def test_cancelled_waiters_disturb_nobody(thread: WriterThread, store: Store) -> None:
    link = linked(thread.connect())
    store.go.clear()
    tasks = [asyncio.ensure_future(outcome(link.submit(job(f"k{n}")))) for n in range(4)]
    await happens(store.entered.is_set)
    for task in tasks[::2]:
        task.cancel()
    await turns()
    store.go.set()
    assert [await task for task in tasks[1::2]] == [None, None]
    assert all(task.cancelled() for task in tasks[::2]) and store.keys == ["k0", "k1", "k2", "k3"]
    assert await outcome(link.submit(job("after"))) is None
    link.close()


# -- what goes over the wire


async def test_the_commits_of_a_turn_are_one_message() -> None:
    ours, theirs = socket.socketpair()
    link = linked(ours)
    for n in range(3):
        link.submit(job(f"k{n}"))
    await turns()
    first = unframed(theirs.recv(MIB))
    link.submit(job("later"))
    await turns()
    second = unframed(theirs.recv(MIB))
    assert [len(message) for message in first] == [3] and [len(message) for message in second] == [1]
    link.close()
    theirs.close()


async def test_a_turn_of_more_than_a_batch_is_cut(thread: WriterThread, store: Store) -> None:
    link = linked(thread.connect())
    waiting = [link.submit(job(f"k{n}")) for n in range(2 * MAX_BATCH + 5)]
    assert {await outcome(one) for one in waiting} == {None}
    waiting = [link.submit(job(f"k{n}", bytes(MIB))) for n in range(40)]
    assert {await outcome(one, 60) for one in waiting} == {None}
    assert all(len(batch) <= MAX_BATCH for batch in store.batches)
    assert all(sum(one.size for one in batch) <= MAX_BATCH_BYTES for batch in store.batches)
    assert sum(map(len, store.batches)) == 2 * MAX_BATCH + 45
    link.close()


# -- the writer ends


async def test_what_was_sent_fails_and_what_follows_is_committed_otherwise() -> None:
    ours, theirs = socket.socketpair()
    alone = Alone()
    link = linked(ours, alone)
    sent = [link.submit(job("sent")) for _ in range(2)]
    await turns()
    assert len(unframed(theirs.recv(MIB))[0]) == 2
    theirs.close()
    heard = [await outcome(one) for one in sent]
    assert all(isinstance(error, StorageFailed) and "not known" in str(error) for error in heard)
    assert heard[0] is not heard[1] and link.lost and alone.keys == []
    assert await outcome(link.submit(job("later"))) is None and alone.keys == ["later"]
    alone.error = StorageFailed("the store is closed")
    assert "is closed" in str(await outcome(link.submit(job("last"))))


async def test_what_the_writer_never_got_whole_is_committed_otherwise() -> None:
    ours, theirs = socket.socketpair()
    alone = Alone()
    link = linked(ours, alone)
    first = link.submit(job("first"))
    await turns()
    half = link.submit(job("half", bytes(2 * MIB)))  # more than the socket takes
    await turns()
    queued = link.submit(job("queued"))
    await turns()
    turn = link.submit(job("turn"))
    theirs.recv(1000)
    link.close()
    assert "not known" in str(await outcome(first))
    assert [await outcome(one) for one in (half, queued, turn)] == [None] * 3
    assert alone.keys == ["half", "queued", "turn"]
    await turns()
    assert alone.keys == ["half", "queued", "turn"], "once each"
    theirs.close()


async def test_an_end_is_noticed_while_sending_and_the_last_answers_count() -> None:
    ours, theirs = socket.socketpair()
    alone = Alone()
    link = linked(ours, alone)
    first = link.submit(job("first"))
    await turns()
    theirs.recv(MIB)
    theirs.send(framed([0]))
    theirs.close()
    second = link.submit(job("second"))
    link._send()  # before the loop looks at the socket
    assert link.lost and first.done() and second.done()
    assert await outcome(first) is None and await outcome(second) is None and alone.keys == ["second"]


@pytest.mark.parametrize(
    "answer",
    [
        b"\0\0\0\1\xc1",
        b"\xff\xff\xff\xff",
        framed([0, 0]),
        framed([]),
        framed({"a": 1}),
        framed(["0"]),
        framed([0]) + framed([0]),
    ],
)
async def test_a_writer_that_answers_rubbish_is_left(answer: bytes) -> None:
    ours, theirs = socket.socketpair()
    alone = Alone()
    link = linked(ours, alone)
    one = link.submit(job("one"))
    await turns()
    theirs.send(answer)
    await happens(lambda: link.lost)
    assert one.done()
    if answer != framed([0]) + framed([0]):
        assert "not known" in str(await outcome(one))
    assert await outcome(link.submit(job("later"))) is None and alone.keys == ["later"]
    theirs.close()


async def test_rubbish_is_not_taken_for_the_answer_to_something_else() -> None:
    ours, theirs = socket.socketpair()
    link = linked(ours)
    first = link.submit(job("first"))
    await turns()
    second = link.submit(job("second"))
    await turns()
    theirs.send(framed([0, 0, 0]) + framed([0]))
    theirs.send(framed([0]))
    assert "not known" in str(await outcome(first)) and "not known" in str(await outcome(second))
    theirs.close()


async def test_leaving_waits_for_what_is_under_way() -> None:
    ours, theirs = socket.socketpair()
    link = linked(ours)
    under_way = link.submit(job("one"))
    link.leave()
    await turns()
    assert not link.closed.done() and len(unframed(theirs.recv(MIB))) == 1
    theirs.send(framed([0]))
    async with asyncio.timeout(20):
        await link.closed
    assert await outcome(under_way) is None and theirs.recv(1) == b""
    theirs.close()
    other = linked(socket.socketpair()[0])
    other.leave()
    assert other.closed.done() and other.lost


# -- peers of the writer


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\0\0\0\1\xc1",
        framed([[1, 2, 3]]),
        framed("text"),
        b"\xff\xff\xff\xff",
        framed(commits(2))[:-3],
        b"\0\0",
        framed(commits(1)) + b"\0\0\0\3ab",
    ],
)
async def test_a_peer_that_sends_rubbish_or_half_a_message(rubbish: bytes, thread: WriterThread, store: Store) -> None:
    link, bad = linked(thread.connect()), thread.connect()
    before = link.submit(job("before"))
    bad.sendall(rubbish)
    bad.shutdown(socket.SHUT_WR)
    assert end_of(bad), "it is dropped"
    assert await outcome(before) is None and await outcome(link.submit(job("after"))) is None
    assert set(store.keys) == {"before", "after"} | ({"k0"} if rubbish.startswith(framed(commits(1))) else set())
    link.close()
    bad.close()


async def test_a_peer_that_does_not_read_its_answers_is_cut_off(thread: WriterThread, store: Store) -> None:
    link, deaf = linked(thread.connect()), thread.connect()
    message = framed([[[], [], 0]] * MAX_BATCH)  # commits of nothing: the answers are what counts
    deaf.settimeout(20)
    with pytest.raises(ConnectionError):
        for _ in range(5000):
            deaf.sendall(message)
    assert await outcome(link.submit(job("after"))) is None and "after" in store.keys
    link.close()
    deaf.close()


async def test_a_peer_that_is_late_to_read_gets_all_its_answers(thread: WriterThread, store: Store) -> None:
    """A socket holds a few hundred small messages: far fewer than answers may be under way to a busy process."""
    late = thread.connect()
    late.settimeout(20)
    many = 3000
    for _ in range(many):
        late.sendall(framed(commits(1)))
    await happens(lambda: sum(map(len, store.batches)) == many)
    got = b""
    while len(got) < many * len(framed([0])):
        data = late.recv(MIB)
        assert data, "it was cut off"
        got += data
    assert unframed(got) == [[0]] * many
    late.close()


async def test_what_a_peer_sent_whole_is_written_though_it_ended(thread: WriterThread, store: Store) -> None:
    peer = thread.connect()
    peer.sendall(framed(commits(2)))
    peer.close()
    await happens(lambda: store.keys == ["k0", "k1"])


def test_what_has_come_is_written_before_the_end(store: Store) -> None:
    thread = WriterThread(store.write_batch)
    peers = [thread.connect() for _ in range(2)]
    store.go.clear()
    peers[0].sendall(framed(commits(1)))
    assert store.entered.wait(20)
    for peer in peers:
        peer.sendall(framed(commits(MAX_BATCH)))
    thread.ask(thread.writer.stop)
    store.go.set()
    thread.end()
    assert sum(map(len, store.batches)) == 2 * MAX_BATCH + 1
    answered = [code for peer in peers for message in unframed(peer.recv(MIB)) for code in message]
    assert answered == [0] * (2 * MAX_BATCH + 1)
    for peer in peers:
        assert end_of(peer)
        peer.close()


def test_others_get_their_turn_under_load(store: Store) -> None:
    """Links to new workers, and the end, do not wait until nobody writes any more."""
    ours, theirs = socket.socketpair()
    control, told = socket.socketpair()
    seen: list[int] = []
    beats: list[int] = []

    def write_batch(take: Take) -> None:
        store.write_batch(take)
        if len(store.batches) == 1:
            control.send(b"!")

    writer = SharedWriter(write_batch, lambda: beats.append(len(store.batches)))

    def read() -> None:
        told.recv(1)
        seen.append(len(store.batches))
        writer.stop()

    writer.add(theirs)
    writer.watch(told.fileno(), read)
    for _ in range(4):
        ours.sendall(framed(commits(MAX_BATCH)))
    writer.run()
    assert seen == [1] and beats[:2] == [0, 1]
    assert len(store.batches) == 4, "and what had come is written all the same"
    writer.close()
    for sock in (ours, control, told):
        sock.close()


def test_a_writer_that_is_slower_than_its_peers_reads_a_batch_ahead_at_most() -> None:
    writer = SharedWriter(lambda take: None)
    ours, theirs = socket.socketpair()
    writer.add(theirs)

    def send() -> None:
        with contextlib.suppress(OSError):
            for _ in range(10):
                ours.sendall(framed(commits(4, MIB)))

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    end = time.monotonic() + 20
    (peer,) = writer._peers.values()
    while peer.waiting_size < MAX_BATCH_BYTES and time.monotonic() < end:
        writer._collect(100)
    for _ in range(50):
        writer._collect(1)
    assert MAX_BATCH_BYTES <= peer.waiting_size <= MAX_BATCH_BYTES + 5 * MIB and sender.is_alive()
    writer.close()
    sender.join(20)
    assert not sender.is_alive()
    ours.close()


# -- the store over a link


@contextlib.contextmanager
def opened(path: Path) -> Iterator[LmdbStore]:
    store = open_store({"path": str(path / "s"), "sync": False})
    assert isinstance(store, LmdbStore)
    with WriterThread(store.write_batch) as writer:
        store.write_through(writer.connect())
        yield store


async def test_a_store_that_is_linked_again_loses_no_answer(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        ours, theirs = socket.socketpair()
        store.write_through(ours)
        first = asyncio.ensure_future(store.commit([Write("a", b"1")]))
        await turns()
        with WriterThread(store.write_batch) as another:
            store.write_through(another.connect())
            await store.commit([Write("b", b"2")])
            assert not first.done(), "the first writer has not answered"
            theirs.send(framed([0]))
            await first
            async with asyncio.timeout(20):
                assert await asyncio.to_thread(end_of, theirs), "and is left then"
            await store.close()
        theirs.close()


async def test_closing_a_store_waits_for_the_answers(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        waiting = [asyncio.ensure_future(store.commit([Write(f"k{n}", bytes(MIB))])) for n in range(8)]
        await turns(1)
        await store.close()
        assert [await one for one in waiting] == [None] * 8
        with pytest.raises(StorageFailed, match="closed"):
            await store.commit([Write("late", b"1")])


async def test_a_store_whose_writer_ended_writes_by_itself(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        ours, theirs = socket.socketpair()
        store.write_through(ours)
        lost = asyncio.ensure_future(store.commit([Write("lost", b"1")]))
        await turns()
        theirs.close()
        with pytest.raises(StorageFailed, match="not known"):
            await lost
        await store.commit([Write("a", b"1")])
        with pytest.raises(Conflict):
            await store.commit([Write("a", b"2")], expect={"a": 0})
        entry = await store.get("a")
        assert entry is not None and entry.value == b"1" and await store.get("lost") is None
        await store.close()
