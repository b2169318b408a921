"""identity/entity-alias, and what becomes of aliases when entities and mounts go."""

from typing import Any

import pytest

from identity_world import People, people


@pytest.fixture
async def world() -> People:
    world = await people()
    await world.user("bob")
    return world


async def test_an_alias_is_made_changed_and_forgotten(world: People):
    entity = await world.entity(name="ann", policies=["a"])
    fields = {"name": "Bob", "canonical_id": entity, "mount_accessor": world.userpass, "custom_metadata": {"k": "v"}}
    made = (await world.ok("POST", "identity/entity-alias", fields))["data"]
    assert made == {"id": made["id"], "canonical_id": entity}
    data = await world.read(f"entity-alias/id/{made['id']}")
    assert (data["name"], data["custom_metadata"], data["metadata"], data["local"]) == ("Bob", {"k": "v"}, None, False)
    assert (data["mount_path"], data["mount_type"], data["namespace_id"]) == ("auth/userpass/", "userpass", "root")
    assert (await world.login("bob"))["entity_id"] == entity, "a login is known by the alias, in any case"
    assert (await world.ok("POST", "identity/entity-alias", fields))["data"] == made
    await world.ok("POST", f"identity/entity-alias/id/{made['id']}", {"name": "eve"})
    assert (await world.login("bob"))["entity_id"] != entity
    listed = (await world.ok("LIST", "identity/entity-alias/id"))["data"]
    assert listed["key_info"][made["id"]] == {
        "canonical_id": entity,
        "custom_metadata": {"k": "v"},
        "local": False,
        "mount_accessor": world.userpass,
        "mount_path": "auth/userpass/",
        "mount_type": "userpass",
        "name": "eve",
    }
    assert await world.status("DELETE", f"identity/entity-alias/id/{made['id']}") == 204
    assert await world.status("GET", f"identity/entity-alias/id/{made['id']}") == 404
    assert (await world.read(f"entity/id/{entity}"))["aliases"] == []
    alone = {"name": "solo", "mount_accessor": world.userpass}
    assert (await world.ok("POST", "identity/entity-alias", alone))["data"]["canonical_id"] != entity


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": ""},
        {"mount_accessor": "nowhere"},
        {"canonical_id": "nobody"},
        {"id": "nobody"},
        {"custom_metadata": {"k": "v" * 600}},
        {"name": "x" * 2000},
    ],
)
async def test_what_cannot_be_an_alias_is_refused(world: People, fields: dict[str, Any]):
    whole = {"name": "bob", "canonical_id": await world.entity(), "mount_accessor": world.userpass}
    assert (await world.refused("POST", "identity/entity-alias", whole | fields if fields else {}))[0] == 400
    assert await world.status("LIST", "identity/entity-alias/id") == 404


async def test_one_alias_of_an_entity_at_a_mount_and_one_entity_of_a_name(world: People):
    one, two = await world.entity(), await world.entity()
    alias = await world.alias("bob", one)
    more = {"name": "eve", "canonical_id": one, "mount_accessor": world.userpass}
    assert "already has an alias" in (await world.refused("POST", "identity/entity-alias", more))[1]
    eve = await world.alias("eve", two)
    taken = await world.refused("POST", f"identity/entity-alias/id/{eve}", {"name": "BOB"})
    assert taken == (400, "alias already exists for requested mount accessor and name")
    assert await world.alias("bob", one, accessor=world.approle) != alias


async def test_a_mount_takes_its_aliases_with_it(world: People):
    entity = (await world.login("bob"))["entity_id"]
    kept = await world.alias("r", entity, accessor=world.approle)
    group = await world.group(name="g", type="external")
    fields = {"name": "devs", "mount_accessor": world.userpass, "canonical_id": group}
    await world.ok("POST", "identity/group-alias", fields)
    for i in range(30):
        await world.ok("POST", "identity/entity-alias", {"name": f"n{i}", "mount_accessor": world.userpass})
    await world.ok("DELETE", "sys/auth/userpass")
    assert [a["id"] for a in (await world.read(f"entity/id/{entity}"))["aliases"]] == [kept]
    assert (await world.ok("LIST", "identity/entity-alias/id"))["data"]["keys"] == [kept]
    assert (await world.read(f"group/id/{group}"))["alias"] == {}
    await world.ok("POST", "sys/auth/userpass", {"type": "userpass"})
    await world.user("bob")
    assert (await world.login("bob"))["entity_id"] != entity


