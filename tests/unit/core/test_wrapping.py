"""Response wrapping: an answer that waits, once, for whoever has the token for it."""

import asyncio
import json
from typing import Any

import pytest

from vault_world import World
from yielding_store import YieldingStore

WRAP = {"X-Vault-Wrap-TTL": "5m"}
GONE = (400, "wrapping token is not valid or does not exist")


@pytest.fixture
async def world() -> World:
    return await World.unsealed()


async def wrapped(world: World, method: str = "GET", path: str = "sys/mounts", body: Any = None) -> dict[str, Any]:
    info: dict[str, Any] = (await world.ok(method, path, body, headers=WRAP))["wrap_info"]
    return info


async def unwrap(world: World, token: str, **options: Any) -> Any:
    return await world.ok("POST", "sys/wrapping/unwrap", {}, token=token, **options)


async def test_an_answer_is_kept_and_given_once(world: World):
    status, answer = await world.http("GET", "sys/mounts", headers=WRAP)
    info = answer.pop("wrap_info")
    assert status == 200 and set(info) == {"token", "accessor", "ttl", "creation_time", "creation_path"}
    assert (info["ttl"], info["creation_path"], len(info["token"])) == (300, "sys/mounts", 28)
    assert answer == {
        "request_id": "", "lease_id": "", "renewable": False, "lease_duration": 0, "data": None, "warnings": None,
        "auth": None,
    }  # fmt: skip
    looked = (await world.ok("POST", "sys/wrapping/lookup", {"token": info["token"]}, token=""))["data"]
    assert (looked["creation_ttl"], looked["creation_path"]) == (300, "sys/mounts")
    assert looked["creation_time"] == info["creation_time"]
    assert "sys/" in (await unwrap(world, info["token"]))["data"]
    assert await world.refused("POST", "sys/wrapping/unwrap", {}, token=info["token"]) == GONE
    assert await world.refused("POST", "sys/wrapping/lookup", {"token": info["token"]}) == GONE


async def test_a_third_party_unwraps_by_the_token_in_the_body(world: World):
    info = await wrapped(world)
    reader = await world.token(policies=["a"])
    answer = await world.ok("POST", "sys/wrapping/unwrap", {"token": info["token"]}, token=reader)
    assert "sys/" in answer["data"] and await world.alive(reader)
    info = await wrapped(world)
    assert "sys/" in (await world.ok("POST", "sys/wrapping/unwrap", {"token": info["token"]}, token=""))["data"]


async def test_nothing_is_left_of_an_opened_wrapping(world: World):
    before = await world.stored("ns/root/")
    info = await wrapped(world)
    assert len(await world.stored("ns/root/")) > len(before)
    await unwrap(world, info["token"])
    assert await world.stored("ns/root/") == before


@pytest.mark.parametrize("seed", range(4))
async def test_of_many_at_once_one_opens_it(seed: int):
    store = YieldingStore(seed)
    world = await World.unsealed(backend=store)
    info = await wrapped(world)
    store.active = True
    body = {"token": info["token"]}
    opened = await asyncio.gather(*(world.http("POST", "sys/wrapping/unwrap", body) for _ in range(40)))
    assert sorted(status for status, _ in opened) == [200] + [400] * 39


async def test_it_expires_and_can_be_revoked(world: World):
    info = await wrapped(world)
    world.clock.tick(300)
    assert await world.refused("POST", "sys/wrapping/unwrap", {"token": info["token"]}) == GONE
    info = await wrapped(world)
    await world.ok("POST", "auth/token/revoke-accessor", {"accessor": info["accessor"]})
    assert await world.refused("POST", "sys/wrapping/unwrap", {"token": info["token"]}) == GONE


@pytest.mark.parametrize("path", ["lookup", "unwrap", "rewrap"])
async def test_any_other_token_is_no_wrapping_token(world: World, path: str):
    plain = await world.token(policies=["a"])
    forged = await world.token(policies=["response-wrapping"], no_default_policy=True, num_uses=1)
    await world.ok(
        "POST", "cubbyhole/response", {"response": "{}"}, token=await world.token(policies=["response-wrapping"])
    )
    for token in (plain, forged, "", "hvs.none", world.root):
        assert await world.refused("POST", f"sys/wrapping/{path}", {"token": token}) == GONE
    for token in (plain, forged):
        assert await world.status("POST", "auth/token/lookup", {"token": token}) == 200


async def test_rewrap_gives_a_new_token_and_ends_the_old(world: World):
    info = await wrapped(world)
    again = (await world.ok("POST", "sys/wrapping/rewrap", {"token": info["token"]}))["wrap_info"]
    assert again["token"] != info["token"]
    assert (again["ttl"], again["creation_path"]) == (300, "sys/mounts")
    assert await world.refused("POST", "sys/wrapping/unwrap", {"token": info["token"]}) == GONE
    assert "sys/" in (await unwrap(world, again["token"]))["data"]


