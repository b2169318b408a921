"""What the leader ends, in which order, and what holds up nobody."""

from collections.abc import Iterator
from typing import Any

import pytest

from strongroom.core.lease_entry import id_hash, second
from strongroom.core.leases import PATIENCE
from strongroom.errors import Unreachable, VaultError
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.request import Lease, Op, Response
from strongroom.sdk.storage import Write
from vault_world import World


class Loans:
    """Lends, and takes back; ``away`` holds the mounts whose server is away, ``broken`` those that refuse."""

    away: set[str] = set()
    broken: set[str] = set()
    tried: list[str] = []
    ended: list[str] = []
    renewed: list[float] = []

    def __init__(self, mount: Mount) -> None:
        self._path = mount.path

    def routes(self) -> tuple[Route, ...]:
        return (Route(pattern="lend/{name}", ops={Op.READ: self.lend}, help="Lend."),)

    async def lend(self, call: Call, args: NoArgs) -> Response:
        name = call.match.params["name"]
        return Response(data={}, lease=Lease(ttl=60, max_ttl=200, private={"name": name}))

    async def revoke(self, lease_private: Any) -> None:
        Loans.tried.append(self._path)
        if self._path in Loans.away:
            raise Unreachable("nobody answers")
        if self._path in Loans.broken:
            raise VaultError("refused")
        Loans.ended.append(lease_private["name"])

    async def renew_lease(self, lease_private: Any, expires: float) -> None:
        if self._path in Loans.broken:
            raise VaultError("not renewed")
        Loans.renewed.append(expires)


@pytest.fixture
def loans() -> Iterator[type[Loans]]:
    yield Loans
    for kept in (Loans.away, Loans.broken, Loans.tried, Loans.ended, Loans.renewed):
        kept.clear()


@pytest.fixture
async def world(loans: type[Loans]) -> World:
    world = await World.unsealed()
    world.made.kinds.engines["loans"] = loans
    for name in ("one", "two"):
        await world.ok("POST", f"sys/mounts/{name}", {"type": "loans"})
    return world


async def lent(world: World, mount: str, name: str = "x", **options: Any) -> str:
    return str((await world.ok("GET", f"{mount}/lend/{name}", **options))["lease_id"])


async def until_done(world: World) -> int:
    done = 0
    while step := await world.core.tidy():
        done += step
    return done


async def test_a_mount_that_is_away_holds_up_no_other_and_is_asked_less_and_less(world: World, loans: type[Loans]):
    loans.away.add("one/")
    for n in range(40):
        await lent(world, "one", f"a{n}")
    for n in range(40):
        await lent(world, "two", f"b{n}")
    world.clock.tick(60)
    assert await until_done(world) == 40
    assert len(loans.ended) == 40 and all(name.startswith("b") for name in loans.ended)
    assert loans.tried.count("one/") == 1
    for _ in range(600):  # ten minutes
        world.clock.tick(1)
        await world.core.tidy()
    assert 10 < loans.tried.count("one/") < 20
    loans.away.clear()
    world.clock.tick(60)
    assert await until_done(world) == 40
    assert len(loans.ended) == 80
    assert not [key for key in await world.stored("ns/root/lease/") if "/lend/" in key]


async def test_after_a_day_an_unreachable_server_counts_as_failure(world: World, loans: type[Loans]):
    loans.away.add("one/")
    await lent(world, "one")
    for _ in range(20):
        world.clock.tick(PATIENCE / 24)
        await world.core.tidy()
    assert (await world.ok("GET", "sys/leases/count?type=irrevocable"))["data"]["lease_count"] == 0
    for _ in range(20):
        world.clock.tick(3600)
        await world.core.tidy()
    assert (await world.ok("GET", "sys/leases/count?type=irrevocable"))["data"]["lease_count"] == 1


async def test_irrevocable_leases_are_listed_a_few_at_a_time_and_go_by_force(world: World, loans: type[Loans]):
    loans.broken.add("one/")
    for n in range(5):
        await lent(world, "one", f"a{n}")
    for _ in range(8):
        world.clock.tick(3600)
        await until_done(world)
    shown = await world.ok("GET", "sys/leases?type=irrevocable&limit=3")
    assert len(shown["data"]["leases"]) == 3 and "more than 3" in shown["warnings"][0]
    lease_id = shown["data"]["leases"][0]["lease_id"]
    assert await world.status("PUT", "sys/leases/renew", {"lease_id": lease_id}) == 400
    assert await world.status("PUT", "sys/leases/revoke", {"lease_id": lease_id, "sync": True}) == 500
    await world.ok("PUT", "sys/leases/revoke-force/one")
    assert (await world.ok("GET", "sys/leases/count?type=irrevocable"))["data"] == {"lease_count": 0, "counts": {}}
    assert not [key for key in await world.stored("ns/root/lease/") if "/stuck/" in key]


async def test_revoking_by_prefix_asks_a_server_that_is_away_once(world: World, loans: type[Loans]):
    loans.away.add("one/")
    ids = [await lent(world, "one", f"a{n}") for n in range(30)]
    assert await world.status("PUT", "sys/leases/revoke-prefix/one") == 204
    assert loans.tried == ["one/"]
    loans.away.clear()
    assert await until_done(world) == 30  # they all expired at once
    assert await world.status("PUT", "sys/leases/lookup", {"lease_id": ids[0]}) == 400


