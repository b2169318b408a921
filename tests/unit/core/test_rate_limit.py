"""sys/quotas and what rate limits do to requests."""

from typing import Any

import msgspec
import pytest

from strongroom.core.quota_entry import EXEMPT
from strongroom.core.rate_limit import MAX_ROLE_BODY, RateLimit, network
from strongroom.sdk.request import Op, Request
from vault_world import World

OVER = 'request path "{}": rate limit quota exceeded'


@pytest.fixture
async def world() -> World:
    world = await World.unsealed()
    await world.ok("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "1"}})
    await world.ok("POST", "kv/a", {"x": 1})
    return world


async def limit(world: World, name: str = "q", **fields: Any) -> None:
    await world.ok("POST", f"sys/quotas/rate-limit/{name}", {"rate": 1, "interval": "10s", **fields})


async def passed(world: World, method: str, path: str, times: int = 5, body: Any = None, **options: Any) -> int:
    """How many of ``times`` requests got through."""
    answers = [await world.status(method, path, body, **options) for _ in range(times)]
    assert set(answers) <= {200, 204, 400, 403, 404, 429}, answers
    return times - answers.count(429)


async def test_the_shapes_are_vault_s(world: World) -> None:
    path = "sys/quotas/rate-limit"
    assert await world.status("LIST", path) == await world.status("GET", f"{path}/q") == 404
    assert await world.status("POST", f"{path}/q", {"rate": 1, "interval": "10s", "path": "kv"}) == 204
    assert (await world.ok("GET", f"{path}/q"))["data"] == {
        "type": "rate-limit", "name": "q", "path": "kv/", "role": "", "rate": 1, "interval": 10, "block_interval": 0,
        "inheritable": False, "group_by": "ip", "secondary_rate": 0,
    }  # fmt: skip
    fields = {"rate": "20.5", "block_interval": "1m", "name": "q", "type": "rate-limit"}
    await world.ok("PUT", f"{path}/all", fields)
    shown = (await world.ok("GET", f"{path}/all"))["data"]
    assert (shown["rate"], shown["block_interval"], shown["interval"], shown["path"]) == (20.5, 60, 1, "")
    assert shown["inheritable"] is True
    assert b'"rate":1,' in (await world.raw("GET", f"{path}/q")).body, "no fraction, as Go writes it"
    assert (await world.ok("LIST", path))["data"] == {"keys": ["all", "q"]}
    for name in ("all", "q", "q"):
        assert await world.status("DELETE", f"{path}/{name}") == 204
    assert await world.status("LIST", path) == 404


async def test_the_configuration(world: World) -> None:
    path = "sys/quotas/config"
    assert (await world.ok("GET", path))["data"] == {
        "enable_rate_limit_audit_logging": False,
        "enable_rate_limit_response_headers": False,
        "rate_limit_exempt_paths": list(EXEMPT),
    }
    given = {"enable_rate_limit_audit_logging": True, "rate_limit_exempt_paths": "/kv/free/*,sys/health"}
    assert await world.status("POST", path, given) == 204
    await world.ok("POST", path, {"enable_rate_limit_response_headers": "true"})
    assert (await world.ok("GET", path))["data"] == {
        "enable_rate_limit_audit_logging": True,
        "enable_rate_limit_response_headers": True,
        "rate_limit_exempt_paths": ["kv/free/*", "sys/health"],
    }
    assert await world.status("POST", path, {"rate_limit_exempt_paths": ["a/../b"]}) == 400


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"rate": 0},
        {"rate": -1},
        {"rate": "many"},
        {"rate": 1, "secondary_rate": -1},
        {"rate": 1, "path": "nope"},
        {"rate": 1, "path": "kv/*/b"},
        {"rate": 1, "path": "kv/a/../b"},
        {"rate": 1, "path": "kv", "role": "r"},
        {"rate": 1, "path": "auth/token/create", "role": "r"},
        {"rate": 1, "path": "", "role": "r"},
        {"rate": 1, "path": "kv", "inheritable": True},
        {"rate": 1, "path": "", "inheritable": False},
        {"rate": 1, "interval": "-1s"},
        {"rate": 1, "block_interval": "soon"},
        {"rate": 1, "group_by": "colour"},
        {"rate": 1, "type": "lease-count"},
        {"rate": 1, "path": "auth/token"},
    ],
    ids=repr,
)
async def test_what_is_refused(world: World, fields: dict[str, Any]) -> None:
    await limit(world, "taken", path="auth/token")
    assert await world.status("POST", "sys/quotas/rate-limit/q", fields) == 400
    await limit(world, "taken", path="auth/token", rate=7)


