"""Lease-count quotas: sys/quotas/lease-count, and what they do to leases and logins."""

from typing import Any

import msgspec
import pytest

from strongroom.core import lease_count
from strongroom.core.lease_count import SLICE
from strongroom.core.lease_entry import LeaseEntry
from strongroom.core.lease_tallies import FORGOTTEN, ProcessTallies, Room, Tally
from strongroom.errors import VaultError
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.request import Lease, Op, Response
from vault_world import World

OVER = 'request path "{}": lease count quota exceeded'


class Loans:
    """An engine that lends things, and remembers what it lent and what came back."""

    lent: list[str] = []
    revoked: list[str] = []
    stuck = False

    def __init__(self, mount: Mount) -> None:
        pass

    def routes(self) -> tuple[Route, ...]:
        return (Route(pattern="lend/{name}", ops={Op.READ: self.lend}, help="Lend."),)

    async def lend(self, call: Call, args: NoArgs) -> Response:
        name = call.match.params["name"]
        Loans.lent.append(name)
        return Response(data={"name": name}, lease=Lease(ttl=60, max_ttl=200, private={"name": name}))

    async def revoke(self, lease_private: Any) -> None:
        if Loans.stuck:
            raise VaultError("the owner does not answer")
        Loans.revoked.append(lease_private["name"])


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    for name, value in (("lent", []), ("revoked", []), ("stuck", False)):
        monkeypatch.setattr(Loans, name, value)
    world = await World.unsealed()
    world.made.kinds.engines["loans"] = Loans
    await world.ok("POST", "sys/mounts/loans", {"type": "loans"})
    await world.ok("POST", "sys/auth/userpass", {"type": "userpass"})
    for user in ("ann", "ben"):
        await world.ok("POST", f"auth/userpass/users/{user}", {"password": "x"})
    return world


async def limit(world: World, name: str = "q", **fields: Any) -> None:
    await world.ok("POST", f"sys/quotas/lease-count/{name}", {"max_leases": 2, **fields})


async def counter(world: World, name: str = "q") -> int:
    return int((await world.ok("GET", f"sys/quotas/lease-count/{name}"))["data"]["counter"])


async def lend(world: World, name: str = "book") -> int:
    return await world.status("GET", f"loans/lend/{name}")


async def login(world: World, user: str = "ann") -> int:
    return await world.status("POST", f"auth/userpass/login/{user}", {"password": "x"}, token="")


async def restart(world: World) -> None:
    world.core._tallies = ProcessTallies()
    await world.core.seal()
    await world.core.submit(world.keys[0])


async def test_the_shapes(world: World) -> None:
    path = "sys/quotas/lease-count"
    assert await world.status("LIST", path) == await world.status("GET", f"{path}/q") == 404
    assert await world.status("POST", f"{path}/q", {"name": "q", "max_leases": "5", "path": "loans"}) == 204
    assert (await world.ok("GET", f"{path}/q"))["data"] == {
        "type": "lease-count", "name": "q", "path": "loans/", "role": "", "max_leases": 5, "counter": 0,
        "inheritable": False,
    }  # fmt: skip
    assert (await world.ok("LIST", path))["data"] == {"keys": ["q"]}
    for fields in ({}, {"max_leases": 0}, {"max_leases": 1, "path": "nope"}, {"max_leases": 1, "type": "rate-limit"}):
        assert await world.status("POST", f"{path}/p", fields) == 400
    assert await world.status("DELETE", f"{path}/q") == 204 and await world.status("LIST", path) == 404


async def test_a_full_quota_refuses_leases_until_one_has_ended(world: World) -> None:
    await limit(world, path="loans")
    assert [await lend(world) for _ in range(4)] == [200, 200, 429, 429]
    assert len(Loans.lent) == 2, "what gave a lease before is refused before the engine does anything"
    answer = await world.raw("GET", "loans/lend/x")
    assert answer.status == 429 and b"Retry-After: 1\r\n" in answer.headers
    assert await world.refused("GET", "loans/lend/x") == (429, OVER.format("loans/lend/x"))
    (lease, _) = [f"loans/lend/book/{name}" for name in await world.space.leases.names("loans/lend/book/")]
    await world.ok("PUT", "sys/leases/revoke", {"lease_id": lease})
    assert await lend(world) == 429, "counted again after a second"
    world.clock.tick(1)
    assert [await lend(world), await lend(world)] == [200, 429]
    world.clock.tick(61)
    while await world.core.tidy():
        pass
    assert [await lend(world) for _ in range(3)] == [200, 200, 429]
    assert await counter(world) == 2


