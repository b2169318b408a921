"""Cedar policies and leases: generate, renew and revoke, and the TTL that they are asked about."""

import pytest

from unit.core.creds_engine import Creds
from vault_world import World


@pytest.fixture
async def world() -> World:
    world = await World.unsealed()
    world.made.kinds.engines["database"] = Creds
    await world.ok("POST", "sys/mounts/database/dynamic", {"type": "database"})
    await world.policy(
        "app", **{"database/dynamic/creds/*": ["read"], "sys/leases/*": ["update"], "sys/r*": ["update"]}
    )
    return world


async def cedar(world: World, action: str, condition: str, effect: str = "forbid") -> None:
    text = f'{effect}(principal, action == Action::"{action}", resource in Secret::"database/dynamic") {condition};'
    await world.ok("POST", "sys/policies/cedar/p", {"policy": text})


async def test_reading_credentials_is_generate_with_the_ttl_of_the_lease(world: World):
    await cedar(world, "generate", 'unless { context.ttl <= duration("1h") }')
    token = await world.token(policies=["app"])
    assert (await world.ok("GET", "database/dynamic/creds/3600", token=token))["lease_duration"] == 3600
    assert await world.status("GET", "database/dynamic/creds/3601", token=token) == 403
    assert await world.status("GET", "database/dynamic/creds/99999", token=token) == 403


async def test_a_ttl_is_cut_by_the_roles_and_the_mounts_maximum_before_it_is_asked_about(world: World):
    await cedar(world, "generate", 'unless { context.ttl == duration("2h") }')
    token = await world.token(policies=["app"])
    assert (await world.ok("GET", "database/dynamic/creds/99999", token=token))["lease_duration"] == 7200
    await world.ok("POST", "sys/mounts/database/dynamic/tune", {"max_lease_ttl": "30m", "default_lease_ttl": "10m"})
    assert await world.status("GET", "database/dynamic/creds/99999", token=token) == 403
    await cedar(world, "generate", 'unless { context.ttl == duration("30m") }')
    assert (await world.ok("GET", "database/dynamic/creds/99999", token=token))["lease_duration"] == 1800


async def test_an_engine_that_tells_no_ttl_is_taken_to_wish_for_the_most(world: World):
    await cedar(world, "generate", 'when { context.ttl > duration("1h") }')
    token = await world.token(policies=["app"])
    assert await world.status("GET", "database/dynamic/creds/mute", token=token) == 403
    await world.ok("POST", "sys/mounts/database/dynamic/tune", {"max_lease_ttl": "1h", "default_lease_ttl": "10m"})
    assert await world.status("GET", "database/dynamic/creds/mute", token=token) == 200


@pytest.mark.parametrize("path", ["sys/leases/renew", "sys/renew", "sys/leases/renew/{}", "sys/renew/{}"])
async def test_renewal_is_asked_of_the_leases_secret_with_the_ttl_it_would_get(world: World, path: str):
    token = await world.token(policies=["app"])
    lease = (await world.ok("GET", "database/dynamic/creds/600", token=token))["lease_id"]
    await cedar(world, "renew", 'when { context.ttl > duration("1h") }')
    at, named = path.format(lease), {} if "{" in path else {"lease_id": lease}
    assert await world.status("POST", at, {**named, "increment": 3601}, token=token) == 403
    assert await world.status("POST", at, {**named, "increment": 3600}, token=token) == 200


async def test_a_decision_about_a_lease_is_not_remembered_for_a_lease_of_the_same_path(world: World):
    token = await world.token(policies=["app"])
    lease = (await world.ok("GET", "database/dynamic/creds/7200", token=token))["lease_id"]
    await cedar(world, "renew", 'when { context.ttl > duration("1h") }')
    assert await world.status("POST", f"sys/leases/renew/{lease}", {}, token=token) == 403
    world.clock.tick(3700)  # what is left of its maximum is less than an hour now
    assert await world.status("POST", f"sys/leases/renew/{lease}", {}, token=token) == 200


@pytest.mark.parametrize("path", ["sys/leases/revoke", "sys/revoke"])
async def test_a_lease_can_be_kept_from_being_revoked(world: World, path: str):
    token = await world.token(policies=["app"])
    lease = (await world.ok("GET", "database/dynamic/creds/600", token=token))["lease_id"]
    await cedar(world, "revoke", "")
    assert await world.status("POST", path, {"lease_id": lease}, token=token) == 403
    await cedar(world, "revoke", "", effect="permit")
    assert await world.status("POST", path, {"lease_id": lease}, token=token) == 204


async def test_leases_of_tokens_follow_acl_alone(world: World):
    await world.ok("POST", "sys/policies/cedar/p", {"policy": "forbid(principal, action, resource);"})
    token = await world.token(policies=["app"])
    child = await world.create(ttl="1h")
    (lease,) = [
        f"auth/token/create/{name}"
        for name in (await world.ok("LIST", "sys/leases/lookup/auth/token/create"))["data"]["keys"]
    ][-1:]
    assert child and await world.status("POST", "sys/leases/renew", {"lease_id": lease}, token=token) == 200
    assert await world.status("POST", "sys/leases/revoke", {"lease_id": "no/such"}, token=token) == 204
