"""The HTTP door over real sockets, with a stub in the pipeline's place."""

import asyncio
import json
import socket
import struct
from typing import Any

import pytest

from server_stub import get, served
from strongroom.errors import BadRequest, NotFound, QuotaExceeded
from strongroom.sdk.request import Op, Request, Response
from strongroom.server.http_settings import KEPT_HEADERS, DoorSettings, Limits


async def test_read_is_answered_in_the_envelope() -> None:
    async with served() as s:
        c = await s.connect()
        await c.say(get("secret/data/a?version=2&version=3", "X-Vault-Token: hvs.x"))
        status, headers, body = await c.answer()
        assert status == 200
        assert list(json.loads(body)) == [
            "request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth",
        ]  # fmt: skip
        assert headers["content-type"] == "application/json"
        assert headers["cache-control"] == "no-store"
        assert headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
        (request,) = s.stub.seen
        assert (request.op, request.path, request.token) == (Op.READ, "secret/data/a", "hvs.x")
        assert request.data == {"version": "2"}
        assert request.remote == "127.0.0.1" and request.remote_port > 0
        assert json.loads(body)["request_id"] == request.id
        assert s.meter.requests == [(Op.READ, 200)]


@pytest.mark.parametrize("method", ["LIST", "SCAN", "HELP", "GET", "PUT", "POST", "DELETE"])
async def test_methods_that_llhttp_does_not_know(method: str) -> None:
    ops = {"GET": "read", "PUT": "update", "POST": "update"}
    async with served() as s:
        c = await s.connect()
        for _ in range(2):  # on one connection, also after each other
            status, answer = await c.ask(get("a/b", method=method))
            assert (status, answer["data"]["op"]) == (200, ops.get(method, method.lower()))


async def test_unknown_method_walks_the_pipeline() -> None:
    async with served() as s:
        assert await s.once(get("a/b", method="BREW")) == (405, {"errors": []})
        assert s.stub.seen[0].op is Op.UNKNOWN and s.stub.seen[0].path == "a/b"


async def test_options_without_cors() -> None:
    async with served() as s:
        wanted = {"errors": ["cannot handle internal-only request operation"]}
        assert await s.once(get("secret/data/x", method="OPTIONS")) == (400, wanted)


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with served() as s:
        s.stub.gate = asyncio.Event()
        c = await s.connect()
        chunked = (
            get("c", "Transfer-Encoding: chunked", method="POST") + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: v\r\n\r\n"
        )
        await c.say(get("a") + get("b", method="LIST") + chunked + get("slow/d") + get("e", method="SCAN"))
        paths = [json.loads((await c.answer())[2])["data"] for _ in range(3)]
        assert [p["path"] for p in paths] == ["a", "b/", "c"] and paths[2]["body"] == "abcde"
        await asyncio.sleep(0.02)
        assert [r.path for r in s.stub.seen] == ["a", "b/", "c", "slow/d"], "the one behind a waiting one waits"
        assert s.meter.flying == 1
        s.stub.gate.set()
        paths = [json.loads((await c.answer())[2])["data"] for _ in range(2)]
        assert [p["path"] for p in paths] == ["slow/d", "e/"] and s.meter.flying == 0


async def test_many_pipelined_requests_byte_by_byte() -> None:
    async with served() as s:
        c = await s.connect()
        for byte in get("a", method="LIST") + get("b", method="POST", body=b"{}") + get("c", "Connection: close"):
            c.writer.write(bytes((byte,)))
            await asyncio.sleep(0)
        got = [json.loads((await c.answer())[2])["data"]["path"] for _ in range(3)]
        assert got == ["a/", "b", "c"] and await c.rest() == b""


async def test_a_thousand_pipelined_requests() -> None:
    async with served() as s:
        c = await s.connect()
        c.writer.write(b"".join(get(f"p/{n}") for n in range(1000)))
        got = [json.loads((await c.answer())[2])["data"]["path"] for _ in range(1000)]
        assert got == [f"p/{n}" for n in range(1000)]


