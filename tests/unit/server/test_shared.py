"""What processes share: the control channel, the board, the table of failed logins, the log; and forwarded answers."""

import asyncio
import json
import os
import socket
from typing import Any

import msgspec
import pytest

from strongroom.core.lockout import Count, Key, LockoutConfig
from strongroom.errors import AuditFailed, NotFound, PermissionDenied, QuotaExceeded, TooLarge, Unavailable, VaultError
from strongroom.sdk.request import Auth, Lease, Op, Request, Response, WrapInfo
from strongroom.server import board as b
from strongroom.server import forward, lockouts, metrics
from strongroom.server.board import Board
from strongroom.server.child import clean_environment
from strongroom.server.control import Channel
from strongroom.server.forward import Answerer, Asker, Unanswered, connect
from strongroom.server.lockouts import SIZE, SharedCounters
from strongroom.server.logs import Log
from strongroom.server.worker import Worker
from unit.storage import processes


def test_channel_carries_messages_and_descriptors() -> None:
    one, two = (Channel(sock) for sock in socket.socketpair())
    read, write = os.pipe()
    try:
        assert two.receive() == []
        assert one.send("a", x=1) and one.send("b", [write], y="z" * 100_000)
        got = []
        while len(got) < 2:
            got += two.receive()
        assert got[0] == ({"t": "a", "x": 1}, []) and got[1][0] == {"t": "b", "y": "z" * 100_000}
        (fd,) = got[1][1]
        os.write(fd, b"through")
        os.close(fd)
        assert os.read(read, 10) == b"through"
        one.close()
        with pytest.raises(EOFError):
            two.receive()
        assert two.send("late") is False
    finally:
        for fd in (read, write):
            os.close(fd)
        two.close()


def test_board_sums_rows_and_outlives_workers() -> None:
    board = Board.make(3)
    one, two = board.row(0), board.row(2)
    one.take(11, 1.0)
    two.take(22, 1.0)
    one.request(Op.READ, 200, 0.0002)
    two.request(Op.READ, 204, 9.0)
    two.request(Op.UPDATE, 503, 0.001)
    two.bad_bytes()
    two.connections(1)
    two.in_flight(1)
    assert board.total(b.requests_at(Op.READ, 2)) == [2] and board.total(b.requests_at(Op.UPDATE, 5)) == [1]
    two.leave()
    assert board.total(b.CONNECTIONS) == [0] and board.total(b.BAD_BYTES) == [1]
    text = metrics.text(board).decode()
    assert 'strongroom_requests_total{operation="read",status="2xx"} 2' in text
    assert 'strongroom_request_seconds_bucket{le="0.00025"} 1' in text
    assert 'strongroom_request_seconds_bucket{le="+Inf"} 3' in text and "strongroom_workers 1" in text
    assert {g["Name"] for g in metrics.as_json(board)["Gauges"]} >= {"vault.core.unsealed", "strongroom.workers"}
    assert b.WIDTH > b.BEAT


CONFIG = LockoutConfig(threshold=3, duration=60, counter_reset=60)


def test_shared_counters_follow_the_rule() -> None:
    counters = SharedCounters(Board.make(1, SIZE), b"s" * 16)
    key, other = Key("auth_1", "bob"), Key("auth_2", "bob")
    assert counters.get(key) is None and counters.drop(key) is False
    assert [counters.add(key, 10.0 + n, CONFIG).failures for n in range(3)] == [1, 2, 3]
    assert counters.get(key) == Count(3, 12.0, 72.0) and counters.get(other) is None
    counters.add(other, 1.0, CONFIG)
    assert dict(counters.items()) == {key: Count(3, 12.0, 72.0), other: Count(1, 1.0, 0.0)}
    assert counters.drop(key) and counters.get(key) is None
    long = Key("a" * 200, "é" * 400)
    counters.add(long, 1.0, CONFIG)
    assert counters.get(long) is not None and counters.get(Key("a" * 200, "é" * 399)) is None


