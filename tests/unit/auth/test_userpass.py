"""Users, their passwords and the fields of their tokens."""

import json

import pytest
from argon2 import PasswordHasher

from contracts.login_harness import CHEAP, Door
from strongroom.auth.userpass import HASHER, Userpass, canonical_name
from strongroom.errors import BadRequest, NotFound, PermissionDenied
from strongroom.sdk.request import Op

# Golden row 211: what a read of a user answers, with every key.
GOLDEN_USER = {
    "token_bound_cidrs": [],
    "token_explicit_max_ttl": 0,
    "token_max_ttl": 0,
    "token_no_default_policy": False,
    "token_num_uses": 0,
    "token_period": 0,
    "token_policies": ["p1"],
    "token_strictly_bind_ip": False,
    "token_ttl": 3600,
    "token_type": "default",
}


@pytest.fixture
async def door() -> Door:
    door = Door(lambda mount: Userpass(mount, hasher=CHEAP), kind="userpass")
    made = await door.write("users/bob", {"password": "pw", "token_policies": "p1", "token_ttl": "1h"})
    assert made.data is None and not made.warnings
    return door


async def test_read_has_the_golden_keys_and_types(door: Door) -> None:
    data = await door.read("users/bob")
    assert data == GOLDEN_USER
    assert {k: type(v) for k, v in data.items()} == {k: type(v) for k, v in GOLDEN_USER.items()}


async def test_login_gives_an_auth(door: Door) -> None:
    auth = (await door.write("login/bob", {"password": "pw"})).auth
    assert auth is not None
    assert auth.policies == ("p1",) and auth.metadata == {"username": "bob"}
    assert (auth.display_name, auth.alias, auth.ttl) == ("bob", "bob", 3600)


async def test_deprecated_names_come_back_until_the_new_name_is_written(door: Door) -> None:
    await door.write("users/eve", {"password": "x", "policies": ["b", "A"], "ttl": 60, "max_ttl": "2m"})
    data = await door.read("users/eve")
    assert data["policies"] == data["token_policies"] == ["a", "b"]
    assert (data["ttl"], data["token_ttl"], data["max_ttl"], data["token_max_ttl"]) == (60, 60, 120, 120)
    await door.write("users/eve", {"token_ttl": 30, "ttl": 99})
    data = await door.read("users/eve")
    assert "ttl" not in data and data["token_ttl"] == 30 and data["max_ttl"] == 120


async def test_a_partial_update_keeps_the_rest(door: Door) -> None:
    await door.write("users/bob", {"token_num_uses": 3})
    assert await door.read("users/bob") == {**GOLDEN_USER, "token_num_uses": 3}
    assert (await door.write("login/bob", {"password": "pw"})).auth is not None


async def test_a_new_user_needs_a_password(door: Door) -> None:
    for data in ({}, {"password": ""}, {"token_policies": "a"}):
        with pytest.raises(BadRequest, match="missing password"):
            await door.write("users/new", data)
    with pytest.raises(NotFound):
        await door.read("users/new")


async def test_list_delete_and_missing(door: Door) -> None:
    await door.write("users/al", {"password": "x"})
    assert await door.list("users") == ["al", "bob"]
    assert await door.list("users", after="al") == ["bob"]
    assert await door.list("users", limit="1") == ["al"]
    await door.delete("users/al")
    await door.delete("users/bob")
    await door.delete("users/bob")
    with pytest.raises(NotFound) as caught:
        await door.list("users")
    assert caught.value.messages == ()


async def test_password_and_policies_paths(door: Door) -> None:
    await door.write("users/bob/password", {"password": "new"})
    with pytest.raises(BadRequest):
        await door.write("login/bob", {"password": "pw"})
    await door.write("users/bob/policies", {"policies": "x,y"})
    auth = (await door.write("login/bob", {"password": "new"})).auth
    assert auth is not None and auth.policies == ("x", "y")
    for path in ("password", "policies"):
        with pytest.raises(BadRequest, match="missing"):
            await door.write(f"users/bob/{path}", {})
        with pytest.raises(BadRequest, match="does not exist"):
            await door.write(f"users/nobody/{path}", {"password": "x", "policies": "x"} | {})


async def test_only_reasonable_argon2id_hashes_are_imported(door: Door) -> None:
    hashed = PasswordHasher(time_cost=1, memory_cost=7168, parallelism=1).hash("old")
    await door.write("users/imp", {"password_hash": hashed})
    assert (await door.write("login/imp", {"password": "old"})).auth is not None
    bcrypt = "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"
    dear = hashed.replace("m=7168", "m=4194304")
    for bad in (bcrypt, dear, hashed.replace("t=1", "t=99"), hashed.replace("argon2id", "argon2i"), "x"):
        with pytest.raises(BadRequest, match="password_hash must") as caught:
            await door.write("users/imp", {"password_hash": bad})
        assert bad not in str(caught.value) or bad == "x"
    with pytest.raises(BadRequest, match="not both"):
        await door.write("users/imp", {"password_hash": hashed, "password": "x"})


