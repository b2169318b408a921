"""Lists of the other workers: all of them, some of them, none; never later than the bound."""

import asyncio
import socket
import time
from typing import Any

import msgspec
import pytest

from strongroom.server import flights
from strongroom.server.flights import Others, tell


def sockets(count: int) -> tuple[list[int], list[socket.socket]]:
    pairs = [socket.socketpair() for _ in range(count)]
    return [one.detach() for one, _ in pairs], [two for _, two in pairs]


async def test_all_answer() -> None:
    others = Others(lambda: None)
    first, second = (asyncio.ensure_future(others.listed()) for _ in range(2))
    await asyncio.sleep(0)
    ours, theirs = sockets(2)
    others.opened(ours)
    long: dict[str, Any] = {f"r{n}": {"request_path": "p" * 1000} for n in range(1024)}
    started = time.monotonic()
    await asyncio.gather(tell(theirs[0].detach(), long), tell(theirs[1].detach(), {"x": {}}))
    assert await first == {**long, "x": {}} and await second == await first
    assert time.monotonic() - started < flights.WAIT, "nobody waits when all have answered"


async def test_there_are_no_others() -> None:
    asked: list[int] = []
    others = Others(lambda: asked.append(1))
    for _ in range(2):
        listing = asyncio.ensure_future(others.listed())
        await asyncio.sleep(0)
        others.opened([])
        assert await listing == {}
    assert asked == [1, 1]


async def test_one_is_stuck_one_breaks_off_and_one_writes_nonsense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "WAIT", 60)
    monkeypatch.setattr(flights, "_MAX", 1000)
    others = Others(lambda: None)
    listing = asyncio.ensure_future(others.listed())
    await asyncio.sleep(0)
    ours, (good, stuck, broken, odd, endless) = sockets(5)
    others.opened(ours)
    stuck.send(b"\x81")
    broken.close()
    odd.send(b"\xc1\xff")
    odd.close()
    endless.send(msgspec.msgpack.encode({"e": "x" * 2000}))
    await tell(good.detach(), {"g": 1})
    async with asyncio.timeout(30):
        while len(others._readers) > 1:  # noqa: ASYNC110 - until only the stuck one is waited for
            await asyncio.sleep(0)
    assert not listing.done() and others._waiting is not None
    others._finish(others._waiting)  # as the timer does
    assert await listing == {"g": 1}
    await asyncio.sleep(0)
    assert others._readers == set() and stuck.recv(1) == b"", "its socket is closed"
    stuck.close()
    endless.close()


async def test_a_supervisor_that_answers_late_or_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "WAIT", 0.01)
    others = Others(lambda: None)
    assert await others.listed() == {}
    ours, (late,) = sockets(1)
    others.opened(ours)
    assert late.recv(1) == b"", "what comes too late is closed"
    await tell(late.detach(), {"x": 1})


async def test_an_asker_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "WAIT", 0.01)
    one, two = socket.socketpair()
    await tell(one.detach(), {"x": "y" * 5_000_000})
    two.close()
