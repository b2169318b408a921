"""Leases: of secrets that an engine hands out, and of tokens."""

from typing import Any

import pytest

from strongroom.errors import VaultError
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.request import Lease, Op, Response
from vault_world import World


class Loans:
    """An engine that lends things and remembers what came back."""

    revoked: list[str] = []
    stuck = False

    def __init__(self, mount: Mount) -> None:
        pass

    def routes(self) -> tuple[Route, ...]:
        return (Route(pattern="lend/{name}", ops={Op.READ: self.lend}, help="Lend."),)

    async def lend(self, call: Call, args: NoArgs) -> Response:
        name = call.match.params["name"]
        lease = Lease(ttl=60, max_ttl=200, renewable=name != "fixed", private={"name": name})
        return Response(data={"name": name}, lease=lease)

    async def revoke(self, lease_private: Any) -> None:
        if Loans.stuck:
            raise VaultError("the owner does not answer")
        Loans.revoked.append(lease_private["name"])


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(Loans, "revoked", [])
    monkeypatch.setattr(Loans, "stuck", False)
    world = await World.unsealed()
    world.made.kinds.engines["loans"] = Loans
    await world.ok("POST", "sys/mounts/loans", {"type": "loans"})
    return world


async def lent(world: World, name: str = "book", *, token: str | None = None) -> str:
    answer = await world.ok("GET", f"loans/lend/{name}", token=token)
    assert (answer["lease_duration"], answer["renewable"]) == (60, name != "fixed")
    lease_id = str(answer["lease_id"])
    assert lease_id.startswith(f"loans/lend/{name}/") and len(lease_id.rpartition("/")[2]) == 24
    return lease_id


async def test_look_up_renew_and_revoke(world: World):
    lease_id = await lent(world)
    data = (await world.ok("PUT", "sys/leases/lookup", {"lease_id": lease_id}))["data"]
    assert set(data) == {"id", "issue_time", "expire_time", "last_renewal", "renewable", "ttl"}
    assert (data["ttl"], data["renewable"], data["last_renewal"]) == (60, True, None)
    world.clock.tick(50)
    answer = await world.ok("PUT", "sys/leases/renew", {"lease_id": lease_id, "increment": 100})
    assert (answer["lease_id"], answer["lease_duration"], answer["renewable"]) == (lease_id, 100, True)
    world.clock.tick(90)
    answer = await world.ok("PUT", "sys/renew", {"lease_id": lease_id, "increment": 100})
    assert answer["lease_duration"] == 60  # 200 seconds from the beginning, 140 are over
    await world.ok("PUT", "sys/leases/revoke", {"lease_id": lease_id})
    assert Loans.revoked == ["book"]
    assert await world.refused("PUT", "sys/leases/lookup", {"lease_id": lease_id}) == (400, "invalid lease")
    assert await world.refused("PUT", "sys/leases/renew", {"lease_id": lease_id}) == (400, "lease not found")
    assert await world.status("PUT", "sys/leases/revoke", {"lease_id": lease_id}) == 204
    assert Loans.revoked == ["book"]


@pytest.mark.parametrize("left", [2, 1, 0.999, 0.5, 0, -0.001])
async def test_no_renewal_reaches_beyond_the_maximum(world: World, left: float):
    lease_id = await lent(world)
    end = world.clock() + 200
    for _ in range(3):
        world.clock.tick(50)
        await world.ok("PUT", "sys/leases/renew", {"lease_id": lease_id, "increment": 3600})
    world.clock.time = end - left
    status = await world.status("PUT", "sys/leases/renew", {"lease_id": lease_id, "increment": 3600})
    assert status == (200 if left >= 1 else 400)
    found = await world.space.leases.get(lease_id)
    assert found is not None and found[0].expires <= end


async def test_what_is_not_renewable(world: World):
    lease_id = await lent(world, "fixed")
    assert await world.refused("PUT", "sys/leases/renew", {"lease_id": lease_id}) == (400, "lease is not renewable")


