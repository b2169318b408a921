"""Threat rows A12 (smuggling, forwarding), A6 (odd peers) and C3 (parser matrix) against our own listener."""

import asyncio
import ipaddress
import json

import pytest

from server_stub import get, served
from strongroom.sdk.request import Op
from strongroom.server.http_settings import DoorSettings, Limits, Proxies

H = b"Host: x\r\n"
POST = b"POST /v1/a HTTP/1.1\r\nHost: x\r\n"
TE = b"Transfer-Encoding: chunked\r\n"
SMUGGLED = {
    "content-length and chunked": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and content-length": POST + TE + b"Content-Length: 4\r\n\r\n0\r\n\r\n",
    "two content-lengths": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "equal content-lengths": POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "signed content-length": POST + b"Content-Length: +4\r\n\r\nabcd",
    "list of content-lengths": POST + b"Content-Length: 4, 4\r\n\r\nabcd",
    "huge content-length": POST + b"Content-Length: 99999999999999999999\r\n\r\n",
    "unknown transfer coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "stacked transfer codings": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "transfer coding in HTTP/1.0": b"POST /v1/a HTTP/1.0\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk size": POST + TE + b"\r\n0x4\r\nabcd\r\n0\r\n\r\n",
    "chunk longer than its size": POST + TE + b"\r\n2\r\nabcd\r\n0\r\n\r\n",
    "bare line feed in chunks": POST + TE + b"\r\n2\nab\n0\n\n",
    "bare line feeds": b"GET /v1/a HTTP/1.1\nHost: x\n\n",
    "one bare line feed": b"GET /v1/a HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
    "folded header": b"GET /v1/a HTTP/1.1\r\n" + H + b"X: a\r\n b\r\n\r\n",
    "blank before the colon": b"GET /v1/a HTTP/1.1\r\nHost : x\r\n\r\n",
    "no host": b"GET /v1/a HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /v1/a HTTP/1.1\r\n" + H + b"Host: y\r\n\r\n",
    "absolute target": b"GET http://evil/v1/a HTTP/1.1\r\n" + H + b"\r\n",
    "authority target": b"CONNECT evil:443 HTTP/1.1\r\n" + H + b"\r\n",
    "asterisk target": b"OPTIONS * HTTP/1.1\r\n" + H + b"\r\n",
    "NUL in a header": b"GET /v1/a HTTP/1.1\r\n" + H + b"X: a\0b\r\n\r\n",
    "NUL in the target": b"GET /v1/a\0b HTTP/1.1\r\n" + H + b"\r\n",
    "control character in the target": b"GET /v1/a\x01b HTTP/1.1\r\n" + H + b"\r\n",
    "fragment": b"GET /v1/a#b HTTP/1.1\r\n" + H + b"\r\n",
    "no version": b"GET /v1/a\r\n\r\n",
    "HTTP/2": b"GET /v1/a HTTP/2.0\r\n" + H + b"\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "lower garbage": b"\xff\xfe\xfd",
    "blank first": b" GET /v1/a HTTP/1.1\r\n" + H + b"\r\n",
    "long target": b"GET /v1/" + b"a" * 20_000 + b" HTTP/1.1\r\n" + H + b"\r\n",
    "long header": b"GET /v1/a HTTP/1.1\r\n" + H + b"X: " + b"a" * 70_000 + b"\r\n\r\n",
    "endless header": b"GET /v1/a HTTP/1.1\r\n" + H + b"X: " + b"a" * 70_000,
    "many headers": b"GET /v1/a HTTP/1.1\r\n" + H + b"X: a\r\n" * 101 + b"\r\n",
    "expectation": b"GET /v1/a HTTP/1.1\r\n" + H + b"Expect: 200-ok\r\n\r\n",
    "two tokens": b"GET /v1/a HTTP/1.1\r\n" + H + b"X-Vault-Token: a\r\nX-Vault-Token: b\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", SMUGGLED)
