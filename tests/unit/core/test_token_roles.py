"""auth/token/roles, and tokens made through a role."""

from typing import Any

import pytest

from vault_world import World

ROLE = "auth/token/roles/r"


@pytest.fixture
async def world() -> World:
    world = await World.unsealed()
    await world.policy("maker", **{"auth/token/create/r": ["create", "update"]})
    return world


async def through(world: World, fields: dict[str, Any] | None = None, *, by: str | None = None) -> dict[str, Any]:
    auth: dict[str, Any] = (await world.ok("POST", "auth/token/create/r", fields or {}, token=by))["auth"]
    return auth


async def test_a_role_is_written_read_listed_and_forgotten(world: World):
    assert await world.status("LIST", "auth/token/roles") == 404
    await world.ok("POST", ROLE, {"allowed_policies": "A, b", "orphan": "true", "period": "2h", "path_suffix": "x"})
    data = (await world.ok("GET", ROLE))["data"]
    assert (data["allowed_policies"], data["orphan"]) == (["a", "b"], True)
    assert data["period"] == data["token_period"] == 7200
    await world.ok("POST", ROLE, {"renewable": False})  # what is not sent stays
    data = (await world.ok("GET", ROLE))["data"]
    assert (data["renewable"], data["orphan"], data["path_suffix"]) == (False, True, "x")
    assert (await world.ok("LIST", "auth/token/roles"))["data"]["keys"] == ["r"]
    await world.ok("DELETE", ROLE)
    assert await world.status("GET", ROLE) == 404
    assert await world.refused("POST", "auth/token/create/r", {}) == (400, "unknown role r")


@pytest.mark.parametrize(
    "fields",
    [
        {"token_type": "nope"}, {"path_suffix": "a/b"}, {"path_suffix": "*"}, {"token_num_uses": -1},
        {"token_bound_cidrs": "x"}, {"period": "-1"}, {"allowed_policies": ["root"]}, {"allowed_policies": ["a,b c"]},
        {"path_suffix": ".."}, {"path_suffix": "a\n"}, {"path_suffix": "a b"}, {"path_suffix": "a\\b"},
        {"token_type": "batch", "token_period": 60}, {"token_type": "batch", "token_num_uses": 1},
    ],
)  # fmt: skip
async def test_bad_roles_are_refused(world: World, fields: dict[str, Any]):
    assert await world.status("POST", ROLE, fields) == 400
    assert await world.status("GET", ROLE) == 404


async def test_allowed_policies_limit_and_are_the_default(world: World):
    await world.ok("POST", ROLE, {"allowed_policies": "a,b", "allowed_policies_glob": "team-*"})
    maker = await world.token(policies=["maker"])
    assert (await through(world, by=maker))["policies"] == ["a", "b", "default"]
    assert (await through(world, {"policies": "a"}, by=maker))["policies"] == ["a", "default"]
    assert (await through(world, {"policies": "team-x"}, by=maker))["policies"] == ["default", "team-x"]
    status, said = await world.refused("POST", "auth/token/create/r", {"policies": "c"}, token=maker)
    assert status == 400 and said.startswith('token policies (["c"]) must be subset of the role\'s allowed policies')
    assert (await world.refused("POST", "auth/token/create/r", {"policies": "root"}))[0] == 400


async def test_a_glob_alone_gives_nothing_that_was_not_asked_for(world: World):
    await world.ok("POST", ROLE, {"allowed_policies_glob": "*"})
    maker = await world.token(policies=["maker"])
    assert (await through(world, by=maker))["policies"] == ["default"]
    status, said = await world.refused("POST", "auth/token/create/r", {"policies": "root"}, token=maker)
    assert (status, said) == (400, "root tokens may not be created without parent token being root")


