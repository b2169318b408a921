"""Mounts: enabled, described, tuned, moved, disabled; their entries cannot be tampered with."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from strongroom.core import layout
from strongroom.core.mount_entry import MountEntry, entry_mac
from strongroom.errors import IntegrityError, StorageFailed
from strongroom.sdk.storage import Write
from strongroom.storage.memory import MemoryStore
from vault_world import World
from yielding_store import YieldingStore


@pytest.fixture
async def world() -> World:
    world = await World.unsealed()
    await world.ok("POST", "sys/mounts/team/app", {"type": "kv", "description": "ours"})
    return world


async def test_what_a_new_vault_has(world: World):
    mounts = (await world.ok("GET", "sys/mounts"))["data"]
    assert sorted(mounts) == ["cubbyhole/", "identity/", "sys/", "team/app/"]
    assert {name: entry["type"] for name, entry in mounts.items()}["sys/"] == "system"
    auth = (await world.ok("GET", "sys/auth"))["data"]
    assert list(auth) == ["token/"] and auth["token/"]["config"]["token_type"] == "default-service"


async def test_a_mount_is_described(world: World):
    answer = await world.ok("GET", "sys/mounts/team/app")
    data = answer["data"]
    assert (data["type"], data["description"], data["options"], data["local"]) == ("kv", "ours", None, False)
    assert data["accessor"].startswith("kv_") and data["config"]["default_lease_ttl"] == 0
    assert answer["accessor"] == data["accessor"]
    said = "No secret engine mount at none/"
    assert await world.refused("GET", "sys/mounts/none") == (400, said)
    assert await world.refused("GET", "sys/auth/none") == (400, "No auth engine mount at none/")


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("team/app", {"type": "kv"}, "path is already in use at team/app/"),
        ("team", {"type": "kv"}, "path is already in use at team/app/"),
        ("team/app/below", {"type": "kv"}, "path is already in use at team/app/"),
        ("sys/x", {"type": "kv"}, 'cannot mount "sys/x/"'),
        ("sys", {"type": "kv"}, 'cannot mount "sys/"'),
        ("auth/x", {"type": "kv"}, 'cannot mount "auth/x/"'),
        ("auth/x", {"type": "userpass"}, 'cannot mount "auth/x/"'),
        ("cubbyhole", {"type": "kv"}, 'cannot mount "cubbyhole/"'),
        ("identity/x", {"type": "kv"}, 'cannot mount "identity/x/"'),
        ("new", {"type": "nope"}, "plugin not found in the catalog: nope"),
        ("new", {"type": "userpass"}, "plugin not found in the catalog: userpass"),
        ("new", {"type": ""}, "backend type must be specified as a string"),
        ("new", {"type": "system"}, "system backend cannot be instantiated"),
        ("new", {"type": "token"}, "token credential backend cannot be instantiated"),
        ("new", {"type": "kv", "options": {"version": "3"}}, "kv version must be 1 or 2"),
        ("new", {"type": "kv", "config": {"default_lease_ttl": "2h", "max_lease_ttl": "1h"}}, "less than its default"),
        ("new", {"type": "kv", "config": {"listing_visibility": "x"}}, "invalid listing_visibility option"),
        ("n*w", {"type": "kv"}, "a character that policies and clients cannot carry"),
        ("n+w", {"type": "kv"}, "a character that policies and clients cannot carry"),
        ("n%7Bw", {"type": "kv"}, "a character that policies and clients cannot carry"),
        ("n%20w", {"type": "kv"}, "a character that policies and clients cannot carry"),
    ],
)
async def test_what_cannot_be_enabled(world: World, path: str, body: dict[str, Any], said: str):
    before = await world.stored("ns/root/mount/")
    status, errors = await world.refused("POST", f"sys/mounts/{path}", body)
    assert status == 400 and said in errors
    assert await world.stored("ns/root/mount/") == before


async def test_a_name_that_begins_like_another_is_free(world: World):
    await world.ok("POST", "sys/mounts/team/apple", {"type": "kv"})
    await world.ok("POST", "sys/mounts/system", {"type": "kv"})
    await world.ok("POST", "sys/auth/team/app", {"type": "userpass"})  # secrets and auth have trees of their own


@pytest.mark.parametrize("name", ["kv-v2", "kv-v1"])
async def test_the_old_names_of_kv(world: World, name: str):
    await world.ok("POST", "sys/mounts/old", {"type": name})
    data = (await world.ok("GET", "sys/mounts/old"))["data"]
    assert (data["type"], data["options"]) == ("kv", {"version": name[-1]})


async def test_disabling_deletes_what_was_kept_and_is_safe_to_repeat(world: World):
    await world.ok("POST", "team/app/x", {"a": "b"})
    uuid = (await world.ok("GET", "sys/mounts/team/app"))["data"]["uuid"]
    assert await world.stored(layout.data_prefix("root", uuid))
    await world.ok("DELETE", "sys/mounts/team/app")
    assert not await world.stored(layout.data_prefix("root", uuid)) and uuid not in str(
        await world.stored("ns/root/mount/")
    )
    await world.ok("DELETE", "sys/mounts/team/app")
    assert await world.status("GET", "team/app/x") == 404
    await world.ok("POST", "sys/mounts/team/app", {"type": "kv"})
    assert await world.status("GET", "team/app/x") == 404


@pytest.mark.parametrize("path", ["mounts/sys", "mounts/identity", "mounts/cubbyhole", "auth/token"])
async def test_what_cannot_be_disabled(world: World, path: str):
    assert await world.status("DELETE", f"sys/{path}") == 400
    assert await world.status("GET", f"sys/{path}") == 200


async def test_the_right_to_mount_engines_says_nothing_about_auth_methods(world: World):
    await world.ok("POST", "sys/auth/up", {"type": "userpass"})
    await world.policy("engines", **{"sys/mounts/*": ["create", "read", "update", "delete"]})
    token = await world.token(policies=["engines"])
    assert await world.status("POST", "sys/mounts/auth/new", {"type": "userpass"}, token=token) == 400
    assert await world.status("GET", "sys/mounts/auth/up", token=token) == 400
    assert await world.status("DELETE", "sys/mounts/auth/up", token=token) == 204  # as of anything that is not there
    assert sorted((await world.ok("GET", "sys/auth"))["data"]) == ["token/", "up/"]
    assert await world.status("DELETE", "sys/mounts/team/app", token=token) == 204


async def test_tuning(world: World):
    path = "sys/mounts/team/app/tune"
    assert (await world.ok("GET", path))["data"]["default_lease_ttl"] == 2764800
    await world.ok("POST", path, {"default_lease_ttl": "1h", "max_lease_ttl": 7200, "description": "new"})
    data = (await world.ok("GET", path))["data"]
    assert (data["default_lease_ttl"], data["max_lease_ttl"], data["description"]) == (3600, 7200, "new")
    assert (await world.ok("GET", "sys/mounts/team/app"))["data"]["config"]["default_lease_ttl"] == 3600
    await world.ok("POST", path, {"audit_non_hmac_request_keys": "a,b", "listing_visibility": "unauth"})
    data = (await world.ok("GET", path))["data"]
    assert (data["audit_non_hmac_request_keys"], data["listing_visibility"]) == (["a", "b"], "unauth")
    await world.ok("POST", path, {"default_lease_ttl": "", "max_lease_ttl": "", "force_no_cache": False})  # left alone
    assert (await world.ok("GET", path))["data"]["max_lease_ttl"] == 7200
    await world.ok("POST", path, {"default_lease_ttl": "system", "max_lease_ttl": "system"})
    assert (await world.ok("GET", path))["data"]["max_lease_ttl"] == 2764800
    status, said = await world.refused("POST", path, {"default_lease_ttl": "999999h"})
    assert (status, said) == (400, "backend max lease TTL of less than its default lease TTL")
    assert await world.status("POST", path, {"default_lease_ttl": -1}) == 400
    assert await world.status("GET", "sys/mounts/none/tune") == 400


async def test_an_auth_mount_is_tuned_by_either_path(world: World):
    await world.ok("POST", "sys/auth/up", {"type": "userpass"})
    await world.ok("POST", "sys/auth/up/tune", {"token_type": "batch"})
    assert (await world.ok("GET", "sys/mounts/auth/up/tune"))["data"]["token_type"] == "batch"
    assert await world.status("POST", "sys/auth/up/tune", {"token_type": "odd"}) == 400
    await world.ok("POST", "auth/up/users/bob", {"password": "correct horse"})
    auth = (await world.ok("POST", "auth/up/login/bob", {"password": "correct horse"}, token=""))["auth"]
    assert auth["token_type"] == "batch"
    await world.policy("tuner", **{"sys/auth/up/tune": ["update"], "sys/mounts/auth/up/tune": ["update"]})
    token = await world.token(policies=["tuner"])
    assert await world.status("POST", "sys/auth/up/tune", {}, token=token) == 403  # this one wants sudo
    assert await world.status("POST", "sys/mounts/auth/up/tune", {}, token=token) == 204


async def test_kv_goes_from_version_1_to_2_and_not_back(world: World):
    answer = await world.ok("POST", "sys/mounts/team/app/tune", {"options": {"version": "2"}})
    assert answer["warnings"]
    await world.ok("POST", "team/app/data/x", {"data": {"a": 1}})
    status, said = await world.refused("POST", "sys/mounts/team/app/tune", {"options": {"version": "1"}})
    assert (status, said) == (400, "cannot downgrade mount from version 2")


async def test_a_move_takes_all_along(world: World):
    await world.ok("POST", "team/app/x", {"a": "b"})
    accessor = (await world.ok("GET", "sys/mounts/team/app"))["data"]["accessor"]
    moved = await world.ok("POST", "sys/remount", {"from": "team/app", "to": "new/place/"})
    done = (await world.ok("GET", f"sys/remount/status/{moved['migration_id']}"))["data"]
    assert done["migration_info"] == {"source_mount": "team/app/", "target_mount": "new/place/", "status": "success"}
    assert (await world.ok("GET", "new/place/x"))["data"] == {"a": "b"}
    assert await world.status("GET", "team/app/x") == 404
    assert (await world.ok("GET", "sys/mounts/new/place"))["data"]["accessor"] == accessor
    assert await world.status("GET", "sys/remount/status/none") == 404


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("none", "x"), ("team/app", "sys/x"), ("team/app", "auth/x"), ("sys", "x"), ("team/app", "cubbyhole"),
        ("auth/token", "auth/x"), ("", "x"), ("team/app", ""), ("team/app", "team/app/below"), ("team/app", "a/../b"),
        ("team/app", "a//b"), ("team/app", "team/app"),
    ],
)  # fmt: skip
async def test_what_cannot_be_moved(world: World, source: str, target: str):
    assert await world.status("POST", "sys/remount", {"from": source, "to": target}) == 400
    assert await world.status("GET", "sys/mounts/team/app") == 200


async def test_other_processes_see_each_change_at_their_next_request(world: World):
    other = await world.other()
    await world.ok("POST", "sys/mounts/fresh", {"type": "kv"})
    await other.ok("POST", "fresh/x", {"a": "b"})
    await world.ok("DELETE", "sys/mounts/fresh")
    assert await other.status("GET", "fresh/x") == 404


async def test_a_mount_whose_plug_in_is_gone_keeps_its_data(world: World):
    await world.ok("POST", "team/app/x", {"a": "b"})
    other = World(backend=world.backend, clock=world.clock)
    other.root = world.root
    factory = other.made.kinds.engines.pop("kv")
    await other.core.submit(world.keys[0])
    assert await other.status("GET", "team/app/x") == 404
    assert (await other.ok("GET", "sys/mounts/team/app"))["data"]["type"] == "kv"
    other.made.kinds.engines["kv"] = factory
    await other.space.mounts.load()
    assert (await world.ok("GET", "team/app/x"))["data"] == {"a": "b"}


async def tamper(world: World, **changes: Any) -> None:
    """Change the stored entry of team/app/ behind the vault's back."""
    old = world.space.mounts.entries["team/app/"]
    new = msgspec.structs.replace(old, **changes)
    await world.core.barrier.commit([Write(layout.mount("root", old.uuid), msgspec.msgpack.encode(new))])


