"""Threats against requests, tokens and leases: what the core must refuse, whatever the client sends."""

import gc
import gzip
import json
import re
import threading
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from strongroom import SealConfig, Vault
from strongroom.errors import PermissionDenied, VaultError
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.request import Op, Request, Response
from strongroom.storage.memory import MemoryStore
from vault_world import World

GUESSES = (
    "root",
    "s.root",
    "hvs.root",
    "token",
    "dev-only-token",
    "password",
    "admin",
    "vault",
    "strongroom",
    "changeme",
)
MERGE = {"Content-Type": "application/merge-patch+json"}
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 10**30, 1.5, "", "\u0000", "ROOT", "-1", "1e999", "9" * 400, "ÿ\u202e", "../..", "{{x}}",
    "x" * 5000, [], [None], [[]], ["a", 1], {}, {"a": None}, {"versions": [0]},
)  # fmt: skip


@pytest.fixture
async def world() -> World:
    return await World.unsealed()


async def test_sec_ghsa_j59h_nothing_that_ships_lets_anybody_in() -> None:
    first, second = await World.unsealed(), await World.unsealed()
    assert first.root != second.root and first.keys != second.keys
    assert await first.alive(first.root)
    for guess in (*GUESSES, second.root, "0" * 24):
        assert not await first.alive(guess)
    sealed = World()
    await sealed.core.initialize(SealConfig(1, 1))
    for share in ("00" * 32, "ff" * 32, second.keys[0]):
        assert await sealed.status("PUT", "sys/unseal", {"key": share}) == 400
        assert sealed.core.sealed


async def test_sec_ghsa_rh46_no_method_reaches_what_has_none(world: World) -> None:
    """Words of the inside are no methods, whatever header or field repeats them; and no token comes of trying."""
    await world.ok("POST", "sys/auth/userpass", {"type": "userpass"})
    before = len(await world.stored("ns/root/token/"))
    inner = (
        "CREATE",
        "UPDATE",
        "UNKNOWN",
        "RENEW",
        "REVOKE",
        "ROLLBACK",
        "INTERNAL",
        "ALIAS-LOOKAHEAD",
        "TRACE",
    )
    for method in inner:
        for path in ("auth/userpass/login/bob", "auth/token/create", "sys/mounts", "sys/seal"):
            assert await world.status(method, path, {"password": "x"}) in (400, 405), (method, path)
    for header in ("X-HTTP-Method-Override", "X-Http-Method", "X-Vault-Operation"):
        assert await world.status("GET", "auth/token/create", headers={header: "POST"}) == 405
    assert len(await world.stored("ns/root/token/")) == before
    assert await world.status("POST", "auth/token/create", {}) == 200
    assert len(await world.stored("ns/root/token/")) > before


