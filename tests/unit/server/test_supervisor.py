"""The supervisor: swap, and changes when processes are slow or cannot be started."""

import asyncio
import errno
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from strongroom.crypto.hardening import HardeningReport
from strongroom.errors import BadRequest
from strongroom.server import supervisor
from strongroom.server.config import ServerConfig, load


def report(*, swap: bool) -> HardeningReport:
    return HardeningReport(True, True, False, swap, ())


@pytest.mark.parametrize(
    ("swap", "refuse", "refused"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_swap_is_refused_where_the_configuration_says_so(
    monkeypatch: pytest.MonkeyPatch, swap: bool, refuse: bool, refused: bool
) -> None:
    monkeypatch.setattr(supervisor, "harden_process", lambda **_: report(swap=swap))
    one = supervisor.Supervisor(ServerConfig(refuse_swap=refuse))
    told: list[str] = []
    monkeypatch.setattr(one.log, "warn", told.append)
    if refused:
        with pytest.raises(BadRequest, match="refuse_swap"):
            one._harden()
    else:
        one._harden()
    assert bool(told) == (swap and not refuse)


def test_an_entry_is_never_larger_than_the_stores_take(tmp_path: object) -> None:
    base = 'storage "inmem" {}\nlistener "tcp" { address = "127.0.0.1:0" tls_disable = true }\n'
    for size, fits in (("1048576", True), ("1048577", False), ("1024", True), ("1023", False)):
        file = tmp_path / "c.hcl"  # type: ignore[operator]
        file.write_text(base + f"max_entry_size = {size}\n")
        if fits:
            assert load([str(file)], {}).max_entry_size == int(size)
        else:
            with pytest.raises(BadRequest, match="max_entry_size"):
                load([str(file)], {})


class Fake:
    """A child that takes each role at once and notes what it is told."""

    def __init__(self, role: str, slot: int = -1) -> None:
        loop = asyncio.get_running_loop()
        self.role, self.slot, self.pid, self.row, self.reason = role, slot, 1, 0, ""
        self.ready, self.hello, self.gone = loop.create_future(), loop.create_future(), loop.create_future()
        self.told: list[tuple[str, dict[str, Any]]] = []
        if role != "blank":
            self.ready.set_result(True)

    def send(self, kind: str, fds: Sequence[int] = (), **fields: Any) -> None:
        self.told.append((kind, fields))
        if kind == "role":
            self.ready.set_result(True)
        elif kind == "stop":
            self.gone.set_result(None)

    def kill(self) -> None: ...
    def kill_after(self, seconds: float) -> None: ...


def made(*children: Fake, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A supervisor over ``children`` that cannot start another process."""
    one: Any = supervisor.Supervisor(ServerConfig(workers=2, log_level="off"))
    one._lock, one.children, one._rows = asyncio.Lock(), set(children), [5]
    one._board = SimpleNamespace(fd=0, rows=6)

    def fail(*_: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(supervisor.Child, "start", fail)
    return one


async def test_seal_ends_those_with_keys_even_when_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, other = Fake("serving", 0), Fake("serving", 1)
    one = made(asked, other, monkeypatch=monkeypatch)
    one._ensure = lambda: None
    await one._change(asked, "sealing")
    assert [kind for kind, _ in other.told] == ["stop"] and asked.told == [("done", {"ok": True})]
    assert one._rows == [5], "the row of what was not started is free again"


async def test_seal_does_not_wait_for_a_slow_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_SEAL_WAIT", 0.01)
    asked, other, blank = Fake("serving", 0), Fake("serving", 1), Fake("blank")
    one = made(asked, other, blank, monkeypatch=monkeypatch)
    one._ensure = lambda: None
    blank.send = lambda *_, **__: None  # type: ignore[method-assign]
    change = asyncio.ensure_future(one._change(asked, "sealing"))
    while not asked.told:  # noqa: ASYNC110 - the change below has no event to wait for
        await asyncio.sleep(0.005)
    assert other.gone.done() and not change.done() and asked.told == [("done", {"ok": True})]
    blank.ready.set_result(True)
    await change


@pytest.mark.parametrize("what", ["initialized", "unsealed"])
async def test_a_change_for_which_no_process_can_be_started_is_refused(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    asked = Fake("sealed")
    one = made(asked, monkeypatch=monkeypatch)
    one._ensure = lambda: None
    await one._change(asked, what)
    assert asked.told == [("done", {"ok": False})]
