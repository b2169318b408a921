"""Threats around leases (docs/threat-model.md, A4)."""

import itertools
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from postgres_server import PASSWORD, PostgresServer, folder_of_programs
from strongroom import SealConfig, Vault
from strongroom.errors import VaultError
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.request import Lease, Op, Response
from vault_world import World

CREATE = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    if folder_of_programs() is None:
        pytest.skip("no PostgreSQL server is installed (package postgresql)")
    with PostgresServer() as server:
        yield server


async def with_database(postgres: PostgresServer, config: dict[str, Any] | None = None, **role: Any) -> World:
    world = await World.unsealed(config)
    await world.ok("POST", "sys/mounts/database", {"type": "database"})
    details = {"plugin_name": "postgresql-database-plugin", "connection_url": postgres.url, "allowed_roles": "*"}
    await world.ok("POST", "database/config/pg", {**details, "username": "postgres", "password": PASSWORD})
    await world.ok("POST", "database/roles/app", {"db_name": "pg", "creation_statements": CREATE, **role})
    return world


async def test_sec_cve_2020_25816_database_users_end_with_a_batch_token(postgres: PostgresServer) -> None:
    world = await with_database(postgres)
    await world.policy("reader", **{"database/creds/*": ["read"]})
    token = await world.token(policies=["reader"], type="batch", ttl=2)
    data = (await world.ok("GET", "database/creds/app", token=token))["data"]
    assert postgres.logs_in(data["username"], data["password"])
    world.clock.tick(3)
    await world.core.tidy()
    assert not postgres.logs_in(data["username"], data["password"])


async def test_sec_cve_2020_25816_the_parents_end_takes_them_too(postgres: PostgresServer) -> None:
    world = await with_database(postgres)
    await world.policy("reader", **{"database/creds/*": ["read"], "auth/token/create": ["update"]})
    parent = await world.token(policies=["reader"])
    token = await world.token(by=parent, policies=["reader"], type="batch", ttl=600)
    data = (await world.ok("GET", "database/creds/app", token=token))["data"]
    await world.ok("POST", "auth/token/revoke", {"token": parent})
    assert not postgres.logs_in(data["username"], data["password"])


async def test_sec_cve_2020_7220_a_removed_mount_leaves_no_database_users(postgres: PostgresServer) -> None:
    before = postgres.roles()
    world = await with_database(postgres)
    for _ in range(3):
        await world.ok("GET", "database/creds/app")
    made = postgres.roles() - before
    assert len(made) == 3
    postgres.stop()
    try:
        assert await world.status("DELETE", "sys/mounts/database") == 502
        assert await world.status("GET", "database/creds/app") == 404
        assert len([key for key in await world.stored("ns/root/lease/id/") if "/creds/" in key]) == 3
    finally:
        postgres.start()
    for _ in range(3):
        world.clock.tick(61)
        await world.core.tidy()
    assert postgres.roles() == before
    assert not [key for key in await world.stored("ns/root/") if "/creds/" in key]
    await world.ok("POST", "sys/mounts/database", {"type": "database"})  # the place is free again


class Lent:
    """An engine that lends with the TTLs that its path says."""

    def __init__(self, mount: Mount) -> None:
        pass

    def routes(self) -> tuple[Route, ...]:
        return (Route(pattern="lend/{ttl}/{most}", ops={Op.READ: self.lend}, help="Lend."),)

    async def lend(self, call: Call, args: NoArgs) -> Response:
        ttl, most = int(call.match.params["ttl"]), int(call.match.params["most"])
        return Response(data={}, lease=Lease(ttl=ttl, max_ttl=most))

    async def revoke(self, lease_private: Any) -> None:
        """Nothing to undo."""


async def test_sec_cve_2020_12757_a_lease_lives_as_long_as_the_least_of_all_allows() -> None:
    """81 cases: default and maximum of the role and of the mount, each unset, lower or higher than the others."""
    system_default, system_max = 600, 1200
    world = await World.unsealed({"default_lease_ttl": "600s", "max_lease_ttl": "1200s"})
    world.made.kinds.engines["lent"] = Lent
    await world.ok("POST", "sys/mounts/lent", {"type": "lent"})
    cases = 0
    for mount_default, mount_max in itertools.product((0, 300, 900), (0, 400, 1100)):
        tuned = {"default_lease_ttl": mount_default, "max_lease_ttl": mount_max}
        if mount_max and mount_default > mount_max:
            assert await world.status("POST", "sys/mounts/lent/tune", tuned) == 400
            cases += 9
            continue
        await world.ok("POST", "sys/mounts/lent/tune", tuned)
        for ttl, most in itertools.product((0, 100, 5000), (0, 200, 9000)):
            longest = min(most or 10**9, mount_max or system_max)
            expected = min(ttl or mount_default or system_default, longest)
            answer = await world.ok("GET", f"lent/lend/{ttl}/{most}")
            assert answer["lease_duration"] == expected, (mount_default, mount_max, ttl, most)
            world.clock.tick(50)
            renewed = await world.ok("PUT", "sys/renew", {"lease_id": answer["lease_id"], "increment": 10**6})
            assert renewed["lease_duration"] == longest - 50
            cases += 1
    assert cases == 81