async def test_an_answer_over_the_limit(world: World) -> None:
    await limit(world, path="kv")
    assert await passed(world, "GET", "kv/a") == 1
    answer = await world.raw("GET", "kv/a")
    assert answer.status == 429 and b"Retry-After: 10\r\n" in answer.headers and b"X-RateLimit" not in answer.headers
    assert await world.refused("GET", "kv/a") == (429, OVER.format("kv/a"))
    world.clock.tick(7.5)
    assert b"Retry-After: 3\r\n" in (await world.raw("GET", "kv/a")).headers
    world.clock.tick(2.5)
    assert await passed(world, "GET", "kv/a") == 1
    await world.ok("DELETE", "sys/quotas/rate-limit/q")
    assert await passed(world, "GET", "kv/a") == 5


async def test_the_headers(world: World) -> None:
    await world.ok("POST", "sys/quotas/config", {"enable_rate_limit_response_headers": True})
    await limit(world, path="kv", rate=3)

    async def told(path: str) -> list[bytes]:
        answer = await world.raw("GET", path)
        return sorted(line for line in answer.headers.split(b"\r\n") if b"ateLimit" in line or b"Retry" in line)

    assert await told("kv/a") == [b"X-RateLimit-Limit: 3", b"X-RateLimit-Remaining: 2", b"X-RateLimit-Reset: 10"]
    assert (await told("kv/nothing"))[1] == b"X-RateLimit-Remaining: 1", "a 404 tells it too"
    world.clock.tick(4)
    assert (await told("kv/a"))[2] == b"X-RateLimit-Reset: 6"
    assert (await told("kv/a"))[0] == b"Retry-After: 6" and (await told("kv/a"))[2] == b"X-RateLimit-Remaining: 0"
    assert await told("sys/mounts") == []
    world.clock.tick(10)
    denied = await world.raw("GET", "kv/a", token=await world.token(policies=["none"]))
    assert denied.status == 403 and b"X-RateLimit-Remaining: 2" in denied.headers, "so does a 403"
    assert b"X-Strongroom-Denial: " in denied.headers


async def test_the_most_specific_limit_counts_alone(world: World) -> None:
    await limit(world, "mount", path="kv", rate=3)
    await limit(world, "team", path="kv/team/*", rate=4)
    await limit(world, "one", path="/kv/team/a/", rate=5)
    await limit(world, "all", rate=2)
    assert [await passed(world, "GET", path, 9) for path in ("kv/team/a", "kv/team/b", "kv/a", "kv/b")] == [5, 4, 3, 0]
    assert await passed(world, "LIST", "kv/team/a", 2) == 0, "a LIST of a path is a request of that path"
    assert await passed(world, "GET", "sys/mounts") == 2 and await passed(world, "GET", "nowhere/at/all") == 0
    assert await passed(world, "GET", "sys/health", 20) == 20, "exempt"


async def test_addresses_are_counted_apart_unless_it_says_none(world: World) -> None:
    await limit(world, path="kv")
    for peer in ("192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::1"):
        world.peer = (peer, 1)
        assert await passed(world, "GET", "kv/a") == 1, peer
    world.peer = ("2001:db8:0:1:ffff::9", 1)
    assert await passed(world, "GET", "kv/a") == 0, "one site has as many addresses as it likes"
    world.peer = ("::ffff:192.0.2.1", 1)
    assert await passed(world, "GET", "kv/a") == 0
    await limit(world, path="kv", group_by="none")
    assert await passed(world, "GET", "kv/a") == 1, "counts begin anew when a quota is changed"
    world.peer = ("192.0.2.9", 1)
    assert await passed(world, "GET", "kv/a") == 0


def test_what_counts_as_one_address() -> None:
    assert network("fe80::1%eth0") == network("fe80::2") and network("") == "" and network("a:b") == "a:b"


async def test_who_went_over_stays_out_for_the_block_interval(world: World) -> None:
    await limit(world, path="kv", interval=1, block_interval=60)
    assert await passed(world, "GET", "kv/a") == 1
    world.clock.tick(59)
    assert b"Retry-After: 1\r\n" in (await world.raw("GET", "kv/a")).headers
    world.clock.tick(1)
    assert await passed(world, "GET", "kv/a") == 1


async def test_a_name_that_is_folded_is_one_path(world: World) -> None:
    await world.ok("POST", "sys/auth/userpass", {"type": "userpass"})
    await limit(world, path="auth/userpass/login/BOB", rate=3)
    assert (await world.ok("GET", "sys/quotas/rate-limit/q"))["data"]["path"] == "auth/userpass/login/bob"
    tries = [
        await world.status("POST", f"auth/userpass/login/{name}", {"password": "x"}) for name in ("bob", "Bob") * 3
    ]
    assert tries == [400, 400, 400, 429, 429, 429]
    assert await passed(world, "POST", "auth/userpass/login/eve", 5, {"password": "x"}) == 5