async def test_what_the_engine_did_for_a_refused_lease_is_undone(world: World) -> None:
    await limit(world, path="loans")
    assert [await lend(world, "a"), await lend(world, "b")] == [200, 200]
    await restart(world)  # it does not know any more what gives leases
    assert await lend(world, "c") == 429 and Loans.revoked == ["c"]
    assert await world.space.leases.names("loans/lend/c/") == []
    await restart(world)
    Loans.stuck = True
    assert await lend(world, "d") == 429
    Loans.stuck = False
    while await world.core.tidy():
        pass
    assert Loans.revoked == ["c", "d"], "what could not be undone at once is tried again"


async def test_logins_and_tokens(world: World) -> None:
    await limit(world, path="auth/userpass")
    await limit(world, "tokens", path="auth/token")
    assert [await login(world), await login(world, "ben"), await login(world)] == [200, 200, 429]
    assert await world.status("POST", "auth/userpass/login/ann", {"password": "wrong"}, token="") == 429
    made = [await world.status("POST", "auth/token/create", {"ttl": 60}) for _ in range(3)]
    assert made == [200, 200, 429]
    world.clock.tick(100)
    while await world.core.tidy():
        pass
    token = await world.token(ttl=60)
    assert await world.status("POST", "auth/token/renew-self", {}, token=token) == 200
    assert await counter(world, "tokens") == 1, "renewing makes no lease"
    for fields in ({"type": "batch", "ttl": 60}, {}, {"policies": "no such type", "type": "x"}):
        await world.http("POST", "auth/token/create", fields)
    assert await world.status("POST", "auth/token/create", {"ttl": 60}) == 200, "batch and root tokens do not count"
    assert await world.status("POST", "auth/token/create", {"ttl": 60}) == 429
    assert await world.status("GET", "sys/mounts") == 200


async def test_failed_logins_reserve_nothing(world: World) -> None:
    await limit(world, path="auth/userpass", max_leases=1)
    for _ in range(3):
        assert await world.status("POST", "auth/userpass/login/ann", {"password": "wrong"}, token="") == 400
    assert await counter(world) == 0 and await login(world) == 200


async def test_the_most_specific_quota_has_the_lease(world: World) -> None:
    await limit(world, "all", max_leases=3)
    await limit(world, "ann", path="auth/userpass/login/ann", max_leases=1)
    await limit(world, "loans", path="loans/lend/b*", max_leases=2)
    assert [await login(world) for _ in range(2)] == [200, 429]
    assert [await lend(world, name) for name in ("bb", "ba", "bc")] == [200, 200, 429]
    assert [await lend(world, "a"), await login(world, "ben"), await lend(world, "c")] == [200, 200, 200]
    assert [await lend(world, "a"), await login(world, "ben")] == [429, 429]
    world.space.lease_counter._tallies = ProcessTallies()
    assert [await counter(world, name) for name in ("all", "ann", "loans")] == [3, 1, 2], "the same, counted anew"


async def test_logins_of_a_role(world: World) -> None:
    await world.ok("POST", "sys/auth/approle", {"type": "approle"})
    ids = {}
    for role in ("ci", "ops"):
        fields = {"bind_secret_id": False, "token_bound_cidrs": "127.0.0.0/8", "token_ttl": 60}
        await world.ok("POST", f"auth/approle/role/{role}", fields)
        ids[role] = (await world.ok("GET", f"auth/approle/role/{role}/role-id"))["data"]["role_id"]
    await limit(world, "ci", path="auth/approle", role="ci")

    async def tries(role: str, number: int = 3) -> list[int]:
        body = {"role_id": ids[role]}
        return [await world.status("POST", "auth/approle/login", body, token="") for _ in range(number)]

    assert await tries("ci") == [200, 200, 429] and await tries("ops") == [200, 200, 200]
    world.space.lease_counter._tallies = ProcessTallies()
    assert await counter(world, "ci") == 2
    world.clock.tick(61)
    while await world.core.tidy():
        pass
    assert await tries("ci") == [200, 200, 429]
    assert len(await world.stored("ns/root/lease/role/")) == 2, "counting drops what is gone"


async def test_a_wrapped_answer_is_no_lease(world: World) -> None:
    await limit(world, path="loans", max_leases=1)
    await world.ok("GET", "loans/lend/a", headers={"X-Vault-Wrap-TTL": "60"})
    world.space.lease_counter._tallies = ProcessTallies()
    assert await counter(world) == 1


async def test_counts_survive_a_restart_and_leases_from_before_the_quota_count(world: World) -> None:
    for _ in range(2):
        assert await lend(world) == 200
    await limit(world, path="loans", max_leases=3)
    assert await lend(world) == 200
    await restart(world)
    assert await lend(world) == 429


