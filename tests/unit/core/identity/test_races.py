"""Two at once: a store that lets others in between any two steps, over many seeds."""

import asyncio
from typing import Any

import msgspec
import pytest

from identity_world import People, people
from strongroom.errors import VaultError
from vault_world import World
from yielding_store import YieldingStore

SEEDS = range(12)


async def crowd(seed: int) -> tuple[People, YieldingStore]:
    store = YieldingStore(seed)
    world = await people(backend=store)
    return world, store


async def together(store: YieldingStore, *work: Any) -> list[Any]:
    store.active = True
    try:
        return list(await asyncio.gather(*work, return_exceptions=True))
    finally:
        store.active = False


async def consistent(world: People) -> None:
    """Every pointer leads to a record that says the same, from both sides."""
    store = world.space.identity.store
    names = {}
    for key, stored in await store.storage.scan(store.keys.entity_name, limit=1000):
        names[key] = (await store.entity(_pair(stored.value)[0])).name.lower()
    ids = await store.names_below(store.keys.entity)
    assert len(names) == len(ids) and all(key == name for key, name in names.items())
    held = {a.id for i in ids for a in (await store.entity(i)).aliases}
    assert held == set(await store.names_below(store.keys.alias))
    pointed = set()
    for accessor in await store.names_below(store.keys.alias_at):
        rows = await store.storage.scan(store.keys.alias_at + accessor, limit=1000)
        pointed |= {_pair(stored.value)[1] for _, stored in rows}
    assert pointed == held


def _pair(value: bytes) -> tuple[str, str]:
    return msgspec.msgpack.decode(value, type=tuple[str, str])


@pytest.mark.parametrize("seed", SEEDS)
async def test_first_logins_at_once_make_one_entity(seed: int):
    world, store = await crowd(seed)
    logins, mount = world.space.identity.logins, world.space.mounts.entries["auth/userpass/"]
    found = await together(store, *(logins.entity(mount, name, None, ()) for name in ("bob", "Bob") * 6))
    assert len({entity.id for entity in found}) == 1
    await consistent(world)


@pytest.mark.parametrize("seed", SEEDS)
async def test_one_name_is_given_once(seed: int):
    world, store = await crowd(seed)
    other = await world.entity(name="other")
    asked = [world.http("POST", "identity/entity", {"name": name, "metadata": {"n": name}}) for name in ("a", "A") * 3]
    rename = world.http("POST", f"identity/entity/id/{other}", {"name": "a"})
    answers = await together(store, *asked, rename)
    assert all(status in (200, 204, 400) for status, _ in answers), answers
    assert sum(status == 200 for status, _ in answers) <= 1
    await consistent(world)


@pytest.mark.parametrize("seed", SEEDS)
async def test_edges_that_would_close_a_cycle_are_not_both_stored(seed: int):
    world, store = await crowd(seed)
    ids = [await world.group(name=f"g{i}") for i in range(3)]
    edges = [(0, 1), (1, 2), (2, 0)]
    answers = await together(
        store,
        *(world.status("POST", f"identity/group/id/{ids[a]}", {"member_group_ids": [ids[b]]}) for a, b in edges),
    )
    assert sorted(answers) == [200, 200, 400]
    members = world.space.identity.membership
    assert sum([len(await members.groups(group)) for group in ids]) == 2


@pytest.mark.parametrize("seed", SEEDS)
async def test_removal_alias_and_login_at_once_leave_no_loose_ends(seed: int):
    world, store = await crowd(seed)
    logins, mount = world.space.identity.logins, world.space.mounts.entries["auth/userpass/"]
    entity = (await logins.entity(mount, "bob", {"a": "1"}, ())).id
    group = await world.group(name="g", member_entity_ids=[entity])
    alias = {"name": "r", "canonical_id": entity, "mount_accessor": world.approle}
    answers = await together(
        store,
        world.http("DELETE", f"identity/entity/id/{entity}"),
        world.http("POST", "identity/entity-alias", alias),
        world.http("POST", f"identity/entity/id/{entity}", {"metadata": {"k": "v"}, "name": "x"}),
        world.http("POST", f"identity/group/id/{group}", {"member_entity_ids": [entity]}),
        logins.entity(mount, "bob", {"a": "2"}, ()),
        world.core.tidy(),
    )
    assert not [a for a in answers if isinstance(a, BaseException) and not isinstance(a, VaultError)], answers
    while await world.core.tidy():
        pass
    await consistent(world)
    assert await world.status("GET", f"identity/entity/id/{entity}") == 404
    assert (await logins.entity(mount, "bob", None, ())).id != entity


@pytest.mark.parametrize("seed", SEEDS)
async def test_once_it_is_answered_nobody_is_served_by_what_was_before(seed: int):
    """Requests in flight may still be served; one that starts after the answer is not."""
    world, store = await crowd(seed)
    await world.user("bob", "a")
    auth = await world.login("bob")
    other = await world.other()
    done = asyncio.Event()
    wrong: list[int] = []

    async def change() -> None:
        await world.ok("POST", f"identity/entity/id/{auth['entity_id']}", {"disabled": True})
        done.set()

    async def reader(at: World) -> None:
        for _ in range(6):
            late = done.is_set()
            status = await at.status("GET", "secret/a", token=auth["client_token"])
            if late and status != 403:
                wrong.append(status)

    found = await together(store, change(), *(reader(at) for at in (world, other) * 3))
    assert not [error for error in found if error is not None], found
    assert not wrong
    assert await other.status("GET", "secret/a", token=auth["client_token"]) == 403


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_role_is_left_without_its_oidc_key(seed: int):
    world, store = await crowd(seed)
    await world.ok("POST", "identity/oidc/key/k", {"algorithm": "EdDSA"})
    await together(
        store,
        world.http("POST", "identity/oidc/role/r", {"key": "k"}),
        world.http("DELETE", "identity/oidc/key/k"),
        world.http("POST", "identity/oidc/role/s", {"key": "k"}),
    )
    roles = [name for name in ("r", "s") if await world.status("GET", f"identity/oidc/role/{name}") == 200]
    there = await world.status("GET", "identity/oidc/key/k") == 200
    assert there or not roles
    assert len(await world.stored("ns/root/identity/oidc-due/")) == there


@pytest.mark.parametrize("seed", SEEDS)
async def test_an_oidc_key_is_rotated_once_when_several_try_and_somebody_writes(seed: int):
    world, store = await crowd(seed)
    other = await world.other()
    fields = {"algorithm": "EdDSA", "rotation_period": "1h", "verification_ttl": "2h"}
    await world.ok("POST", "identity/oidc/key/k", fields)
    await world.ok("POST", "identity/oidc/role/r", {"key": "k", "ttl": "1h"})
    before = (await world.ok("GET", "identity/oidc/.well-known/keys"))["keys"]
    world.clock.tick(3600)
    write = world.http("POST", "identity/oidc/key/k", {"allowed_client_ids": ["x"]})
    await together(store, world.core.tidy(), other.core.tidy(), write)
    while await world.core.tidy() + await other.core.tidy():
        pass
    after = (await world.ok("GET", "identity/oidc/.well-known/keys"))["keys"]
    assert len(after) == 3 and (after[0], after[2]) == (before[1], before[0])
    assert (await world.read("oidc/key/k"))["allowed_client_ids"] == ["x"]
    assert len(await world.stored("ns/root/identity/oidc-due/")) == 1
