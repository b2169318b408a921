"""From a login to its entity, and from the entity to what the token may do."""

import pytest

from identity_world import People, people


@pytest.fixture
async def world() -> People:
    world = await people()
    await world.user("bob", "a")
    return world


async def may(world: People, path: str, token: str) -> bool:
    return await world.status("GET", path, token=token) == 200


async def test_the_first_login_makes_the_entity_and_later_ones_find_it(world: People):
    first = await world.login("bob")
    entity = await world.read(f"entity/id/{first['entity_id']}")
    alias = entity["aliases"][0]
    assert (alias["name"], alias["mount_accessor"], alias["mount_path"]) == ("bob", world.userpass, "auth/userpass/")
    before = await world.core.backend.get("ns/root/epoch")
    again = await world.login("BOB")
    assert again["entity_id"] == first["entity_id"]
    assert (await world.core.backend.get("ns/root/epoch")) == before, "a login that finds its alias moves no epoch"
    looked = (await world.ok("GET", "auth/token/lookup-self", token=again["client_token"]))["data"]
    assert looked["entity_id"] == first["entity_id"] and "identity_policies" not in looked


async def test_an_approle_login_is_known_by_its_role_id(world: People):
    await world.ok("POST", "auth/approle/role/r", {"bind_secret_id": False, "secret_id_bound_cidrs": "127.0.0.1/32"})
    role_id = (await world.ok("GET", "auth/approle/role/r/role-id"))["data"]["role_id"]
    auth = (await world.ok("POST", "auth/approle/login", {"role_id": role_id}, token=""))["auth"]
    alias = (await world.read(f"entity/id/{auth['entity_id']}"))["aliases"][0]
    assert (alias["name"], alias["metadata"]) == (role_id, {"role_name": "r"})


async def test_policies_of_the_entity_count_with_the_next_request(world: People):
    auth = await world.login("bob")
    token, entity = auth["client_token"], auth["entity_id"]
    assert await may(world, "secret/a", token) and not await may(world, "secret/b", token)
    await world.ok("POST", f"identity/entity/id/{entity}", {"policies": ["b"]})
    assert await may(world, "secret/a", token) and await may(world, "secret/b", token)
    looked = (await world.ok("GET", "auth/token/lookup-self", token=token))["data"]
    assert (looked["policies"], looked["identity_policies"]) == (["a", "default"], ["b"])
    again = await world.login("bob")
    assert (again["policies"], again["token_policies"]) == (["a", "b", "default"], ["a", "default"])
    assert again["identity_policies"] == ["b"]
    renewed = (await world.ok("POST", "auth/token/renew-self", token=token))["auth"]
    assert renewed["identity_policies"] == ["b"] and renewed["entity_id"] == entity
    asked = {"paths": ["secret/b"], "token": token}
    assert (await world.ok("POST", "sys/capabilities", asked))["data"]["secret/b"] == ["read"]
    asked = {"paths": ["secret/b"], "accessor": auth["accessor"]}
    assert (await world.ok("POST", "sys/capabilities-accessor", asked))["data"]["secret/b"] == ["read"]
    own = await world.ok("POST", "sys/capabilities-self", {"paths": ["secret/b"]}, token=token)
    assert own["data"]["secret/b"] == ["read"]
    acl = (await world.ok("GET", "sys/internal/ui/resultant-acl", token=token))["data"]
    assert acl["exact_paths"]["secret/b"]["capabilities"] == ["read"]
    await world.ok("POST", f"identity/entity/id/{entity}", {"policies": []})
    assert not await may(world, "secret/b", token)


async def test_another_process_sees_it_with_its_next_request(world: People):
    auth = await world.login("bob")
    other = await world.other()
    assert await other.status("GET", "secret/b", token=auth["client_token"]) == 403
    await world.ok("POST", f"identity/entity/id/{auth['entity_id']}", {"policies": ["b"]})
    assert await other.status("GET", "secret/b", token=auth["client_token"]) == 200