def test_a_full_bucket_gives_up_the_open_and_old_first() -> None:
    counters = SharedCounters(Board.make(1, SIZE), b"s" * 16)
    counters._bucket = lambda _name: range(0, lockouts.WAYS * lockouts.SLOT, lockouts.SLOT)  # type: ignore[method-assign]
    locked = Key("m", "locked")
    for n in range(3):
        counters.add(locked, 1.0 + n, CONFIG)
    for n in range(40):
        counters.add(Key("m", f"made-up-{n}"), 10.0 + n, CONFIG)
    kept = {key.alias for key, _ in counters.items()}
    assert "locked" in kept and "made-up-39" in kept and "made-up-0" not in kept and len(kept) == lockouts.WAYS


_COUNT = """
import sys
from strongroom.core.lockout import Key, LockoutConfig
from strongroom.server.board import Board
from strongroom.server.lockouts import SIZE, SharedCounters
counters = SharedCounters(Board(int(sys.argv[1]), 1, SIZE), b"s" * 16)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(5000):
    counters.add(Key("m", "x"), 1.0, LockoutConfig(threshold=10**6))
"""


def test_processes_count_together() -> None:
    board = Board.make(1, SIZE)
    processes.together([processes.start(_COUNT, str(board.fd), held=[board.fd]) for _ in range(3)])
    assert SharedCounters(board, b"s" * 16).get(Key("m", "x")) == Count(15_000, 1.0, 0.0)


def test_log_levels_and_shapes() -> None:
    read, write = os.pipe()
    log = Log("warn", fd=write)
    log.info("not shown")
    log.warn("first\nsecond \x1b[31m")
    line = os.read(read, 1000).decode()
    assert "[WARN] first second" in line and line.count("\n") == 1 and "\x1b" not in line
    log.configure("debug", "json")
    log.debug("x")
    assert json.loads(os.read(read, 1000))["@message"] == "x"
    os.close(read)
    os.close(write)


def test_log_never_waits_for_a_reader() -> None:
    read, write = os.pipe()
    log = Log("info", fd=write)
    for _ in range(2000):
        log.info("x" * 200)
    assert log.dropped > 0
    while len(os.read(read, 65536)) == 65536:
        pass
    log.info("again")
    assert b"lines before this one were dropped" in os.read(read, 65536) and log.dropped == 0
    os.close(read)
    os.close(write)


def test_clean_environment() -> None:
    given = {"PATH": "/", "VAULT_ADDR": "a", "GITHUB_TOKEN": "b", "AWS_SECRET_ACCESS_KEY": "c", "DB_PASSWORD": "d"}
    assert clean_environment(given | {"API_KEY": "e", "STRONGROOM_X": "f", "LANG": "C"}) == {"PATH": "/", "LANG": "C"}


async def pair(handle: Any, recorded: Any = lambda: True) -> tuple[Asker, Answerer]:
    one, two = socket.socketpair()
    asker, answerer = Asker(), Answerer(handle, recorded)
    await connect(one.detach(), asker)
    await connect(two.detach(), answerer)
    return asker, answerer


async def test_forwarding_carries_everything() -> None:
    full = Response(
        data={"a": [1, None, {"b": True}]},
        lease=Lease(ttl=1, max_ttl=2, private={"x": 1}),
        warnings=("w",),
        auth=Auth(client_token="t", metadata={"k": "v"}),
        wrap_info=WrapInfo(token="w", accessor="a", ttl=1, creation_time="c", creation_path="p"),
        status=202,
        flat=True,
        headers={"X": "y"},
    )
    raw = Response(raw=b"\x00\xff", content_type="text/plain")
    seen: list[Request] = []
    errors: dict[str, BaseException] = {
        "missing": NotFound("gone", data={"d": 1}, warnings=("careful",)),
        "denied": PermissionDenied(by_policy=True),
        "quota": QuotaExceeded("q", retry_after=7),
        "bug": ValueError("canary"),
    }

    async def handle(request: Request) -> Response:
        seen.append(request)
        await asyncio.sleep(0)
        if request.path in errors:
            raise errors[request.path]
        return raw if request.path == "raw" else full

    asker, _ = await pair(handle)
    proof: dict[str, Any] = {"certificate": b"\x30", "chain": (b"\x31", b"\x32")}
    rest: dict[str, Any] = {"token": "t", "body": b"\xff", "headers": {"h": "v"}, **proof}
    request = Request(id="i", op=Op.SCAN, path="p/", data={"q": "1"}, **rest)
    got, plain = await asyncio.gather(asker.ask(request), asker.ask(Request(id="j", op=Op.READ, path="raw")))
    assert got == full and plain == raw and seen[0] == request
    for path, kind in (
        ("missing", NotFound),
        ("denied", PermissionDenied),
        ("quota", QuotaExceeded),
        ("bug", VaultError),
    ):
        with pytest.raises(kind) as caught:
            await asker.ask(Request(id="k", op=Op.READ, path=path))
        error: Any = caught.value
        assert "canary" not in str(error)
        if path != "bug":
            there: Any = errors[path]
            assert (str(error), error.data, error.warnings) == (str(there), there.data, there.warnings)
        assert getattr(error, "retry_after", 7) == 7
    asker.close()