async def test_logins_of_a_role(world: World) -> None:
    await world.ok("POST", "sys/auth/approle", {"type": "approle"})
    ids = {}
    for role in ("ci", "ops"):
        await world.ok(
            "POST", f"auth/approle/role/{role}", {"bind_secret_id": False, "token_bound_cidrs": "127.0.0.0/8"}
        )
        ids[role] = (await world.ok("GET", f"auth/approle/role/{role}/role-id"))["data"]["role_id"]
    await limit(world, "ci", path="auth/approle", role="ci", rate=4)
    await limit(world, "mount", path="auth/approle", rate=2)

    async def logins(role_id: str) -> int:
        return await passed(world, "POST", "auth/approle/login", 6, {"role_id": role_id}, token="")

    assert [await logins(ids["ci"]), await logins(ids["ops"]), await logins("unknown")] == [4, 2, 0]
    form = f"role_id={ids['ci']}".encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    world.clock.tick(10)
    assert await passed(world, "POST", "auth/approle/login", 6, form, token="", headers=kind) == 4
    assert await logins(ids["ci"]) == 0, "the same quota for both forms of a body"
    assert await passed(world, "GET", "auth/approle/role/ci", 6) == 2, "the mount's quota counts what is no login of it"
    big = {"role_id": ids["ops"], "x": "y" * MAX_ROLE_BODY}
    assert await world.status("POST", "auth/approle/login", big, token="") == 413


async def test_counting_by_entity(world: World) -> None:
    await limit(world, path="kv", group_by="entity_then_ip", rate=3, secondary_rate=1)
    assert await passed(world, "GET", "kv/a") == 1, "a token without an entity is counted by its address"
    assert await passed(world, "GET", "kv/a", token="made-up") == 0, "and so is one that is not good"
    entry = (await world.space.tokens.find(world.root)).entry
    assert not entry.entity_id
    limits: RateLimit = world.core.rate_limit
    names = iter(["ann", "ann", "ben", "ann", "ann"])

    async def check(call: Any) -> None:
        from strongroom.sdk.request import Caller

        call.caller = Caller(accessor="", policies=(), entity_id=next(names))

    limits.knowing(check)
    answers = [await world.status("GET", "kv/a") for _ in range(5)]
    assert answers == [200, 200, 200, 200, 429]


async def test_nothing_of_it_runs_while_there_is_no_limit(world: World) -> None:
    bare = world.core.pipeline
    await world.ok("POST", "sys/quotas/config", {"enable_rate_limit_response_headers": True})
    assert world.core.pipeline is bare and not world.core.limits_rates
    await limit(world, path="kv")
    limited = world.core.pipeline
    assert limited is not bare and world.core.limits_rates
    await limit(world, "other", rate=9)
    assert world.core.pipeline is limited
    await world.ok("DELETE", "sys/quotas/rate-limit/q")
    await world.ok("DELETE", "sys/quotas/rate-limit/other")
    assert not world.core.limits_rates and len(world.core.pipeline._pre) == len(bare._pre)


async def test_other_processes_and_the_next_start_have_the_limit(world: World) -> None:
    other = await world.other()
    await limit(world, path="kv")
    assert await passed(other, "GET", "kv/a") == 1, "what another process changed holds for the next request"
    await world.core.seal()
    assert not world.core.limits_rates
    await world.core.submit(world.keys[0])
    assert world.core.limits_rates and await passed(world, "GET", "kv/a") == 1


async def test_the_head_of_a_message_is_counted_once(world: World) -> None:
    await limit(world, path="kv", rate=2)
    admit = world.core.rate_limit.admit

    def head(path: str = "kv/a") -> Request:
        return Request(id="1", op=Op.UPDATE, path=path, remote="192.0.2.1", token=world.root)

    first = admit(head())
    assert first.admitted == {} and first.fault is None
    for _ in range(3):
        await world.core.handle(msgspec.structs.replace(first, op=Op.READ))
    assert admit(head()).admitted is not None
    refused = admit(head())
    assert refused.admitted is None and str(refused.fault) == OVER.format("kv/a")
    assert admit(head("sys/mounts/x")).admitted == {}
    await limit(world, "e", path="sys", group_by="entity_then_none")
    assert admit(head("sys/mounts/x")).admitted is None, "it is counted when the token was looked at"


# -- namespaces


@pytest.fixture
async def spaces(world: World) -> World:
    """team/ and team/web/, each with a kv mount."""
    await world.ok("POST", "sys/namespaces/team")
    await world.ok("POST", "team/sys/namespaces/web")
    for namespace in ("team/", "team/web/"):
        await world.ok("POST", f"{namespace}sys/mounts/kv", {"type": "kv", "options": {"version": "1"}})
        await world.ok("POST", f"{namespace}kv/a", {"x": 1})
    return world


