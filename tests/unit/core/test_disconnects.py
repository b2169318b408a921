"""A request that ends where it waits, at each of its waits in turn: what it began shows wholly or not at all."""

import json
from asyncio import CancelledError
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from identity_world import People
from strongroom.core import layout
from strongroom.core.lease_entry import LeaseEntry
from strongroom.core.seal import SealConfig
from strongroom.core.token_entry import TokenEntry
from strongroom.engines.database import GRACE
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.request import Auth, Op, Response
from strongroom.sdk.storage import Write
from unit.core.halting import HaltingStore, StubDatabases, Waits, run_until

CEDAR = "permit(principal, action, resource);"
NS: dict[str, Any] = {"headers": {"X-Vault-Namespace": "lasting"}}


class Bench(People):
    """A vault with one of everything, and what must be true of it at any time."""

    waits: Waits
    log: Path
    databases: StubDatabases

    async def furnish(self) -> None:
        await self.ok("POST", "sys/auth/userpass", {"type": "userpass"})
        self.userpass = (await self.ok("GET", "sys/auth"))["data"]["userpass/"]["accessor"]
        await self.ok("POST", "sys/auth/door", {"type": "door"})
        await self.ok("POST", "sys/mounts/two", {"type": "two"})
        await self.ok("POST", "sys/mounts/secret", {"type": "kv"})
        await self.ok("POST", "sys/mounts/database", {"type": "database"})
        url = "postgresql://{{username}}:{{password}}@db.example/x"
        details = {"plugin_name": "postgresql-database-plugin", "connection_url": url, "allowed_roles": "*"}
        await self.ok("POST", "database/config/pg", {**details, "username": "u", "password": "p"})
        statements = "CREATE ROLE {{name}} LOGIN PASSWORD '{{password}}'"
        await self.ok("POST", "database/roles/app", {"db_name": "pg", "creation_statements": statements})
        await self.ok("POST", "sys/namespaces/lasting")
        await self.ok("PUT", "sys/audit/file", {"type": "file", "options": {"file_path": "log"}})

    async def names(self, folder: str) -> list[str]:
        answer = await self.http("LIST", folder)
        return answer[1]["data"]["keys"] if answer[0] == 200 else []

    async def settled(self) -> None:
        await self.waits.catch_up()
        while await self.core.tidy():
            pass

    async def sound(self) -> None:
        """Nothing is left without what it belongs to, and every request has both its records."""
        barrier: Any = self.core.barrier
        assert not self.core.in_flight and not self.core.directory.held
        users = set(self.databases.stub.users)
        for ns in ("root", *(entry.id for entry in await self.core.directory.children("root"))):
            mounts = {key.rpartition("/")[2] for key in await self.stored(layout.mount_prefix(ns))}
            prefix, leases = layout.token_prefix(ns), layout.lease_prefix(ns)
            tokens = {
                key: msgspec.msgpack.decode(e.value, type=TokenEntry)
                for key, e in await barrier.scan(f"{prefix}id/", limit=10_000)
            }
            pointed = [json.loads(e.value)["id"] for _, e in await barrier.scan(f"{prefix}acc/", limit=10_000)]
            assert sorted(pointed) == sorted(tokens)
            leased = set()
            for key, e in await barrier.scan(f"{leases}id/", limit=10_000):
                lease = msgspec.msgpack.decode(e.value, type=LeaseEntry)
                if lease.kind == "token":
                    leased.add(lease.token)
                    continue
                assert lease.mount in mounts, key
                assert not lease.token or lease.token in tokens, key
                users.discard(lease.private.get("user", ""))
            assert leased == {key for key, entry in tokens.items() if entry.expires}
            assert all(not entry.parent or entry.parent in tokens for entry in tokens.values() if ns == "root")
            intents = [key for key in await self.stored(f"ns/{ns}/data/") if "/intent/" in key]
            users -= {key.rpartition("/")[2] for key in intents}
        assert not users, "users of the database that nothing remembers"
        await self._identity()
        lines = map(json.loads, self.log.read_text().splitlines()[1:])  # the first: of the request that began it
        kinds = Counter((line["request"]["id"], line["type"]) for line in lines)
        asked = {request for request, kind in kinds if kind == "request"}
        assert asked == {request for request, kind in kinds if kind == "response"} and set(kinds.values()) <= {1}
        await self.ok("POST", "secret/goes-on", {"v": "1"})

    async def leased_users(self) -> set[str]:
        rows = await self.core.barrier.scan("ns/root/lease/id/database/", limit=10_000)  # type: ignore[union-attr]
        return {msgspec.msgpack.decode(e.value, type=LeaseEntry).private["user"] for _, e in rows}

    async def _identity(self) -> None:
        store = self.space.identity.store
        ids = set(await store.names_below(store.keys.entity))
        named = [e.value for _, e in await store.storage.scan(store.keys.entity_name, limit=10_000)]
        assert {_pair(value)[0] for value in named} == ids
        held = {alias.id for i in ids for alias in (await store.entity(i)).aliases}
        assert held == set(await store.names_below(store.keys.alias))


