"""sys/capabilities, capabilities-self, capabilities-accessor, and the console's resultant-acl."""

from typing import Any

import pytest

from vault_world import World


@pytest.fixture
async def world() -> World:
    world = await World.unsealed()
    await world.policy(
        "p", **{"secret/*": ["read", "list"], "secret/no": ["deny"], "cubbyhole/*": ["create", "update"]}
    )  # fmt: skip
    return world


async def asked(world: World, *paths: str, **fields: Any) -> dict[str, Any]:
    data: dict[str, Any] = (await world.ok("POST", "sys/capabilities", {"paths": list(paths), **fields}))["data"]
    return data


async def test_of_a_token_by_each_of_three_ways(world: World):
    auth = await world.create(policies=["p"])
    token, accessor = auth["client_token"], auth["accessor"]
    expected = {"secret/x": ["list", "read"], "secret/no": ["deny"], "other": ["deny"]}
    body = {"paths": list(expected)}
    assert await asked(world, *expected, token=token) == expected
    assert (await world.ok("POST", "sys/capabilities-self", body, token=token))["data"] == expected
    answer = await world.ok("POST", "sys/capabilities-accessor", {**body, "accessor": accessor})
    assert answer["data"] == expected and answer["secret/x"] == ["list", "read"]


async def test_one_path_is_told_twice_and_the_old_field_counts(world: World):
    token = await world.token(policies=["p"])
    data = (await world.ok("POST", "sys/capabilities-self", {"path": "secret/x"}, token=token))["data"]
    assert data == {"secret/x": ["list", "read"], "capabilities": ["list", "read"]}


async def test_policies_of_one_token_add_up(world: World):
    await world.policy("q", **{"secret/*": ["update"]})
    assert (await asked(world, "secret/x", token=await world.token(policies=["p", "q"])))["secret/x"] == [
        "list", "read", "update",
    ]  # fmt: skip
    assert (await asked(world, "secret/no", token=await world.token(policies=["p", "q"])))["secret/no"] == ["deny"]


async def test_of_root_and_of_nothing(world: World):
    assert (await asked(world, "anything", token=world.root))["capabilities"] == ["root"]
    for path, field in (("capabilities", "token"), ("capabilities-accessor", "accessor")):
        assert await world.status("POST", f"sys/{path}", {"paths": ["x"]}) == 400
        assert await world.status("POST", f"sys/{path}", {"paths": ["x"], field: "none"}) == 400
    assert await world.refused("POST", "sys/capabilities-self", {}) == (400, "paths must be supplied")
    assert await world.status("POST", "sys/capabilities-self", {"paths": ["x"]}, token="") == 403


@pytest.mark.parametrize("path", ["secret/../x", "secret//x", "secret/a\\b", "secret/\x00", ""])
async def test_a_path_that_no_request_can_name_is_denied(world: World, path: str):
    data = await asked(world, path, "secret/x", token=await world.token(policies=["p"]))
    assert data[path] == ["deny"]


async def test_what_is_told_is_what_happens(world: World):
    await world.ok("POST", "sys/mounts/secret", {"type": "kv"})
    token = await world.token(policies=["p"])
    for path in ("secret/x", "secret/no", "secret/deep/er", "cubbyhole/x", "sys/mounts", "auth/token/lookup-self"):
        told = (await asked(world, path, token=token))[path]
        allowed = await world.status("GET", path, token=token) != 403
        assert allowed == ("read" in told)


async def test_the_resultant_acl(world: World):
    data = (await world.ok("GET", "sys/internal/ui/resultant-acl", token=await world.token(policies=["p"])))["data"]
    assert data["root"] is False
    assert data["glob_paths"]["secret/"]["capabilities"] == ["list", "read"]
    assert data["exact_paths"]["secret/no"]["capabilities"] == ["deny"]
    assert (await world.ok("GET", "sys/internal/ui/resultant-acl"))["data"] == {"root": True}