async def test_expect_100_continue() -> None:
    async with served() as s:
        c = await s.connect()
        await c.say(get("a", "Expect: 100-continue", "Content-Length: 2", method="PUT"))
        assert (await c.answer())[0] == 100
        assert (await c.ask(b"{}"))[0] == 200
        assert s.stub.seen[0].body == b"{}"


@pytest.mark.parametrize("headers", [["Content-Length: 11"], ["Content-Length: 11", "Expect: 100-continue"]])
async def test_body_over_the_limit(headers: list[str]) -> None:
    async with served(Limits(max_request_size=10)) as s:
        status, answer = await s.once(get("a", *headers, method="POST"))
        assert (status, answer) == (413, {"errors": ["http: request body too large"]})
        assert s.stub.seen[0].path == "a", "recorded"
        assert (await s.once(get("a", method="POST", body=b"x" * 10)))[0] == 200


async def test_chunked_body_over_the_limit() -> None:
    async with served(Limits(max_request_size=10)) as s:
        chunked = get("a", "Transfer-Encoding: chunked", method="POST") + b"6\r\nabcdef\r\n5\r\n"
        assert (await s.once(chunked))[0] == 413


async def test_the_refusal_of_a_big_body_reaches_a_client_that_sends_it_all() -> None:
    async with served(Limits(max_request_size=1000)) as s:
        c = await s.connect()
        c.writer.write(get("a", "Content-Length: 3000000", method="POST") + b"x" * 3_000_000)
        assert (await c.answer())[0] == 413
        assert await c.rest() == b""


async def test_errors_and_unexpected_exceptions() -> None:
    async def handle(request: Request) -> Response:
        if request.path == "bug":
            raise ValueError("canary-secret")
        if request.path == "odd":
            return Response(data={"x": object()})
        if request.path == "slow":
            raise QuotaExceeded("too fast", retry_after=7)
        raise BadRequest("no data provided")

    async with served(handle=handle) as s:
        assert await s.once(get("a")) == (400, {"errors": ["no data provided"]})
        assert await s.once(get("bug")) == (500, {"errors": ["internal error"]})
        assert await s.once(get("odd")) == (500, {"errors": ["internal error"]})
        assert "ValueError at" in s.logged[0] and "canary" not in "".join(s.logged)
        c = await s.connect()
        await c.say(get("slow"))
        status, headers, _ = await c.answer()
        assert (status, headers["retry-after"]) == (429, "7")


async def test_coroutines_that_wait_in_every_way() -> None:
    async def handle(request: Request) -> Response:
        await asyncio.sleep(0)  # yields None
        loop = asyncio.get_running_loop()
        value = await loop.run_in_executor(None, lambda: 41)
        failing: asyncio.Future[Any] = loop.create_future()
        loop.call_soon(failing.set_exception, NotFound("gone"))
        try:
            await failing
        except NotFound:
            value += 1
        return Response(data={"n": value})

    async with served(handle=handle) as s:
        c = await s.connect()
        for _ in range(3):
            assert (await c.ask(get("a")))[1]["data"] == {"n": 42}
        assert s.door.waiting == {} and s.meter.flying == 0


async def test_client_that_leaves_does_not_stop_its_request() -> None:
    done = asyncio.Event()
    gate = asyncio.Event()

    async def handle(request: Request) -> Response:
        await gate.wait()
        done.set()
        return Response()

    async with served(handle=handle) as s:
        c = await s.connect()
        await c.say(get("a", method="PUT"))
        while not s.door.waiting:
            await asyncio.sleep(0.001)
        c.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.writer.transport.abort()  # a reset: a mere FIN could be a half-close, which waits for its answer
        while s.door.connections:
            await asyncio.sleep(0.001)
        gate.set()
        await asyncio.wait_for(done.wait(), 5)