async def test_an_answer_without_its_record_does_not_leave_the_owner() -> None:
    async def handle(request: Request) -> Response:
        if request.path == "denied":
            raise PermissionDenied
        return Response(data={"nonce": "canary"})

    asker, _ = await pair(handle, lambda: False)
    for path in ("a", "denied"):
        with pytest.raises(AuditFailed, match="withheld") as caught:
            await asker.ask(Request(id="i", op=Op.READ, path=path))
        assert "canary" not in str(caught.value)
    asker.close()


async def test_forwarding_to_a_process_that_ends() -> None:
    async def handle(request: Request) -> Response:
        await asyncio.sleep(60)
        return Response()

    asker, answerer = await pair(handle)
    waiting = asyncio.ensure_future(asker.ask(Request(id="i", op=Op.READ, path="p")))
    await asyncio.sleep(0.02)
    answerer.close()
    with pytest.raises(Unanswered):
        await waiting
    with pytest.raises(Unanswered):
        await asker.ask(Request(id="i", op=Op.READ, path="p"))
    for task in answerer._tasks:
        task.cancel()


async def test_an_owner_that_hangs_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "_WAIT", 0.01)
    asked = asyncio.Event()

    async def handle(_request: Request) -> Response:
        asked.set()
        await asyncio.Future()
        raise AssertionError

    asker, answerer = await pair(handle)
    with pytest.raises(Unanswered) as caught:
        await asker.ask(Request(id="i", op=Op.READ, path="p"))
    assert caught.value.fault.status == 503 and not asker._waiting
    await asked.wait()
    asker.close()
    for task in answerer._tasks:
        task.cancel()


async def test_what_the_owner_never_answered_is_refused_and_recorded_here() -> None:
    recorded: list[Request] = []

    class Node:
        async def handle(self, request: Request) -> Response:
            recorded.append(request)
            assert request.fault is not None
            raise request.fault

    async def handle(_request: Request) -> Response:
        return Response(data={"n": 1})

    asker, answerer = await pair(handle)
    worker: Any = None
    node: Any = Node()
    small = Request(id="i", op=Op.UPDATE, path="p", body=b"{}")
    assert (await Worker._ask(worker, asker, node, small)).data == {"n": 1} and not recorded
    with pytest.raises(TooLarge):
        await Worker._ask(worker, asker, node, msgspec.structs.replace(small, body=bytes(5_000_000)))
    answerer.close()
    await asyncio.sleep(0.02)
    with pytest.raises(Unavailable):
        await Worker._ask(worker, asker, node, small)
    with pytest.raises(Unavailable, match="only just begun"):
        await Worker._ask(worker, None, node, small)
    assert [type(request.fault) for request in recorded] == [TooLarge, Unavailable, Unavailable]
    assert all(request.body == b"" for request in recorded)


def test_audit_devices_are_counted_apart() -> None:
    paths = [f"d{n}/" for n in range(b.DEVICES)]
    slots = b.device_slots(paths)
    assert sorted(slots.values()) == list(range(b.DEVICES)), "each has a place of its own"
    assert b.device_slots(reversed(paths)) == slots
    assert len(b.device_slots([*paths, "one-more/"])) == b.DEVICES + 1
