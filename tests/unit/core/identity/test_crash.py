"""The process dies between two commits, or one is lost: rights are never more than before or after, and the work is
finished by the next process or by asking again."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from identity_world import People, people
from strongroom.core.identity.removal import Removal
from unit.core.crashing_store import CrashingStore, Died, copy_of

MANY = 70  # members or aliases that need several commits


class Scene:
    """One vault ready for the change, and what the change is."""

    def __init__(self, world: People) -> None:
        self.world = world
        self.token = ""
        self.entity = ""
        self.change: Callable[[People], Awaitable[Any]] | None = None
        self.before, self.after = True, True  # may the token read secret/b?


async def leaving(scene: Scene) -> None:
    """An entity with many groups is deleted."""
    world = scene.world
    for i in range(MANY):
        await world.group(name=f"g{i:02}", policies=["b"], member_entity_ids=[scene.entity])
    scene.after = False
    scene.change = lambda w: w.http("DELETE", f"identity/entity/id/{scene.entity}")


async def group_leaving(scene: Scene) -> None:
    world = scene.world
    ids = [await world.entity(name=f"e{i:02}") for i in range(MANY)]
    group = await world.group(name="g", policies=["b"], member_entity_ids=[*ids, scene.entity])
    await world.group(name="top", member_group_ids=[group])
    scene.after = False
    scene.change = lambda w: w.http("DELETE", f"identity/group/id/{group}")


async def members(scene: Scene) -> None:
    """A group loses all its members, gets a policy, and gets others."""
    world = scene.world
    ids = [await world.entity(name=f"e{i:02}") for i in range(MANY)]
    await world.group(name="g", member_entity_ids=[*ids[:40], scene.entity])
    scene.before = scene.after = False
    fields = {"name": "g", "policies": ["b"], "member_entity_ids": ids[30:]}
    scene.change = lambda w: w.http("POST", "identity/group", fields)


async def merging(scene: Scene) -> None:
    """An entity with many groups becomes one that has a policy."""
    world = scene.world
    for i in range(MANY):
        await world.group(name=f"g{i:02}", policies=["a"], member_entity_ids=[scene.entity])
    target = await world.entity(name="target", policies=["b"])
    await world.alias("r", target, accessor=world.approle)
    scene.before = False
    fields = {"from_entity_ids": [scene.entity], "to_entity_id": target}
    scene.change = lambda w: w.http("POST", "identity/entity/merge", fields)


SCENES = {scene.__name__: scene for scene in (leaving, group_leaving, members, merging)}


async def made(name: str) -> tuple[Scene, CrashingStore]:
    store = CrashingStore()
    world = await people(backend=store)
    scene = Scene(world)
    await world.user("bob")
    auth = await world.login("bob")
    scene.token, scene.entity = auth["client_token"], auth["entity_id"]
    await SCENES[name](scene)
    return scene, store


async def shape(world: People) -> list[str]:
    """The keys of identity with ids replaced by the names they stand for."""
    store = world.space.identity.store
    names: dict[str, str] = {}
    for prefix in (store.keys.entity_name, store.keys.group_name):
        for key, entry in await store.storage.scan(prefix, limit=1000):
            names[msgspec.msgpack.decode(entry.value)[0]] = "bob" if key.startswith("entity_") else key
    out = []
    for key in await world.stored("ns/root/identity/"):
        parts = [names.get(part, part) for part in key.split("/")[3:]]
        if parts[0] in ("entity", "group", "member-in", "member-of", "parent-up", "parent-down", "leaving"):
            out.append("/".join(parts))
    return sorted(out)


@pytest.mark.parametrize("how", ["lose", "keep"])
@pytest.mark.parametrize("name", [*SCENES])
async def test_a_death_between_commits_is_no_gain_and_can_be_finished(name: str, how: str):
    scene, store = await made(name)
    store.arm(0, "")
    assert scene.change is not None
    assert (await scene.change(scene.world))[0] in (200, 204)
    commits = store.commits
    assert commits > 1, "the scene is about several commits"
    wanted = await shape(scene.world)
    for at in range(1, commits + 1):
        scene, store = await made(name)
        store.arm(at, how)
        with pytest.raises(Died):
            assert scene.change is not None
            await scene.change(scene.world)
        store.arm(0, "")
        world = People(backend=await copy_of(store))
        world.root, world.keys = scene.world.root, scene.world.keys
        await world.core.submit(world.keys[0])
        reads = await world.status("GET", "secret/b", token=scene.token) == 200
        assert reads in (scene.before, scene.after), at
        while await world.core.tidy():
            pass
        assert (await scene.change(world))[0] in (200, 204), at
        assert (await world.status("GET", "secret/b", token=scene.token) == 200) is scene.after, at
        assert await shape(world) == wanted, at


async def test_what_is_left_behind_is_found_by_the_next_process():
    scene, store = await made("leaving")
    store.arm(2, "lose")
    with pytest.raises(Died):
        await Removal(scene.world.space.identity.store).entity(scene.entity)
    store.arm(0, "")
    assert any("/leaving/" in key for key in await scene.world.stored("ns/root/identity/"))
    assert await scene.world.core.tidy() > 0
    left = await scene.world.stored("ns/root/identity/")
    assert not any("/leaving/" in key or "/member-" in key or "/alias" in key for key in left)