async def test_half_close_still_gets_its_answers() -> None:
    async with served() as s:
        s.stub.gate = asyncio.Event()
        c = await s.connect()
        await c.say(get("slow/a") + get("b"))
        c.writer.write_eof()
        await asyncio.sleep(0.02)
        s.stub.gate.set()
        assert (await c.answer())[0] == 200
        assert (await c.answer())[0] == 200
        assert await c.rest() == b""


CUT = {
    "body": get("a", "Content-Length: 9", method="POST") + b"{",
    "chunk": get("a", "Transfer-Encoding: chunked", method="POST") + b"9\r\n{",
    "head": b"POST /v1/a HTTP/1.1\r\nHost: x\r\nX-Vault-",
}


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("reset", [False, True])
async def test_what_never_ended_is_recorded(name: str, reset: bool) -> None:
    async with served() as s:
        c = await s.connect()
        await c.say(CUT[name])
        while not next(iter(s.door.connections))._buffer and not s.door.buffered:
            await asyncio.sleep(0.001)
        if reset:
            c.writer.transport.abort()
            while s.door.connections:
                await asyncio.sleep(0.001)
        else:
            c.writer.write_eof()
            assert (await c.answer())[0] == 400 and await c.rest() == b""
        (request,) = s.stub.seen
        assert (request.op, request.path, request.body) == (Op.UNKNOWN, "a", b"") and request.fault is not None
        assert s.meter.bad == 0 and s.meter.requests == [(Op.UNKNOWN, 400)] and s.door.buffered == 0


async def test_what_never_was_a_request_line_is_counted() -> None:
    async with served() as s:
        c = await s.connect()
        await c.say(b"POST /v1/a HTT")
        c.writer.write_eof()
        assert await c.rest() == b"" and s.meter.bad == 1 and s.stub.seen == []


async def test_broken_framing_is_recorded_as_unknown() -> None:
    async with served() as s:
        sent = get("a", "Transfer-Encoding: chunked", method="POST") + b"zz\r\n"
        assert (await s.once(sent))[0] == 400
        assert (await s.once(b"GET /v1/b HTTP/1.1\r\nHost: x\r\nA: \0"))[0] == 400
        assert [(r.op, r.path) for r in s.stub.seen] == [(Op.UNKNOWN, "a"), (Op.UNKNOWN, "b")]


async def test_response_that_closes() -> None:
    async with served() as s:
        s.stub.answer = lambda _r: Response(close=True)
        c = await s.connect()
        await c.say(get("sys/seal", method="PUT") + get("never"))
        status, headers, _ = await c.answer()
        assert (status, headers["connection"]) == (204, "close") and "content-length" not in headers
        assert await c.rest() == b"" and len(s.stub.seen) == 1


async def test_http_1_0_and_head() -> None:
    async with served() as s:
        c = await s.connect()
        await c.say(b"GET /v1/a HTTP/1.0\r\n\r\n")
        assert (await c.answer())[1]["connection"] == "close" and await c.rest() == b""
        c = await s.connect()
        await c.say(get("sys/health", method="HEAD") + get("other", method="HEAD") + get("a"))
        status, headers, _ = await c.answer(body=False)
        assert status == 200 and int(headers["content-length"]) > 0
        assert (await c.answer(body=False))[0] == 405
        assert (await c.answer())[0] == 200


