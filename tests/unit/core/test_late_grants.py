"""What is granted while another process takes away what it stands on: it is undone, or its end still finds it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from strongroom.errors import Unreachable, VaultError
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.request import Auth, Lease, Op, Response
from vault_world import World

NS1: dict[str, Any] = {"headers": {"X-Vault-Namespace": "ns1"}}


async def nothing() -> None:
    """Nobody comes between."""


class Till:
    """An engine, and a login, in which something happens while they work; knows what is out."""

    out: set[str] = set()
    failure: VaultError | None = None
    meanwhile: Callable[[], Awaitable[None]] = nothing

    def __init__(self, mount: Mount) -> None:
        pass

    def routes(self) -> Sequence[Route]:
        return (
            Route(pattern="creds/{name}", ops={Op.READ: self.lend}, strict=False, help="Lend."),
            Route(pattern="login", ops={Op.UPDATE: self.login}, login=True, strict=False, help="Login."),
        )

    async def lend(self, call: Call, args: NoArgs) -> Response:
        name = call.match.params["name"]
        Till.out.add(name)
        await self._others()
        return Response(data={}, lease=Lease(ttl=60, max_ttl=600, private={"name": name}))

    async def login(self, call: Call, args: NoArgs) -> Response:
        await self._others()
        return Response(auth=Auth(policies=("default",), display_name="x"))

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        await self._others()
        if Till.failure is not None:
            raise Till.failure
        Till.out.discard(lease_private["name"])

    @staticmethod
    async def _others() -> None:
        todo, Till.meanwhile = Till.meanwhile, nothing
        await todo()


@pytest.fixture
async def worlds(monkeypatch: pytest.MonkeyPatch) -> tuple[World, World]:
    """Two processes on one store; the second has seen all that the first did."""
    for name, value in (("out", set()), ("failure", None), ("meanwhile", nothing)):
        monkeypatch.setattr(Till, name, value)
    one = await World.unsealed()
    two = await one.other()
    for world in (one, two):
        world.made.kinds.engines["till"] = Till
        world.made.kinds.auth["till"] = Till
    return one, two


def then(work: Callable[[], Awaitable[Any]]) -> None:
    async def run() -> None:
        await work()

    Till.meanwhile = run


async def test_a_lease_of_a_mount_that_the_leader_has_not_seen_yet_is_undone_when_it_expires(
    worlds: tuple[World, World],
) -> None:
    one, leader = worlds
    await one.ok("POST", "sys/mounts/till", {"type": "till"})
    await one.ok("GET", "till/creds/a")
    assert Till.out == {"a"}
    one.clock.tick(61)
    await leader.core.tidy()
    assert Till.out == set() and not [key for key in await one.stored("ns/root/lease/") if "creds" in key]


@pytest.mark.parametrize("where", [{}, NS1], ids=["root", "ns1"])
async def test_no_lease_is_given_by_a_mount_that_was_removed_meanwhile(
    worlds: tuple[World, World], where: dict[str, Any]
) -> None:
    one, two = worlds
    await one.ok("POST", "sys/namespaces/ns1")
    await one.ok("POST", "sys/mounts/till", {"type": "till"}, **where)
    then(lambda: two.ok("DELETE", "sys/mounts/till", **where))
    assert await one.status("GET", "till/creds/a", **where) >= 400
    assert Till.out == set() and not [key for key in await one.stored("ns/") if "/creds/" in key]
    await one.ok("POST", "sys/mounts/till", {"type": "till"}, **where)
    await one.ok("GET", "till/creds/a", **where)


async def test_a_mount_that_is_only_tuned_meanwhile_gives_its_lease(worlds: tuple[World, World]) -> None:
    one, two = worlds
    await one.ok("POST", "sys/mounts/till", {"type": "till"})
    then(lambda: two.ok("POST", "sys/mounts/till/tune", {"max_lease_ttl": "1h"}))
    lease_id = (await one.ok("GET", "till/creds/a"))["lease_id"]
    await two.ok("PUT", "sys/leases/revoke", {"lease_id": lease_id})
    assert Till.out == set()


async def test_no_lease_is_given_in_a_namespace_that_was_removed_meanwhile(worlds: tuple[World, World]) -> None:
    one, two = worlds
    made = await one.ok("POST", "sys/namespaces/ns1")
    await one.ok("POST", "sys/mounts/till", {"type": "till"}, **NS1)
    then(lambda: two.ok("DELETE", "sys/namespaces/ns1"))
    assert await one.status("GET", "till/creds/a", **NS1) >= 400
    assert Till.out == set() and not await one.stored(f"ns/{made['data']['id']}/")


async def test_a_namespace_whose_removal_has_only_begun_gives_no_lease(worlds: tuple[World, World]) -> None:
    one, two = worlds
    await one.ok("POST", "sys/namespaces/ns1")
    await one.ok("POST", "sys/mounts/till", {"type": "till"}, **NS1)
    then(lambda: two.core.directory.taint("root", "ns1"))
    assert await one.status("GET", "till/creds/a", **NS1) >= 400
    assert Till.out == set()


async def test_a_login_makes_no_token_where_its_mount_was_removed_meanwhile(worlds: tuple[World, World]) -> None:
    one, two = worlds
    await one.ok("POST", "sys/auth/till", {"type": "till"})
    before = await one.stored("ns/root/token/id/")
    then(lambda: two.ok("DELETE", "sys/auth/till"))
    assert await one.status("POST", "auth/till/login", {}, token="") >= 400
    assert await one.stored("ns/root/token/id/") == before


async def test_a_login_makes_no_token_where_its_namespace_was_removed_meanwhile(worlds: tuple[World, World]) -> None:
    one, two = worlds
    made = await one.ok("POST", "sys/namespaces/ns1")
    await one.ok("POST", "sys/auth/till", {"type": "till"}, **NS1)
    then(lambda: two.ok("DELETE", "sys/namespaces/ns1"))
    assert await one.status("POST", "auth/till/login", {}, token="", **NS1) >= 400
    assert not await one.stored(f"ns/{made['data']['id']}/")
    assert not await one.stored("ns/root/lease/due/")


@pytest.mark.parametrize("failure", [Unreachable("away"), VaultError("it fails")], ids=["unreachable", "failing"])
async def test_a_renewal_during_a_failing_revocation_does_not_save_the_lease(
    worlds: tuple[World, World], failure: VaultError
) -> None:
    """The holder's end was acknowledged: what it held must go as soon as its server is back."""
    one, two = worlds
    await one.ok("POST", "sys/mounts/till", {"type": "till"})
    await one.policy("p", **{"till/*": ["read"]})
    token = await one.token(policies=["p"])
    lease_id = (await one.ok("GET", "till/creds/a", token=token))["lease_id"]
    one.clock.tick(30)
    Till.failure = failure
    then(lambda: two.ok("PUT", "sys/leases/renew", {"lease_id": lease_id, "increment": 500}))
    await one.ok("POST", "auth/token/revoke", {"token": token})
    assert await two.status("PUT", "sys/leases/renew", {"lease_id": lease_id}) == 400
    Till.failure = None
    one.clock.tick(12)
    await one.core.tidy()
    assert Till.out == set()