async def test_sec_a12_smuggling(name: str) -> None:
    """Each is a 400 and ends the connection (but for a sound frame); what comes behind is never served."""
    async with served() as s:
        c = await s.connect()
        c.writer.write(SMUGGLED[name] + (b"" if name == "endless header" else get("smuggled", "X-Vault-Token: t")))
        status, headers, body = await c.answer()
        wanted = 413 if name == "huge content-length" and status == 413 else 400
        assert status == wanted and list(json.loads(body)) == ["errors"]
        if name not in ("two tokens", "fragment"):
            assert headers["connection"] == "close"
            assert await c.rest() == b""
            assert not any(r.path == "smuggled" for r in s.stub.seen)
        assert all(r.fault is not None for r in s.stub.seen if r.path != "smuggled")
        assert s.meter.bad == 1 or s.stub.seen, "it is recorded if it has a request line, else counted"


async def test_sec_a12_smuggling_control() -> None:
    """The same listener serves what is well formed."""
    async with served() as s:
        c = await s.connect()
        assert (await c.ask(get("a")))[0] == 200
        chunked = b"POST /v1/a HTTP/1.1\r\nhOST: x\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        assert (await c.ask(chunked))[1]["data"]["body"] == "ab"
        assert (await c.ask(b"\r\n" + get("a")))[0] == 200


async def test_sec_a12_trailers_say_nothing() -> None:
    async with served() as s:
        trailer = b"0\r\nX-Vault-Token: root\r\nX-Vault-Namespace: other\r\n\r\n"
        status, _ = await s.once(get("a", "Transfer-Encoding: chunked", method="POST") + b"2\r\n{}\r\n" + trailer)
        assert status == 200 and s.stub.seen[0].token == ""


PATHS = ["a%2Fb", "%2e%2e/a", "a/../b", "a//b", "a%00", "%FF%FE", "%zz", "a%5Cb", "cafe%CC%81", "a/./b", "a/.;/b", "",
         "/a"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "LIST"])
async def test_sec_c3_path_has_one_spelling(path: str, method: str) -> None:
    async with served() as s:
        assert (await s.once(get(path, "X-Vault-Token: t", method=method)))[0] == 400
        (request,) = s.stub.seen
        assert request.fault is not None and request.token == "t" and request.path.isprintable()


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "PATCH"])
async def test_sec_c3_trailing_slash_is_a_list_only(method: str) -> None:
    async with served() as s:
        status, answer = await s.once(
            get("secret/data/x/", "Content-Type: application/merge-patch+json", method=method)
        )
        assert status == 400
        if method in ("PUT", "POST", "PATCH"):
            assert answer == {"errors": ["cannot write to a path ending in '/'"]}
        assert (await s.once(get("secret/data/x/", method="LIST")))[0] == 200


async def test_sec_a12_forwarded_for_is_believed_of_proxies_only() -> None:
    here, elsewhere = ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("10.0.0.0/8")
    forged = get("a", "X-Forwarded-For: 9.9.9.9", "X-Forwarded-For: 10.1.1.1, 8.8.8.8")
    async with served() as s:
        await s.once(forged)
        assert s.stub.seen[0].remote == "127.0.0.1"
    async with served(proxies=Proxies(authorized=(elsewhere,))) as s:
        assert (await s.once(forged))[0] == 400
    async with served(proxies=Proxies(authorized=(elsewhere,), reject_not_authorized=False)) as s:
        await s.once(forged)
        assert s.stub.seen[0].remote == "127.0.0.1"
    async with served(proxies=Proxies(authorized=(here,))) as s:  # the control
        await s.once(forged)
        assert s.stub.seen[0].remote == "8.8.8.8"
        assert (await s.once(get("a")))[0] == 400
        assert (await s.once(get("a", "X-Forwarded-For: nonsense")))[0] == 400
    async with served(proxies=Proxies(authorized=(here,), hop_skips=2)) as s:
        await s.once(forged)
        assert s.stub.seen[0].remote == "9.9.9.9"
        assert (await s.once(get("a", "X-Forwarded-For: 1.1.1.1")))[0] == 400


