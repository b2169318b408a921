"""Cedar policies about people, groups and services, through logins and the API."""

from typing import Any

import pytest

from identity_world import People, people
from unit.core.creds_engine import Creds
from unit.policy.cedar.cedar_world import EXAMPLES


@pytest.fixture
async def world() -> People:
    world = await people()
    await world.ok("POST", "sys/mounts/database", {"type": "kv", "options": {"version": "2"}})
    for path in ("dev/app", "prod/app"):
        await world.ok("POST", f"database/data/{path}", {"data": {"a": "b"}})
    await world.policy("wide", **{"database/*": ["read", "create", "update", "list"]})
    await world.user("bob")
    return world


async def cedar(world: People, text: str) -> None:
    await world.ok("POST", "sys/policies/cedar/p", {"policy": text})


async def reads(world: People, token: str, path: str = "database/data/dev/app") -> bool:
    status = await world.status("GET", path, token=token)
    assert status in (200, 403)
    return status == 200


async def role(world: People, name: str, *, mount: str = "approle", **fields: Any) -> str:
    """A token of that AppRole."""
    await world.ok("POST", f"auth/{mount}/role/{name}", {"bind_secret_id": True, **fields})
    role_id = (await world.ok("GET", f"auth/{mount}/role/{name}/role-id"))["data"]["role_id"]
    secret = (await world.ok("POST", f"auth/{mount}/role/{name}/secret-id", {}))["data"]["secret_id"]
    body = await world.ok("POST", f"auth/{mount}/login", {"role_id": role_id, "secret_id": secret}, token="")
    return str(body["auth"]["client_token"])


async def test_the_published_examples_with_a_real_group(world: People):
    await cedar(world, EXAMPLES)
    token = str((await world.login("bob"))["client_token"])
    entity = (await world.ok("GET", "auth/token/lookup-self", token=token))["data"]["entity_id"]
    assert not await reads(world, token)
    group = await world.group(name="developers", member_entity_ids=[entity])
    assert await reads(world, token)  # at once, with the token that was there before
    assert not await reads(world, token, "database/data/prod/app")
    await world.ok("DELETE", f"identity/group/id/{group}")
    assert not await reads(world, token)


async def test_the_published_example_of_the_pipeline_with_a_real_role(world: People):
    world.made.kinds.engines["database"] = Creds
    await world.ok("POST", "sys/mounts/db", {"type": "database"})
    await world.ok("POST", "sys/remount", {"from": "database", "to": "kept"})
    await world.ok("POST", "sys/mounts/database/dynamic", {"type": "database"})
    await cedar(world, EXAMPLES)
    token = await role(world, "github-actions")
    assert (await world.ok("GET", "database/dynamic/creds/3600", token=token))["lease_duration"] == 3600
    assert await world.status("GET", "database/dynamic/creds/3601", token=token) == 403
    assert await world.status("GET", "db/creds/3600", token=token) == 403  # not under database/dynamic
    assert await world.status("GET", "database/dynamic/creds/3600", token=await role(world, "other")) == 403


async def test_a_forbid_about_a_group_beats_the_acl(world: People):
    await world.user("eve", "wide")
    token = await world.token_of("eve")
    await cedar(world, EXAMPLES)
    assert await reads(world, token, "database/data/prod/app")
    entity = (await world.ok("GET", "auth/token/lookup-self", token=token))["data"]["entity_id"]
    await world.group(name="developers", member_entity_ids=[entity])
    assert not await reads(world, token, "database/data/prod/app")


async def test_members_of_a_group_within_a_group_are_in_both(world: People):
    token = await world.token_of("bob")
    entity = (await world.ok("GET", "auth/token/lookup-self", token=token))["data"]["entity_id"]
    inner = await world.group(name="backend", member_entity_ids=[entity])
    await world.group(name="developers", member_group_ids=[inner])
    await cedar(world, EXAMPLES)
    assert await reads(world, token)
    await cedar(world, 'permit(principal, action, resource) when { principal in Group::"backend" };')
    assert await reads(world, token)


async def test_a_user_is_known_by_the_name_of_the_entity(world: People):
    entity = await world.entity(name="robert")
    await world.alias("bob", entity)
    await cedar(world, 'permit(principal == User::"robert", action, resource);')
    token = await world.token_of("bob")
    assert await reads(world, token)
    await world.ok("POST", f"identity/entity/id/{entity}", {"name": "bobby"})
    assert not await reads(world, token)


async def test_an_entity_that_is_named_a_service_is_one_whatever_it_logs_in_by(world: People):
    entity = await world.entity(name="robert")
    await world.alias("bob", entity)
    await cedar(world, 'permit(principal == Service::"github-actions", action, resource);')
    token = await world.token_of("bob")
    assert not await reads(world, token)
    await world.ok("POST", f"identity/entity/id/{entity}", {"metadata": {"service": "github-actions"}})
    assert await reads(world, token)


async def test_a_role_of_the_default_approle_mount_and_of_another(world: People):
    await world.ok("POST", "sys/auth/team/apps", {"type": "approle"})
    first, second = await role(world, "ci"), await role(world, "ci", mount="team/apps")
    await cedar(world, 'permit(principal == Service::"ci", action, resource);')
    assert (await reads(world, first), await reads(world, second)) == (True, False)
    await cedar(world, 'permit(principal == Service::"team/apps/ci", action, resource);')
    assert (await reads(world, first), await reads(world, second)) == (False, True)


async def test_a_service_does_not_shed_a_forbid_by_making_a_token(world: People):
    await world.policy("maker", **{"auth/token/create": ["update"], "database/*": ["read"]})
    token = await role(world, "ci", token_policies=["maker"])
    child = await world.token(by=token, meta={"role_name": "other"})
    assert await reads(world, token) and await reads(world, child)
    await cedar(world, 'forbid(principal == Service::"ci", action, resource);')
    assert not await reads(world, token) and not await reads(world, child)


async def test_metadata_of_a_token_names_no_service(world: People):
    await world.policy("maker", **{"auth/token/create": ["update"]})
    await cedar(world, 'permit(principal == Service::"ci", action, resource);')
    await world.user("mallory", "maker")
    token = await world.token_of("mallory")
    child = await world.token(by=token, meta={"role_name": "ci", "service": "ci", "role": "ci"})
    assert not await reads(world, child)
    assert await reads(world, await role(world, "ci"))


async def test_a_token_without_an_entity_is_known_by_its_accessor(world: People):
    auth = await world.create(policies=["default"])
    await cedar(world, f'permit(principal == User::"token-{auth["accessor"]}", action, resource);')
    assert await reads(world, auth["client_token"])
    assert not await reads(world, await world.token(policies=["default"]))


async def test_the_auth_method_is_in_the_context(world: People):
    await cedar(world, 'permit(principal, action, resource) when { context.auth_method == "userpass" };')
    assert await reads(world, await world.token_of("bob"))
    assert not await reads(world, await role(world, "ci"))
    assert not await reads(world, await world.token(policies=["default"]))
