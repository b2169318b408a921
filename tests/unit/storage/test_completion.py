"""The one awaitable of the house: with a loop, driven by hand in a loop, without a loop."""

import asyncio
import contextlib
import threading
from typing import Any

import pytest

from strongroom.errors import Conflict
from strongroom.storage.completion import Completion, drive, settle


async def wait_for(completion: Completion) -> str:
    await completion
    return "done"


def later(*outcomes: tuple[Completion, BaseException | None]) -> threading.Thread:
    thread = threading.Thread(target=settle, args=(outcomes,))
    thread.start()
    return thread


async def test_in_a_task() -> None:
    good, bad = Completion(), Completion()
    tasks = [asyncio.ensure_future(wait_for(c)) for c in (good, bad)]
    await asyncio.sleep(0)
    later((good, None), (bad, Conflict("other"))).join()
    assert await tasks[0] == "done"
    with pytest.raises(Conflict):
        await tasks[1]


async def test_settled_before_it_is_awaited() -> None:
    completion = Completion()
    settle([(completion, None)])
    coro = wait_for(completion)
    with pytest.raises(StopIteration) as stop:
        coro.send(None)
    assert stop.value.value == "done"


async def test_driven_by_hand_in_a_loop() -> None:
    completion, answers = Completion(), []
    coro = wait_for(completion)
    future = coro.send(None)
    assert isinstance(future, asyncio.Future)
    assert future._asyncio_future_blocking
    future._asyncio_future_blocking = False

    def go_on(_: Any) -> None:
        try:
            coro.send(None)
        except StopIteration as stop:
            answers.append(stop.value)

    future.add_done_callback(go_on)
    later((completion, None))
    while not answers:
        await asyncio.sleep(0.001)
    assert answers == ["done"]


def test_without_a_loop() -> None:
    completion = Completion()
    coro = wait_for(completion)
    assert coro.send(None) is completion
    assert not completion.wait(0.001)
    with pytest.raises(RuntimeError):
        completion.result()
    later((completion, None))
    assert completion.wait()
    with pytest.raises(StopIteration):
        coro.send(None)


def test_drive() -> None:
    completion, failing = Completion(), Completion()
    later((completion, None), (failing, Conflict("other")))
    assert drive(wait_for(completion)) == "done"
    with pytest.raises(Conflict):
        drive(wait_for(failing))

    async def needs_a_loop() -> None:
        await loop.create_future()

    with contextlib.closing(asyncio.new_event_loop()) as loop, pytest.raises(RuntimeError, match="event loop"):
        drive(needs_a_loop())


async def test_drive_in_a_thread_whose_loop_is_busy() -> None:
    """A sync facade called from inside a coroutine must block, not wait for the loop it blocks."""
    completion = Completion()
    later((completion, None))
    assert drive(wait_for(completion)) == "done"


async def test_one_wake_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, wakes = asyncio.get_running_loop(), []
    real = loop.call_soon_threadsafe
    monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *a: (wakes.append(a), real(*a)))
    batch = [Completion() for _ in range(50)]
    tasks = [asyncio.ensure_future(wait_for(c)) for c in batch]
    await asyncio.sleep(0)
    await asyncio.gather(asyncio.to_thread(settle, [(c, None) for c in batch]), *tasks)
    assert len([a for a in wakes if a[0].__name__ == "_wake"]) == 1


async def test_the_loops_own_thread_needs_no_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, wakes = asyncio.get_running_loop(), []
    monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *a: wakes.append(a))
    batch = [Completion() for _ in range(50)]
    tasks = [asyncio.ensure_future(wait_for(c)) for c in batch]
    await asyncio.sleep(0)
    settle([(c, None) for c in batch])
    await asyncio.gather(*tasks)
    assert not wakes


async def test_a_cancelled_waiter_hurts_nobody() -> None:
    batch = [Completion() for _ in range(3)]
    tasks = [asyncio.ensure_future(wait_for(c)) for c in batch]
    await asyncio.sleep(0)
    tasks[1].cancel()
    settle([(c, None) for c in batch])
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcomes[0] == outcomes[2] == "done"
    assert isinstance(outcomes[1], asyncio.CancelledError)


def test_a_closed_loop_hurts_nobody() -> None:
    gone, waiting = Completion(), Completion()
    loop = asyncio.new_event_loop()

    async def begin() -> None:
        task = asyncio.ensure_future(wait_for(gone))
        await asyncio.sleep(0)
        task.cancel()

    loop.run_until_complete(begin())
    loop.close()
    settle([(gone, None), (waiting, None)])
    assert drive(wait_for(waiting)) == "done"
