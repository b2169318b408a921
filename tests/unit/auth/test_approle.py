"""Roles, SecretIDs and logins."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from contracts.login_harness import START, Door
from strongroom.auth.approle import AppRole
from strongroom.auth.approle.entries import RolePointer, keyed
from strongroom.errors import BadRequest, NotFound, PermissionDenied
from strongroom.sdk.request import Auth, Op
from strongroom.sdk.storage import Write

# Golden row 219: what a read of a role answers, with every key.
GOLDEN_ROLE: dict[str, Any] = {
    "bind_secret_id": True,
    "local_secret_ids": False,
    "secret_id_bound_cidrs": None,
    "secret_id_num_uses": 0,
    "secret_id_ttl": 600,
    "token_bound_cidrs": [],
    "token_explicit_max_ttl": 0,
    "token_max_ttl": 0,
    "token_no_default_policy": False,
    "token_num_uses": 0,
    "token_period": 0,
    "token_policies": ["p1"],
    "token_strictly_bind_ip": False,
    "token_ttl": 1200,
    "token_type": "default",
}


class Approle(Door):
    async def role_id(self, name: str = "r") -> str:
        return str((await self.read(f"role/{name}/role-id"))["role_id"])

    async def secret(self, name: str = "r", **data: Any) -> dict[str, Any]:
        made = (await self.write(f"role/{name}/secret-id", data)).data
        assert made is not None
        return dict(made)

    async def login(self, secret_id: str, name: str = "r", **more: Any) -> Auth:
        data = {"role_id": await self.role_id(name), "secret_id": secret_id}
        auth = (await self.write("login", data, **more)).auth
        assert auth is not None
        return auth


@pytest.fixture
async def door() -> Approle:
    door = Approle(AppRole, kind="approle")
    await door.engine.initialize()
    await door.write("role/r", {"token_policies": ["p1"], "secret_id_ttl": "10m", "token_ttl": "20m"})
    return door


async def test_read_has_the_golden_keys_and_types(door: Approle) -> None:
    data = await door.read("role/r")
    assert data == GOLDEN_ROLE
    assert {k: type(v) for k, v in data.items()} == {k: type(v) for k, v in GOLDEN_ROLE.items()}
    assert len(await door.role_id()) == 36
    with pytest.raises(NotFound) as caught:
        await door.read("role/none")
    assert caught.value.messages == ()


async def test_a_secret_id_and_its_look_ups_have_the_golden_shape(door: Approle) -> None:
    made = await door.secret(metadata='{"a":"b"}')
    assert sorted(made) == ["secret_id", "secret_id_accessor", "secret_id_num_uses", "secret_id_ttl"]
    assert (made["secret_id_num_uses"], made["secret_id_ttl"]) == (0, 600)
    assert await door.list("role/r/secret-id") == [made["secret_id_accessor"]]
    by_secret = (await door.write("role/r/secret-id/lookup", {"secret_id": made["secret_id"]})).data
    accessor = {"secret_id_accessor": made["secret_id_accessor"]}
    by_accessor = (await door.write("role/r/secret-id-accessor/lookup", accessor)).data
    assert by_secret == by_accessor == {
        "cidr_list": [],
        "creation_time": "2027-01-15T08:00:00Z",
        "expiration_time": "2027-01-15T08:10:00Z",
        "last_updated_time": "2027-01-15T08:00:00Z",
        "metadata": {"a": "b"},
        "secret_id_accessor": made["secret_id_accessor"],
        "secret_id_num_uses": 0,
        "secret_id_ttl": 600,
        "token_bound_cidrs": [],
    }  # fmt: skip


async def test_login_gives_an_auth(door: Approle) -> None:
    made = await door.secret(metadata={"a": "b", "role_name": "forged"})
    auth = await door.login(made["secret_id"])
    assert auth.policies == ("p1",) and auth.metadata == {"a": "b", "role_name": "r"}
    assert (auth.ttl, auth.alias, auth.display_name) == (1200, await door.role_id(), "")
    await door.login(made["secret_id"])


async def test_one_role_one_secret(door: Approle) -> None:
    await door.write("role/other", {})
    other = await door.secret("other")
    for data in ({}, {"secret_id": ""}, {"secret_id": "bad"}, {"secret_id": other["secret_id"]}):
        with pytest.raises(BadRequest, match="^invalid role or secret ID$"):
            await door.write("login", {"role_id": await door.role_id(), **data})
    with pytest.raises(BadRequest, match="missing role_id"):
        await door.write("login", {"secret_id": other["secret_id"]})


async def test_roles_are_listed_folded_and_deleted_with_their_secret_ids(door: Approle) -> None:
    await door.write("role/Web", {})
    assert await door.list("role") == ["r", "web"]
    made = await door.secret("WEB")
    role_id = await door.role_id("web")
    await door.delete("role/web")
    await door.delete("role/web")
    with pytest.raises(BadRequest):
        await door.write("login", {"role_id": role_id, "secret_id": made["secret_id"]})
    await door.write("role/web", {"role_id": role_id})
    with pytest.raises(BadRequest):
        await door.write("login", {"role_id": role_id, "secret_id": made["secret_id"]})
    assert not [key for key in await door.entries() if key.startswith(("secret/", "accessor/", "listed/"))]


async def test_role_ids_are_unique_and_can_be_changed(door: Approle) -> None:
    made = await door.secret()
    old = await door.role_id()
    await door.write("role/r/role-id", {"role_id": "mine"})
    assert (await door.login(made["secret_id"])).alias == "mine"
    with pytest.raises(BadRequest, match="invalid role"):
        await door.write("login", {"role_id": old, "secret_id": made["secret_id"]})
    for path in ("role/two", "role/two/role-id"):
        if path != "role/two":
            await door.write("role/two", {})
        with pytest.raises(BadRequest, match="in use"):
            await door.write(path, {"role_id": "mine"})
    await door.write("role/two/role-id", {"role_id": old})
    assert await door.role_id("two") == old


FIELDS = [
    ("policies", {"token_policies": "x,a"}, {"token_policies": ["a", "x"]}, {"token_policies": []}),
    ("policies", {"policies": ["x"]}, {"token_policies": ["x"], "policies": ["x"]}, {"token_policies": []}),
    ("secret-id-num-uses", {"secret_id_num_uses": "5"}, {"secret_id_num_uses": 5}, {"secret_id_num_uses": 0}),
    ("secret-id-ttl", {"secret_id_ttl": "1m"}, {"secret_id_ttl": 60}, {"secret_id_ttl": 0}),
    ("token-ttl", {"token_ttl": "1m"}, {"token_ttl": 60}, {"token_ttl": 0}),
    ("token-max-ttl", {"token_max_ttl": "1h"}, {"token_max_ttl": 3600}, {"token_max_ttl": 0}),
    ("token-num-uses", {"token_num_uses": 2}, {"token_num_uses": 2}, {"token_num_uses": 0}),
    ("token-period", {"token_period": 7}, {"token_period": 7}, {"token_period": 0}),
    ("period", {"period": 7}, {"token_period": 7, "period": 7}, {"token_period": 0}),
    ("secret-id-bound-cidrs", {"secret_id_bound_cidrs": "10.0.0.0/8"}, {"secret_id_bound_cidrs": ["10.0.0.0/8"]},
     {"secret_id_bound_cidrs": None}),
    ("bound-cidr-list", {"bound_cidr_list": "10.0.0.0/8"}, {"bound_cidr_list": ["10.0.0.0/8"]},
     {"bound_cidr_list": None}),
    ("token-bound-cidrs", {"token_bound_cidrs": "10.0.0.0/8"}, {"token_bound_cidrs": ["10.0.0.0/8"]},
     {"token_bound_cidrs": []}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "given", "shown", "fresh"), FIELDS)
async def test_single_fields(door: Approle, path: str, given: Any, shown: Any, fresh: Any) -> None:
    await door.write(f"role/r/{path}", given)
    assert await door.read(f"role/r/{path}") == shown
    whole = await door.read("role/r")
    assert all(whole[key] == value for key, value in shown.items() if key != "bound_cidr_list")
    await door.delete(f"role/r/{path}")
    assert await door.read(f"role/r/{path}") == fresh
    with pytest.raises(BadRequest, match="missing"):
        await door.write(f"role/r/{path}", {})
    for op in (Op.READ, Op.UPDATE):
        with pytest.raises(NotFound):
            await door.call(op, f"role/none/{path}", given)


async def test_a_role_keeps_a_guard(door: Approle) -> None:
    for path in ("role/r", "role/r/bind-secret-id"):
        with pytest.raises(BadRequest, match="constraint"):
            await door.write(path, {"bind_secret_id": False})
    await door.write("role/r", {"bind_secret_id": "false", "token_bound_cidrs": "10.0.0.0/24"})
    assert (await door.login("", remote="10.0.0.9")).bound_cidrs == ("10.0.0.0/24",)
    with pytest.raises(PermissionDenied):
        await door.login("", remote="10.0.1.9")
    with pytest.raises(BadRequest, match="constraint"):
        await door.delete("role/r/token-bound-cidrs")
    with pytest.raises(BadRequest, match="bind_secret_id is not set"):
        await door.secret()
    await door.delete("role/r/bind-secret-id")
    assert await door.read("role/r/bind-secret-id") == {"bind_secret_id": True}


async def test_local_secret_ids_are_chosen_at_creation(door: Approle) -> None:
    await door.write("role/l", {"local_secret_ids": True})
    assert await door.read("role/l/local-secret-ids") == {"local_secret_ids": True}
    await door.write("role/l", {"local_secret_ids": "true"})
    with pytest.raises(BadRequest, match="local_secret_ids"):
        await door.write("role/l", {"local_secret_ids": False})


async def test_custom_secret_ids(door: Approle) -> None:
    made = (await door.write("role/r/custom-secret-id", {"secret_id": "mine", "ttl": 30})).data
    assert made is not None and made["secret_id"] == "mine" and made["secret_id_ttl"] == 30
    await door.login("mine")
    with pytest.raises(BadRequest, match="already registered"):
        await door.write("role/r/custom-secret-id", {"secret_id": "mine"})
    with pytest.raises(BadRequest, match="missing secret_id"):
        await door.write("role/r/custom-secret-id", {})
    door.clock.time += 31  # expired: the name is free, and nothing of the old one stays
    await door.write("role/r/custom-secret-id", {"secret_id": "mine"})
    await door.login("mine")
    assert len(await door.list("role/r/secret-id")) == 1


async def test_a_secret_id_is_no_freer_than_its_role(door: Approle) -> None:
    await door.write(
        "role/r",
        {"secret_id_num_uses": 5, "secret_id_bound_cidrs": "10.0.0.0/8", "token_bound_cidrs": "10.0.0.0/8"},
    )
    too_much: list[dict[str, Any]] = [
        {"num_uses": 6}, {"num_uses": 0}, {"num_uses": -1}, {"ttl": "11m"}, {"ttl": 0}, {"cidr_list": "11.0.0.0/8"},
        {"cidr_list": "0.0.0.0/0"}, {"token_bound_cidrs": "::/0"}, {"metadata": "no json"}, {"metadata": '{"a":{}}'},
        {"metadata": {"a": "x" * 20000}},
    ]  # fmt: skip
    for data in too_much:
        with pytest.raises(BadRequest):
            await door.secret(**data)
    made = await door.secret(num_uses=4, ttl="9m", cidr_list="10.1.0.0/16", token_bound_cidrs="10.1.2.0/24")
    assert (made["secret_id_num_uses"], made["secret_id_ttl"]) == (4, 540)
    assert (await door.login(made["secret_id"], remote="10.1.2.3")).bound_cidrs == ("10.1.2.0/24",)
    with pytest.raises(PermissionDenied):
        await door.login(made["secret_id"], remote="10.1.3.3")
    with pytest.raises(BadRequest, match="source address"):
        await door.login(made["secret_id"], remote="10.2.2.3")
    await door.write("role/r", {"token_bound_cidrs": "10.1.2.3/32"})  # narrowed since: the role's count
    assert (await door.login(made["secret_id"], remote="10.1.2.3")).bound_cidrs == ("10.1.2.3/32",)
    with pytest.raises(PermissionDenied):
        await door.login(made["secret_id"], remote="10.1.2.4")


async def test_refused_logins_take_no_use_and_the_last_use_removes(door: Approle) -> None:
    made = await door.secret(num_uses=2, cidr_list="10.0.0.0/8")
    for _ in range(5):
        with pytest.raises(BadRequest):
            await door.login(made["secret_id"], remote="192.0.2.1")
    door.clock.time += 1
    await door.login(made["secret_id"])
    look = (await door.write("role/r/secret-id/lookup", {"secret_id": made["secret_id"]})).data
    assert look is not None and look["secret_id_num_uses"] == 1
    assert look["last_updated_time"] == "2027-01-15T08:00:01Z" != look["creation_time"]
    await door.login(made["secret_id"])
    with pytest.raises(BadRequest, match="invalid role or secret ID"):
        await door.login(made["secret_id"])
    with pytest.raises(NotFound):
        await door.list("role/r/secret-id")


async def test_uses_are_counted_exactly_under_parallel_logins(door: Approle) -> None:
    made = await door.secret(num_uses=7)
    outcomes = await asyncio.gather(*(door.login(made["secret_id"]) for _ in range(30)), return_exceptions=True)
    assert sum(isinstance(outcome, Auth) for outcome in outcomes) == 7
    assert all(isinstance(outcome, Auth | BadRequest) for outcome in outcomes)


async def test_destroy_by_secret_and_by_accessor(door: Approle) -> None:
    one, two = await door.secret(), await door.secret()
    await door.write("role/r/secret-id/destroy", {"secret_id": one["secret_id"]})
    await door.call(Op.DELETE, "role/r/secret-id/destroy", {"secret_id": one["secret_id"]})
    assert (await door.write("role/r/secret-id/lookup", {"secret_id": one["secret_id"]})).data is None
    await door.login(two["secret_id"])
    await door.write("role/r/secret-id-accessor/destroy", {"secret_id_accessor": two["secret_id_accessor"]})
    for verb in ("lookup", "destroy"):
        for accessor in (two["secret_id_accessor"], "nope", "../x", "a/b", "\0"):
            with pytest.raises(NotFound, match="failed to find accessor entry for secret_id_accessor"):
                await door.write(f"role/r/secret-id-accessor/{verb}", {"secret_id_accessor": accessor})
        with pytest.raises(NotFound, match='role "none" does not exist'):
            await door.write(f"role/none/secret-id-accessor/{verb}", {"secret_id_accessor": "x"})
    with pytest.raises(BadRequest):
        await door.login(two["secret_id"])


async def test_tidy_removes_what_is_dead_and_nothing_else(door: Approle) -> None:
    for _ in range(45):
        await door.secret(ttl=5)
    living = await door.secret()
    before = await door.entries()
    await door.write("role/gone", {})
    await door.secret("gone")
    await door.mount.storage.commit([Write("role/gone", None)])  # as after a crash in the middle of a deletion
    door.clock.time += 6
    done = await door.write("tidy/secret-id")
    assert done.status == 202 and done.warnings and done.data is None
    assert await door.list("role/r/secret-id") == [living["secret_id_accessor"]]
    assert sum(key.startswith(("secret/", "accessor/", "listed/")) for key in await door.entries()) == 3
    assert len(before) > 100
    await door.login(living["secret_id"])


async def test_secret_ids_without_a_ttl_never_expire_and_long_ones_are_cut_to_the_mount(door: Approle) -> None:
    await door.write("role/r/secret-id-ttl", {"secret_id_ttl": 0})
    made = await door.secret()
    look = (await door.write("role/r/secret-id/lookup", {"secret_id": made["secret_id"]})).data
    assert look is not None and look["expiration_time"] == "0001-01-01T00:00:00Z"
    door.clock.time = START + 10 * 365 * 86400
    await door.login(made["secret_id"])
    assert (await door.secret(ttl="87600h"))["secret_id_ttl"] == door.mount.max_lease_ttl


async def test_renewal_follows_the_role(door: Approle) -> None:
    auth = await door.login((await door.secret())["secret_id"])
    await door.write("role/r", {"token_ttl": 60, "token_period": 30})
    assert ((renewed := await door.engine.renew(auth)).ttl, renewed.period) == (60, 30)
    await door.delete("role/r")
    await door.write("role/r", {"token_policies": "p1"})
    with pytest.raises(PermissionDenied):
        await door.engine.renew(auth)


async def test_the_store_holds_no_secret_id_and_survives_a_restart(door: Approle) -> None:
    made = await door.secret()
    for key, entry in (await door.entries()).items():
        assert made["secret_id"] not in key and made["secret_id"].encode() not in entry.value
    door.restart()
    await door.login(made["secret_id"])


async def test_every_change_is_one_commit(door: Approle) -> None:
    made = await door.secret(num_uses=1)
    await door.write("role/r", {"role_id": "x"})
    await door.login(made["secret_id"])
    for commit in door.store.log:
        kinds = {key.partition("/")[0] for key in commit}
        assert kinds in ({"salt"}, {"role", "role-id"}, {"secret", "accessor", "listed"})
    assert json.loads((await door.entries())["role/r"].value)["role_id"] == "x"


async def test_the_roles_own_source_addresses_hold_with_and_without_a_secret_id(door: Approle) -> None:
    made = await door.secret()
    for bind in (True, False):
        await door.write("role/r", {"bind_secret_id": bind, "secret_id_bound_cidrs": "10.0.0.0/8"})
        await door.login(made["secret_id"], remote="10.9.9.9")
        for remote in ("11.0.0.1", ""):
            with pytest.raises(BadRequest, match="source address"):
                await door.login(made["secret_id"], remote=remote)


async def test_a_stale_index_leads_nowhere(door: Approle) -> None:
    """A pointer to an older role of the same name, or under another RoleID, as a restored or damaged store may hold."""
    made = await door.secret()
    role_id = await door.role_id()
    key = next(key for key in await door.entries() if key.startswith("role-id/"))
    pointer = (await door.entries())[key].value
    old = RolePointer("r", "0000000000000000")
    await door.mount.storage.commit([Write(key, msgspec.json.encode(old))])
    with pytest.raises(BadRequest, match="invalid role"):
        await door.login(made["secret_id"])
    salt = (await door.entries())["salt"].value
    stray = f"role-id/{keyed(salt, 'role-id', 'stray')}"
    await door.mount.storage.commit([Write(key, pointer), Write(stray, pointer)])
    with pytest.raises(BadRequest, match="invalid role"):
        await door.write("login", {"role_id": "stray", "secret_id": made["secret_id"]})
    assert (await door.login(made["secret_id"])).alias == role_id


def test_parts_of_a_keyed_hash_cannot_run_into_each_other() -> None:
    assert keyed(b"k", "ab", "c") != keyed(b"k", "a", "bc") != keyed(b"k", "abc")
    assert keyed(b"k", "a") != keyed(b"l", "a")
