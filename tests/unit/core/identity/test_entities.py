"""identity/entity: what is written, read, listed and refused."""

import pytest

from identity_world import People, people


@pytest.fixture
async def world() -> People:
    return await people()


async def test_an_entity_is_made_changed_and_forgotten(world: People):
    made = (await world.ok("POST", "identity/entity", {"name": "Ann", "policies": "B,a", "metadata": {"k": "v"}}))[
        "data"
    ]
    assert made == {"id": made["id"], "name": "Ann", "aliases": None}
    data = await world.read(f"entity/id/{made['id']}")
    assert (data["name"], data["policies"], data["metadata"]) == ("Ann", ["a", "b"], {"k": "v"})
    assert (data["aliases"], data["group_ids"], data["merged_entity_ids"]) == ([], [], None)
    assert await world.read("entity/name/ANN") == data, "names are found in any case"
    assert (await world.http("POST", "identity/entity", {"name": "ann", "metadata": {"k": "w"}})) == (204, None)
    data = await world.read("entity/name/ann")
    assert (data["name"], data["policies"], data["metadata"]) == ("ann", ["a", "b"], {"k": "w"})
    await world.ok("POST", f"identity/entity/id/{made['id']}", {"name": "Eve", "disabled": "true"})
    assert (await world.read("entity/name/eve"))["disabled"] is True
    assert await world.status("GET", "identity/entity/name/ann") == 404
    assert await world.status("DELETE", "identity/entity/name/eve") == 204
    assert await world.status("GET", f"identity/entity/id/{made['id']}") == 404
    assert await world.status("DELETE", f"identity/entity/id/{made['id']}") == 204
    assert await world.stored("ns/root/identity/") == [], "nothing is left behind"


async def test_lists_describe_and_page(world: People):
    assert await world.status("LIST", "identity/entity/id") == 404
    ids = sorted([await world.entity(name=name) for name in ("C", "a", "b")])
    await world.alias("bob", ids[0])
    data = (await world.ok("LIST", "identity/entity/id"))["data"]
    assert data["keys"] == ids
    assert data["key_info"][ids[0]]["aliases"][0] | {"id": ""} == {
        "id": "",
        "name": "bob",
        "mount_accessor": world.userpass,
        "mount_path": "auth/userpass/",
        "mount_type": "userpass",
    }
    assert "aliases" not in data["key_info"][ids[1]]
    assert (await world.ok("LIST", "identity/entity/name"))["data"] == {"keys": ["a", "b", "C"]}
    assert (await world.ok("LIST", "identity/entity/name?limit=1&after=a"))["data"]["keys"] == ["b"]
    assert (await world.ok("LIST", f"identity/entity/id?limit=2&after={ids[0]}"))["data"]["keys"] == ids[1:]
    assert (await world.ok("POST", "identity/entity/batch-delete", {"entity_ids": ids})) is None
    assert await world.status("LIST", "identity/entity/name") == 404


async def test_two_entities_never_have_one_name(world: People):
    first, second = await world.entity(name="one"), await world.entity(name="two")
    for spelling in ("one", "ONE", "ｏne"):
        refusal = await world.refused("POST", f"identity/entity/id/{second}", {"name": spelling})
        assert refusal == (400, "entity name is already in use")
    assert (await world.read("entity/name/one"))["id"] == first
    auto = await world.read(f"entity/id/{await world.entity()}")
    assert auto["name"].startswith("entity_") and len(auto["name"]) == 15


@pytest.mark.parametrize(
    "fields",
    [
        {"name": " ann"},
        {"name": "an\nn"},
        {"name": "a" * 513},
        {"id": "00000000-0000-0000-0000-000000000000"},
        {"id": "../entity-name/x"},
        {"metadata": {str(i): "" for i in range(65)}},
        {"metadata": {"k": "v" * 513}},
        {"metadata": {"k" * 129: "v"}},
        {"policies": ["a b"]},
    ],
)
async def test_what_cannot_be_an_entity_is_refused(world: People, fields: dict[str, object]):
    assert (await world.refused("POST", "identity/entity", fields))[0] == 400
    assert await world.status("LIST", "identity/entity/id") == 404


@pytest.mark.parametrize("name", ["a*", "a+", "a/b", "a,b", "{{x}}", "100%", ".", "ä"])
async def test_odd_names_are_kept_apart(world: People, name: str):
    one, other = await world.entity(name=name), await world.entity(name="plain")
    assert (await world.ok("POST", "identity/lookup/entity", {"name": name}))["data"]["id"] == one
    assert sorted((await world.ok("LIST", "identity/entity/name"))["data"]["keys"]) == sorted([name, "plain"])
    await world.ok("DELETE", f"identity/entity/id/{one}")
    assert (await world.ok("LIST", "identity/entity/id"))["data"]["keys"] == [other]


async def test_lookup_finds_by_everything_that_is_known(world: People):
    entity = await world.entity(name="ann")
    alias = await world.alias("bob", entity)
    by_alias = {"alias_name": "BOB", "alias_mount_accessor": world.userpass}
    for question in ({"name": "Ann"}, {"id": entity}, {"alias_id": alias}, by_alias):
        assert (await world.ok("POST", "identity/lookup/entity", question))["data"]["id"] == entity
    for nothing in ({"name": "x"}, {"id": "x"}, {"alias_id": "x"}, by_alias | {"alias_mount_accessor": world.approle}):
        assert await world.http("POST", "identity/lookup/entity", nothing) == (204, None)
    for wrong in ({}, {"name": "ann", "id": entity}, {"alias_name": "bob"}):
        assert await world.status("POST", "identity/lookup/entity", wrong) == 400