async def test_a_count_goes_on_in_slices(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many leases cost a request no more than one slice; meanwhile what is not known to be full goes on."""
    monkeypatch.setattr(lease_count, "SLICE", 20)
    monkeypatch.setattr(lease_count, "_PAGE", 7)
    now = world.clock()
    for n in range(70):
        for folder in ("loans/lend/x", f"loans/lend/{n}"):
            await world.space.leases.give(folder, LeaseEntry(issued=now, expires=now + 1000, mount=""))
    await limit(world, path="loans", max_leases=200)
    made = 0
    while world.space.lease_counter._tallies.get(quota_id(world)).leases < 0:
        assert await lend(world) == 200
        made += 1
    assert 5 <= made < 40
    known = world.space.lease_counter._tallies.get(quota_id(world)).leases
    assert 140 + made <= known <= 140 + 2 * made, "never less than there are"
    while await lend(world) == 200:
        made += 1
    for _ in range(60):
        world.clock.tick(1)
        made += await lend(world) == 200
    assert 140 + made == 200 == await counter(world)


def quota_id(world: World) -> str:
    return str(world.space.settings.quotas.leases["q"].id)


async def test_nothing_of_it_runs_while_there_is_no_quota(world: World) -> None:
    bare = len(world.core.pipeline._post)
    await limit(world, path="loans")
    assert len(world.core.pipeline._post) == bare + 1
    await world.ok("DELETE", "sys/quotas/lease-count/q")
    assert len(world.core.pipeline._post) == bare and SLICE >= 1000


def test_a_count_is_never_too_low() -> None:
    tally = Tally()
    assert tally.room(5) is Room.UNKNOWN
    tally.add(1.0)  # under way while the others are counted
    begun = msgspec.structs.replace(tally)
    tally.add(1.5)  # came meanwhile
    tally.settle(1, begun, 2.0)
    assert tally.leases == 3 and tally.room(3) is Room.FULL and tally.room(4) is Room.FREE
    tally.settle(0, begun, 2.0)
    assert tally.leases == 3, "a count that another overtook says nothing"
    tally.end(made=True)
    tally.end(made=False)
    assert (tally.leases, tally.under_way) == (2, 0)
    tally.settle(2, msgspec.structs.replace(tally), 3.0)
    assert tally.leases == 2


def test_what_died_under_way_is_forgotten() -> None:
    tally = Tally(leases=0)
    tally.add(1.0)
    tally.settle(0, msgspec.structs.replace(tally), 1.0 + FORGOTTEN)
    assert tally.leases == 1, "it may still come"
    tally.settle(0, msgspec.structs.replace(tally), 1.1 + FORGOTTEN)
    assert (tally.leases, tally.under_way) == (0, 0)


def test_what_was_not_made_takes_no_number_below_none() -> None:
    known, unknown = Tally(leases=0), Tally()
    for tally in (known, unknown):
        tally.end(made=False)
    assert (known.leases, unknown.leases) == (0, -1)


async def test_a_namespace_has_quotas_of_its_own_leases(world: World) -> None:
    await world.ok("POST", "sys/namespaces/team")
    await world.ok("POST", "team/sys/mounts/loans", {"type": "loans"})
    await world.ok("POST", "team/sys/auth/approle", {"type": "approle"})
    fields = {"bind_secret_id": False, "token_bound_cidrs": "127.0.0.0/8"}
    await world.ok("POST", "team/auth/approle/role/ci", fields)
    role_id = (await world.ok("GET", "team/auth/approle/role/ci/role-id"))["data"]["role_id"]
    for name, more in (("loans", {"path": "loans"}), ("ci", {"path": "auth/approle", "role": "ci"})):
        await world.ok("POST", f"team/sys/quotas/lease-count/{name}", {"max_leases": 2, **more})
    assert [await world.status("GET", "team/loans/lend/a") for _ in range(3)] == [200, 200, 429]
    login = [await world.status("POST", "team/auth/approle/login", {"role_id": role_id}, token="") for _ in range(3)]
    assert login == [200, 200, 429] and [await lend(world) for _ in range(3)] == [200] * 3
    (space,) = [space for space in world.core.spaces.values() if space.path == "team/"]
    space.lease_counter._tallies = ProcessTallies()
    counted = [(await world.ok("GET", f"team/sys/quotas/lease-count/{name}"))["data"] for name in ("loans", "ci")]
    assert [data["counter"] for data in counted] == [2, 2]
    assert await world.status("POST", "sys/quotas/lease-count/q", {"max_leases": 1, "path": "team/loans"}) == 400
