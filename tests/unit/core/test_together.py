"""Several waits at once: under a loop, and without one."""

import asyncio
from typing import Any

import pytest

from strongroom.core.together import first_error, together
from strongroom.errors import Conflict, VaultError
from strongroom.storage.completion import Completion, drive, settle


class Waits:
    """A wait that ends when the test says so."""

    def __init__(self, many: int) -> None:
        self.begun: list[int] = []
        self.ends = [Completion() for _ in range(many)]

    async def work(self, number: int) -> int:
        self.begun.append(number)
        await self.ends[number]
        return number


def test_without_a_loop_all_are_begun_before_the_first_is_waited_for():
    waits = Waits(3)
    running: Any = together([waits.work(n) for n in range(3)])
    assert running.send(None) is waits.ends[0] and waits.begun == [0, 1, 2]
    settle([(end, None) for end in waits.ends])
    with pytest.raises(StopIteration) as stop:
        for _ in range(3):
            running.send(None)
    assert stop.value.value == [0, 1, 2]


def test_driven_it_gives_results_and_errors_in_their_order():
    async def fails() -> int:
        raise Conflict("no")

    async def whole() -> list[Any]:
        return await together([waits.work(0), fails(), waits.work(1)])

    waits = Waits(2)
    settle([(waits.ends[0], None), (waits.ends[1], VaultError("late"))])
    first, second, third = drive(whole())
    assert first == 0 and isinstance(second, Conflict) and str(third) == "late"
    with pytest.raises(Conflict):
        first_error([first, second, third])


async def test_in_a_task_they_run_side_by_side():
    async def sleeper(number: int) -> int:
        await asyncio.sleep(0.05)
        return number

    begun = asyncio.get_running_loop().time()
    assert await together([sleeper(n) for n in range(20)]) == list(range(20))
    assert asyncio.get_running_loop().time() - begun < 0.5


async def test_an_error_in_a_future_reaches_the_work_that_waits_for_it():
    loop = asyncio.get_running_loop()
    bad, good = loop.create_future(), loop.create_future()
    loop.call_soon(bad.set_exception, VaultError("bad"))
    loop.call_soon(good.set_result, 7)

    async def wait(future: Any) -> Any:
        return await future

    first, second = await together([wait(bad), wait(good)])
    assert isinstance(first, VaultError) and second == 7


async def test_a_cancelled_wait_ends_them_all():
    ended: list[int] = []

    async def work(number: int) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(number)

    async def whole() -> None:
        await together([work(n) for n in range(3)])

    task = asyncio.get_running_loop().create_task(whole())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [0, 1, 2]


async def test_what_is_no_error_of_the_house_is_raised():
    async def broken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await together([broken()])
    assert await together([]) == []
