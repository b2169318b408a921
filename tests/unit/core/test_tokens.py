"""The life of tokens: found, renewed, used up, expired, revoked, tidied."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from strongroom.core.token_entry import TokenEntry
from strongroom.errors import BadRequest
from strongroom.sdk.storage import Write
from strongroom.storage.memory import MemoryStore
from vault_world import World
from yielding_store import YieldingStore


@pytest.fixture
async def world() -> World:
    return await World.unsealed()


async def test_a_token_is_stored_under_a_salted_hash_and_nowhere_in_clear(world: World):
    token = await world.token(policies=["a"])
    keys = " ".join(await world.stored("ns/root/"))
    assert token not in keys and token.removeprefix("hvs.") not in keys
    assert world.space.tokens.hash(token) in keys
    assert token not in repr(await world.space.tokens.find(token))


async def test_look_up_by_token_by_accessor_and_of_nothing(world: World):
    auth = await world.create(policies=["a"], period="1h")
    by_token = (await world.ok("POST", "auth/token/lookup", {"token": auth["client_token"]}))["data"]
    by_accessor = (await world.ok("POST", "auth/token/lookup-accessor", {"accessor": auth["accessor"]}))["data"]
    assert by_accessor == {**by_token, "id": ""}
    assert await world.refused("POST", "auth/token/lookup", {"token": "hvs.none"}) == (403, "bad token")
    status, said = await world.refused("POST", "auth/token/lookup-accessor", {"accessor": "none"})
    assert (status, said) == (400, "1 error occurred:\n\t* invalid accessor\n\n")
    assert await world.refused("POST", "auth/token/lookup-accessor", {}) == (400, "missing accessor")
    assert by_token["expire_time"].endswith("Z") and by_token["issue_time"].endswith("Z")


async def test_accessors_are_listed_for_sudo(world: World):
    auth = await world.create(policies=["a"])
    keys = (await world.ok("LIST", "auth/token/accessors"))["data"]["keys"]
    assert auth["accessor"] in keys and len(keys) == 2
    await world.policy("lister", **{"auth/token/accessors/": ["list"]})
    assert await world.status("LIST", "auth/token/accessors", token=await world.token(policies=["lister"])) == 403


async def test_expiry_holds_at_use_without_any_tidying(world: World):
    token = await world.token(policies=["a"], ttl=10)
    world.clock.tick(9.999)
    assert await world.alive(token)
    world.clock.tick(0.001)
    assert not await world.alive(token)
    assert await world.refused("GET", "auth/token/lookup-self", token=token) == (403, "permission denied")


async def test_a_child_dies_with_an_expired_parent(world: World):
    await world.policy("maker", **{"auth/token/create": ["update"]})
    parent = await world.token(policies=["maker"], ttl=10)
    child = await world.token(by=parent, ttl=1000)
    grandchild = await world.token(by=child, ttl=1000)
    assert await world.alive(grandchild)
    world.clock.tick(10)
    assert not await world.alive(child) and not await world.alive(grandchild)


# -- renewal ---------------------------------------------------------------------------------------------------------


async def test_renewal_extends_from_now(world: World):
    token = await world.token(policies=["a"], ttl=100)
    world.clock.tick(60)
    auth = (await world.ok("POST", "auth/token/renew-self", {}, token=token))["auth"]
    assert (auth["lease_duration"], auth["client_token"], auth["renewable"]) == (100, token, True)
    world.clock.tick(99)
    auth = (await world.ok("POST", "auth/token/renew", {"token": token, "increment": "10s"}))["auth"]
    assert auth["lease_duration"] == 10
    data = (await world.ok("POST", "auth/token/lookup", {"token": token}))["data"]
    assert data["last_renewal_time"] == int(world.clock()) and data["ttl"] == 10 and data["creation_ttl"] == 100
    accessor = data["accessor"]
    auth = (await world.ok("POST", "auth/token/renew-accessor", {"accessor": accessor, "increment": 50}))["auth"]
    assert (auth["lease_duration"], auth["client_token"]) == (50, "")
    world.clock.tick(50)
    assert await world.refused("POST", "auth/token/renew", {"token": token}) == (403, "bad token")


async def test_what_cannot_be_renewed(world: World):
    fixed = await world.token(policies=["a"], renewable=False)
    assert await world.refused("POST", "auth/token/renew", {"token": fixed}) == (400, "lease is not renewable")
    assert await world.refused("POST", "auth/token/renew-self", {}) == (400, "lease is not renewable")  # root
    token = await world.token(policies=["a"])
    assert await world.status("POST", "auth/token/renew", {"token": token, "increment": -1}) == 400


@pytest.mark.parametrize("left", [2, 1, 0.999, 0.5, 0, -0.001])
@pytest.mark.parametrize("fields", [{"explicit_max_ttl": 100}, {"explicit_max_ttl": 100, "period": 200}])
async def test_no_renewal_reaches_beyond_the_explicit_maximum(world: World, left: float, fields: dict[str, Any]):
    auth = await world.create(policies=["a"], **fields)
    token, end = auth["client_token"], world.clock() + 100
    world.clock.tick(100 - left)
    status, answer = await world.http("POST", "auth/token/renew", {"token": token, "increment": 3600})
    stored = await world.space.tokens.peek(world.space.tokens.hash(token))
    assert stored is not None and 0 < stored.expires <= end
    assert status == (200 if left >= 1 else 400 if left > 0 else 403)
    if status == 200:
        assert answer["auth"]["lease_duration"] == int(left)
    world.clock.time = end
    assert not await world.alive(token)


async def test_a_periodic_token_lives_as_long_as_it_is_renewed(world: World):
    token = await world.token(policies=["a"], period=100)
    for _ in range(50):
        world.clock.tick(99)
        auth = (await world.ok("POST", "auth/token/renew-self", {"increment": 5}, token=token))["auth"]
        assert auth["lease_duration"] == 100  # the increment does not count
    world.clock.tick(100)
    assert not await world.alive(token)


async def test_the_mounts_maximum_counts_from_creation(world: World):
    await world.ok("POST", "sys/auth/token/tune", {"default_lease_ttl": 50, "max_lease_ttl": 120})
    token = await world.token(policies=["a"])
    assert (await world.ok("POST", "auth/token/lookup", {"token": token}))["data"]["ttl"] == 50
    for tick, left in ((40, 50), (40, 40), (39, 1)):
        world.clock.tick(tick)
        assert (await world.ok("POST", "auth/token/renew", {"token": token}))["auth"]["lease_duration"] == left
    world.clock.tick(0.5)
    assert (await world.refused("POST", "auth/token/renew", {"token": token}))[1] == "past the max TTL, cannot renew"


async def test_no_draft_is_immortal_but_a_root_token(world: World):
    for ttl, policies in ((0, ("a",)), (-1, ("a",)), (-1, ("root",))):
        with pytest.raises(BadRequest, match="at least one second"):
            world.space.tokens.draft(TokenEntry(accessor="", policies=policies, path="x", ttl=ttl))
    assert world.space.tokens.draft(TokenEntry(accessor="", policies=("root",), path="x")).expires == 0


# -- uses ------------------------------------------------------------------------------------------------------------


async def test_every_request_counts_also_one_that_is_refused(world: World):
    await world.policy("p", **{"cubbyhole/*": ["read"]})
    token = await world.token(policies=["p"], num_uses=3, no_default_policy=True)
    for path, status in (("secret/x", 403), ("cubbyhole/x", 404), ("cubbyhole/y", 404), ("cubbyhole/z", 403)):
        assert await world.status("GET", path, token=token) == status
    assert await world.refused("POST", "auth/token/lookup", {"token": token}) == (403, "bad token")
    assert world.space.tokens.hash(token) not in " ".join(await world.stored("ns/root/"))


async def test_the_last_use_still_answers(world: World):
    token = await world.token(policies=["a"], num_uses=1)
    data = (await world.ok("GET", "auth/token/lookup-self", token=token))["data"]
    assert data["num_uses"] == 0 and not await world.alive(token)


@pytest.mark.parametrize("seed", range(4))
async def test_of_a_hundred_at_once_one_has_the_one_use(seed: int):
    store = YieldingStore(seed)
    world = await World.unsealed(backend=store)
    token = await world.token(policies=["a"], num_uses=1)
    store.active = True
    answers = await asyncio.gather(
        *(world.status("GET", "auth/token/lookup-self", token=token) for _ in range(100))
    )  # fmt: skip
    assert sorted(answers) == [200] + [403] * 99


async def test_uses_are_counted_by_all_processes_together(world: World):
    other = await world.other()
    token = await world.token(policies=["a"], num_uses=2)
    assert await other.alive(token) and await world.alive(token)
    assert not await other.alive(token) and not await world.alive(token)


# -- revocation ------------------------------------------------------------------------------------------------------


async def family(world: World) -> dict[str, dict[str, Any]]:
    """root -> a -> b -> c, and an orphan that b made."""
    await world.policy("maker", **{"auth/token/create": ["update", "sudo"]})
    made = {"a": await world.create(policies=["maker"])}
    made["b"] = await world.create(by=made["a"]["client_token"])
    made["c"] = await world.create(by=made["b"]["client_token"])
    made["orphan"] = await world.create(by=made["b"]["client_token"], no_parent=True)
    for auth in made.values():
        await world.ok("POST", "cubbyhole/mine", {"x": "y"}, token=auth["client_token"])
    return made


async def living(world: World, made: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, auth in made.items() if await world.alive(auth["client_token"])}


@pytest.mark.parametrize(
    ("path", "field", "who", "left"),
    [
        ("revoke", "token", "a", {"orphan"}),
        ("revoke", "token", "b", {"a", "orphan"}),
        ("revoke", "token", "orphan", {"a", "b", "c"}),
        ("revoke-accessor", "accessor", "b", {"a", "orphan"}),
        ("revoke-orphan", "token", "b", {"a", "c", "orphan"}),
    ],
)
async def test_what_a_revocation_takes_along(world: World, path: str, field: str, who: str, left: set[str]):
    made = await family(world)
    value = made[who]["accessor" if field == "accessor" else "client_token"]
    await world.ok("POST", f"auth/token/{path}", {field: value})
    assert await living(world, made) == left
    hashes = {name: world.space.tokens.hash(auth["client_token"]) for name, auth in made.items()}
    keys = "\n".join(await world.stored("ns/root/"))
    assert {name for name, token_id in hashes.items() if token_id in keys} == left  # entry, index, lease, cubbyhole
    if path == "revoke-orphan":
        data = (await world.ok("POST", "auth/token/lookup", {"token": made["c"]["client_token"]}))["data"]
        assert data["orphan"] is True


async def test_revoke_self_and_bad_requests(world: World):
    made = await family(world)
    await world.ok("POST", "auth/token/revoke-self", {}, token=made["b"]["client_token"])
    assert await living(world, made) == {"a", "orphan"}
    assert await world.refused("POST", "auth/token/revoke", {}) == (400, "missing token")
    assert await world.status("POST", "auth/token/revoke", {"token": "hvs.none"}) == 204
    assert await world.refused("POST", "auth/token/revoke-orphan", {"token": "x"}) == (400, "token to revoke not found")


async def test_a_subtree_is_dead_at_once_even_if_its_tidying_never_ran(world: World):
    made = await family(world)
    other = await world.other()
    assert await living(other, made) == set(made)
    tokens = world.space.tokens
    stored = await tokens.peek(tokens.hash(made["a"]["client_token"]))
    assert stored is not None
    await world.core.barrier.commit(tokens._drop(tokens.hash(made["a"]["client_token"]), stored))  # and no more
    assert await living(world, made) == await living(other, made) == {"orphan"}


async def test_an_interrupted_revocation_is_finished_by_tidy(world: World):
    made = await family(world)
    tokens = world.space.tokens
    await tokens.revoke(tokens.hash(made["a"]["client_token"]))  # as if the process died before clean_up
    assert any("/revoking/" in key for key in await world.stored("ns/root/token/"))
    await world.ok("POST", "auth/token/tidy", {})
    assert not any("/revoking/" in key for key in await world.stored("ns/root/token/"))
    for name in "abc":
        assert tokens.hash(made[name]["client_token"]) not in "\n".join(await world.stored("ns/root/"))


async def test_tidy_removes_what_expired_with_all_that_hung_on_it(world: World):
    before = await world.stored("ns/root/")
    token = await world.token(policies=["a"], ttl=10)
    await world.ok("POST", "cubbyhole/x", {"a": 1}, token=token)
    world.clock.tick(11)
    assert await world.core.tidy() > 0
    assert await world.stored("ns/root/") == before
    assert await world.core.tidy() == 0


async def test_a_broad_tree_is_removed_in_bounded_commits(world: World):
    await world.policy("maker", **{"auth/token/create": ["update"]})
    parent = await world.token(policies=["maker"])
    before = await world.stored("ns/root/token/")
    for _ in range(75):
        await world.token(by=parent)
    await world.ok("POST", "auth/token/revoke", {"token": parent})
    after = await world.stored("ns/root/token/")
    assert len(after) == len(before) - 3  # parent's entry, accessor and place among root's children


@pytest.mark.parametrize("seed", range(6))
async def test_nothing_made_while_its_parent_is_revoked_survives(seed: int):
    store = YieldingStore(seed)
    world = await World.unsealed(backend=store)
    await world.policy("maker", **{"auth/token/create": ["update"]})
    parent = await world.token(policies=["maker"])
    child = await world.token(by=parent)
    store.active = True
    made: list[str] = []

    async def make(by: str) -> None:
        status, answer = await world.http("POST", "auth/token/create", {}, token=by)
        assert status in (200, 403), answer
        if status == 200:
            made.append(answer["auth"]["client_token"])

    async def renew() -> None:
        assert await world.status("POST", "auth/token/renew", {"token": child}) in (200, 403, 404)

    await asyncio.gather(
        *(make(by) for by in (parent, child) * 6), renew(), renew(),
        world.ok("POST", "auth/token/revoke", {"token": parent}), *(make(by) for by in (parent, child) * 6),
    )  # fmt: skip
    store.active = False
    assert made or seed  # some were made before the revocation
    for token in (parent, child, *made):
        assert not await world.alive(token)
    await world.core.tidy()
    kept = "\n".join(await world.stored("ns/root/"))
    assert [token for token in made if world.space.tokens.hash(token) in kept] == []


class Held(MemoryStore):
    """Holds the commit that stores a child of ``parent`` until ``go``."""

    def __init__(self) -> None:
        super().__init__()
        self.parent, self.waiting, self.go = "none", asyncio.Event(), asyncio.Event()

    async def commit(self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}) -> None:
        if any(f"/child/{self.parent}/" in write.key and write.value for write in writes):
            self.waiting.set()
            await self.go.wait()
        await super().commit(writes, expect=expect)


async def test_a_child_that_comes_too_late_is_not_even_stored():
    store = Held()
    world = await World.unsealed(backend=store)
    await world.policy("maker", **{"auth/token/create": ["update"]})
    parent = await world.token(policies=["maker"])
    before = await world.stored("ns/root/token/")
    store.parent = world.space.tokens.hash(parent)
    late = asyncio.create_task(world.status("POST", "auth/token/create", {}, token=parent))
    await store.waiting.wait()
    await world.ok("POST", "auth/token/revoke", {"token": parent})
    store.go.set()
    assert await late == 403
    assert len(await world.stored("ns/root/token/")) == len(before) - 3


# -- tokens of a login -----------------------------------------------------------------------------------------------


async def login(world: World, **fields: Any) -> str:
    if await world.status("GET", "sys/auth/userpass") != 200:
        await world.ok("POST", "sys/auth/userpass", {"type": "userpass"})
    await world.ok("POST", "auth/userpass/users/bob", {"password": "correct horse", **fields})
    answer = await world.ok("POST", "auth/userpass/login/bob", {"password": "correct horse"}, token="")
    return str(answer["auth"]["client_token"])


async def test_the_method_has_a_say_in_a_renewal(world: World):
    token = await login(world, token_ttl=100, token_max_ttl=1000)
    await world.ok("POST", "auth/userpass/users/bob", {"token_ttl": 50, "token_max_ttl": 120})
    world.clock.tick(40)
    assert (await world.ok("POST", "auth/token/renew", {"token": token}))["auth"]["lease_duration"] == 50
    world.clock.tick(45)
    assert (await world.ok("POST", "auth/token/renew", {"token": token}))["auth"]["lease_duration"] == 35
    await world.ok("DELETE", "auth/userpass/users/bob")
    assert await world.status("POST", "auth/token/renew", {"token": token}) == 403
    assert await world.alive(token)  # until its time is over
    world.clock.tick(35)
    assert not await world.alive(token)


async def test_a_login_token_is_an_orphan_named_after_its_mount(world: World):
    await world.ok("POST", "sys/auth/deep/er", {"type": "userpass"})
    await world.ok("POST", "auth/deep/er/users/bob", {"password": "correct horse"})
    auth = (await world.ok("POST", "auth/deep/er/login/bob", {"password": "correct horse"}, token=""))["auth"]
    data = (await world.ok("POST", "auth/token/lookup", {"token": auth["client_token"]}))["data"]
    assert (data["display_name"], data["path"], data["orphan"]) == ("deep-er-bob", "auth/deep/er/login/bob", True)
    assert data["meta"] == {"username": "bob"} and auth["metadata"] == {"username": "bob"}


@pytest.mark.parametrize(
    ("mount", "user", "made"),
    [("batch", "default", "batch"), ("service", "default", "service"), ("batch", "service", None),
     ("service", "batch", None), ("default-batch", "default", "batch"), ("default-batch", "service", "service"),
     ("default-service", "batch", "batch")],
)  # fmt: skip
async def test_the_mount_limits_the_kind_of_token(world: World, mount: str, user: str, made: str | None):
    await world.ok("POST", "sys/auth/userpass", {"type": "userpass", "config": {"token_type": mount}})
    await world.ok("POST", "auth/userpass/users/bob", {"password": "correct horse", "token_type": user})
    status, answer = await world.http("POST", "auth/userpass/login/bob", {"password": "correct horse"}, token="")
    assert (status, (answer.get("auth") or {}).get("token_type")) == ((200, made) if made else (400, None))


async def test_a_login_within_limits_of_the_mount(world: World):
    await world.ok("POST", "sys/auth/userpass", {"type": "userpass", "config": {"max_lease_ttl": "10m"}})
    token = await login(world, token_ttl=99999)
    data = (await world.ok("POST", "auth/token/lookup", {"token": token}))["data"]
    assert data["ttl"] == 600