def _pair(value: bytes) -> tuple[str, str]:
    return msgspec.msgpack.decode(value, type=tuple[str, str])


class Case:
    """One operation: what it needs, the request, and whether it shows. ``tag`` keeps the runs of it apart."""

    def __init__(self, world: Bench, tag: str) -> None:
        self.world, self.tag = world, tag
        self.token: str | None = None

    async def prepare(self) -> None:
        """Nothing is needed."""

    def request(self) -> tuple[Any, ...]:
        raise NotImplementedError

    async def shows(self) -> bool:
        raise NotImplementedError


class Written(Case):
    """Something with a name that is written at one path and listed or read at another."""

    method, path, body, look, where = "POST", "", {}, "", {}

    def request(self) -> tuple[Any, ...]:
        body = json.loads(json.dumps(self.body).replace("TAG", self.tag))
        return self.method, self.path.replace("TAG", self.tag), body, self.where

    async def shows(self) -> bool:
        status = await self.world.status("GET", self.look.replace("TAG", self.tag), **self.where)
        assert status in (200, 400, 404), status
        return status == 200


class Entity(Written):
    path, body, look = "identity/entity", {"name": "TAG"}, "identity/entity/name/TAG"


class Group(Written):
    path, body, look = "identity/group", {"name": "TAG"}, "identity/group/name/TAG"


class Policy(Written):
    path, look = "sys/policies/acl/TAG", "sys/policies/acl/TAG"
    body = {"policy": 'path "a" {capabilities=["read"]}'}


class Cedar(Written):
    path, body, look, where = "sys/policies/cedar/TAG", {"policy": CEDAR}, "sys/policies/cedar/TAG", NS


class Quota(Written):
    path, look = "sys/quotas/rate-limit/TAG", "sys/quotas/rate-limit/TAG"
    body = {"rate": 1e6, "path": "secret/TAG"}


class Mounted(Written):
    path, body, look = "sys/mounts/TAG", {"type": "kv"}, "sys/mounts/TAG"

    async def shows(self) -> bool:
        shown = await super().shows()
        assert (await self.world.status("POST", f"{self.tag}/a", {"v": "1"}) < 300) is shown
        return shown


class SpaceMade(Written):
    path, look = "sys/namespaces/TAG", "sys/namespaces/TAG"

    async def shows(self) -> bool:
        shown = await super().shows()
        inside = {"headers": {"X-Vault-Namespace": self.tag}}
        assert (await self.world.status("GET", "sys/mounts", **inside) == 200) is shown
        return shown


class SpaceGone(Case):
    async def prepare(self) -> None:
        made = await self.world.ok("POST", f"sys/namespaces/{self.tag}")
        self.id = made["data"]["id"]
        inside = {"headers": {"X-Vault-Namespace": self.tag}}
        await self.world.ok("POST", "sys/mounts/secret", {"type": "kv"}, **inside)

    def request(self) -> tuple[Any, ...]:
        return "DELETE", f"sys/namespaces/{self.tag}", None, {}

    async def shows(self) -> bool:
        left = await self.world.stored(f"ns/{self.id}/")
        gone = await self.world.status("GET", f"sys/namespaces/{self.tag}") == 404
        assert not (gone and left)
        return gone


