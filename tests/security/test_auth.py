"""Regression tests of the threat rows about logins (userpass, approle, lockout)."""

import asyncio
from typing import Any

import pytest
from argon2 import PasswordHasher

from contracts.login_harness import CHEAP, Door
from strongroom.auth.approle import AppRole
from strongroom.auth.userpass import Userpass
from strongroom.core.lockout import Lockout
from strongroom.errors import BadRequest, PermissionDenied, VaultError
from strongroom.sdk.request import Auth, Op


class CountingHasher:
    """Argon2 that counts what it is asked for, and at what cost."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.salt_len, self.hash_len = CHEAP.salt_len, CHEAP.hash_len
        self.time_cost, self.memory_cost, self.parallelism = CHEAP.time_cost, CHEAP.memory_cost, CHEAP.parallelism

    def hash(self, password: str) -> str:
        return CHEAP.hash(password)

    def verify(self, hashed: str, password: str) -> bool:
        self.asked.append(hashed.rpartition("$")[0].rpartition("$")[0])  # algorithm, version and parameters
        return CHEAP.verify(hashed, password)

    def check_needs_rehash(self, hashed: str) -> bool:
        return CHEAP.check_needs_rehash(hashed)


def userpass(hasher: Any = CHEAP, **door: Any) -> Door:
    return Door(lambda mount: Userpass(mount, hasher=hasher), kind="userpass", **door)


async def failure(door: Door, path: str, data: dict[str, Any], **more: Any) -> tuple[int, tuple[str, ...]]:
    with pytest.raises(VaultError) as caught:
        await door.write(path, data, **more)
    return caught.value.status, caught.value.messages


async def approle(*roles: str, **fields: Any) -> Door:
    door = Door(AppRole, kind="approle")
    for role in roles:
        await door.write(f"role/{role}", fields)
    return door


async def credentials(door: Door, role: str, **fields: Any) -> dict[str, Any]:
    role_id = (await door.read(f"role/{role}/role-id"))["role_id"]
    return {"role_id": role_id, **((await door.write(f"role/{role}/secret-id", fields)).data or {})}


async def test_sec_cve_2025_6011_unknown_users_cost_the_same_and_look_the_same() -> None:
    """Counted, not timed: one Argon2 computation of the same parameters, after the same number of store reads."""
    hasher = CountingHasher()
    door = userpass(hasher)
    await door.write("users/alice", {"password": "right"})
    costs = {}
    for name in ("alice", "nobody", "alicf", "a" * 3000):
        hasher.asked.clear()
        reads = door.store.reads
        answer = await failure(door, f"login/{name}", {"password": "wrong"})
        if len(name) < 256:
            costs[name] = (answer, tuple(hasher.asked), door.store.reads - reads)
        assert len(hasher.asked) == 1 and answer == (400, ("invalid username or password",))
    assert len(set(costs.values())) == 1
    hasher.asked.clear()
    assert (await door.write("login/alice", {"password": "right"})).auth is not None  # control
    assert len(hasher.asked) == 1


async def test_sec_cve_2025_6011_the_dummy_never_matches() -> None:
    door = userpass()
    for password in ("", "a", "dummy", "password"):
        assert (await failure(door, "login/nobody", {"password": password}))[0] == 400
    assert door.issued == []


async def test_sec_cve_2025_6010_lockout_does_not_tell_who_exists() -> None:
    door = userpass(guard=lambda clock: Lockout(clock))
    await door.write("users/alice", {"password": "right"})
    answers = {
        name: [await failure(door, f"login/{name}", {"password": "wrong"}) for _ in range(8)]
        for name in ("alice", "nobody")
    }
    assert answers["alice"] == answers["nobody"]
    assert [status for status, _ in answers["alice"]] == [400] * 5 + [403] * 3


async def test_sec_cve_2025_6004_every_spelling_counts_as_one() -> None:
    spellings = ["alice", "ALICE", "Alice ", "alice", "ａlice"]
    hasher = CountingHasher()
    door = userpass(hasher, guard=lambda clock: Lockout(clock))
    await door.write("users/alice", {"password": "right"})
    assert (await door.write("login/ａLICE", {"password": "right"})).auth is not None  # control
    for spelling in spellings:
        assert (await failure(door, f"login/{spelling}", {"password": "wrong"}))[0] == 400
    hasher.asked.clear()
    for spelling in spellings:
        assert (await failure(door, f"login/{spelling}", {"password": "right"}))[0] == 403
    assert hasher.asked == []  # refused before any hash
    assert [name.alias for name in door.guard.locked()] == ["alice"]  # type: ignore[union-attr]


async def test_sec_ghsa_fg5x_users_are_not_reached_past_a_rule_by_another_spelling() -> None:
    """Whatever spelling a management path has, the name that policies saw is the name that is served, or none."""
    door = userpass()
    await door.write("users/alice", {"password": "right", "token_ttl": 7})
    for spelling in ("ALICE", "ａlice"):  # folded by the router, before policies decide
        match, path = door.router.match(Op.READ, f"auth/userpass/users/{spelling}")
        assert path == "auth/userpass/users/alice" and match.params["username"] == "alice"
    for spelling in ("alice ", " alice", "\u3000alice", "℀lice", "‥"):
        for op in (Op.READ, Op.UPDATE, Op.DELETE):
            match, path = door.router.match(op, f"auth/userpass/users/{spelling}")
            with pytest.raises(VaultError) as caught:
                await door.call(op, f"users/{spelling}", {"password": "new"})
            assert caught.value.status == 400
    assert (await door.read("users/alice"))["token_ttl"] == 7
    assert (await door.write("login/alice", {"password": "right"})).auth is not None


async def test_sec_cve_2023_24999_an_accessor_serves_its_own_role_only() -> None:
    door = await approle("role1", "role2")
    mine, other = await credentials(door, "role1"), await credentials(door, "role2")
    accessor = {"secret_id_accessor": other["secret_id_accessor"]}
    for verb in ("destroy", "lookup"):
        assert await failure(door, f"role/role1/secret-id-accessor/{verb}", accessor) == (403, ("permission denied",))
    await door.write("role/role1/secret-id/destroy", {"secret_id": other["secret_id"]})
    assert (await door.write("role/role1/secret-id/lookup", {"secret_id": other["secret_id"]})).data is None
    await door.call(Op.DELETE, "role/role1/secret-id/destroy", {"secret_id": other["secret_id"]})
    with pytest.raises(PermissionDenied):
        await door.call(Op.DELETE, "role/role1/secret-id-accessor/destroy", accessor)
    assert (await door.write("login", other)).auth is not None
    await door.write("role/role1/secret-id-accessor/destroy", {"secret_id_accessor": mine["secret_id_accessor"]})
    assert (await failure(door, "login", mine))[0] == 400  # control: one's own goes


async def test_sec_ghsa_7m59_an_expired_secret_id_is_dead_without_tidying() -> None:
    door = await approle("r", secret_id_ttl=2, secret_id_num_uses=0)
    login = await credentials(door, "r")
    door.clock.time += 1.999
    assert (await door.write("login", login)).auth is not None  # control
    door.clock.time += 0.001
    assert await failure(door, "login", login) == (400, ("invalid role or secret ID",))
    door.clock.time += 1
    assert (await failure(door, "login", login))[0] == 400
    assert (await door.write("role/r/secret-id/lookup", login)).data is None
    assert (await failure(door, "role/r/secret-id-accessor/lookup", login))[0] == 404
    assert len(await door.list("role/r/secret-id")) == 1  # nothing was tidied
    await door.write("tidy/secret-id")
    assert (await failure(door, "login", login))[0] == 400


async def test_sec_b2_linearizable_single_use_secret_id_under_parallel_logins() -> None:
    door = await approle("r", secret_id_num_uses=1)
    login = await credentials(door, "r")
    outcomes = await asyncio.gather(*(door.write("login", login) for _ in range(100)), return_exceptions=True)
    won = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert len(won) == 1 and isinstance(won[0].auth, Auth)
    assert all(isinstance(o, BadRequest) and o.messages == ("invalid role or secret ID",) for o in outcomes
               if isinstance(o, BaseException))  # fmt: skip
    assert door.store.reads > 200  # they did run side by side


async def test_sec_approle_a_deleted_role_takes_its_secret_ids_with_it_even_if_the_sweep_dies() -> None:
    from engine_harness import Crash

    door = await approle("r")
    login = await credentials(door, "r")
    assert (await door.write("login", login)).auth is not None
    door.store.crash_at = 2
    with pytest.raises(Crash):
        await door.delete("role/r")
    await door.write("role/r", {"role_id": login["role_id"]})
    assert (await failure(door, "login", login))[0] == 400
    await door.write("tidy/secret-id")
    assert not [key for key in await door.entries() if key.startswith(("secret/", "accessor/", "listed/"))]


async def test_sec_cve_2026_46405_failing_logins_issue_nothing() -> None:
    up, ap = userpass(), await approle("r", token_bound_cidrs="10.0.0.0/8", secret_id_num_uses=3)
    await up.write("users/bob", {"password": "right", "token_bound_cidrs": "10.0.0.0/8"})
    login = await credentials(ap, "r")
    for _ in range(20):
        await failure(up, "login/bob", {"password": "wrong"})
        await failure(up, "login/bob", {"password": "right"}, remote="192.0.2.1")
        await failure(ap, "login", {**login, "secret_id": "x"})
        await failure(ap, "login", login, remote="192.0.2.1")
    assert up.issued == ap.issued == []
    assert (await ap.write("role/r/secret-id/lookup", login)).data["secret_id_num_uses"] == 3  # type: ignore[index]
    await ap.write("login", login)
    await up.write("login/bob", {"password": "right"})
    assert len(up.issued) == len(ap.issued) == 1  # control


async def test_sec_cve_2025_4166_no_secret_in_errors_or_reprs() -> None:
    needle = "n33dle-" + "z" * 20
    up, ap = userpass(), await approle("r")
    await up.write("users/bob", {"password": needle})
    texts = []
    for door, path, data in (
        (up, "users/new", {"password": {"x": needle}}),
        (up, "users/new", {"password_hash": needle}),
        (up, "users/new", {"password": needle, "token_ttl": needle}),
        (up, "users/new", {"password": needle, "token_policies": [needle + " x"]}),
        (up, "login/bob", {"password": [needle]}),
        (up, "login/bob", {"password": needle + "x"}),
        (ap, "login", {"role_id": needle, "secret_id": needle}),
        (ap, "login", {"role_id": [needle]}),
        (ap, "role/r/secret-id", {"metadata": needle}),
        (ap, "role/r/secret-id-accessor/lookup", {"secret_id_accessor": needle}),
        (ap, "role/r/custom-secret-id", {"secret_id": needle, "ttl": needle}),
    ):
        with pytest.raises(VaultError) as caught:
            await door.write(path, data)
        texts.append(repr(caught.value) + str(caught.value))
    assert all(needle not in text for text in texts)
    for door in (up, ap):
        for route in door.engine.routes():
            fields = {name: needle for name in route.args.__struct_fields__ if name in ("password", "secret_id")}
            if fields:
                assert needle not in repr(route.args(**fields)), route.pattern


def test_sec_a5_default_hashing_is_not_weakened() -> None:
    from strongroom.auth.userpass import HASHER

    assert isinstance(HASHER, PasswordHasher)
    assert HASHER.memory_cost * HASHER.time_cost >= 3 * 64 * 1024