@pytest.mark.parametrize("end", ["disable", "delete", "batch-delete"])
async def test_without_its_entity_a_token_may_nothing(world: People, end: str):
    auth = await world.login("bob")
    token, entity = auth["client_token"], auth["entity_id"]
    assert await may(world, "secret/a", token)
    if end == "disable":
        await world.ok("POST", f"identity/entity/id/{entity}", {"disabled": True})
    elif end == "delete":
        await world.ok("DELETE", f"identity/entity/id/{entity}")
    else:
        await world.ok("POST", "identity/entity/batch-delete", {"entity_ids": [entity]})
    for path in ("secret/a", "auth/token/lookup-self"):
        assert await world.status("GET", path, token=token) == 403
    assert await world.status("POST", "auth/token/renew", {"token": token}) == 403
    answer = await world.status("POST", "auth/userpass/login/bob", {"password": "pw"}, token="")
    assert answer == (403 if end == "disable" else 200)
    if end == "disable":
        await world.ok("POST", f"identity/entity/id/{entity}", {"disabled": False})
        assert await may(world, "secret/a", token)


async def test_a_disabled_entity_leaves_no_token_behind(world: People):
    entity = (await world.login("bob"))["entity_id"]
    await world.ok("POST", f"identity/entity/id/{entity}", {"disabled": True})
    before = await world.stored("ns/root/token/")
    assert await world.status("POST", "auth/userpass/login/bob", {"password": "pw"}, token="") == 403
    assert await world.stored("ns/root/token/") == before


async def test_children_keep_the_entity_and_orphans_do_not(world: People):
    await world.ok("PUT", "sys/policies/acl/maker", {"policy": 'path "auth/token/*" {capabilities=["update","sudo"]}'})
    auth = await world.login("bob")
    await world.ok("POST", f"identity/entity/id/{auth['entity_id']}", {"policies": ["maker"]})
    child = await world.create(by=auth["client_token"], policies=["a"])
    assert (child["entity_id"], child["identity_policies"]) == (auth["entity_id"], ["maker"])
    orphan = await world.create(by=auth["client_token"], policies=["a"], no_parent=True)
    assert orphan["entity_id"] == "" and "identity_policies" not in orphan


@pytest.mark.parametrize("kind", ["service", "batch"])
async def test_a_role_may_name_the_entity_of_its_tokens(world: People, kind: str):
    await world.ok("POST", "auth/token/roles/r", {"allowed_entity_aliases": "web-*,Ann", "token_type": kind})
    path = "auth/token/create/r"
    auth = await world.create(path=path, entity_alias="web-1", policies=["a"])
    entity = await world.read(f"entity/id/{auth['entity_id']}")
    token_mount = (await world.ok("GET", "sys/auth"))["data"]["token/"]["accessor"]
    assert [(a["name"], a["mount_accessor"]) for a in entity["aliases"]] == [("web-1", token_mount)]
    assert (await world.create(path=path, entity_alias="WEB-1", policies="a"))["entity_id"] == auth["entity_id"]
    assert (await world.create(path=path, entity_alias="ann", policies="a"))["entity_id"] not in ("", auth["entity_id"])
    await world.ok("POST", f"identity/entity/id/{auth['entity_id']}", {"policies": ["b"]})
    assert await may(world, "secret/b", auth["client_token"])
    refused = await world.refused("POST", path, {"entity_alias": "db"})
    assert refused == (400, "invalid 'entity_alias' value")
    assert (await world.refused("POST", "auth/token/create", {"entity_alias": "web-1"}))[0] == 400
    await world.ok("POST", f"identity/entity/id/{auth['entity_id']}", {"disabled": True})
    assert await world.status("POST", path, {"entity_alias": "web-1", "policies": "a"}) == 403
    assert not await may(world, "secret/b", auth["client_token"])
