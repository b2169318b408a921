"""What went wrong with identities elsewhere, over HTTP, each with a control that it works when it should."""

import json

import msgspec
import pytest

from identity_world import People, people
from strongroom.core.identity.records import entity_of, pack
from strongroom.sdk.storage import Write

ROOTS = ["root", "ROOT", " root", "root\t", "rооt", "ｒｏｏｔ", "root,", "a, root"]


@pytest.fixture
async def world() -> People:
    world = await people()
    for name in ("bob", "eve"):
        await world.user(name)
    return world


async def allow(world: People, policy: str, rules: dict[str, list[str]]) -> None:
    text = json.dumps({"path": {path: {"capabilities": words} for path, words in rules.items()}})
    await world.ok("PUT", f"sys/policies/acl/{policy}", {"policy": text})


async def reads(world: People, path: str, token: str) -> bool:
    return await world.status("GET", path, token=token) == 200


@pytest.mark.parametrize("kind", ["entity", "group"])
@pytest.mark.parametrize("name", ROOTS)
async def test_sec_cve_2025_5999_no_entity_or_group_has_root(world: People, kind: str, name: str) -> None:
    given = await world.http("POST", f"identity/{kind}", {"name": "x", "policies": [name]})
    as_text = await world.http("POST", f"identity/{kind}/name/x", {"policies": name})
    assert {given[0], as_text[0]} <= {400, 200}
    if given[0] == 200 or as_text[0] == 200:  # blanks around an item of a list in text are dropped, as everywhere
        assert "root" not in (await world.read(f"{kind}/name/x"))["policies"]
    assert await world.status("POST", f"identity/{kind}", {"name": "y", "policies": ["rooted"]}) == 200


async def test_sec_cve_2025_5999_root_in_the_store_gives_nothing(world: People) -> None:
    auth = await world.login("bob")
    store = world.space.identity.store
    entity = await store.entity(auth["entity_id"])

    async def make(_expect: dict[str, int]) -> list[Write]:
        return [Write(store.keys.entity + entity.id, pack(msgspec.structs.replace(entity, policies=("a", "root"))))]

    await store.change(make)
    assert entity_of((await store.storage.get(store.keys.entity + entity.id)).value).policies == ("a", "root")
    assert await reads(world, "secret/a", auth["client_token"]), "the rest of the list counts"
    assert await world.status("GET", "sys/policies/acl", token=auth["client_token"]) == 403
    assert await world.status("GET", "secret/b", token=auth["client_token"]) == 403
    asked = {"paths": ["secret/b"]}
    own = await world.ok("POST", "sys/capabilities-self", asked, token=auth["client_token"])
    assert own["data"]["secret/b"] == ["deny"]


@pytest.mark.parametrize("route", ["entity-alias/id/{id}", "entity-alias"])
async def test_sec_cve_2021_41802_an_alias_is_moved_only_by_who_may_change_the_entity(
    world: People, route: str
) -> None:
    """Who may write aliases alone does not make himself somebody else."""
    admin = await world.entity(name="admin", policies=["b"])
    mine = await world.login("bob")
    await allow(world, "aliases", {"identity/entity-alias": ["update"], "identity/entity-alias/id/*": ["update"]})
    token = await world.token(policies=["aliases"])
    alias = (await world.read(f"entity/id/{mine['entity_id']}"))["aliases"][0]["id"]
    path = "identity/" + route.format(id=alias)
    move = {"name": "bob", "mount_accessor": world.userpass, "canonical_id": admin}
    assert await world.status("POST", path, move, token=token) == 403
    assert await world.status("POST", path, move | {"entity_id": admin, "canonical_id": ""}, token=token) == 403
    assert not await reads(world, "secret/b", str((await world.login("bob"))["client_token"]))
    assert await world.status("POST", path, move | {"canonical_id": mine["entity_id"]}, token=token) == 200
    await allow(world, "change", {f"identity/entity/id/{admin}": ["update"]})
    trusted = await world.token(policies=["aliases", "change"])
    assert await world.status("POST", path, move, token=trusted) == 200
    assert await reads(world, "secret/b", str((await world.login("bob"))["client_token"]))


async def test_sec_cve_2020_10660_membership_ends_with_the_next_request_everywhere(world: People) -> None:
    auth = await world.login("bob")
    token, other = str(auth["client_token"]), await world.other()
    child = await world.group(name="child", member_entity_ids=[auth["entity_id"]])
    parent = await world.group(name="parent", policies=["b"], member_group_ids=[child])

    async def both() -> tuple[bool, bool]:
        return await reads(world, "secret/b", token), await other.status("GET", "secret/b", token=token) == 200

    assert await both() == (True, True)
    for path, without, again in (
        (f"identity/group/id/{child}", {"member_entity_ids": []}, {"member_entity_ids": [auth["entity_id"]]}),
        (f"identity/group/id/{parent}", {"member_group_ids": []}, {"member_group_ids": [child]}),
        (f"identity/group/id/{parent}", {"policies": []}, {"policies": ["b"]}),
    ):
        await world.ok("POST", path, without)
        assert await both() == (False, False)
        await other.ok("POST", path, again)
        assert await both() == (True, True)
    await other.ok("DELETE", f"identity/group/id/{child}")
    assert await both() == (False, False)