async def test_sec_cve_2025_44005_a_check_that_fails_stops_the_request(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step in turn raises, refused or broken: nothing after it happens."""
    await world.ok("POST", "sys/mounts/kv", {"type": "kv"})
    steps = [bound.__self__ for _, bound in world.core.pipeline._pre]
    assert len(steps) >= 5
    for number, step in enumerate(steps):
        for error in (PermissionDenied(), RuntimeError("broken")):

            async def fails(call: Call, error: Exception = error) -> None:
                raise error

            with monkeypatch.context() as patch:
                patch.setattr(world.core.pipeline, "_pre", replaced(world.core.pipeline._pre, number, fails))
                with pytest.raises((VaultError, RuntimeError)):
                    await world.core.handle(write("kv/x", world.root))
            assert await world.status("GET", "kv/x") == 404, type(step).__name__
    await world.core.handle(write("kv/x", world.root))
    assert await world.status("GET", "kv/x") == 200


def replaced(steps: Sequence[Any], number: int, step: Any) -> list[Any]:
    return [*steps[:number], (None, step), *steps[number + 1 :]]


def write(path: str, token: str) -> Any:
    return Request(id="r", op=Op.UPDATE, path=path, body=b'{"a":"b"}', token=token)


async def test_sec_cve_2020_25594_a_stranger_cannot_tell_what_is_there(world: World) -> None:
    await world.ok("POST", "sys/mounts/there", {"type": "kv"})
    await world.ok("POST", "there/x", {"a": "b"})
    for method in ("GET", "LIST", "POST", "PUT", "PATCH", "DELETE"):
        for token in ("", "hvs.neverIssuedNeverIssued00"):
            how: Any = {"token": token, "headers": MERGE if method == "PATCH" else {}}
            known = [await world.http(method, path, **how) for path in ("there/x", "there/none", "sys/mounts")]
            nowhere = await world.http(method, "nowhere/x", **how)
            assert nowhere[0] == 403 and known == [nowhere] * 3, method
    for path in ("sys/health", "sys/seal-status", "sys/init", "sys/leader"):
        _, body = await world.http("GET", path, token="")
        assert "there" not in json.dumps(body) and "127.0.0.1" not in json.dumps(body)
    assert (await world.http("GET", "there/x"))[0] == 200 and (await world.http("GET", "nowhere/x"))[0] == 404


async def test_sec_cve_2024_55949_a_child_has_no_right_its_parent_lacks(world: World) -> None:
    await world.policy("maker", **{"auth/token/create": ["create", "update"], "auth/token/create-orphan": ["update"]})
    await world.policy("more", **{"secret/*": ["read"]})
    parent = await world.token(policies=["maker"], ttl=600)
    for wanted in (["more"], ["root"], ["maker", "more"], ["ROOT"], [" root"], ["default", "root"]):
        assert await world.status("POST", "auth/token/create", {"policies": wanted}, token=parent) in (400, 403), wanted
    for body in ({"id": "chosen"}, {"no_parent": True}, {"period": "1h"}):
        assert await world.status("POST", "auth/token/create", body, token=parent) in (400, 403), body
    child = await world.create(by=parent, policies=["maker", "default"], ttl=10_000)
    assert set(child["policies"]) <= {"maker", "default"}
    assert await world.alive(child["client_token"])
    await world.ok("POST", "auth/token/revoke", {"token": parent})
    assert not await world.alive(child["client_token"])


async def test_sec_cve_2023_27589_no_name_shadows_a_reserved_one(world: World) -> None:
    assert await world.status("POST", "auth/token/create", {"id": world.root, "policies": ["default"]}) == 400
    for path in ("sys", "sys/x", "auth", "auth/x", "cubbyhole", "identity", "identity/x"):
        assert await world.status("POST", f"sys/mounts/{path}", {"type": "kv"}) == 400, path
    assert await world.status("POST", "sys/auth/token", {"type": "userpass"}) == 400
    for path in ("sys/policies/acl/root", "sys/policy/root"):
        assert await world.status("PUT", path, {"policy": 'path "x" { capabilities = ["read"] }'}) == 400
    await world.ok("POST", "sys/mounts/fine", {"type": "kv"})
    assert await world.alive(world.root)


async def test_sec_cve_2021_32923_a_renewal_at_the_last_moment_does_not_outlive_the_maximum(world: World) -> None:
    for before in (2, 1, 0.999, 0.5, 0.001):
        born = world.clock.time
        token = await world.token(policies=["default"], ttl=100, explicit_max_ttl=100)
        world.clock.tick(100 - before)
        await world.status("POST", "auth/token/renew-self", {"increment": "768h"}, token=token)
        shown = (await world.ok("POST", "auth/token/lookup", {"token": token}))["data"]
        assert shown["expire_time"] is not None and 0 <= shown["ttl"] <= 2
        world.clock.time = born + 100.001
        assert not await world.alive(token), before
    gone = await world.token(policies=["default"], ttl=100)
    world.clock.tick(100)
    assert await world.status("POST", "auth/token/renew", {"token": gone}) in (400, 403)
    assert not await world.alive(gone)


async def test_sec_cve_2020_7220_a_removed_mount_leaves_no_token_and_no_lease(world: World) -> None:
    await world.ok("POST", "sys/auth/people", {"type": "userpass"})
    await world.ok("POST", "auth/people/users/ann", {"password": "a password", "token_policies": "default"})
    tokens = []
    for _ in range(3):
        _, body = await world.http("POST", "auth/people/login/ann", {"password": "a password"}, token="")
        tokens.append(body["auth"]["client_token"])
    assert len((await world.ok("LIST", "sys/leases/lookup/auth/people/login/ann"))["data"]["keys"]) == 3
    await world.ok("DELETE", "sys/auth/people")
    assert [await world.alive(token) for token in tokens] == [False] * 3
    await world.core.tidy()
    assert await world.status("LIST", "sys/leases/lookup/auth/people/login/ann") == 404
    assert not [key for key in await world.stored("ns/root/lease/") if "people" in key]


@pytest.mark.parametrize("asked", [0, 50, 500, 5000])
@pytest.mark.parametrize("mount_max", [0, 100, 1000])
@pytest.mark.parametrize("explicit", [0, 60, 600])
async def test_sec_cve_2020_12757_the_shortest_limit_holds(asked: int, mount_max: int, explicit: int) -> None:
    world = await World.unsealed({"default_lease_ttl": 300, "max_lease_ttl": 2000})
    if mount_max:
        await world.ok("POST", "sys/auth/token/tune", {"max_lease_ttl": mount_max})
    fields = {"ttl": asked} if asked else {}
    auth = await world.create(policies=["default"], explicit_max_ttl=explicit, **fields)
    limit = min(value for value in (2000, mount_max, explicit) if value)
    assert auth["lease_duration"] == min(asked or 300, limit)


class Nosy:
    """An engine that keeps all it is shown."""

    def __init__(self, mount: Mount) -> None:
        self.seen: list[str] = SEEN

    def routes(self) -> Sequence[Route]:
        return [Route(pattern="{x...}", ops={Op.READ: self.look, Op.UPDATE: self.look}, help="Looks.", strict=False)]

    async def look(self, call: Call, args: NoArgs) -> Response:
        caller = call.caller
        shown = {name: repr(getattr(caller, name)) for name in getattr(caller, "__struct_fields__", ())}
        self.seen.append(f"{call.request.token} {dict(call.request.headers)} {call.request.data} {call.notes} {shown}")
        return Response(data={"ok": True})

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """Nothing is leased."""


SEEN: list[str] = []


async def test_sec_cve_2026_4525_an_engine_never_sees_the_token(world: World) -> None:
    world.made.kinds.engines["nosy"] = Nosy
    await world.ok("POST", "sys/mounts/nosy", {"type": "nosy"})
    await world.ok("POST", "sys/mounts/nosy/tune", {"passthrough_request_headers": ["Authorization", "X-Vault-Token"]})
    SEEN.clear()
    token = await world.token(policies=["root"])
    await world.ok("GET", "nosy/a", token=token)
    await world.ok("POST", "nosy/a", {"x": "y"}, token="", headers={"Authorization": f"Bearer {token}"})
    assert len(SEEN) == 2 and "'x': 'y'" in SEEN[1]
    assert not [text for text in SEEN if token in text]


@pytest.fixture
def vault() -> Iterator[Vault]:
    with Vault({"memory": {}}) as one:
        made = one.init(SealConfig(secret_shares=1, secret_threshold=1))
        one.unseal(made.keys[0])
        one.set_token(made.root_token)
        yield one


def test_sec_revocation_races_nothing_below_a_revoked_token_lives(vault: Vault) -> None:
    """Threads make children and renew while the parent is revoked; afterwards nobody of them gets in."""
    vault.write(
        "sys/policies/acl/maker", {"policy": 'path "auth/token/*" { capabilities = ["create", "update", "sudo"] }'}
    )
    for _ in range(20):
        parent = client_token(vault.write("auth/token/create", {"policies": ["maker"], "ttl": "1h"}))
        family = [parent]
        start = threading.Barrier(4)

        def breed(parent: str = parent, family: list[str] = family, start: Any = start) -> None:
            start.wait()
            for _ in range(8):
                try:
                    family.append(client_token(vault.write("auth/token/create", {}, token=family[-1])))
                    vault.write("auth/token/renew-self", {}, token=parent)
                except VaultError:
                    return

        def revoke(parent: str = parent, start: Any = start) -> None:
            start.wait()
            vault.write("auth/token/revoke", {"token": parent})

        threads = [threading.Thread(target=breed) for _ in range(3)] + [threading.Thread(target=revoke)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        for token in family:
            with pytest.raises(PermissionDenied):
                vault.read("auth/token/lookup-self", token=token)
    assert vault.read("auth/token/lookup-self") is not None


def client_token(response: Response) -> str:
    assert response.auth is not None
    return response.auth.client_token


async def test_sec_cve_2023_6337_a_json_bomb_is_refused_for_what_it_costs(world: World) -> None:
    await world.ok("POST", "sys/mounts/kv", {"type": "kv"})
    bombs = {
        "deep": b'{"a":' * 65 + b"1" + b"}" * 65,
        "many": b'{"a":[' + b"{}," * 50_000 + b"{}]}",
        "keys": b"{" + b",".join(b'"k%d":1' % n for n in range(50_001)) + b"}",
        "nan": b'{"a":NaN}',
        "infinity": b'{"a":-Infinity}',
        "twice": b'{"a":1,"a":2}',
        "surrogate": b'{"a":"\\ud800"}',
        "bytes": b'{"a":"\xff"}',
        "tail": b'{"a":1} x',
        "list": b"[1]",
    }
    for name, body in bombs.items():
        status, answer = await world.http("POST", "kv/bomb", body)
        assert status == 400 and len(json.dumps(answer)) < 500, name
    assert await world.status("GET", "kv/bomb") == 404
    await world.ok("POST", "kv/bomb", b'{"a":' * 60 + b"1" + b"}" * 60)
    many = b"{" + b",".join(b'"k%d":1' % n for n in range(20_000)) + b"}"
    await world.ok("POST", "kv/bomb", many)


async def test_sec_cve_2023_5954_memory_does_not_grow_with_the_paths_asked_for(world: World) -> None:
    await world.policy("some", **{"secret/+/x": ["read"], "secret/a/*": ["read"]})
    token = await world.token(policies=["some"])

    async def ask(first: int, count: int) -> None:
        for number in range(first, first + count):
            assert await world.status("GET", f"secret/{number}/{'y' * 200}", token=token) == 403

    await ask(0, 300)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        await ask(300, 3000)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        kept = ["z" * 200 + str(number) for number in range(3000)]  # what keeping the paths would cost
        assert grown < 200_000 < tracemalloc.get_traced_memory()[0] - before - grown
        assert len(kept) == 3000
    finally:
        tracemalloc.stop()


async def test_sec_cve_2026_55776_no_parameter_breaks_a_route(world: World) -> None:
    """Every route of the house, every operation, every field with odd values: 2xx or 4xx, never a 5xx."""
    for path, body in (
        ("sys/mounts/kv", {"type": "kv"}), ("sys/mounts/kv2", {"type": "kv", "options": {"version": "2"}}),
        ("sys/auth/userpass", {"type": "userpass"}), ("sys/auth/approle", {"type": "approle"}),
        ("auth/userpass/users/ann", {"password": "a password"}), ("auth/approle/role/ann", {}),
        ("kv2/data/ann", {"data": {"a": 1}}),
    ):  # fmt: skip
        await world.ok("POST", path, body)
    broken = []
    for target, route in routes(world):
        for op, method in ((Op.UPDATE, "POST"), (Op.PATCH, "PATCH")):
            if op not in route.ops:
                continue
            for body in bodies(route):
                try:
                    status = await world.status(method, target, body, headers=MERGE if op is Op.PATCH else {})
                except Exception as error:  # the door would answer 500
                    status = f"{type(error).__name__}: {error}"
                if target.startswith("sys/quotas/"):  # or all that follows would be 429
                    await world.status("DELETE", target)
                if isinstance(status, str) or status in (500, 502):
                    broken.append(f"{method} {target} {str(body)[:80]} -> {status}")
    assert not broken, "\n".join(broken)
    assert await world.status("GET", "auth/token/lookup-self") == 200


def routes(world: World) -> Iterator[tuple[str, Route]]:
    """Every route with its path filled in, but those that end the session."""
    ending = ("seal", "step-down", "revoke", "unseal", "init", "rekey", "rotate", "generate", "remount", "quit")
    for path, mount in world.core.router("root").mounts.items():
        for _, route in mount.routes:
            if not route.pattern.startswith(ending):
                yield path + fill(route.pattern), route


def fill(pattern: str) -> str:
    return re.sub(r"\{\w+(\.\.\.)?\}", "ann", pattern).rstrip("/")


def bodies(route: Route) -> Iterator[dict[str, Any]]:
    """Each field with each odd value; free-form routes get the values under one name."""
    names = [
        field for field in getattr(route.args, "__struct_encode_fields__", ()) if f"{{{field}" not in route.pattern
    ]
    for name in names or ["data"]:
        for odd in ODD:
            if not (name in ("id", "root") and odd == "ROOT"):
                yield {name: odd}


async def test_sec_silo_101_strangers_cost_no_look_into_the_store() -> None:
    """Without a token nothing is read, and nothing is kept, however many paths and origins are tried."""

    class Counting(MemoryStore):
        reads = 0

        async def get(self, key: str) -> Any:
            type(self).reads += 1
            return await super().get(key)

    world = await World.unsealed(backend=Counting())
    await world.status("GET", "secret/first", token="")
    before, Counting.reads = Counting.reads, 0
    assert before > 0
    for number in range(500):
        origin = {"Origin": f"https://{number}.example"}
        assert await world.status("GET", f"secret/{number}", token="", headers=origin) == 403
    assert Counting.reads == 0


async def test_sec_ghsa_jqmc_what_shows_the_inside_needs_a_right(world: World) -> None:
    nobody = await world.token(policies=["default"])
    inside = (
        "sys/metrics", "sys/pprof/heap", "sys/pprof/profile", "sys/in-flight-req", "sys/host-info",
        "sys/loggers", "sys/monitor", "sys/config/state/sanitized", "sys/internal/counters/tokens", "sys/raw/core",
        "sys/key-status",
    )  # fmt: skip
    for path in inside:
        for token in ("", nobody):
            assert await world.status("GET", path, token=token) == 403, path
    assert await world.status("GET", "sys/host-info") == 200


async def test_sec_cve_2026_39414_nothing_is_unpacked(world: World) -> None:
    await world.ok("POST", "sys/mounts/kv", {"type": "kv"})
    bomb = gzip.compress(b'{"a":"' + b"x" * 1_000_000 + b'"}')
    assert len(bomb) < 2000
    for coding in ("gzip", "deflate", "br"):
        status, answer = await world.http("POST", "kv/x", bomb, headers={"Content-Encoding": coding})
        assert 400 <= status < 500 and len(json.dumps(answer)) < 500
    assert await world.status("GET", "kv/x") == 404
    await world.ok("POST", "kv/x", b'{"a":"b"}')


async def test_sec_cve_2025_4656_strangers_begin_and_cancel_nothing(world: World) -> None:
    nobody = await world.token(policies=["default"])
    begin = {"sys/rekey/init": {"secret_shares": 1, "secret_threshold": 1}, "sys/generate-root/attempt": {}}
    for path, body in begin.items():
        for token in ("", nobody):
            assert await world.status("PUT", path, body, token=token) == 403
        assert (await world.ok("GET", path))["started"] is False
        await world.ok("PUT", path, body)
        for token in ("", nobody):
            assert await world.status("DELETE", path, token=token) == 403
        assert (await world.ok("GET", path))["started"] is True
        await world.ok("DELETE", path)
        assert (await world.ok("GET", path))["started"] is False