async def test_wrap_of_ones_own_data_needs_a_ttl(world: World):
    said = "endpoint requires response wrapping to be used"
    assert await world.refused("POST", "sys/wrapping/wrap", {"a": 1}) == (400, said)
    info = await wrapped(world, "POST", "sys/wrapping/wrap", {"a": 1, "b": {"c": [None]}})
    assert (await unwrap(world, info["token"]))["data"] == {"a": 1, "b": {"c": [None]}}


async def test_a_wrapped_token_shows_its_accessor_and_works_when_opened(world: World):
    info = await wrapped(world, "POST", "auth/token/create", {"policies": ["a"], "ttl": "1h"})
    data = (await world.ok("POST", "auth/token/lookup-accessor", {"accessor": info["wrapped_accessor"]}))["data"]
    assert data["policies"] == ["a", "default"]
    auth = (await unwrap(world, info["token"]))["auth"]
    assert auth["accessor"] == info["wrapped_accessor"] and await world.alive(auth["client_token"])
    assert set(auth) == set(await world.create(policies=["a"]))


async def test_a_wrapped_secret_id_shows_its_accessor(world: World):
    await world.ok("POST", "sys/auth/approle", {"type": "approle"})
    await world.ok("POST", "auth/approle/role/r", {"token_policies": "a"})
    info = await wrapped(world, "POST", "auth/approle/role/r/secret-id", {})
    data = (await unwrap(world, info["token"]))["data"]
    assert data["secret_id_accessor"] == info["wrapped_accessor"]
    role = (await world.ok("GET", "auth/approle/role/r/role-id"))["data"]["role_id"]
    login = {"role_id": role, "secret_id": data["secret_id"]}
    assert (await world.ok("POST", "auth/approle/login", login, token=""))["auth"]["policies"] == ["a", "default"]


async def test_a_wrapped_login(world: World):
    await world.ok("POST", "sys/auth/userpass", {"type": "userpass"})
    await world.ok("POST", "auth/userpass/users/bob", {"password": "correct horse"})
    answer = await world.ok("POST", "auth/userpass/login/bob", {"password": "correct horse"}, token="", headers=WRAP)
    assert answer["auth"] is None
    assert await world.alive((await unwrap(world, answer["wrap_info"]["token"]))["auth"]["client_token"])


async def test_what_is_never_wrapped(world: World):
    for method, path in (("GET", "sys/seal-status"), ("GET", "sys/health"), ("GET", "sys/mounts?help=1")):
        assert "wrap_info" not in await world.ok(method, path, headers=WRAP)
    assert await world.status("DELETE", "cubbyhole/none", headers=WRAP) == 204
    status, answer = await world.http("GET", "cubbyhole/none", headers=WRAP)
    assert (status, answer) == (404, {"errors": []})
    assert (await world.ok("GET", "sys/mounts", headers={"X-Vault-Wrap-TTL": "0"}))["wrap_info"] is None
    assert await world.status("GET", "sys/mounts", headers={"X-Vault-Wrap-TTL": "soon"}) == 400


@pytest.mark.parametrize("ttl", ["500ms", "0.5s", "0.9", "1ns", "-5m"])
async def test_a_wish_for_less_than_a_second_is_no_answer_in_the_open(world: World, ttl: str):
    assert await world.status("GET", "sys/mounts", headers={"X-Vault-Wrap-TTL": ttl}) == 400
    for none in ("0", "0s", "0h0m"):
        assert await world.status("GET", "sys/mounts", headers={"X-Vault-Wrap-TTL": none}) == 200


async def test_old_clients_read_the_answer_from_the_cubbyhole(world: World):
    info = await wrapped(world)
    answer = await world.ok("GET", "cubbyhole/response", token=info["token"])
    assert len(answer["warnings"]) == 1 and "sys/wrapping/unwrap" in answer["warnings"][0]
    envelope = json.loads(answer["data"]["response"])
    assert "sys/" in envelope["data"] and set(envelope) >= {"request_id", "lease_id", "auth", "wrap_info", "warnings"}
    assert await world.refused("POST", "sys/wrapping/unwrap", {"token": info["token"]}) == GONE


async def test_a_wrapping_token_may_do_nothing_else(world: World):
    info = await wrapped(world)
    assert await world.status("GET", "auth/token/lookup-self", token=info["token"]) == 403
    assert await world.refused("POST", "sys/wrapping/unwrap", {"token": info["token"]}) == GONE  # that was its use
