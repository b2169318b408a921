"""A worker's side of a change of processes, with a supervisor that is slow or cannot help."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import pytest

from strongroom.errors import StorageFailed, Unavailable
from strongroom.server import worker as module
from strongroom.server.board import Board
from strongroom.server.control import Channel
from strongroom.server.logs import Log
from strongroom.server.tallies import EXTRA
from strongroom.server.worker import Worker


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Worker, Channel]]:
    """A worker and the supervisor's end of its channel."""
    ours, theirs = socket.socketpair()
    key, other = socket.socketpair()
    board, log = Board.make(1, EXTRA), os.open(os.devnull, os.O_WRONLY)
    worker, channel = Worker(Channel(theirs), key, board, 0, Log("off", fd=log)), Channel(ours)
    yield worker, channel
    for sock in (worker.channel, channel, key, other):
        sock.close()
    worker.row._at.release()
    board.close()
    os.close(log)


@pytest.mark.parametrize("what", ["unsealed", "sealing"])
async def test_a_change_that_could_not_be_made_is_503(pair: tuple[Worker, Channel], what: str) -> None:
    worker, supervisor = pair
    change = asyncio.ensure_future(worker._transition(what))
    await asyncio.sleep(0)
    assert supervisor.receive() == [({"t": "transition", "what": what}, [])]
    worker._answer_change(ok=False)
    with pytest.raises(Unavailable, match="seal-status") as caught:
        await change
    assert caught.value.status == 503


async def test_init_answers_with_its_shares_whatever_becomes_of_the_processes(pair: tuple[Worker, Channel]) -> None:
    worker, _ = pair
    change = asyncio.ensure_future(worker._transition("initialized"))
    await asyncio.sleep(0)
    worker._answer_change(ok=False)
    await change


@pytest.mark.parametrize("what", ["unsealed", "sealing", "initialized"])
async def test_a_supervisor_that_never_answers_is_not_waited_for_without_end(
    pair: tuple[Worker, Channel], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHANGE_WAIT", 0.01)
    worker, _ = pair
    if what == "initialized":
        await worker._transition(what)
    else:
        with pytest.raises(Unavailable):
            await worker._transition(what)


async def test_a_request_whose_time_is_over_during_a_change(pair: tuple[Worker, Channel]) -> None:
    """The door throws into what waits; that is a 503 too, and init answers all the same."""
    worker, _ = pair
    for what, refused in (("unsealed", True), ("initialized", False)):
        worker._change = None
        waiting = worker._transition(what)
        waiting.send(None)
        with pytest.raises(Unavailable if refused else StopIteration):
            waiting.throw(StorageFailed("the request took longer than max_request_duration"))


async def test_two_changes_at_once(pair: tuple[Worker, Channel]) -> None:
    worker, _ = pair
    first, same = (asyncio.ensure_future(worker._transition("sealing")) for _ in range(2))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="try again"):
        await worker._transition("unsealed")
    worker._answer_change(ok=True)
    await asyncio.gather(first, same)


async def test_a_key_that_never_comes(pair: tuple[Worker, Channel], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEY_WAIT", 0.01)
    with pytest.raises(Unavailable, match="in time"):
        await pair[0]._receive_key()