async def shown(world: World, name: str = "q", namespace: str = "") -> dict[str, Any]:
    data: dict[str, Any] = (await world.ok("GET", f"{namespace}sys/quotas/rate-limit/{name}"))["data"]
    return data


@pytest.mark.parametrize(
    ("path", "kept", "inheritable"),
    [
        ("team", "team/", False),
        ("team", "team/", True),
        ("team/web/", "team/web/", True),
        ("/team/web/kv", "team/web/kv/", False),
        ("team/kv/a", "team/kv/a", False),
        ("team/kv/a*", "team/kv/a*", False),
    ],
)
async def test_a_path_may_begin_with_a_namespace(spaces: World, path: str, kept: str, inheritable: bool) -> None:
    await limit(spaces, path=path, inheritable=inheritable, rate=100)
    assert ((await shown(spaces))["path"], (await shown(spaces))["inheritable"]) == (kept, inheritable)


@pytest.mark.parametrize("path", ["team/nope", "team/web/nope/x", "web", "team/*"])
async def test_a_path_that_leads_nowhere_in_a_namespace_is_refused(spaces: World, path: str) -> None:
    assert await spaces.status("POST", "sys/quotas/rate-limit/q", {"rate": 1, "path": path}) == 400


@pytest.mark.parametrize(
    ("fields", "root", "team", "web"),
    [
        ({"path": "team"}, 5, 2, 5),
        ({"path": "team", "inheritable": True}, 5, 2, 0),  # one window for team and what is below
        ({"path": "team/web"}, 5, 5, 2),
        ({"path": "team/kv"}, 5, 2, 5),
        ({"path": "team/web/kv/a"}, 5, 5, 2),
        ({"path": ""}, 2, 0, 0),
    ],
    ids=repr,
)
async def test_limits_of_the_root_namespace_reach_below(
    spaces: World, fields: dict[str, Any], root: int, team: int, web: int
) -> None:
    await limit(spaces, **{"rate": 2, **fields})
    assert await passed(spaces, "GET", "kv/a") == root
    assert await passed(spaces, "GET", "kv/a", headers={"X-Vault-Namespace": "team"}) == team
    assert await passed(spaces, "GET", "team/web/kv/a") == web


async def test_a_namespace_has_limits_of_its_own_and_loosens_none_above(spaces: World) -> None:
    inside = {"X-Vault-Namespace": "team"}
    await spaces.ok("POST", "sys/quotas/rate-limit/q", {"rate": 2, "interval": "10s", "path": "kv"}, headers=inside)
    assert (await shown(spaces, "q", "team/"))["path"] == "kv/"
    assert await spaces.status("LIST", "sys/quotas/rate-limit") == 404
    assert await passed(spaces, "GET", "team/kv/a") == 2 and await passed(spaces, "GET", "kv/a") == 5
    assert await passed(spaces, "GET", "team/web/kv/a") == 5
    await spaces.ok("POST", "team/sys/quotas/rate-limit/q", {"rate": 100, "path": "kv"})
    assert await spaces.status("POST", "team/sys/quotas/rate-limit/up", {"rate": 1, "path": "../kv"}) == 400
    await limit(spaces, path="team", rate=3)
    assert await passed(spaces, "GET", "team/kv/a") == 3, "its own is more specific, and both hold"
    assert await spaces.refused("GET", "kv/a", headers=inside) == (429, OVER.format("kv/a"))


async def test_the_head_of_a_message_for_a_namespace(spaces: World) -> None:
    await limit(spaces, path="team/kv", rate=2)
    admit = spaces.core.rate_limit.admit

    def head(path: str, namespace: str = "") -> Request:
        return Request(id="1", op=Op.UPDATE, path=path, namespace_path=namespace, remote="192.0.2.1")

    assert admit(head("team/kv/a")).admitted is not None and admit(head("kv/a", "team/")).admitted is not None
    assert admit(head("kv/a", "team")).fault is not None and admit(head("kv/a")).admitted == {}
    for unknown in (head("kv/a", "nope"), head("nope/kv/a"), head("kv/a", "team/nope"), head("team/nope/a")):
        asked = admit(unknown)
        assert asked.admitted is None and asked.fault is None, "what is not known here is counted in the pipeline"


async def test_a_namespace_that_is_gone_limits_nothing(spaces: World) -> None:
    await spaces.ok("POST", "team/web/sys/quotas/rate-limit/q", {"rate": 100, "path": "kv"})
    assert spaces.core.limits_rates
    await spaces.ok("DELETE", "team/sys/namespaces/web")
    while await spaces.core.tidy():
        pass
    assert not spaces.core.limits_rates