async def test_a_lease_ends_with_its_time(world: World):
    kept = await world.stored("ns/root/lease/")
    await lent(world)
    world.clock.tick(60)
    assert await world.core.tidy() == 1
    assert Loans.revoked == ["book"] and await world.stored("ns/root/lease/") == kept


async def test_leases_end_with_their_token(world: World):
    await world.policy("reader", **{"loans/*": ["read"]})
    token = await world.token(policies=["reader"])
    await lent(world, "mine", token=token)
    await lent(world, "yours")
    await world.ok("POST", "auth/token/revoke", {"token": token})
    assert Loans.revoked == ["mine"]


async def test_listing_and_revoking_by_prefix(world: World):
    for name in ("a", "b", "b"):
        await lent(world, name)
    assert (await world.ok("LIST", "sys/leases/lookup/loans"))["data"]["keys"] == ["lend/"]
    assert (await world.ok("LIST", "sys/leases/lookup/loans/lend"))["data"]["keys"] == ["a/", "b/"]
    assert len((await world.ok("LIST", "sys/leases/lookup/loans/lend/b"))["data"]["keys"]) == 2
    assert await world.status("LIST", "sys/leases/lookup/none") == 404
    await world.ok("PUT", "sys/leases/revoke-prefix/loans/lend/b")
    assert Loans.revoked == ["b", "b"]
    assert (await world.ok("LIST", "sys/leases/lookup/loans/lend"))["data"]["keys"] == ["a/"]


async def test_prefix_means_whole_names(world: World):
    await lent(world, "ab")
    await world.ok("PUT", "sys/leases/revoke-prefix/loans/lend/a")
    assert Loans.revoked == []


async def test_a_failing_revocation_is_tried_again_and_can_be_forced(world: World):
    Loans.stuck = True
    lease_id = await lent(world)
    assert await world.status("PUT", "sys/leases/revoke", {"lease_id": lease_id}) == 204  # it will be tried again
    more = {"lease_id": lease_id, "sync": True}
    assert await world.refused("PUT", "sys/leases/revoke", more) == (500, "the owner does not answer")
    assert (await world.ok("PUT", "sys/leases/lookup", {"lease_id": lease_id}))["data"]["id"] == lease_id
    assert await world.status("PUT", "sys/leases/revoke-prefix/loans") == 204
    assert await world.status("PUT", "sys/leases/revoke-prefix/loans", {"sync": True}) == 500
    await world.ok("PUT", "sys/leases/revoke-force/loans")
    assert await world.status("PUT", "sys/leases/lookup", {"lease_id": lease_id}) == 400
    assert Loans.revoked == []


async def test_tidying_goes_on_past_a_lease_that_fails_and_counts_it_in_the_end(world: World):
    lease_id = await lent(world)
    token = await world.token(policies=["a"], ttl=60)
    Loans.stuck = True
    for _ in range(8):
        world.clock.tick(3600)
        await world.core.tidy()
    assert world.space.tokens.hash(token) not in "\n".join(await world.stored("ns/root/"))
    count = (await world.ok("GET", "sys/leases/count?type=irrevocable"))["data"]
    accessor = world.space.mounts.entries["loans/"].accessor
    assert count == {"lease_count": 1, "counts": {accessor: 1}}
    shown = (await world.ok("GET", "sys/leases?type=irrevocable"))["data"]
    row = {"lease_id": lease_id, "mount_id": accessor, "error": "the owner does not answer"}
    assert shown == {"lease_count": 1, "leases": [row]}
    assert await world.status("GET", "sys/leases/count") == 404
    assert await world.status("GET", "sys/leases?type=irrevocable&limit=x") == 400
    assert await world.status("GET", "sys/leases/count") == await world.status("GET", "sys/leases") == 404
    Loans.stuck = False
    await world.ok("PUT", "sys/leases/revoke", {"lease_id": lease_id})
    assert (await world.ok("GET", "sys/leases/count?type=irrevocable"))["data"]["lease_count"] == 0


