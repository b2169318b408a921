"""The removal of a namespace: refused at once, everything revoked and wiped, resumed wherever it was cut off."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from strongroom.core import layout
from strongroom.errors import BadRequest, StorageFailed
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.request import Lease, Op, Response
from strongroom.sdk.storage import Write
from strongroom.storage.memory import MemoryStore
from vault_world import World

NS1: dict[str, Any] = {"headers": {"X-Vault-Namespace": "ns1"}}


class Lender:
    """An engine that leases something and remembers what it took back."""

    taken: list[str] = []
    broken = False

    def __init__(self, mount: Mount) -> None:
        pass

    def routes(self) -> Sequence[Route]:
        return (Route(pattern="creds/{name}", ops={Op.READ: self.lend}, strict=False, help="Lend."),)

    async def lend(self, call: Call, args: NoArgs) -> Response:
        name = call.match.params["name"]
        return Response(data={"name": name}, lease=Lease(ttl=600, max_ttl=600, private={"name": name}))

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        if type(self).broken:
            raise BadRequest("the other side is away")
        type(self).taken.append(lease_private["name"])


class Fragile(MemoryStore):
    """A store that fails at one commit of its own choice."""

    left = -1

    async def commit(self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}) -> None:
        if self.left == 0:
            raise StorageFailed("no more")
        self.left -= 1
        await super().commit(writes, expect=expect)


async def furnished(backend: MemoryStore | None = None) -> tuple[World, str]:
    """A vault with a namespace that has one of everything, and its id."""
    world = await World.unsealed(backend=backend)
    Lender.taken, Lender.broken = [], False
    world.made.kinds.engines["lender"] = Lender
    nsid = str((await world.ok("POST", "sys/namespaces/ns1"))["data"]["id"])
    await world.ok("POST", "sys/mounts/lend", {"type": "lender"}, **NS1)
    await world.ok("POST", "sys/mounts/secret", {"type": "kv"}, **NS1)
    await world.ok("PUT", "sys/policies/acl/p", {"policy": 'path "lend/*" {capabilities=["read"]}'}, **NS1)
    for number in range(3):
        await world.ok("POST", f"secret/a{number}", {"v": "x"}, **NS1)
    made = (await world.ok("POST", "auth/token/create", {"policies": ["p"]}, **NS1))["auth"]
    await world.ok("GET", "lend/creds/child", token=made["client_token"], **NS1)
    await world.ok("GET", "lend/creds/root", **NS1)  # held by a token of the root namespace
    return world, nsid


async def leftovers(world: World, nsid: str) -> list[str]:
    found = [
        key
        for prefix in (f"ns/{nsid}/", "core/namespace/", layout.child_prefix("root"))
        for key in await world.stored(prefix)
    ]
    return found + await world.stored("ns/root/lease/due/") + await world.stored("ns/root/token/revoking/")


async def test_nothing_is_left_of_a_namespace() -> None:
    world, nsid = await furnished()
    assert len(await leftovers(world, nsid)) > 20
    assert (await world.ok("DELETE", "sys/namespaces/ns1"))["data"] == {"status": "complete"}
    assert await leftovers(world, nsid) == [] and sorted(Lender.taken) == ["child", "root"]
    assert await world.status("DELETE", "sys/namespaces/ns1") == 204
    assert await world.refused("GET", "secret/a0", **NS1) == (404, "namespace not found")
    again = (await world.ok("POST", "sys/namespaces/ns1"))["data"]["id"]
    assert again != nsid and await world.status("GET", "secret/a0", **NS1) == 404


async def test_one_with_namespaces_below_stays() -> None:
    world, _ = await furnished()
    await world.ok("POST", "sys/namespaces/ns2", **NS1)
    status, text = await world.refused("DELETE", "sys/namespaces/ns1")
    assert status == 400 and "child namespaces" in text
    assert await world.status("GET", "secret/a0", **NS1) == 200


async def test_a_lease_that_cannot_be_undone_keeps_it_tainted_until_it_can() -> None:
    world, nsid = await furnished()
    Lender.broken = True
    assert (await world.ok("DELETE", "sys/namespaces/ns1"))["data"] == {"status": "in-progress"}
    assert await world.status("GET", "secret/a0", **NS1) == 404
    assert (await world.ok("GET", "sys/namespaces/ns1"))["data"]["tainted"] is True
    assert await world.status("POST", "sys/namespaces/ns1") == 400
    assert await world.stored(f"ns/{nsid}/token/id/") == []  # no token waits for the other side
    Lender.broken = False
    world.clock.tick(4000)
    while await world.core.tidy():
        pass
    assert await leftovers(world, nsid) == [] and sorted(Lender.taken) == ["child", "root"]
    assert await world.status("GET", "sys/namespaces/ns1") == 404


@pytest.mark.parametrize("after", range(1, 40, 3))
async def test_sec_cve_2020_7220_a_removal_cut_off_anywhere_ends_later(after: int) -> None:
    store = Fragile()
    world, nsid = await furnished(store)
    store.left = after
    status = await world.status("DELETE", "sys/namespaces/ns1")
    store.left = -1
    assert status in (200, 500)
    other = await world.other()
    other.made.kinds.engines["lender"] = Lender
    assert await other.status("GET", "secret/a0", **NS1) == 404  # refused from the first commit on
    other.clock.tick(60)
    while await other.core.tidy():
        pass
    assert await leftovers(other, nsid) == [] and sorted(set(Lender.taken)) == ["child", "root"]


async def test_late_writes_of_another_process_are_swept() -> None:
    world, nsid = await furnished()
    assert await world.status("DELETE", "sys/namespaces/ns1") == 200
    await world.core.barrier.commit([Write(f"ns/{nsid}/data/late/a", b"1")])  # type: ignore[union-attr]
    while await world.core.tidy():
        pass
    assert await leftovers(world, nsid) != []
    world.clock.tick(121)
    while await world.core.tidy():
        pass
    assert await leftovers(world, nsid) == [] and await world.stored(layout.UNFINISHED) == []


async def test_a_mount_that_is_stuck_in_a_namespace_is_removed_by_the_tidying() -> None:
    world, nsid = await furnished()
    Lender.broken = True
    assert await world.status("DELETE", "sys/mounts/lend", **NS1) >= 400
    Lender.broken = False
    world.clock.tick(4000)
    other = await world.other()
    other.made.kinds.engines["lender"] = Lender
    while await other.core.tidy():
        pass
    assert sorted(Lender.taken) == ["child", "root"] and await world.stored(layout.UNFINISHED) == []
    assert len(await world.stored(layout.mount_prefix(nsid))) == 5


async def test_leases_that_a_token_from_above_holds_end_with_it() -> None:
    world, nsid = await furnished()
    await world.policy("p", **{"ns1/lend/*": ["read"]})
    token = await world.token(policies=["p"])
    lease = (await world.ok("GET", "lend/creds/far", token=token, **NS1))["lease_id"]
    assert lease.endswith(f".{nsid}")
    assert await world.status("POST", "sys/leases/lookup", {"lease_id": lease}, **NS1) == 200
    await world.ok("POST", "auth/token/revoke", {"token": token})
    assert Lender.taken == ["far"] and await world.stored("ns/root/token/abroad/") != []
    assert await world.status("POST", "sys/leases/lookup", {"lease_id": lease}, **NS1) == 400


async def test_what_identity_left_half_done_in_a_namespace_is_finished_by_the_tidying() -> None:
    store = Fragile()
    world, nsid = await furnished(store)
    for kind in ("entity", "group"):
        await world.ok("POST", f"identity/{kind}", {"name": "x"}, **NS1)
        store.left = 1
        assert await world.status("DELETE", f"identity/{kind}/name/x", **NS1) == 500
        store.left = -1
    assert len(await world.stored(f"ns/{nsid}/identity/leaving/")) == 2
    other = await world.other()
    while await other.core.tidy():
        pass
    assert await world.stored(f"ns/{nsid}/identity/") == [] and await world.stored(layout.UNFINISHED) == []
