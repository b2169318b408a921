"""The writer thread: it lives through whatever its store does, and ends when told."""

import asyncio
import threading

import pytest

from strongroom.errors import BadRequest, StorageFailed
from strongroom.sdk.storage import Write
from strongroom.storage.completion import Completion, drive
from strongroom.storage.group import QUICK, STALL, TRY_AGAIN, GroupWriter, Job, Take


def job(key: str = "k") -> Job:
    return Job([Write(key, b"v")], {})


def test_a_failing_store_fails_its_batch_and_lives() -> None:
    fail = [True]

    def write(take: Take) -> None:
        take()
        if fail[0]:
            raise MemoryError

    writer = GroupWriter("t", write)
    first = writer.submit(job())
    assert first.wait(10)
    with pytest.raises(StorageFailed):
        first.result()
    fail[0] = False
    second = writer.submit(job())
    assert second.wait(10)
    second.result()
    writer.close()


def test_what_queued_up_shares_a_batch_and_closing_finishes_it() -> None:
    entered, go, sizes = threading.Event(), threading.Event(), []

    def write(take: Take) -> None:
        entered.set()
        go.wait(10)
        sizes.append(len(take()))

    writer = GroupWriter("t", write)
    waiting = [writer.submit(job(f"k{i}")) for i in range(40)]
    assert entered.wait(10)
    threading.Timer(0.01, go.set).start()
    writer.close()
    writer.close()
    assert all(c.done() for c in waiting)
    assert sizes[0] == 40
    with pytest.raises(StorageFailed, match="closed"):
        writer.submit(job())


def test_each_waiter_gets_its_own_exception() -> None:
    go = threading.Event()

    def write(take: Take) -> None:
        go.wait(10)
        take()
        raise StorageFailed("full")

    writer = GroupWriter("t", write)
    waiting = [writer.submit(job()) for _ in range(2)]
    go.set()
    errors = []
    for completion in waiting:
        completion.wait(10)
        with pytest.raises(StorageFailed, match="full") as caught:
            completion.result()
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    writer.close()


def test_limits_hold_before_anything_is_queued() -> None:
    with pytest.raises(BadRequest):
        job("/bad")


class Hand:
    """A store that notes which thread wrote, and takes as long as it is told on a clock of its own."""

    def __init__(self) -> None:
        self.now, self.takes = 100.0, 0.0
        self.threads: list[int] = []
        self.batches: list[int] = []
        self.writer = GroupWriter("t", self.write, in_loop=True, clock=lambda: self.now)

    def write(self, take: Take) -> None:
        self.batches.append(len(take()))
        self.threads.append(threading.get_ident())
        self.now += self.takes

    async def commit(self) -> None:
        await self.writer.submit(Job([Write("k", b"v")], {}))


async def test_a_loop_writes_what_came_in_one_turn_together_and_by_itself() -> None:
    hand = Hand()
    await asyncio.gather(*(hand.commit() for _ in range(5)))
    assert hand.batches == [5] and hand.threads == [threading.get_ident()]
    hand.writer.close()


async def test_after_a_stall_the_thread_writes_until_the_disk_gets_another_chance() -> None:
    hand = Hand()
    hand.takes = STALL * 2
    await hand.commit()
    hand.takes = 0.0
    await hand.commit()
    assert [thread == threading.get_ident() for thread in hand.threads] == [True, False]
    hand.now += TRY_AGAIN
    await hand.commit()
    assert hand.threads[-1] == threading.get_ident()
    hand.writer.close()


async def test_many_batches_that_are_a_little_slow_go_to_the_thread_too() -> None:
    hand = Hand()
    hand.takes = QUICK * 3
    for _ in range(16):
        await hand.commit()
    assert hand.threads[0] == threading.get_ident() != hand.threads[-1]
    hand.writer.close()


def test_a_loop_that_ended_before_it_wrote_holds_up_nobody() -> None:
    hand = Hand()

    async def leave() -> None:
        hand.writer.submit(Job([Write("k", b"v")], {}))  # nobody waits, and the loop ends

    first = asyncio.new_event_loop()
    try:
        first.run_until_complete(leave())
    finally:
        first.close()
    asyncio.run(hand.commit())
    hand.writer.close()
    assert sum(hand.batches) == 2


def test_closing_writes_what_a_loop_still_had() -> None:
    hand = Hand()

    async def leave() -> Completion:
        return hand.writer.submit(Job([Write("k", b"v")], {}))

    loop = asyncio.new_event_loop()
    try:
        waiting = loop.run_until_complete(leave())
    finally:
        loop.close()
    hand.writer.close()
    assert hand.batches == [1] and waiting.done()


def test_without_a_loop_the_thread_writes() -> None:
    hand = Hand()
    drive(hand.commit())
    assert hand.threads != [threading.get_ident()]
    hand.writer.close()
