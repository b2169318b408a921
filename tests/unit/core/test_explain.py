"""Denials and their explanation over the whole vault."""

import pytest

from strongroom.core.denials import HEADER, Denials
from strongroom.errors import BadRequest
from strongroom.sdk.engine import Call, Match, Route
from strongroom.sdk.request import Caller, Op, Request
from vault_world import World


@pytest.fixture
async def world() -> World:
    world = await World.unsealed()
    await world.ok("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    text = '# read only\npath "secret/data/app/*" { capabilities = ["read"] }'
    await world.ok("PUT", "sys/policies/acl/app", {"policy": text})
    await world.policy("auditor", **{"sys/policies/explain": ["update", "sudo"], "sys/policies/who-can": ["update"]})
    return world


async def denial(world: World, token: str, path: str = "secret/data/other", method: str = "GET") -> str:
    answer = await world.raw(method, path, token=token)
    assert answer.status == 403
    lines = dict(line.split(": ", 1) for line in answer.headers.decode().splitlines() if ": " in line)
    return lines[HEADER]


async def explain(world: World, by: str = "", **body: object) -> dict[str, object]:
    status, answer = await world.http("POST", "sys/policies/explain", body, token=by or world.root)
    assert status == 200, answer
    return dict(answer["data"])


async def test_a_denial_is_explained_by_its_id(world: World) -> None:
    token = await world.token(policies=["app"])
    capsule = await denial(world, token)
    found = await explain(world, await world.token(policies=["auditor"]), denial=capsule)
    assert (found["allowed"], found["operation"], found["path"]) == (False, "read", "secret/data/other")
    assert found["decided_by"] == "acl"
    assert 'path "secret/data/other"' in str(found["smallest_policy"])
    await world.policy("app", **{"secret/data/other": ["read"]})
    assert (await explain(world, denial=capsule))["allowed"] is True, "as it would be decided today"


async def test_what_the_smallest_policy_says_works(world: World) -> None:
    token = await world.token(policies=["app", "more"])
    found = await explain(world, denial=await denial(world, token))
    await world.ok("PUT", "sys/policies/acl/more", {"policy": found["smallest_policy"]})
    assert await world.status("GET", "secret/data/other", token=token) == 404, "allowed, and nothing there"


async def test_a_denial_says_nothing_to_a_stranger(world: World) -> None:
    token = await world.token(policies=["app"])
    capsules = {await denial(world, token) for _ in range(3)}
    assert len(capsules) == 3
    assert not any("other" in capsule for capsule in capsules)
    status, _ = await world.http("POST", "sys/policies/explain", {"denial": capsules.pop()}, token=token)
    assert status == 403
    other = await World.unsealed()
    for bad in (await denial(world, token), "", "x", "%%%", "é"):
        status, answer = await other.http("POST", "sys/policies/explain", {"denial": bad})
        assert status == 400, answer


async def test_a_request_without_a_token_has_an_id_too(world: World) -> None:
    assert (await explain(world, denial=await denial(world, "hvs.nobody")))["decided_by"] == "token"


async def test_without_sudo_nothing_is_explained(world: World) -> None:
    await world.policy("half", **{"sys/policies/explain": ["update"]})
    token = await world.token(policies=["half"])
    status, _ = await world.http("POST", "sys/policies/explain", {"policies": "app", "path": "a"}, token=token)
    assert status == 403


async def test_of_tokens_accessors_and_policies(world: World) -> None:
    made = await world.ok("POST", "auth/token/create", {"policies": ["app"]})
    auth = made["auth"]
    for who in ({"token": auth["client_token"]}, {"accessor": auth["accessor"]}, {"policies": "app,default"}):
        found = await explain(world, operation="read", path="/v1/secret/data/app/x", **who)
        assert (found["allowed"], found["rule"]) == (True, "secret/data/app/*")
    assert (await explain(world, policies="root", path="a"))["decided_by"] == "root"
    for bad, status in (({"path": "a"}, 400), ({"policies": "a"}, 400), ({"token": "x", "path": "a"}, 404)):
        assert await world.status("POST", "sys/policies/explain", bad) == status
    found = await explain(world, policies="app", operation="update", path="sys/seal")
    assert '"update", "sudo"' in str(found["smallest_policy"])


async def test_who_can_and_reach(world: World) -> None:
    _, answer = await world.http("POST", "sys/policies/who-can", {"operation": "read", "path": "secret/data/app/db"})
    assert answer["data"]["policies"] == [{"policy": "app", "rule": "secret/data/app/*", "line": 2}]
    _, answer = await world.http("POST", "sys/policies/reach", {"policies": "app"})
    assert answer["data"]["glob_paths"] == {"secret/data/app/": ["read"]}


async def test_a_policy_keeps_its_tests(world: World) -> None:
    good = 'path "secret/data/a" { capabilities = ["read"] }'
    body = {"policy": good, "tests": "allow read secret/data/a\ndeny read secret/data/b\n"}
    await world.ok("PUT", "sys/policies/acl/tested", body)
    wide = 'path "secret/*" { capabilities = ["read"] }'
    status, answer = await world.http("PUT", "sys/policies/acl/tested", {"policy": wide})
    assert status == 400
    assert "tests line 2" in answer["errors"][1]
    _, answer = await world.http("GET", "sys/policies/acl/tested")
    assert answer["data"]["policy"] == good, "nothing was stored"
    await world.ok("PUT", "sys/policies/acl/tested", {"policy": wide, "tests": ""})
    await world.ok("PUT", "sys/policies/acl/tested", {"policy": good})


async def test_lint_knows_the_mounts(world: World) -> None:
    _, answer = await world.http(
        "POST", "sys/policies/lint", {"policy": 'path "secret/app" { capabilities = ["read"] }'}
    )
    assert [one["code"] for one in answer["data"]["findings"]] == ["kv2-data"]
    await world.policy("bad", **{"secret/x*": ["read"]})
    _, answer = await world.http("POST", "sys/policies/lint", {})
    assert {one["policy"] for one in answer["data"]["findings"]} >= {"bad"}


async def test_lists_show_what_the_caller_may_see(world: World) -> None:
    for name in ("app/db", "app/web", "hidden/x", "top"):
        await world.ok("POST", f"secret/data/{name}", {"data": {"a": 1}})
    await world.policy(
        "some", **{"secret/metadata/": ["list"], "secret/metadata/app": ["list"], "secret/data/app/db": ["read"]}
    )
    token = await world.token(policies=["some"])
    _, before = await world.http("LIST", "secret/metadata/", token=token)
    assert before["data"]["keys"] == ["app/", "hidden/", "top"], "the positive control: not tuned so"
    await world.ok("POST", "sys/mounts/secret/tune", {"filter_lists": True})
    _, tuned = await world.http("GET", "sys/mounts/secret/tune")
    assert tuned["data"]["filter_lists"] is True
    _, after = await world.http("LIST", "secret/metadata/", token=token)
    assert after["data"]["keys"] == ["app/"]
    _, below = await world.http("LIST", "secret/metadata/app/", token=token)
    assert below["data"]["keys"] == ["db"]
    _, full = await world.http("LIST", "secret/metadata/")
    assert full["data"]["keys"] == ["app/", "hidden/", "top"], "root sees all"


def test_a_capsule_fits_a_header_whatever_was_asked() -> None:
    denials = Denials(b"k" * 32, lambda: 1.0)
    caller = Caller(accessor="a", policies=tuple(f"policy-{n}" for n in range(500)), display_name="d" * 500)
    call = Call(Request(id="r", op=Op.READ, path="p" * 4096), Match("", Route(pattern="", ops={}), {}), caller=caller)
    sealed = denials.seal(call)
    assert len(sealed) < 6000
    assert denials.open(sealed).op is Op.READ
    changed = sealed[:-2] + ("AA" if sealed[-2:] != "AA" else "BB")
    with pytest.raises(BadRequest):
        denials.open(changed)


async def test_of_entities_and_who_holds_what(world: World) -> None:
    made = await world.ok("POST", "identity/entity", {"name": "ann", "policies": ["app"]})
    await world.ok("POST", "identity/group", {"name": "team", "policies": ["app"], "member_entity_ids": []})
    await world.ok("POST", "identity/entity", {"name": "bob"})
    for name in ("ann", "ANN", made["data"]["id"]):
        found = await explain(world, entity=name, path="secret/data/app/x")
        assert (found["allowed"], found["rule"]) == (True, "secret/data/app/*")
    assert (await explain(world, entity="bob", path="secret/data/app/x"))["allowed"] is False
    assert await world.status("POST", "sys/policies/explain", {"entity": "nobody", "path": "a"}) == 404
    body = {"operation": "read", "path": "secret/data/app/db"}
    _, answer = await world.http("POST", "sys/policies/who-can", body)
    assert (answer["data"]["entities"], answer["data"]["groups"]) == (["ann"], ["team"])
    _, answer = await world.http("POST", "sys/policies/reach", {"entity": "ann"})
    assert answer["data"]["policies"] == ["app"]


async def test_cedar_speaks_too(world: World) -> None:
    await world.ok("POST", "identity/entity", {"name": "ann", "policies": ["app"]})
    text = 'forbid(principal == User::"ann", action, resource in Secret::"secret/app/secret");'
    await world.ok("PUT", "sys/policies/cedar/no", {"policy": text})
    found = await explain(world, entity="ann", path="secret/data/app/secret/x")
    assert (found["allowed"], found["decided_by"]) == (False, "cedar")
    cedar = found["cedar"]
    assert isinstance(cedar, dict)
    assert (cedar["decision"], cedar["deciding"], cedar["smallest_policy"]) == ("forbid", ["no#1"], "")
    found = await explain(world, entity="ann", path="secret/data/other")
    cedar = found["cedar"]
    assert isinstance(cedar, dict)
    assert cedar["smallest_policy"] == (
        'permit(principal == User::"ann", action == Action::"read", resource == Secret::"secret/other");'
    )
    await world.ok("PUT", "sys/policies/cedar/yes", {"policy": cedar["smallest_policy"]})
    found = await explain(world, entity="ann", path="secret/data/other")
    assert (found["allowed"], found["decided_by"]) == (True, "cedar")