@pytest.mark.parametrize(
    ("level", "changes", "opens"),
    [
        ("none", {"description": "evil"}, True),
        ("none", {"mac": b""}, True),
        ("compat", {"description": "evil"}, False),
        ("compat", {"mac": b""}, True),
        ("compat", {"type": "cubbyhole"}, False),
        ("high", {"description": "evil"}, False),
        ("high", {"mac": b""}, False),
        ("high", {"path": "other/"}, False),
        ("high", {}, True),
    ],
)
async def test_tampered_entries_by_level(world: World, level: str, changes: dict[str, Any], opens: bool):
    await tamper(world, **changes)
    other = World({"mount_entry_hmac_level": level}, backend=world.backend, clock=world.clock)
    other.root = world.root
    if opens:
        await other.core.submit(world.keys[0])
        assert await other.status("GET", "sys/mounts") == 200
    else:
        with pytest.raises(IntegrityError, match="was tampered with"):
            await other.core.submit(world.keys[0])
        assert other.core.sealed


async def test_entries_are_read_again_at_the_monitors_interval(world: World):
    other = await world.other({"mounts_monitor_interval": "60s"})
    for each in (world, other):
        await each.ok("GET", "sys/mounts")
    await tamper(world, description="evil")
    assert await other.status("GET", "sys/mounts") == 200
    world.clock.tick(60)
    assert await other.status("GET", "sys/mounts") == 500
    assert await world.status("GET", "sys/mounts") == 200  # this one was not told to look


