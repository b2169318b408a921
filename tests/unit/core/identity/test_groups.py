"""identity/group, group-alias: members, nesting, external groups, and the policies that members get."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from identity_world import People, people


@pytest.fixture
async def world() -> People:
    world = await people()
    await world.user("bob")
    return world


async def test_a_group_is_made_changed_and_forgotten(world: People):
    entity = await world.entity(name="ann")
    made = (await world.ok("POST", "identity/group", {"name": "G", "policies": "a", "member_entity_ids": entity}))[
        "data"
    ]
    data = await world.read("group/name/g")
    assert made == {"id": data["id"], "name": "G"}
    assert data | {"creation_time": "", "last_update_time": ""} == {
        "alias": {},
        "creation_time": "",
        "id": made["id"],
        "last_update_time": "",
        "member_entity_ids": [entity],
        "member_group_ids": None,
        "metadata": None,
        "modify_index": 1,
        "name": "G",
        "namespace_id": "root",
        "parent_group_ids": None,
        "policies": ["a"],
        "type": "internal",
    }
    assert (await world.read(f"entity/id/{entity}"))["direct_group_ids"] == [made["id"]]
    await world.ok("POST", f"identity/group/id/{made['id']}", {"name": "H", "member_entity_ids": [], "metadata": "k=v"})
    data = await world.read(f"group/id/{made['id']}")
    assert (data["name"], data["member_entity_ids"], data["policies"]) == ("H", None, ["a"])
    assert (data["metadata"], data["modify_index"]) == ({"k": "v"}, 2)
    assert await world.status("GET", "identity/group/name/g") == 404
    listed = (await world.ok("LIST", "identity/group/id"))["data"]
    assert listed["key_info"] == {made["id"]: {"name": "H", "num_member_entities": 0, "num_parent_groups": 0}}
    assert (await world.ok("LIST", "identity/group/name"))["data"]["keys"] == ["H"]
    assert (await world.ok("POST", "identity/lookup/group", {"name": "h"}))["data"]["id"] == made["id"]
    assert await world.http("POST", "identity/lookup/group", {"name": "g"}) == (204, None)
    await world.ok("DELETE", f"identity/entity/id/{entity}")
    await world.ok("DELETE", "identity/group/name/H")
    assert await world.status("LIST", "identity/group/id") == 404
    assert await world.stored("ns/root/identity/") == []


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "strange"},
        {"member_entity_ids": ["nobody"]},
        {"member_group_ids": ["nobody"]},
        {"id": "nobody"},
        {"type": "external", "member_entity_ids": ["nobody"]},
        {"name": "a\tb"},
        {"metadata": {"": "v"}},
    ],
)
async def test_what_cannot_be_a_group_is_refused(world: People, fields: dict[str, Any]):
    assert (await world.refused("POST", "identity/group", fields))[0] == 400
    assert await world.status("LIST", "identity/group/id") == 404


async def test_names_and_types_of_groups_stay_apart(world: People):
    one, two = await world.group(name="one"), await world.group(name="two", type="external")
    assert await world.refused("POST", f"identity/group/id/{two}", {"name": "ONE"}) == (
        400,
        "group name is already in use",
    )
    assert (await world.refused("POST", f"identity/group/id/{one}", {"type": "external"}))[0] == 400
    alias = {"name": "x", "mount_accessor": world.userpass, "canonical_id": one}
    assert (await world.refused("POST", "identity/group-alias", alias))[0] == 400


async def test_a_member_of_a_member_group_has_the_policies_above(world: People):
    auth = await world.login("bob")
    token = auth["client_token"]
    child = await world.group(name="child", member_entity_ids=[auth["entity_id"]])
    top = await world.group(name="top", policies=["b"], member_group_ids=[child])
    side = await world.group(name="side", policies=["a"], member_group_ids=[top])
    looked = (await world.ok("GET", "auth/token/lookup-self", token=token))["data"]
    assert looked["identity_policies"] == ["a", "b"]
    assert await world.status("GET", "secret/b", token=token) == 200
    data = await world.read(f"entity/id/{auth['entity_id']}")
    assert (data["direct_group_ids"], data["inherited_group_ids"]) == ([child], sorted([top, side]))
    assert (await world.read(f"group/id/{child}"))["parent_group_ids"] == [top]
    assert (await world.read(f"group/id/{top}"))["member_group_ids"] == [child]
    await world.ok("POST", f"identity/group/id/{top}", {"member_group_ids": []})
    assert await world.status("GET", "secret/b", token=token) == 403
    await world.ok("POST", f"identity/group/id/{top}", {"member_group_ids": [child]})
    assert await world.status("GET", "secret/b", token=token) == 200
    await world.ok("DELETE", f"identity/group/id/{top}")
    assert await world.status("GET", "secret/b", token=token) == 403
    assert (await world.read(f"group/id/{side}"))["member_group_ids"] is None


async def test_no_group_is_ever_above_itself(world: People):
    one = await world.group(name="one")
    assert (await world.refused("POST", f"identity/group/id/{one}", {"member_group_ids": [one]}))[0] == 400
    two = await world.group(name="two", member_group_ids=[one])
    three = await world.group(name="three", member_group_ids=[two])
    status, said = await world.refused("POST", f"identity/group/id/{one}", {"member_group_ids": [three]})
    assert status == 400 and "cyclic" in said
    assert (await world.read(f"group/id/{one}"))["member_group_ids"] is None


async def test_many_members_take_several_commits_and_all_arrive(world: People):
    ids = [await world.entity(name=f"e{i:03}") for i in range(130)]
    group = await world.group(name="all", member_entity_ids=ids)
    assert (await world.read(f"group/id/{group}"))["member_entity_ids"] == sorted(ids)
    await world.ok("POST", f"identity/group/id/{group}", {"member_entity_ids": ids[:3]})
    assert (await world.read(f"group/id/{group}"))["member_entity_ids"] == sorted(ids[:3])
    await world.ok("DELETE", f"identity/group/id/{group}")
    assert [key for key in await world.stored("ns/root/identity/") if "/member-" in key] == []


async def test_a_login_proves_external_groups(world: People):
    mount = world.space.mounts.entries["auth/userpass/"]
    group = await world.group(name="devs", type="external", policies=["b"])
    alias = {"name": "Devs", "mount_accessor": world.userpass, "canonical_id": group}
    made = (await world.ok("POST", "identity/group-alias", alias))["data"]
    assert made["canonical_id"] == group
    auth = await world.login("bob")
    logins, entity = world.space.identity.logins, auth["entity_id"]
    await logins.entity(mount, "bob", None, ("devs", "unknown"))
    assert await world.status("GET", "secret/b", token=auth["client_token"]) == 200
    assert (await world.read(f"group/id/{group}"))["member_entity_ids"] == [entity]
    before = await world.core.backend.get("ns/root/epoch")
    await logins.entity(mount, "bob", None, ("DEVS",))
    assert (await world.core.backend.get("ns/root/epoch")) == before, "nothing changed, nothing is written"
    await logins.entity(world.space.mounts.entries["auth/approle/"], "someone", None, ("devs",))
    assert (await world.read(f"group/id/{group}"))["member_entity_ids"] == [entity], "another mount's groups"
    await logins.entity(mount, "bob", None, ())
    assert await world.status("GET", "secret/b", token=auth["client_token"]) == 403
    fresh = await logins.entity(mount, "new", None, ("devs",))
    assert (await world.read(f"group/id/{group}"))["member_entity_ids"] == [fresh.id]


async def test_group_aliases_are_written_read_listed_and_forgotten(world: People):
    group = await world.group(name="devs", type="external")
    fields = {"name": "devs", "mount_accessor": world.userpass, "canonical_id": group}
    alias = (await world.ok("POST", "identity/group-alias", fields))["data"]["id"]
    data = await world.read(f"group-alias/id/{alias}")
    assert (data["name"], data["canonical_id"], data["mount_type"]) == ("devs", group, "userpass")
    assert (await world.read(f"group/id/{group}"))["alias"]["id"] == alias
    assert (await world.ok("POST", "identity/group-alias", fields))["data"]["id"] == alias, "the same again"
    await world.ok("POST", f"identity/group-alias/id/{alias}", {"name": "ops"})
    question = {"alias_name": "ops", "alias_mount_accessor": world.userpass}
    assert (await world.ok("POST", "identity/lookup/group", question))["data"]["id"] == group
    assert await world.http("POST", "identity/lookup/group", question | {"alias_name": "devs"}) == (204, None)
    assert (await world.ok("LIST", "identity/group-alias/id"))["data"]["keys"] == [alias]
    other = await world.group(name="other", type="external")
    taken = fields | {"name": "ops", "canonical_id": other}
    assert (await world.ok("POST", "identity/group-alias", taken))["data"] == {"id": alias, "canonical_id": other}
    assert (await world.read(f"group/id/{group}"))["alias"] == {}
    await world.ok("DELETE", f"identity/group-alias/id/{alias}")
    assert (await world.read(f"group/id/{other}"))["alias"] == {}
    assert await world.status("LIST", "identity/group-alias/id") == 404
    alone = {"name": "solo", "mount_accessor": world.userpass}
    made = (await world.ok("POST", "identity/group-alias", alone))["data"]
    assert (await world.read(f"group/id/{made['canonical_id']}"))["type"] == "external"
    for wrong in ({}, fields | {"canonical_id": "x"}, fields | {"mount_accessor": "x"}, {"id": "x"}):
        assert await world.status("POST", "identity/group-alias", wrong) == 400


_EDGES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=14)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edges=_EDGES, members=st.sets(st.integers(0, 5)), gone=st.integers(0, 5))
async def test_policies_follow_every_path_upwards_and_no_cycle_is_stored(
    edges: list[tuple[int, int]], members: set[int], gone: int
):
    """Against a model: edges are (parent, child); one is refused exactly when the child is above the parent."""
    world = await people()
    entity = await world.entity(name="e")
    ids = [
        await world.group(name=f"g{i}", policies=[f"p{i}"], member_entity_ids=[entity] if i in members else [])
        for i in range(6)
    ]
    below: dict[int, set[int]] = {i: set() for i in range(6)}

    def reach(start: int) -> set[int]:
        seen, queue = {start}, [start]
        while queue:
            for child in below[queue.pop()] - seen:
                seen.add(child)
                queue.append(child)
        return seen

    for parent, child in edges:
        wanted = [ids[i] for i in below[parent] | {child}]
        status = await world.status("POST", f"identity/group/id/{ids[parent]}", {"member_group_ids": wanted})
        assert (status == 400) == (parent in reach(child)), (parent, child, below)
        if status == 200:
            below[parent].add(child)
    view = await world.space.identity.view(entity)
    assert set(view.policies) == {f"p{i}" for i in range(6) if reach(i) & members}
    await world.ok("DELETE", f"identity/group/id/{ids[gone]}")
    below = {i: kids - {gone} for i, kids in below.items() if i != gone} | {gone: set()}
    await world.space.refresh()
    view = await world.space.identity.view(entity)
    assert set(view.policies) == {f"p{i}" for i in range(6) if i != gone and reach(i) & members - {gone}}