async def test_disabling_a_mount_ends_its_leases(world: World):
    await lent(world)
    await world.ok("DELETE", "sys/mounts/loans")
    assert Loans.revoked == ["book"] and not [k for k in await world.stored("ns/root/lease/") if "loans" in k]


async def test_a_token_has_a_lease(world: World):
    auth = await world.create(policies=["a"], ttl=100)
    names = (await world.ok("LIST", "sys/leases/lookup/auth/token/create"))["data"]["keys"]
    lease_id = f"auth/token/create/{names[0]}"
    assert len(names) == 1 and auth["client_token"] not in lease_id
    assert (await world.ok("PUT", "sys/leases/lookup", {"lease_id": lease_id}))["data"]["ttl"] == 100
    world.clock.tick(50)
    answer = await world.ok("PUT", "sys/leases/renew", {"lease_id": lease_id})
    assert (answer["lease_duration"], answer["auth"]) == (100, None)
    assert (await world.ok("PUT", "sys/leases/lookup", {"lease_id": lease_id}))["data"]["ttl"] == 100
    await world.ok("PUT", "sys/leases/revoke", {"lease_id": lease_id})
    assert not await world.alive(auth["client_token"])


async def test_tokens_of_a_login_path_are_revoked_by_prefix(world: World):
    await world.ok("POST", "sys/auth/userpass", {"type": "userpass"})
    for name in ("bob", "eve"):
        await world.ok("POST", f"auth/userpass/users/{name}", {"password": "correct horse"})
    login = {"password": "correct horse"}
    tokens = {
        name: (await world.ok("POST", f"auth/userpass/login/{name}", login, token=""))["auth"]["client_token"]
        for name in ("bob", "eve")
    }
    await world.ok("PUT", "sys/leases/revoke-prefix/auth/userpass/login/bob")
    assert (await world.alive(tokens["bob"]), await world.alive(tokens["eve"])) == (False, True)
    await world.ok("DELETE", "sys/auth/userpass")
    assert not await world.alive(tokens["eve"])


async def test_sudo_is_needed_where_vault_needs_it(world: World):
    await world.policy("p", **{"sys/leases/*": ["create", "read", "update", "list"]})
    token = await world.token(policies=["p"])
    for method, path in (
        ("LIST", "lookup/loans"), ("PUT", "revoke-prefix/x"), ("PUT", "revoke-force/x"), ("PUT", "tidy"),
        ("GET", "count"),
    ):  # fmt: skip
        assert await world.status(method, f"sys/leases/{path}", {}, token=token) == 403
    assert await world.status("PUT", "sys/leases/revoke", {"lease_id": "x"}, token=token) == 204


async def test_a_mount_whose_leases_cannot_be_undone_keeps_its_data_until_they_are(world: World):
    lease_id = await lent(world)
    Loans.stuck = True
    assert await world.status("DELETE", "sys/mounts/loans") == 500
    assert await world.status("GET", "loans/lend/book") == 404  # it answers no more
    await world.core.tidy()
    assert await world.space.leases.get(lease_id) is not None
    assert await world.status("POST", "sys/mounts/loans", {"type": "loans"}) == 400  # and its place is not free
    assert await world.status("DELETE", "sys/mounts/loans") == 500
    Loans.stuck = False
    world.clock.tick(1)  # until then the mount is left alone
    await world.core.tidy()
    assert Loans.revoked == ["book"] and await world.space.leases.get(lease_id) is None
    await world.ok("POST", "sys/mounts/loans", {"type": "loans"})


async def test_leases_that_nobody_can_undo_do_not_hold_up_the_others(world: World):
    Loans.stuck = True
    for _ in range(5):
        await lent(world)
    for _ in range(8):
        world.clock.tick(3600)
        await world.core.tidy()
    Loans.stuck = False
    await lent(world, "late")
    world.clock.tick(60)
    assert await world.space.expiry.tidy() == 1
    assert Loans.revoked == ["late"]