class Merge(Case):
    async def prepare(self) -> None:
        self.into = await self.world.entity(name=f"{self.tag}-into")
        self.other = await self.world.entity(name=f"{self.tag}-from")
        await self.world.alias(self.tag, self.other)

    def request(self) -> tuple[Any, ...]:
        return "POST", "identity/entity/merge", {"from_entity_ids": [self.other], "to_entity_id": self.into}, {}

    async def shows(self) -> bool:
        gone = await self.world.status("GET", f"identity/entity/id/{self.other}") == 404
        aliases = [alias["name"] for alias in (await self.world.read(f"entity/id/{self.into}"))["aliases"]]
        assert aliases == ([self.tag] if gone else [])
        return gone


class Held(Case):
    """Something that a token does and that leaves tokens or leases; what counts is how many more there are."""

    folder = "ns/root/token/id/"

    async def prepare(self) -> None:
        self.before = len(await self.world.stored(self.folder))

    async def shows(self) -> bool:
        more = len(await self.world.stored(self.folder)) - self.before
        assert more in (0, 1)
        return more == 1


class Door:
    """Lets everybody in, by a new entity each."""

    def __init__(self, mount: Mount) -> None:
        pass

    def routes(self) -> Sequence[Route]:
        return (Route(pattern="login/{name}", ops={Op.UPDATE: self.login}, login=True, strict=False, help="x"),)

    async def login(self, call: Call, args: NoArgs) -> Response:
        name = call.match.params["name"]
        return Response(auth=Auth(policies=("default",), alias=name, display_name=name, renewable=True))


class Login(Held):
    def request(self) -> tuple[Any, ...]:
        self.token = ""
        return "POST", f"auth/door/login/{self.tag}", {}, {}

    async def shows(self) -> bool:
        shown = await super().shows()
        found = await self.world.names("identity/entity-alias/id")  # the entity comes first: no token is without it
        assert found or not shown
        return shown


class TwoSteps:
    """An engine that does in two commits what belongs together: the control."""

    def __init__(self, mount: Mount) -> None:
        self.storage = mount.storage

    def routes(self) -> Sequence[Route]:
        ops = {Op.UPDATE: self.write, Op.READ: self.read}
        return (Route(pattern="pair/{name}", ops=ops, strict=False, help="x"),)

    async def write(self, call: Call, args: NoArgs) -> Response:
        for half in ("left", "right"):
            await self.storage.commit([Write(f"{half}/{call.match.params['name']}", b"1")])
        return Response()

    async def read(self, call: Call, args: NoArgs) -> Response:
        halves = [await self.storage.get(f"{half}/{call.match.params['name']}") for half in ("left", "right")]
        return Response(data={"halves": sum(half is not None for half in halves)})


class Pair(Written):
    path = "two/pair/TAG"

    async def shows(self) -> bool:
        halves: int = (await self.world.ok("GET", f"two/pair/{self.tag}"))["data"]["halves"]
        assert halves in (0, 2), "half done"
        return halves == 2


class TokenMade(Held):
    def request(self) -> tuple[Any, ...]:
        return "POST", "auth/token/create", {"policies": ["default"], "ttl": "1h"}, {}


class Wrapped(Held):
    def request(self) -> tuple[Any, ...]:
        return "GET", "sys/mounts", None, {"headers": {"X-Vault-Wrap-TTL": "60"}}


class Creds(Held):
    folder = "ns/root/lease/id/database/creds/app/"

    def request(self) -> tuple[Any, ...]:
        return "GET", "database/creds/app", None, {}


class LeaseRevoked(Case):
    path = "sys/leases/revoke"

    async def prepare(self) -> None:
        self.lease = (await self.world.ok("GET", "database/creds/app"))["lease_id"]

    def request(self) -> tuple[Any, ...]:
        return "PUT", self.path, {"lease_id": self.lease}, {}

    async def shows(self) -> bool:
        return await self.world.space.leases.get(self.lease) is None


