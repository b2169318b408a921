"""Threat rows A6 and GHSA-5v22 against rate limits: what is counted before what, over HTTP."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from server_fixture import running
from server_stub import Served, get, served
from strongroom.core import parse
from strongroom.core.barrier import Barrier
from strongroom.core.rate_windows import ProcessWindows
from strongroom.core.seal import SealConfig
from strongroom.errors import QuotaExceeded
from strongroom.vault.embedded import Vault
from vault_world import Clock, World

BODY = b'{"password": "guess"}'
FORM = b"password=guess"
FORM_TYPE = "Content-Type: application/x-www-form-urlencoded"
LOGIN = "auth/userpass/login/bob"


@pytest.fixture
async def world() -> World:
    world = await World.unsealed()
    await world.ok("POST", "sys/auth/userpass", {"type": "userpass"})
    await world.ok("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "1"}})
    return world


def door(world: World) -> Any:
    core = world.core
    return served(handle=core.handle, limiting=lambda: core.limits_rates, admit=core.rate_limit.admit)


async def limit(world: World, **fields: Any) -> None:
    await world.ok("POST", "sys/quotas/rate-limit/q", {"interval": "1h", **fields})


async def statuses(s: Served, *messages: bytes) -> list[int]:
    return [(await s.once(message))[0] for message in messages]


@pytest.mark.parametrize("path", ["auth/userpass", LOGIN, ""])
async def test_sec_ghsa_5v22_a_quota_counts_logins_whatever_form_their_body_has(world: World, path: str) -> None:
    bodies = [get(LOGIN, method="POST", body=BODY), get(LOGIN, FORM_TYPE, method="POST", body=FORM)]
    bodies += [get(LOGIN, FORM_TYPE, method="PUT", body=BODY), get(LOGIN, method="POST", body=b"not a body at all")]
    async with door(world) as s:
        assert await statuses(s, *bodies) == [400] * 4, "without a quota each of them reaches the method, or the parser"
        await limit(world, path=path, rate=2)
        for first in range(4):
            world.clock.tick(4000)  # a new window, and no name is locked any more
            tried = bodies[first:] + bodies[:first]
            assert await statuses(s, *tried) == [400, 400, 429, 429]


async def test_sec_ghsa_5v22_a_quota_of_a_role_counts_logins_whatever_form_their_body_has(world: World) -> None:
    await world.ok("POST", "sys/auth/approle", {"type": "approle"})
    await world.ok("POST", "auth/approle/role/ci", {})
    role_id = (await world.ok("GET", "auth/approle/role/ci/role-id"))["data"]["role_id"]
    await limit(world, path="auth/approle", role="ci", rate=2)
    as_json = get("auth/approle/login", method="POST", body=json.dumps({"role_id": role_id}).encode())
    as_form = get("auth/approle/login", FORM_TYPE, method="POST", body=f"role_id={role_id}".encode())
    async with door(world) as s:
        assert await statuses(s, as_json, as_form, as_form, as_json) == [400, 400, 429, 429]


async def test_sec_cve_2025_12044_a_request_over_its_limit_is_not_parsed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []
    real = parse.parse_body

    def watched(body: bytes, content_type: str = "") -> Any:
        parsed.append(body)
        return real(body, content_type)

    monkeypatch.setattr(parse, "parse_body", watched)
    bomb = get(LOGIN, method="POST", body=b'{"a":' * 60 + b"1" + b"}" * 60)
    async with door(world) as s:
        await limit(world, path="auth/userpass", rate=1)
        parsed.clear()
        assert await statuses(s, bomb) == [400] and len(parsed) == 1
        assert await statuses(s, bomb, bomb, bomb) == [429] * 3 and len(parsed) == 1


async def test_sec_cve_2025_12044_a_request_over_its_limit_is_not_buffered(world: World) -> None:
    """The head decides: its body is not asked for, not kept, and the answer comes while it is still on its way."""
    head = f"POST /v1/{LOGIN} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".encode()
    async with door(world) as s:
        slow = await s.connect()
        await slow.say(head)
        await slow.say(b"x" * 1000)
        for _ in range(50):
            if s.door.buffered:
                break
            await asyncio.sleep(0.01)
        assert s.door.buffered == 1000, "without a limit it waits for the rest"
        await limit(world, path="auth/userpass", rate=1)
        first, over = await s.connect(), await s.connect()
        await first.say(head + b"x")
        for _ in range(50):
            if s.door.buffered > 1000:
                break
            await asyncio.sleep(0.01)
        await over.say(head + b"x" * 1000)
        status, headers, body = await over.answer()
        assert status == 429 and headers["retry-after"] == "3600" and headers["connection"] == "close"
        assert json.loads(body) == {"errors": [f'request path "{LOGIN}": rate limit quota exceeded']}
        assert s.door.buffered == 1001
        await first.say(b"x" * 999_999)
        assert (await first.answer())[0] == 400, "counted by its head, it is not counted again with its body"
        expecting = await s.connect()
        await expecting.say(head.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert (await expecting.answer())[0] == 429, "and nobody is asked to send it"


async def test_sec_a6_a_quota_leaves_no_refused_request_out_of_the_record(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused with its body, and refused by its head alone: both have their two lines."""
    recorded: list[tuple[str, str]] = []
    trail = type(world.core.audit)
    request, response = trail.request, trail.response

    async def asked(self: Any, call: Any, refusal: Any) -> None:
        recorded.append(("request", type(refusal).__name__))
        await request(self, call, refusal)

    async def told(self: Any, call: Any, outcome: Any) -> None:
        recorded.append(("response", type(outcome).__name__))
        await response(self, call, outcome)

    monkeypatch.setattr(trail, "request", asked)
    monkeypatch.setattr(trail, "response", told)
    await limit(world, path="auth/userpass", rate=1)
    async with door(world) as s:
        assert await statuses(s, get(LOGIN, method="POST", body=BODY)) == [400]
        recorded.clear()
        assert await statuses(s, get(LOGIN, method="POST", body=BODY)) == [429]
        early = await s.connect()
        await early.say(f"POST /v1/{LOGIN} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".encode())
        assert (await early.answer())[0] == 429
    assert recorded == [("request", "QuotaExceeded"), ("response", "QuotaExceeded")] * 2