async def test_sec_a12_cors_never_echoes_a_foreign_origin() -> None:
    settings = DoorSettings(cors_enabled=True, cors_origins=("https://good",), cors_headers=("X-Vault-Token",))
    async with served(settings=lambda: settings) as s:
        for method in ("GET", "OPTIONS"):
            c = await s.connect()
            await c.say(get("a", "Origin: https://evil", "Access-Control-Request-Method: GET", method=method))
            status, headers, _ = await c.answer()
            assert status == 403 and "access-control-allow-origin" not in headers
        c = await s.connect()
        await c.say(get("a", "Origin: https://good"))
        assert (await c.answer())[1]["access-control-allow-origin"] == "https://good"
        await c.say(get("a", "Origin: https://good", "Access-Control-Request-Method: PUT", method="OPTIONS"))
        status, headers, _ = await c.answer()
        assert status == 204 and headers["access-control-allow-headers"] == "X-Vault-Token"
        assert s.stub.seen[-1].op is Op.UNKNOWN, "the preflight is recorded too"
    async with served() as s:
        c = await s.connect()
        await c.say(get("a", "Origin: https://good"))
        assert "access-control-allow-origin" not in (await c.answer())[1]


async def test_sec_a12_header_injection_through_an_answer() -> None:
    from strongroom.sdk.request import Response

    async with served() as s:
        s.stub.answer = lambda _r: Response(data={}, headers={"X-A": "b\r\nSet-Cookie: c", "X-B": "fine"})
        c = await s.connect()
        await c.say(get("a"))
        _, headers, _ = await c.answer()
        assert headers["x-b"] == "fine" and "set-cookie" not in headers and "x-a" not in headers


async def test_sec_a6_unfinished_bodies_have_a_common_limit() -> None:
    async with served(Limits(max_buffered=100_000)) as s:
        clients = [await s.connect() for _ in range(4)]
        for c in clients:
            await c.say(get("a", "Content-Length: 60000", method="POST") + b"x" * 40_000)
            await asyncio.sleep(0.01)
        assert (await clients[2].answer())[0] == 429
        await clients[0].say(b"x" * 20_000)
        assert (await clients[0].answer())[0] == 200, "the others are served"
        for c in clients:
            c.writer.transport.abort()
        while s.door.connections:
            await asyncio.sleep(0.001)
        assert s.door.buffered == 0


async def test_sec_a6_slow_clients_lose_to_the_clock() -> None:
    now = [0.0]
    async with served(Limits(header_timeout=10), clock=lambda: now[0]) as s:
        slow = [await s.connect() for _ in range(50)]
        for _ in range(3):
            for c in slow:
                await c.say(b"GET /v1/a HTTP/1.1\r\nX: a"[_ * 8 : _ * 8 + 8])
            now[0] += 4
            s.door.tick()
            assert (await s.once(get("a")))[0] == 200
        assert await slow[0].rest() == b"" and s.meter.bad == 50, "bytes that trickle in buy no time"


async def test_sec_a6_half_requests_shut_nobody_out() -> None:
    now = [0.0]
    async with served(Limits(max_connections=20), clock=lambda: now[0]) as s:
        kept = await s.connect()
        assert (await kept.ask(get("a")))[0] == 200
        for n in range(40):
            await (await s.connect()).say(b"GET /v1/a HT")
            now[0] += 0.2
            s.door.tick()
        for _ in range(10):
            assert (await s.once(get("b")))[0] == 200, "who asks at once is served"
        assert len(s.door.connections) <= 20 and len(s.door.fresh) < 20
        assert (await kept.ask(get("a")))[0] == 200, "half requests go before a client that asked before"