async def test_upgrade_is_ignored() -> None:
    async with served() as s:
        c = await s.connect()
        up = get("a", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA")
        post = get("b", "Connection: Upgrade", "Upgrade: h2c", method="POST", body=b"{}")
        for data, path in ((up, "a"), (post, "b"), (up, "a"), (get("c", method="LIST"), "c/")):
            assert (await c.ask(data))[1]["data"]["path"] == path


async def test_graceful_stop() -> None:
    async with served() as s:
        s.stub.gate = asyncio.Event()
        idle, busy = await s.connect(), await s.connect()
        await idle.ask(get("a"))
        await busy.say(get("slow/a"))
        while not s.door.waiting:
            await asyncio.sleep(0.001)
        stop = asyncio.create_task(s.door.drain(5))
        assert await idle.rest() == b""
        s.stub.gate.set()
        status, headers, _ = await busy.answer()
        assert (status, headers["connection"]) == (200, "close")
        await asyncio.wait_for(stop, 5)
        assert s.meter.open == 0


async def test_requests_in_flight_are_limited() -> None:
    async with served(Limits(max_in_flight=1)) as s:
        s.stub.gate = asyncio.Event()
        a, b = await s.connect(), await s.connect()
        await a.say(get("slow/a"))
        while not s.door.waiting:
            await asyncio.sleep(0.001)
        assert (await b.ask(get("slow/b")))[0] == 429
        s.stub.gate.set()
        assert (await a.answer())[0] == 200
        assert (await b.ask(get("slow/b")))[0] == 200


async def test_connections_are_limited() -> None:
    async with served(Limits(max_connections=1)) as s:
        s.stub.gate = asyncio.Event()
        a = await s.connect()
        await a.say(get("slow/a"))
        while not s.door.waiting:
            await asyncio.sleep(0.001)
        assert await (await s.connect()).rest() == b"", "nobody can make room"
        s.stub.gate.set()
        assert (await a.answer())[0] == 200


async def test_idle_connections_shut_nobody_out() -> None:
    async with served(Limits(max_connections=3)) as s:
        s.stub.gate = asyncio.Event()
        busy, first, second = [await s.connect() for _ in range(3)]
        await busy.say(get("slow/a"))
        await first.ask(get("a"))
        await second.ask(get("a"))
        more = [await s.connect() for _ in range(2)]
        for c in more:
            assert (await c.ask(get("a")))[0] == 200
        assert await first.rest() == b"" and await second.rest() == b"", "the idle ones made room"
        s.stub.gate.set()
        assert (await busy.answer())[0] == 200


async def test_back_pressure_of_a_client_that_never_reads() -> None:
    async with served() as s:
        s.stub.answer = lambda _r: Response(data={"x": "y" * 100_000})
        c = await s.connect()
        c.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(40):
            c.writer.write(get("a") * 50)
            await asyncio.sleep(0.001)
        assert 0 < len(s.stub.seen) < 1000, "answers were made faster than the client took them"
        c.writer.transport.abort()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_time_limits() -> None:
    clock = Clock()
    async with served(Limits(header_timeout=10, body_timeout=30, idle_timeout=300), clock=clock) as s:
        head, body, idle = [await s.connect() for _ in range(3)]
        await head.say(b"GET /v1/a HT")
        await body.say(get("b", "Content-Length: 10", method="POST") + b"{")
        await idle.ask(get("c"))
        clock.now += 9
        s.door.tick()
        assert s.meter.open == 3
        clock.now += 2
        s.door.tick()
        assert await head.rest() == b"" and s.meter.bad == 1
        clock.now += 20
        s.door.tick()
        assert (await body.answer())[0] == 400
        assert (await idle.ask(get("c")))[0] == 200
        clock.now += 301
        s.door.tick()
        assert await idle.rest() == b""


async def test_request_that_waits_too_long() -> None:
    clock = Clock()
    async with served(Limits(max_request_duration=90), clock=clock) as s:
        s.stub.gate = asyncio.Event()
        c = await s.connect()
        await c.say(get("slow/a"))
        while not s.door.waiting:
            await asyncio.sleep(0.001)
        clock.now += 91
        s.door.tick()
        status, _, body = await c.answer()
        assert status == 500 and b"max_request_duration" in body
        s.stub.gate.set()
        assert (await c.ask(get("slow/b")))[0] == 200, "a late wake-up does not disturb the next request"


async def test_settings_are_new_when_a_browser_asks() -> None:
    kept = [DoorSettings()]

    def renew() -> None:
        kept[0] = DoorSettings(cors_enabled=True, cors_origins=("https://a",), kept_headers=KEPT_HEADERS | {"x-new"})

    async with served(settings=lambda: kept[0], renew=renew) as s:
        c = await s.connect()
        assert (await c.ask(get("a", "X-New: 1")))[0] == 200 and s.stub.seen[0].headers == {"x-new": "1"}
        kept[0] = DoorSettings()
        assert (await c.ask(get("a", method="OPTIONS")))[0] == 400 and not kept[0].cors_enabled
        await c.say(get("a", "Origin: https://a", "Access-Control-Request-Method: GET", method="OPTIONS"))
        status, headers, _ = await c.answer(body=False)
        assert (status, headers["access-control-allow-origin"]) == (204, "https://a")


class Kept:
    """Audit records of reads that wait: ``taken`` says whether the device takes them."""

    def __init__(self) -> None:
        self.waiting, self.taken, self.calls = 0, True, 0

    async def handle(self, request: Request) -> Response:
        if request.op is Op.READ:
            self.waiting += 1
        return Response(data={"path": request.path})

    def kept(self) -> bool:
        return self.waiting > 0

    def release(self) -> bool:
        self.waiting, self.calls = 0, self.calls + 1
        return self.taken


async def test_answers_wait_for_the_records_of_their_turn() -> None:
    kept = Kept()
    async with served(handle=kept.handle, kept=kept.kept, release=kept.release) as s:
        c = await s.connect()
        await c.say(b"".join(get(f"a/{n}") for n in range(20)))
        got = [json.loads((await c.answer())[2])["data"]["path"] for _ in range(20)]
        assert got == [f"a/{n}" for n in range(20)]
        assert kept.waiting == 0 and kept.calls < 20, "several answers shared one hand-over"


async def test_an_answer_that_need_not_wait_lets_those_before_it_go_first() -> None:
    kept = Kept()
    async with served(handle=kept.handle, kept=kept.kept, release=kept.release) as s:
        c = await s.connect()
        await c.say(get("a") + get("b", method="POST") + get("c") + get("d", "Connection: close"))
        got = [json.loads((await c.answer())[2])["data"]["path"] for _ in range(4)]
        assert got == ["a", "b", "c", "d"] and await c.rest() == b""
        assert kept.waiting == 0


async def test_without_their_records_answers_are_withheld() -> None:
    kept = Kept()
    kept.taken = False
    async with served(handle=kept.handle, kept=kept.kept, release=kept.release) as s:
        c = await s.connect()
        await c.say(get("secret") * 3)
        for _ in range(3):
            status, _, body = await c.answer()
            assert status == 500 and b"secret" not in body and b"withheld" in body
        kept.taken = True
        await c.say(get("again"))
        assert (await c.answer())[0] == 200, "the connection goes on"


async def test_a_client_that_closed_its_side_still_gets_the_answer_that_was_held() -> None:
    kept = Kept()
    async with served(handle=kept.handle, kept=kept.kept, release=kept.release) as s:
        c = await s.connect()
        c.writer.write(get("a"))
        c.writer.write_eof()
        assert (await c.answer())[0] == 200
        assert await c.rest() == b""


async def test_a_last_answer_waits_for_its_record_too() -> None:
    kept = Kept()
    kept.taken = False
    async with served(handle=kept.handle, kept=kept.kept, release=kept.release) as s:
        c = await s.connect()
        await c.say(get("secret", "Connection: close"))
        status, _, body = await c.answer()
        assert status == 500 and b"withheld" in body and await c.rest() == b""
    assert kept.calls == 1


async def test_the_record_of_a_client_that_went_away_is_handed_over() -> None:
    kept, begun, go_on = Kept(), asyncio.Event(), asyncio.Event()

    async def handle(request: Request) -> Response:
        begun.set()
        await go_on.wait()
        return await kept.handle(request)

    async with served(handle=handle, kept=kept.kept, release=kept.release) as s:
        c = await s.connect()
        await c.say(get("a"))
        await begun.wait()
        next(iter(s.door.connections)).abort()  # as after a reset: a client that only closed its side is still answered
        while s.door.connections:  # noqa: ASYNC110 - until the door has heard of it
            await asyncio.sleep(0.01)
        go_on.set()
        while s.door.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert (kept.waiting, kept.calls) == (0, 1)