@pytest.mark.parametrize("left", [2, 1, 0.999, 0.5, 0, -0.001])
async def test_sec_cve_2021_32923_no_lease_is_stored_without_an_end(left: float) -> None:
    world = await World.unsealed()
    world.made.kinds.engines["lent"] = Lent
    await world.ok("POST", "sys/mounts/lent", {"type": "lent"})
    lease_id = (await world.ok("GET", "lent/lend/100/200"))["lease_id"]
    end = world.clock() + 200
    world.clock.tick(90)
    await world.ok("PUT", "sys/leases/renew", {"lease_id": lease_id, "increment": 200})
    world.clock.time = end - left
    status = await world.status("PUT", "sys/leases/renew", {"lease_id": lease_id, "increment": 3600})
    assert status == (200 if left >= 1 else 400)
    found = await world.space.leases.get(lease_id)
    assert found is not None and 0 < found[0].expires <= end
    world.clock.time = end + 1
    await world.core.tidy()
    assert await world.space.leases.get(lease_id) is None


class Held:
    """An engine that knows what is lent at this moment, in all threads."""

    held: set[str] = set()
    lock = threading.Lock()
    count = itertools.count()

    def __init__(self, mount: Mount) -> None:
        pass

    def routes(self) -> tuple[Route, ...]:
        return (Route(pattern="lend", ops={Op.READ: self.lend}, help="Lend."),)

    async def lend(self, call: Call, args: NoArgs) -> Response:
        name = str(next(self.count))
        with self.lock:
            self.held.add(name)
        return Response(data={}, lease=Lease(ttl=3600, max_ttl=3600, private={"name": name}))

    async def revoke(self, lease_private: Any) -> None:
        with self.lock:
            self.held.discard(str(lease_private["name"]))


THREADS = 200


def test_sec_revocation_races_of_200_threads_leave_nothing_of_the_subtree(tmp_path: Any) -> None:
    """Children, grandchildren and leases are made while their parent is revoked: afterwards none of them works."""
    with Vault({"lmdb": {"path": str(tmp_path / "data"), "sync": False}}) as vault:
        made = vault.init(SealConfig(1, 1))
        vault.unseal(made.keys[0])
        vault.set_token(made.root_token)
        vault.add_engine("held", Held)
        vault.mount("held", "held")
        rules = 'path "held/lend" { capabilities = ["read"] } path "auth/token/create" { capabilities = ["update"] }'
        vault.write("sys/policies/acl/p", {"policy": rules})
        outside = _child(vault, made.root_token)
        lent_outside = vault.read("held/lend", token=outside)
        assert lent_outside is not None
        for _ in range(3):
            parent = _child(vault, made.root_token)
            tokens = [parent]
            ready = threading.Barrier(THREADS + 1)
            threads = [threading.Thread(target=_grow, args=(vault, tokens, ready, n)) for n in range(THREADS)]
            for thread in threads:
                thread.start()
            ready.wait()
            deadline = time.monotonic() + 30
            while len(tokens) < 50 and time.monotonic() < deadline:
                time.sleep(0.001)  # polled: the revocation must fall into the middle of it
            vault.write("auth/token/revoke", {"token": parent})
            for thread in threads:
                thread.join(60)
                assert not thread.is_alive()
            assert len(tokens) > 50, "nothing was made before the revocation, so nothing was tested"
            assert not [token for token in tokens if _works(vault, token)]
            while vault.tidy():
                pass
            assert len(Held.held) == 1, "a lease outlived its token"
        assert _works(vault, outside)  # the control: what is not of the subtree stands
        vault.write("sys/leases/revoke", {"lease_id": lent_outside.lease_id})
        assert not Held.held


def _child(vault: Vault, by: str) -> str:
    answer = vault.write("auth/token/create", {"policies": ["p"], "ttl": "1h"}, token=by)
    assert answer.auth is not None
    return answer.auth.client_token


def _grow(vault: Vault, tokens: list[str], ready: threading.Barrier, seed: int) -> None:
    """Make children and leases of any token of the tree until the tree is gone."""
    pick = random.Random(seed)
    ready.wait()
    failures = 0
    while failures < 3:
        token = pick.choice(tokens[-100:])
        try:
            if pick.random() < 0.5:
                tokens.append(_child(vault, token))
            else:
                vault.read("held/lend", token=token)
        except VaultError:
            failures += 1


def _works(vault: Vault, token: str) -> bool:
    try:
        return vault.read("auth/token/lookup-self", token=token) is not None
    except VaultError:
        return False
