"""Audit over TCP, UDP and unix sockets, against real listeners."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from contracts.audit_contract import NetworkSinkContract
from strongroom.audit import wire
from strongroom.audit.socket import open_sink
from strongroom.audit.wire import PAUSE, Wire, place_of
from strongroom.errors import AuditFailed, BadRequest
from unit.audit.listeners import Listener

OPTIONS = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
    "udp": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
    "unix": (socket.AF_UNIX, socket.SOCK_STREAM, ""),
}


class SocketPlace:
    def __init__(self, kind: str, folder: Path) -> None:
        family, form, address = OPTIONS[kind]
        self.kind = kind
        self.listener = Listener(family, form, address or str(folder / "audit.sock"))

    def options(self) -> dict[str, str]:
        address = self.listener.address
        shown = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
        return {"address": shown, "socket_type": self.kind}

    def open(self) -> Any:
        return open_sink(self.options())

    def lines(self) -> list[bytes]:
        return self.listener.pieces()

    def break_(self) -> None:
        self.listener.close()

    def mend(self) -> None:
        self.listener.open()


@pytest.fixture(params=sorted(OPTIONS))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    place = SocketPlace(request.param, tmp_path)
    yield place
    place.listener.close()


class TestSocket(NetworkSinkContract):
    @pytest.fixture
    def place(self, place: Any) -> Any:
        return place


def test_a_reader_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    place = SocketPlace("unix", tmp_path)
    sink = place.open()
    line = b"x" * 65_536 + b"\n"
    begun = time.monotonic()
    with pytest.raises(AuditFailed) as caught:
        for _ in range(200):
            sink.request(line)
    assert time.monotonic() - begun < 5 * wire.PATIENCE + 2
    assert "xxx" not in str(caught.value)
    seen = place.lines()
    assert all(one == line for one in seen[:-1]), "what came before the last half line is whole"
    sink.request(b"again\n")
    assert place.lines()[-1] == b"again\n", "on a connection of its own"
    sink.close()
    place.listener.close()


def test_a_target_that_never_answers_is_left_alone_for_a_while() -> None:
    """A listener whose queue is full: connecting waits."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    blockers = []
    for _ in range(8):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(full.getsockname())
        blockers.append(one)
    time_now = [0.0]

    def clock() -> float:
        time_now[0] += 0.2
        return time_now[0]

    line = Wire(place_of("tcp", f"127.0.0.1:{full.getsockname()[1]}"), clock=clock)
    with pytest.raises(AuditFailed, match="cannot be reached"):
        line.connect()
    with pytest.raises(AuditFailed, match="does not answer"):
        line.connect()
    time_now[0] += PAUSE
    with pytest.raises(AuditFailed, match="cannot be reached"):
        line.connect()
    for one in (*blockers, full):
        one.close()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"address": "127.0.0.1"},
        {"address": "127.0.0.1:0"},
        {"address": "127.0.0.1:99999"},
        {"address": ":1"},
        {"address": "127.0.0.1:1", "socket_type": "sctp"},
        {"address": "relative.sock", "socket_type": "unix"},
        {"address": "/no/such.sock", "socket_type": "unix"},
        {"address": "127.0.0.1:1"},
        {"address": "127.0.0.1:1", "file_path": "x"},
        {"address": "127.0.0.1:1", "write_timeout": "soon"},
        {"address": "name.invalid:1"},
    ],
)
def test_refused(options: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        open_sink(options)


def test_reopen_that_fails_keeps_the_connection(tmp_path: Path) -> None:
    place = SocketPlace("unix", tmp_path)
    sink = place.open()
    sink.request(b"1\n")
    place.listener.take()
    Path(place.listener.address).unlink()
    with pytest.raises(AuditFailed):
        sink.reopen()
    sink.response(b"2\n")
    assert place.lines() == [b"1\n", b"2\n"]
    sink.close()
    place.listener.close()