class LeaseRenewed(LeaseRevoked):
    path = "sys/leases/renew"

    async def shows(self) -> bool:
        lease, _ = await self.world.space.leases.get(self.lease)
        assert lease.private["user"] in self.world.databases.stub.users
        return bool(lease.renewed)


class TokenRevoked(Case):
    async def prepare(self) -> None:
        await self.world.policy("reader", **{"database/*": ["read"], "auth/token/*": ["update"]})
        self.parent = await self.world.token(policies=["reader"])
        self.child = await self.world.token(by=self.parent)
        self.lease = (await self.world.ok("GET", "database/creds/app", token=self.child))["lease_id"]

    def request(self) -> tuple[Any, ...]:
        return "POST", "auth/token/revoke", {"token": self.parent}, {}

    async def shows(self) -> bool:
        alive = await self.world.alive(self.parent)
        assert await self.world.alive(self.child) is alive
        assert (await self.world.space.leases.get(self.lease) is not None) is alive
        return not alive


ALL = (
    Login, TokenMade, Wrapped, TokenRevoked, Creds, LeaseRenewed, LeaseRevoked, Entity, Group, Merge, Policy, Cedar,
    Quota, Mounted, SpaceMade, SpaceGone,
)  # fmt: skip


async def bench(tmp_path: Path) -> Bench:
    waits = Waits()
    world = Bench({"audit_dir": str(tmp_path)}, backend=HaltingStore(waits))
    world.waits, world.log = waits, tmp_path / "log"
    world.databases = world.core.databases = StubDatabases(waits)  # type: ignore[assignment]
    world.made.kinds.engines["two"], world.made.kinds.auth["door"] = TwoSteps, Door
    made = await world.core.initialize(SealConfig(1, 1))
    world.root, world.keys = made.root_token, made.keys
    await world.core.submit(made.keys[0])
    await world.furnish()
    return world


def interrupted(world: Bench, case: Case, at: int, how: str, error: BaseException) -> Any:
    method, target, body, where = case.request()
    work = world.raw(method, target, body, token=case.token, **where)
    return run_until(work, world.waits, at=at, how=how, error=error)


async def walk(world: Bench, kind: type[Case]) -> int:
    """End one request of that kind at each of its waits in each way; how many were ended."""
    ended = 0
    for number, (how, error) in enumerate(
        (h, e) for h in ("lost", "kept", "late", "read") for e in (CancelledError, GeneratorExit)
    ):
        at = 0
        while True:
            at += 1
            case = kind(world, f"{kind.__name__.lower()}{number}-{at}")
            await case.prepare()
            outcome = interrupted(world, case, at, how, error())
            if world.waits.count < at:
                assert outcome.status < 300, outcome
                break
            ended += 1
            await world.settled()
            shown = await case.shows()
            await world.sound()
            if not shown:
                method, target, body, where = case.request()
                await world.ok(method, target, body, token=case.token, **where)
                await world.settled()
                assert await case.shows()
        await world.settled()
    return ended


@pytest.mark.parametrize("kind", ALL)
async def test_a_request_that_ends_at_any_wait_shows_wholly_or_not(kind: type[Case], tmp_path: Path) -> None:
    world = await bench(tmp_path)
    assert await walk(world, kind) >= 14
    for _ in range(60):  # users without a lease are dropped a few at a time
        world.clock.tick(GRACE + 1)
        await world.settled()
    assert world.databases.stub.users == await world.leased_users()
    assert not [key for key in await world.stored("ns/") if "/intent/" in key]


async def test_what_is_done_in_two_steps_is_caught(tmp_path: Path) -> None:
    world = await bench(tmp_path)
    with pytest.raises(AssertionError, match="half done"):
        await walk(world, Pair)


async def test_a_user_that_nothing_remembers_is_caught(tmp_path: Path) -> None:
    world = await bench(tmp_path)
    await world.ok("GET", "sys/mounts")
    await world.sound()
    world.databases.stub.users.add("v-stray")
    with pytest.raises(AssertionError, match="nothing remembers"):
        await world.sound()