async def test_disallowed_policies(world: World):
    await world.ok("POST", ROLE, {"disallowed_policies": "bad,default", "disallowed_policies_glob": "adm*"})
    maker = await world.token(policies=["maker"])
    for name in ("bad", "admin", "BAD"):
        status, said = await world.refused("POST", "auth/token/create/r", {"policies": name}, token=maker)
        assert (status, said) == (400, f'token policy "{name.lower()}" is disallowed by this role')
    assert (await through(world, {"policies": "good"}, by=maker))["policies"] == ["good"]  # default is disallowed too


async def test_a_role_that_says_nothing_of_policies_lends_no_rights(world: World):
    await world.ok("POST", ROLE, {"renewable": True})
    maker = await world.token(policies=["maker"])
    said = "child policies must be subset of parent"
    assert await world.refused("POST", "auth/token/create/r", {"policies": "admin"}, token=maker) == (400, said)
    assert (await through(world, by=maker))["policies"] == ["default", "maker"]
    needed = "root or sudo privileges required to create periodic token"
    assert await world.refused("POST", "auth/token/create/r", {"period": "1h"}, token=maker) == (400, needed)


async def test_what_a_role_gives_its_tokens(world: World):
    await world.ok(
        "POST",
        ROLE,
        {
            "allowed_policies": "a", "orphan": True, "period": "2h", "path_suffix": "web", "renewable": False,
            "token_num_uses": 7, "token_bound_cidrs": "127.0.0.1", "token_explicit_max_ttl": "1h",
            "token_no_default_policy": True,
        },
    )  # fmt: skip
    maker = await world.token(policies=["maker"])
    auth = await through(world, {"num_uses": 1, "no_default_policy": False}, by=maker)
    assert (auth["orphan"], auth["renewable"], auth["num_uses"], auth["policies"]) == (True, False, 7, ["a"])
    assert auth["lease_duration"] == 3600  # the explicit maximum is below the period
    data = (await world.ok("POST", "auth/token/lookup", {"token": auth["client_token"]}))["data"]
    assert (data["path"], data["role"], data["bound_cidrs"]) == ("auth/token/create/r/web", "r", ["127.0.0.1"])


@pytest.mark.parametrize(
    ("role", "asked", "made"),
    [
        ("default-service", "", "service"), ("default-service", "batch", "batch"), ("default-batch", "", "batch"),
        ("default-batch", "service", "service"), ("batch", "", "batch"), ("service", "", "service"),
        ("batch", "service", None), ("service", "batch", None),
    ],
)  # fmt: skip
async def test_token_types(world: World, role: str, asked: str, made: str | None):
    await world.ok("POST", ROLE, {"allowed_policies": "a", "token_type": role})
    if made is None:
        assert await world.status("POST", "auth/token/create/r", {"type": asked}) == 400
    else:
        assert (await through(world, {"type": asked}))["token_type"] == made


@pytest.mark.parametrize("fields", [{"token_period": 60}, {"token_num_uses": 2}])
async def test_no_batch_token_counts_uses_or_is_periodic(world: World, fields: dict[str, Any]):
    await world.ok("POST", ROLE, {"allowed_policies": "a", **fields})
    assert await world.status("POST", ROLE, {"token_type": "batch"}) == 400
    assert await world.status("POST", "auth/token/create/r", {"type": "batch"}) == 400
    assert (await through(world))["token_type"] == "service"


async def test_a_role_has_a_say_in_a_renewal(world: World):
    await world.ok("POST", ROLE, {"allowed_policies": "a", "period": 100})
    token = (await through(world))["client_token"]
    await world.ok("POST", ROLE, {"period": 40})
    assert (await world.ok("POST", "auth/token/renew", {"token": token}))["auth"]["lease_duration"] == 40
    await world.ok("DELETE", ROLE)
    status, said = await world.refused("POST", "auth/token/renew", {"token": token})
    assert status == 400 and "not renewing" in said
    assert await world.alive(token)


async def test_a_role_and_a_chosen_id_exclude_each_other(world: World):
    await world.ok("POST", ROLE, {"allowed_policies": "a"})
    said = "token ID cannot be specified with a role"
    assert await world.refused("POST", "auth/token/create/r", {"id": "chosen"}) == (400, said)