TEMPLATES = {
    "name": "secret/{{identity.entity.name}}",
    "metadata": "secret/{{identity.entity.metadata.team}}",
    "alias": "secret/{{identity.entity.aliases.ACCESSOR.name}}",
    "group": "secret/{{identity.groups.ids.GROUP.name}}",
}


@pytest.mark.parametrize("where", [*TEMPLATES])
@pytest.mark.parametrize("value", ["*", "+", "a*", "b/..", "x/y", "a,b", "{{identity.entity.id}}", "%61", "..", ""])
async def test_sec_cve_2026_71543_no_identity_widens_a_templated_rule(world: People, where: str, value: str) -> None:
    auth = await world.login("bob")
    entity, token = auth["entity_id"], str(auth["client_token"])
    group = await world.group(name="start", member_entity_ids=[entity])
    alias = (await world.read(f"entity/id/{entity}"))["aliases"][0]["id"]
    pattern = TEMPLATES[where].replace("ACCESSOR", world.userpass).replace("GROUP", group)
    await allow(world, "own", {pattern: ["read"]})
    await world.ok("POST", f"identity/entity/id/{entity}", {"policies": ["own"]})
    writes = {
        "name": (f"identity/entity/id/{entity}", "name"),
        "metadata": (f"identity/entity/id/{entity}", "metadata"),
        "alias": (f"identity/entity-alias/id/{alias}", "name"),
        "group": (f"identity/group/id/{group}", "name"),
    }

    async def call_it(text: str) -> None:
        path, field = writes[where]
        await world.http("POST", path, {field: {"team": text} if field == "metadata" else text})

    await call_it(value)
    for path in ("secret/a", "secret/b", "secret/x/y", f"secret/{value}".rstrip("/")):
        assert await world.status("GET", path, token=token) in (400, 403, 404) and not await reads(world, path, token)
    await call_it("a")
    assert await reads(world, "secret/a", token) and not await reads(world, "secret/b", token)


async def test_sec_cve_2021_43998_the_accessor_alone_says_which_alias(world: People) -> None:
    """One entity at two mounts, and the same name at another mount that belongs to somebody else."""
    auth = await world.login("bob")
    await world.ok("POST", "sys/auth/second", {"type": "userpass"})
    second = (await world.ok("GET", "sys/auth"))["data"]["second/"]["accessor"]
    other = await world.entity(name="other")
    await world.alias("b", auth["entity_id"], accessor=second)
    await world.alias("bob", other, accessor=second)
    await world.ok("POST", "secret/bob", {"value": "bob"})
    for accessor, mine in ((world.userpass, "secret/bob"), (second, "secret/b"), (world.approle, "")):
        await allow(world, "own", {f"secret/{{{{identity.entity.aliases.{accessor}.name}}}}": ["read"]})
        await world.ok("POST", f"identity/entity/id/{auth['entity_id']}", {"policies": ["own"]})
        seen = {
            path for path in ("secret/a", "secret/b", "secret/bob") if await reads(world, path, auth["client_token"])
        }
        assert seen == {mine} - {""}


async def test_sec_ghsa_fg5x_names_of_entities_and_groups_are_folded_before_the_rules(world: People) -> None:
    await world.entity(name="Secret")
    await world.group(name="Secret")
    everything = ["read", "update", "delete", "list"]
    for kind in ("entity", "group"):
        await allow(world, "most", {f"identity/{kind}/name/*": everything, f"identity/{kind}/name/secret": ["deny"]})
        token = await world.token(policies=["most"])
        for spelling in ("secret", "SECRET", "%53ecret", "%EF%BC%B3ecret"):
            for method in ("GET", "POST", "DELETE"):
                assert await world.status(method, f"identity/{kind}/name/{spelling}", token=token) in (400, 403)
        assert await world.status("POST", f"identity/{kind}/name/other", token=token) == 200
        assert (await world.read(f"{kind}/name/secret"))["name"] == "Secret"


async def test_sec_cve_2024_55949_an_alias_for_a_token_needs_a_role_that_names_it(world: People) -> None:
    admin = await world.entity(name="admin", policies=["b"])
    accessor = (await world.ok("GET", "sys/auth"))["data"]["token/"]["accessor"]
    await world.alias("admin", admin, accessor=accessor)
    await world.ok("POST", "auth/token/roles/web", {"allowed_entity_aliases": ["web-*"]})
    await world.ok("POST", "auth/token/roles/none", {})
    await world.ok("POST", "auth/token/roles/ops", {"allowed_entity_aliases": ["admin"]})
    await allow(world, "maker", {"auth/token/create": ["update"], "auth/token/create/*": ["update"]})
    token = await world.token(policies=["maker"])
    for path in ("auth/token/create", "auth/token/create/web", "auth/token/create/none"):
        for alias in ("admin", "ADMIN", "*", "web-*/../admin"):
            status, answer = await world.http("POST", path, {"entity_alias": alias}, token=token)
            assert status == 400 or not await reads(world, "secret/b", answer["auth"]["client_token"])
    made = await world.ok("POST", "auth/token/create/ops", {"entity_alias": "admin"}, token=token)
    assert await reads(world, "secret/b", made["auth"]["client_token"])