async def test_a_login_brings_an_old_hash_to_todays_parameters(door: Door) -> None:
    stronger = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    before = (await door.entries())["user/bob"]
    door.make = lambda mount: Userpass(mount, hasher=stronger)
    door.restart()
    with pytest.raises(BadRequest):
        await door.write("login/bob", {"password": "wrong"})
    assert (await door.entries())["user/bob"] == before
    assert (await door.write("login/bob", {"password": "pw"})).auth is not None
    stored = json.loads((await door.entries())["user/bob"].value)["password"]
    assert "m=16,t=2,p=1" in stored
    assert (await door.write("login/bob", {"password": "pw"})).auth is not None


async def test_hashing_runs_off_the_loop() -> None:
    ran = []

    async def offload(work):  # type: ignore[no-untyped-def]
        ran.append(work)
        return work()

    door = Door(lambda mount: Userpass(mount, hasher=CHEAP), kind="userpass", offload=offload)
    await door.write("users/bob", {"password": "pw"})
    await door.write("login/bob", {"password": "pw"})
    assert len(ran) == 2


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ({"token_ttl": 60, "token_max_ttl": 30}, "token_ttl"),
        ({"token_type": "batch", "token_period": 5}, "periodic"),
        ({"token_type": "batch", "token_num_uses": 5}, "count uses"),
        ({"token_type": "super"}, "token_type"),
        ({"token_num_uses": -1}, "token_num_uses"),
        ({"token_bound_cidrs": "10.0.0.0/33"}, "CIDR"),
        ({"token_ttl": "-1h"}, "negative"),
        ({"token_policies": {"a": 1}}, "token_policies"),
    ],
)
async def test_bad_fields_are_refused_and_change_nothing(door: Door, data: dict[str, object], part: str) -> None:
    with pytest.raises(BadRequest, match=part):
        await door.write("users/bob", dict(data))
    assert await door.read("users/bob") == GOLDEN_USER


async def test_a_ttl_over_the_mounts_maximum_warns(door: Door) -> None:
    assert (await door.write("users/bob", {"token_max_ttl": "9999h"})).warnings


async def test_renewal_takes_todays_ttls_and_refuses_changed_policies(door: Door) -> None:
    auth = (await door.write("login/bob", {"password": "pw"})).auth
    assert auth is not None
    await door.write("users/bob", {"token_ttl": "2h", "token_max_ttl": "4h"})
    renewed = await door.engine.renew(auth)
    assert (renewed.ttl, renewed.max_ttl, renewed.policies) == (7200, 14400, ("p1",))
    await door.write("users/bob", {"token_policies": "p1,p2"})
    with pytest.raises(PermissionDenied, match="policies have changed"):
        await door.engine.renew(auth)


async def test_a_user_of_the_same_name_does_not_inherit_renewals(door: Door) -> None:
    auth = (await door.write("login/bob", {"password": "pw"})).auth
    await door.delete("users/bob")
    await door.write("users/bob", {"password": "pw", "token_policies": "p1"})
    with pytest.raises(PermissionDenied):
        await door.engine.renew(auth)


def test_default_parameters_are_the_rfc_9106_memory_and_passes() -> None:
    assert (HASHER.memory_cost, HASHER.time_cost, HASHER.type.name) == (65536, 3, "ID")


@pytest.mark.parametrize("spelling", ["alice", "ALICE", "Alice ", " alice", "ａlice", "ＡＬＩＣＥ"])
def test_every_spelling_is_one_name(spelling: str) -> None:
    assert canonical_name(spelling) == "alice"
    assert canonical_name(canonical_name(spelling)) == "alice"


async def test_users_are_managed_under_the_plain_spelling_only(door: Door) -> None:
    await door.write("users/BOB", {"token_num_uses": 1})  # the router folds case before policies decide
    assert (await door.read("users/bob"))["token_num_uses"] == 1
    for odd in ("bob ", " bob", "bob\u3000"):
        for op in (Op.READ, Op.UPDATE, Op.DELETE):
            with pytest.raises(BadRequest):
                await door.call(op, f"users/{odd}", {"password": "x"})


async def test_stored_bytes_hold_no_password(door: Door) -> None:
    await door.write("users/needle", {"password": "correct-horse-battery"})
    assert all(b"correct-horse" not in entry.value for entry in (await door.entries()).values())