async def test_so_does_the_end_of_a_token(world: World, loans: type[Loans]):
    await world.policy("reader", **{"one/*": ["read"]})
    token = await world.token(policies=["reader"])
    for n in range(30):
        await lent(world, "one", f"a{n}", token=token)
    loans.away.add("one/")
    assert await world.status("POST", "auth/token/revoke", {"token": token}) == 204
    assert loans.tried == ["one/"]
    loans.away.clear()
    world.clock.tick(1)
    assert await until_done(world) == 30


async def test_the_engine_has_a_say_in_renewals(world: World, loans: type[Loans]):
    lease_id = await lent(world, "one")
    world.clock.tick(10)
    await world.ok("PUT", "sys/leases/renew", {"lease_id": lease_id, "increment": 100})
    assert loans.renewed == [world.clock() + 100]
    loans.broken.add("one/")
    before = await world.space.leases.get(lease_id)
    assert await world.refused("PUT", "sys/leases/renew", {"lease_id": lease_id}) == (500, "not renewed")
    assert await world.space.leases.get(lease_id) == before


async def test_a_renewal_reaches_no_further_than_the_mount_allows_today(world: World):
    lease_id = await lent(world, "one")
    await world.ok("POST", "sys/mounts/one/tune", {"max_lease_ttl": "90s", "default_lease_ttl": "30s"})
    world.clock.tick(50)
    answer = await world.ok("PUT", "sys/leases/renew", {"lease_id": lease_id, "increment": 200})
    assert answer["lease_duration"] == 40


async def test_the_index_of_earlier_versions_is_moved(world: World, loans: type[Loans]):
    lease_id = await lent(world, "one", "old")
    found = await world.space.leases.get(lease_id)
    keys, barrier = world.space.leases.keys, world.core.barrier
    old = f"{keys.exp}{second(found[0].expires)}/{id_hash(lease_id)}"
    gone = f"{keys.exp}{second(found[0].expires)}/{id_hash('gone')}"
    moved = [Write(keys.at(lease_id, found[0], found[0].expires), None), Write(old, lease_id.encode())]
    await barrier.commit([*moved, Write(gone, b"gone")])  # type: ignore[union-attr]
    world.clock.tick(60)
    await until_done(world)
    assert loans.ended == ["old"]
    assert not [key for key in await world.stored("ns/root/lease/") if "/exp/" in key or "/lend/" in key]


async def test_a_failure_of_a_lease_that_was_ended_meanwhile_brings_nothing_back(world: World, loans: type[Loans]):
    lease_id = await lent(world, "one")
    entry, revision = await world.space.leases.get(lease_id)
    await world.ok("PUT", "sys/leases/revoke", {"lease_id": lease_id})
    await world.space.leases.failed(lease_id, entry, revision, VaultError("late"))
    await world.space.leases.queue(lease_id, entry, revision)
    assert not [key for key in await world.stored("ns/root/lease/") if "/lend/" in key]


async def test_many_tokens_and_leases_end_in_few_commits(
    world: World, loans: type[Loans], monkeypatch: pytest.MonkeyPatch
):
    await world.policy("reader", **{"one/*": ["read"]})
    for _ in range(30):
        await world.token(policies=["reader"], ttl=60)
    for n in range(30):
        await lent(world, "one", f"a{n}")
    world.clock.tick(60)
    commits = 0
    commit = world.backend.commit

    async def counted(*args: Any, **options: Any) -> None:
        nonlocal commits
        commits += 1
        await commit(*args, **options)

    monkeypatch.setattr(world.backend, "commit", counted)
    assert await until_done(world) == 60
    assert len(loans.ended) == 30 and commits < 20
    assert await world.stored("ns/root/token/revoking/") == []


async def test_the_last_use_of_a_token_gives_no_lease(world: World, loans: type[Loans]):
    await world.policy("reader", **{"one/*": ["read"]})
    token = await world.token(policies=["reader"], num_uses=1)
    status, said = await world.refused("GET", "one/lend/x", token=token)
    assert status == 400 and "one use left" in said
    assert loans.ended == ["x"]
    assert not [key for key in await world.stored("ns/root/lease/") if "/lend/" in key]


async def test_a_token_revoked_during_the_work_holds_no_lease(world: World, monkeypatch: pytest.MonkeyPatch):
    await world.policy("reader", **{"one/*": ["read"]})
    token = await world.token(policies=["reader"])
    lend = Loans.lend

    async def slow(self: Loans, call: Call, args: NoArgs) -> Response:
        await world.ok("POST", "auth/token/revoke", {"token": token})
        return await lend(self, call, args)

    monkeypatch.setattr(Loans, "lend", slow)
    await world.ok("POST", "sys/mounts/three", {"type": "loans"})
    await world.policy("reader", **{"three/*": ["read"]})
    assert await world.status("GET", "three/lend/x", token=token) == 403
    assert Loans.ended == ["x"]
    assert not [key for key in await world.stored("ns/root/lease/") if "/lend/" in key]
