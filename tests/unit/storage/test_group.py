"""The writer thread: it lives through whatever its store does, and ends when told."""

import threading

import pytest

from strongroom.errors import BadRequest, StorageFailed
from strongroom.sdk.storage import Write
from strongroom.storage.group import GroupWriter, Job, Take


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