async def test_merging_moves_aliases_groups_and_tokens(world: People):
    await world.user("eve")
    bob, eve = await world.login("bob"), await world.login("eve")
    await world.ok("POST", f"identity/entity/id/{eve['entity_id']}", {"policies": ["b"]})
    role = await world.entity(policies=["a"])
    moved = await world.alias("role", role, accessor=world.approle)
    groups = [await world.group(name=f"g{i}", policies=["a"], member_entity_ids=[role]) for i in range(40)]
    target = eve["entity_id"]
    await world.ok("POST", "identity/entity/merge", {"from_entity_ids": [role], "to_entity_id": target})
    data = await world.read(f"entity/id/{target}")
    assert (data["merged_entity_ids"], data["policies"]) == ([role], ["b"])
    assert data["direct_group_ids"] == sorted(groups)
    alias = next(a for a in data["aliases"] if a["id"] == moved)
    assert (alias["canonical_id"], alias["merged_from_canonical_ids"]) == (target, [role])
    assert await world.status("GET", f"identity/entity/id/{role}") == 404
    both = {"from_entity_ids": [bob["entity_id"]], "to_entity_id": target}
    assert "conflicting_alias_ids_to_keep" in (await world.refused("POST", "identity/entity/merge", both))[1]
    assert await world.status("GET", "secret/b", token=bob["client_token"]) == 403
    keep = (await world.read(f"entity/id/{bob['entity_id']}"))["aliases"][0]["id"]
    await world.ok("POST", "identity/entity/merge", both | {"conflicting_alias_ids_to_keep": [keep]})
    assert await world.status("GET", "secret/b", token=bob["client_token"]) == 200, "the token follows the merge"
    assert (await world.login("bob"))["entity_id"] == target
    assert (await world.login("eve"))["entity_id"] != target, "the alias that was not kept is gone"
    again = both | {"conflicting_alias_ids_to_keep": [keep]}
    assert await world.status("POST", "identity/entity/merge", again) == 204, "finishing what is done does nothing"
    await world.ok("DELETE", f"identity/entity/id/{target}")
    assert await world.status("GET", "secret/b", token=bob["client_token"]) == 403
    assert [key for key in await world.stored("ns/root/identity/") if "/merged/" in key or "/member-" in key] == []


@pytest.mark.parametrize(
    ("sources", "target"), [([], "e"), (["e"], ""), (["e"], "e"), (["x"], "e"), (["e"], "x"), (["b", "c"], "e")]
)
async def test_a_merge_that_makes_no_sense_is_refused(world: People, sources: list[str], target: str):
    ids = {name: await world.entity() for name in "ebc"}
    await world.alias("b", ids["b"])
    await world.alias("c", ids["c"])
    fields = {"from_entity_ids": [ids.get(s, s) for s in sources], "to_entity_id": ids.get(target, target)}
    assert (await world.refused("POST", "identity/entity/merge", fields))[0] == 400
    assert len((await world.ok("LIST", "identity/entity/id"))["data"]["keys"]) == 3


@pytest.mark.parametrize("place", ["alias", "persona"])
async def test_the_names_of_old_lead_to_the_same_aliases(world: People, place: str):
    entity = await world.entity()
    fields = {"name": "bob", "entity_id": entity, "mount_accessor": world.userpass}
    made = (await world.ok("POST", f"identity/{place}", fields))["data"]
    assert made["canonical_id"] == entity
    assert await world.read(f"{place}/id/{made['id']}") == await world.read(f"entity-alias/id/{made['id']}")
    assert (await world.ok("LIST", f"identity/{place}/id"))["data"]["keys"] == [made["id"]]
    assert await world.status("DELETE", f"identity/{place}/id/{made['id']}") == 204