@pytest.mark.parametrize("where", [{}, NS1], ids=["root", "ns1"])
async def test_a_mount_that_was_moved_takes_back_what_it_gave_at_its_old_path(
    worlds: tuple[World, World], where: dict[str, Any]
) -> None:
    """The move revokes it; if that fails, or the move ends half-way, the mount's end still must."""
    one, two = worlds
    await one.ok("POST", "sys/namespaces/ns1")
    await one.ok("POST", "sys/mounts/till", {"type": "till"}, **where)
    await one.ok("GET", "till/creds/a", **where)
    then(lambda: two.ok("POST", "sys/remount", {"from": "till", "to": "moved"}, **where))
    await one.status("GET", "till/creds/b", **where)  # at the old path still
    Till.failure = Unreachable("away")
    await one.ok("GET", "moved/creds/c", **where)
    assert await one.status("POST", "sys/remount", {"from": "moved", "to": "again"}, **where) == 502
    assert await one.status("DELETE", "sys/mounts/again", **where) == 502
    Till.failure = None
    await one.ok("DELETE", "sys/mounts/again", **where)
    assert Till.out == set() and not [key for key in await one.stored("ns/") if "/creds/" in key]
    assert not [key for key in await one.stored("ns/root/lease/due/") if "/token/" not in key]
