"""Cedar policies in a whole vault: how they are stored, what they govern, and how they count beside ACL policies."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from strongroom.core.facts import Facts
from strongroom.core.policies import Policies
from strongroom.errors import PermissionDenied
from strongroom.sdk.engine import Call
from strongroom.sdk.request import Caller, Op, Request
from unit.policy.cedar.cedar_world import EXAMPLES
from vault_world import World

DEVELOPER = Caller(
    accessor="dev", policies=("default",), entity_id="e1", entity_name="bob", groups=("developers",),
    auth_type="userpass", auth_path="auth/userpass/",
)  # fmt: skip
PERMIT = "permit(principal, action, resource);"


@pytest.fixture
async def world() -> World:
    world = await World.unsealed()
    await world.ok("POST", "sys/mounts/database", {"type": "kv", "options": {"version": "2"}})
    for path in ("dev/app", "prod/app"):
        await world.ok("POST", f"database/data/{path}", {"data": {"a": "b"}})
    await world.policy("reader", **{"database/*": ["read", "list"], "sys/*": ["read", "sudo", "update"]})
    return world


async def cedar(world: World, text: str, name: str = "p") -> None:
    await world.ok("POST", f"sys/policies/cedar/{name}", {"policy": text})


async def asks(world: World, caller: Caller, op: Op, path: str, **fields: Any) -> tuple[bool, Mapping[str, Any]]:
    """Whether ``caller`` may, and what the audit record says of it."""
    await world.space.refresh()
    match, path = world.space.mounts.router.match(op, path)
    call = Call(Request(id="r", op=op, path=path, remote="10.0.0.1", **fields), match, caller=caller)
    await Facts().pre_route(call)
    try:
        await Policies(lambda _: world.space.policies).pre_route(call)
    except PermissionDenied:
        assert call.policy_results is not None and not call.policy_results["allowed"]
        return False, call.policy_results
    assert call.policy_results is not None and call.policy_results["allowed"]
    return True, call.policy_results


async def may(world: World, caller: Caller, op: Op, path: str, **fields: Any) -> bool:
    return (await asks(world, caller, op, path, **fields))[0]


# --- stored


async def test_write_read_list_and_delete(world: World):
    assert (await world.ok("GET", "sys/policies/cedar"))["data"] == {"keys": []}
    await cedar(world, EXAMPLES, "Published")
    body = await world.ok("GET", "sys/policies/cedar/published")
    assert body["data"] == {"name": "published", "policy": EXAMPLES}
    assert (await world.ok("LIST", "sys/policies/cedar"))["data"] == {"keys": ["published"]}
    assert await world.status("DELETE", "sys/policies/cedar/published") == 204
    assert await world.status("GET", "sys/policies/cedar/published") == 404


async def test_a_policy_that_does_not_fit_is_refused_with_its_place(world: World):
    status, error = await world.refused(
        "POST", "sys/policies/cedar/p", {"policy": f"{PERMIT}\n\npermit(principal, action resource);"}
    )
    assert (status, error) == (400, "failed to parse policy: p#2 (line 3): unexpected token `resource`")
    assert await world.status("GET", "sys/policies/cedar/p") == 404
    assert (await world.refused("POST", "sys/policies/cedar/p", {"policy": " "}))[0] == 400


async def test_a_policy_carries_tests_that_every_later_text_must_meet(world: World):
    test = {"user": "bob", "groups": ["developers"], "action": "read", "secret": "database/prod/x", "expect": "deny"}
    tests = json.dumps({"tests": [test]})
    await world.ok("POST", "sys/policies/cedar/p", {"policy": EXAMPLES, "tests": tests})
    assert (await world.ok("GET", "sys/policies/cedar/p"))["data"]["tests"] == tests
    status, error = await world.refused("POST", "sys/policies/cedar/p", {"policy": PERMIT})
    assert status == 400
    assert error == (
        "the policy fails its tests, nothing was stored; "
        "bob read database/prod/x: expected deny, but it is allowed by p#1"
    )
    assert (await world.ok("GET", "sys/policies/cedar/p"))["data"]["policy"] == EXAMPLES
    assert (await world.refused("POST", "sys/policies/cedar/p", {"policy": PERMIT, "tests": "x"}))[0] == 400
    await world.ok("POST", "sys/policies/cedar/p", {"policy": PERMIT, "tests": ""})
    assert "tests" not in (await world.ok("GET", "sys/policies/cedar/p"))["data"]


async def test_another_process_sees_a_change_at_its_next_request(world: World):
    other = await world.other()
    token = await world.token(policies=["reader"])
    assert await other.status("GET", "database/data/prod/app", token=token) == 200
    await cedar(world, 'forbid(principal, action, resource in Secret::"database/prod");')
    assert await other.status("GET", "database/data/prod/app", token=token) == 403
    assert await other.status("GET", "database/data/dev/app", token=token) == 200
    await world.ok("DELETE", "sys/policies/cedar/p")
    assert await other.status("GET", "database/data/prod/app", token=token) == 200


async def test_a_change_of_mounts_parses_no_policy_again(world: World, monkeypatch: pytest.MonkeyPatch):
    await cedar(world, PERMIT)
    assert await may(world, DEVELOPER, Op.READ, "database/data/dev/app")
    built: list[Any] = []
    monkeypatch.setattr(world.space.cedar.store, "all", lambda: built.append(1))
    await world.ok("POST", "sys/mounts/other", {"type": "kv"})
    assert await may(world, DEVELOPER, Op.READ, "database/data/dev/app")
    assert built == []


async def test_a_long_policy_is_checked_where_no_request_waits(world: World):
    offloaded: list[int] = []

    async def offload(work: Any) -> Any:
        offloaded.append(1)
        return work()

    world.space.cedar.store._offload = offload
    await cedar(world, PERMIT)
    assert offloaded == []
    await cedar(world, PERMIT + "\n// " + "x" * 10_000)
    assert offloaded == [1]
    with pytest.raises(AssertionError, match="p#2"):
        await cedar(world, PERMIT + "permit();" + " " * 10_000)


# --- beside ACL policies


async def test_the_published_examples(world: World):
    await cedar(world, EXAMPLES)
    assert await may(world, DEVELOPER, Op.READ, "database/data/dev/app")
    allowed, results = await asks(world, DEVELOPER, Op.READ, "database/data/prod/app")
    assert not allowed and results["cedar"] == {"decision": "forbid", "policy_id": "p#2", "policies": ["p#2"]}
    assert not await may(world, DEVELOPER, Op.UPDATE, "database/data/dev/app", data={"data": {"a": "c"}})


async def test_the_record_names_who_granted(world: World):
    await cedar(world, f'@id("open") {PERMIT}')
    _, results = await asks(world, DEVELOPER, Op.READ, "database/data/dev/app")
    assert results == {
        "allowed": True,
        "granting_policies": [{"name": "open", "namespace_id": "root", "type": "cedar"}],
        "cedar": {"decision": "permit", "policy_id": "open", "policies": ["open"]},
    }


@pytest.mark.parametrize("mode", ["either", "both"])
@pytest.mark.parametrize("acl", ["grants", "silent", "denies"])
@pytest.mark.parametrize("says", ["permit", "none", "forbid", "error"])
async def test_how_both_count_together(world: World, mode: str, acl: str, says: str):
    await world.ok("POST", "sys/config/authorization", {"mode": mode})
    words = {"grants": ["read"], "silent": ["list"], "denies": ["deny"]}
    await world.policy("p", **{"database/data/dev/*": words[acl]})
    text = {
        "permit": PERMIT,
        "none": 'permit(principal, action == Action::"list", resource);',
        "forbid": f"{PERMIT} forbid(principal, action, resource);",
        "error": f"{PERMIT} permit(principal, action, resource) when {{ 1 + 9223372036854775807 > 1 }};",
    }
    await cedar(world, text[says])
    caller = Caller(accessor="a", policies=("p",))
    if "deny" in words[acl] or says in ("forbid", "error"):
        expected = False
    elif mode == "either":
        expected = acl == "grants" or says == "permit"
    else:
        expected = acl == "grants" and says == "permit"
    for _ in range(2):  # the second time from what is remembered
        assert await may(world, caller, Op.READ, "database/data/dev/app") is expected


async def test_without_cedar_policies_nothing_changes_in_either_mode(world: World):
    token = await world.token(policies=["reader"])
    await world.ok("POST", "sys/config/authorization", {"mode": "both"})
    assert await world.status("GET", "database/data/dev/app", token=token) == 200
    await cedar(world, 'permit(principal, action == Action::"write", resource);')
    assert await world.status("GET", "database/data/dev/app", token=token) == 403
    await world.ok("DELETE", "sys/policies/cedar/p")
    assert await world.status("GET", "database/data/dev/app", token=token) == 200
    assert world.space.policies.cedar is None


async def test_root_is_exempt_and_recorded_so(world: World):
    await cedar(world, "forbid(principal, action, resource);")
    root = Caller(accessor="r", policies=("root",), root=True)
    allowed, results = await asks(world, root, Op.READ, "database/data/dev/app")
    assert allowed and results["cedar"] == {"decision": "exempt", "policy_id": "", "policies": []}
    assert not await may(world, DEVELOPER, Op.READ, "database/data/dev/app")


async def test_what_is_the_callers_own_follows_acl_alone(world: World):
    await cedar(world, "forbid(principal, action, resource);")
    await world.ok("POST", "sys/config/authorization", {"mode": "both"})
    token = await world.token(policies=["reader"])
    assert await world.status("GET", "auth/token/lookup-self", token=token) == 200
    assert await world.status("POST", "auth/token/renew-self", {}, token=token) == 200
    assert await world.status("POST", "cubbyhole/x", {"a": "b"}, token=token) == 204
    assert await world.status("GET", "cubbyhole/x", token=token) == 200
    assert await world.status("GET", "sys/internal/ui/mounts/database/x", token=token) == 200
    assert await world.status("GET", "database/data/dev/app", token=token) == 403


async def test_what_needs_sudo_is_manage(world: World):
    sudo = Caller(accessor="s", policies=("reader",))
    assert await may(world, sudo, Op.READ, "sys/config/cors")
    await cedar(world, 'forbid(principal, action == Action::"manage", resource in Secret::"sys/config");')
    assert not await may(world, sudo, Op.READ, "sys/config/cors")
    assert await may(world, sudo, Op.READ, "sys/audit")
    await cedar(world, 'permit(principal is User in Group::"developers", action == Action::"manage", resource);')
    assert await may(world, DEVELOPER, Op.READ, "sys/config/cors")
    assert not await may(world, DEVELOPER, Op.READ, "sys/policies/acl/default")  # needs no sudo: ACL alone


# --- remembered


async def test_a_decision_that_reads_the_time_is_not_remembered(world: World):
    await cedar(world, f'{PERMIT[:-1]} when {{ context.now < datetime("2030-03-17T17:46:50Z") }};')
    assert await may(world, DEVELOPER, Op.READ, "database/data/dev/app")
    world.clock.tick(20)
    assert not await may(world, DEVELOPER, Op.READ, "database/data/dev/app")


async def test_a_decision_is_remembered_for_one_caller_and_until_something_changes(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    await cedar(world, 'permit(principal in Group::"developers", action, resource);')
    decided: list[str] = []
    await world.space.refresh()
    policies = await world.space.cedar.store.policies()
    decide = policies.decide
    monkeypatch.setattr(policies, "decide", lambda who, *rest: decided.append(who.name) or decide(who, *rest))
    for _ in range(3):
        assert await may(world, DEVELOPER, Op.READ, "database/data/dev/app")
    assert decided == ["bob"]
    stranger = Caller(accessor="dev", policies=("default",), entity_id="e2", entity_name="eve")  # the same accessor
    assert not await may(world, stranger, Op.READ, "database/data/dev/app")
    left = Caller(accessor="dev", policies=("default",), entity_id="e1", entity_name="bob")  # left the group
    assert not await may(world, left, Op.READ, "database/data/dev/app")
    await world.policy("other", x=["read"])
    assert await may(world, DEVELOPER, Op.READ, "database/data/dev/app")
    assert decided == ["bob", "eve", "bob", "bob"]


async def test_what_cedar_says_is_remembered_although_the_fields_of_a_write_differ(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    await world.policy("p", **{"database/data/dev/*": ["update"]})
    await cedar(world, 'forbid(principal, action == Action::"write", resource) when { context.mfa };')
    await world.space.refresh()
    policies = await world.space.cedar.store.policies()
    decided: list[str] = []
    decide = policies.decide
    monkeypatch.setattr(policies, "decide", lambda *asked: decided.append(asked[1]) or decide(*asked))
    caller = Caller(accessor="a", policies=("p",))
    for value in ("1", "2"):
        assert await may(world, caller, Op.UPDATE, "database/data/dev/app", data={"data": {"a": value}})
    assert decided == ["write"]
    with_mfa = Caller(accessor="a", policies=("p",), mfa=("totp",))
    assert not await may(world, with_mfa, Op.UPDATE, "database/data/dev/app", data={"data": {"a": "3"}})


# --- the mode


async def test_the_mode_is_either_or_both(world: World):
    assert (await world.ok("GET", "sys/config/authorization"))["data"] == {"mode": "either"}
    assert (await world.refused("POST", "sys/config/authorization", {"mode": "neither"}))[0] == 400
    await world.ok("POST", "sys/config/authorization", {"mode": "both"})
    assert (await world.ok("GET", "sys/config/authorization"))["data"] == {"mode": "both"}
    await world.ok("DELETE", "sys/config/authorization")
    assert (await world.ok("GET", "sys/config/authorization"))["data"] == {"mode": "either"}