async def test_sec_a6_a_quota_comes_before_tokens_storage_and_methods(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await limit(world, path="", rate=1)
    world.peer = ("192.0.2.7", 1)
    assert await world.status("POST", LOGIN, {"password": "x"}, token="") == 400
    asked: list[str] = []
    real = Barrier.get

    async def watched(barrier: Barrier, key: str) -> Any:
        asked.append(key)
        return await real(barrier, key)

    monkeypatch.setattr(Barrier, "get", watched)
    for n in range(50):
        assert await world.status("GET", f"kv/{n}", token=f"hvs.made-up-{n}") == 429
        assert await world.status("POST", LOGIN, {"password": "x"}, token="") == 429
    assert asked == [], "not one look into the store"
    world.peer = ("192.0.2.8", 1)
    assert await world.status("GET", "kv/0", token="hvs.made-up") == 403 and asked, "the control: another address"


async def test_sec_a6_any_number_of_addresses_takes_the_same_memory(world: World) -> None:
    windows = ProcessWindows(500)
    world.core.rate_limit._windows = windows
    await limit(world, path="kv", rate=1)
    for n in range(1500):
        world.peer = (f"10.0.{n // 256}.{n % 256}", 1)
        assert await world.status("GET", "kv/a") == 404
    assert len(windows) == 500
    assert await world.status("GET", "kv/a") == 429


async def test_sec_a6_a_quota_is_one_for_all_workers(tmp_path: Path) -> None:
    with running(tmp_path, workers=3) as server:
        assert (
            server.call("POST", "sys/quotas/rate-limit/q", {"rate": 7, "interval": "1h", "path": "cubbyhole"})[0] == 204
        )
        tried = [server.call("GET", f"cubbyhole/{n}")[0] for n in range(60)]  # each on a connection of its own
    assert tried == [404] * 7 + [429] * 53


def test_a_quota_of_an_embedded_vault() -> None:
    clock = Clock()
    with Vault({"inmem": {}}, now=clock) as vault:
        made = vault.init(SealConfig(1, 1))
        vault.unseal(made.keys[0])
        vault.set_token(made.root_token)
        vault.write("sys/quotas/rate-limit/q", {"rate": 2, "interval": 10, "path": "cubbyhole"})
        vault.write("cubbyhole/a", {"x": 1})
        assert vault.read("cubbyhole/a") is not None
        with pytest.raises(QuotaExceeded, match="rate limit quota exceeded") as refused:
            vault.read("cubbyhole/a")
        assert refused.value.retry_after == 10
        clock.tick(10)
        assert vault.read("cubbyhole/a") is not None


def test_sec_a6_the_number_of_leases_is_one_for_all_workers(tmp_path: Path) -> None:
    """Creations race on three workers: the quota is filled to the last place and never over."""
    with running(tmp_path, workers=3) as server:
        fields = {"max_leases": 20, "path": "auth/token"}
        assert server.call("POST", "sys/quotas/lease-count/q", fields)[0] == 204

        def create(_: int) -> int:
            return server.call("POST", "auth/token/create", {"ttl": "1h"})[0]

        with ThreadPoolExecutor(8) as pool:
            tried = list(pool.map(create, range(60)))
        assert sorted(tried) == [200] * 20 + [429] * 40
        assert server.call("GET", "sys/quotas/lease-count/q")[1]["data"]["counter"] == 20