def test_the_mac_covers_every_field():
    entry = MountEntry(uuid="u", path="p/", type="kv", accessor="a")
    mac = entry_mac(b"k" * 32, entry)
    for changes in (
        {"uuid": "v"},
        {"path": "q/"},
        {"type": "x"},
        {"options": {}},
        {"local": True},
        {"state": "removing"},
    ):
        assert entry_mac(b"k" * 32, msgspec.structs.replace(entry, **changes)) != mac  # type: ignore[arg-type]
    assert entry_mac(b"k" * 32, msgspec.structs.replace(entry, mac=b"x")) == mac
    assert entry_mac(b"j" * 32, entry) != mac


class Full(MemoryStore):
    full = False

    async def commit(self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}) -> None:
        if self.full:
            raise StorageFailed("no room")
        await super().commit(writes, expect=expect)


async def test_a_failing_change_leaves_the_table_as_it_was():
    store = Full()
    world = await World.unsealed(backend=store)
    store.full = True
    assert await world.refused("POST", "sys/mounts/fresh", {"type": "kv"}) == (500, "no room")
    assert "fresh/" not in world.space.mounts.entries
    store.full = False
    await world.ok("POST", "sys/mounts/fresh", {"type": "kv"})


@pytest.mark.parametrize("seed", range(5))
async def test_of_many_who_want_one_place_at_once_one_gets_it(seed: int):
    store = YieldingStore(seed)
    world = await World.unsealed(backend=store)
    other = await world.other()
    store.active = True
    wishes = [("mounts/a", w) for w in (world, other)] * 3 + [("mounts/a/b", other), ("mounts/c", world)]
    answers = await asyncio.gather(*(w.status("POST", f"sys/{path}", {"type": "kv"}) for path, w in wishes))
    store.active = False
    mounts = set((await world.ok("GET", "sys/mounts"))["data"]) - {"sys/", "identity/", "cubbyhole/"}
    assert mounts in ({"a/", "c/"}, {"a/b/", "c/"})
    assert sorted(answers) == [204, 204] + [400] * 6
    assert mounts <= set((await other.ok("GET", "sys/mounts"))["data"])


@pytest.mark.parametrize("seed", range(3))
async def test_tuning_at_once_loses_nothing_that_was_acknowledged(seed: int):
    store = YieldingStore(seed)
    world = await World.unsealed(backend=store)
    await world.ok("POST", "sys/mounts/a", {"type": "kv"})
    store.active = True
    fields = [{"description": "d"}, {"default_lease_ttl": 60}, {"max_lease_ttl": 600}, {"listing_visibility": "unauth"}]
    answers = await asyncio.gather(*(world.status("POST", "sys/mounts/a/tune", body) for body in fields))
    store.active = False
    data = (await world.ok("GET", "sys/mounts/a/tune"))["data"]
    for body, status in zip(fields, answers, strict=True):
        ((name, value),) = body.items()
        assert status in (204, 409) and (status == 409 or data[name] == value)
