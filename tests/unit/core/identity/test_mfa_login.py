"""Logins with a second factor: what is asked for, what is answered, and what the token is then."""

import asyncio
import json
from typing import Any

import pytest

from mfa_world import Factors, factors
from strongroom.core.identity.mfa_login import header_passcodes, payload_passcodes
from strongroom.errors import BadRequest
from yielding_store import YieldingStore


@pytest.fixture
async def world() -> Factors:
    return await factors()


async def test_what_is_asked_for(world: Factors) -> None:
    await world.enrol("bob")
    await world.enforce()
    auth = (await world.ok("POST", "auth/userpass/login/bob", {"password": "pw"}, token=""))["auth"]
    asked = auth.pop("mfa_requirement")
    assert auth == {
        "client_token": "", "accessor": "", "policies": None, "metadata": None, "lease_duration": 0, "renewable": False,
        "entity_id": "", "token_type": "default", "orphan": False, "num_uses": 0,
    }  # fmt: skip
    assert asked == {
        "mfa_request_id": asked["mfa_request_id"],
        "mfa_constraints": {
            "all": {"any": [{"type": "totp", "id": world.method, "uses_passcode": True, "name": "phone"}]}
        },
    }


async def test_a_wrong_password_comes_first(world: Factors) -> None:
    bob = await world.enrol("bob")
    await world.enforce()
    for headers in ({}, {"X-Vault-MFA": f"phone:{bob.code()}"}):
        wrong = {"password": "no"}
        assert await world.status("POST", "auth/userpass/login/bob", wrong, token="", headers=headers) == 400
    assert (await world.enter("bob", bob.code()))[0] == 200


@pytest.mark.parametrize("by", ["accessor", "type", "entity", "group", "outer group"])
async def test_who_is_meant(world: Factors, by: str) -> None:
    bob = await world.enrol("bob")
    await world.ok("POST", "sys/auth/other", {"type": "userpass"})
    inner = await world.group(name="in", member_entity_ids=[bob.entity])
    outer = await world.group(name="out", member_group_ids=[inner])
    fields: dict[str, Any] = {
        "accessor": {"auth_method_accessors": [world.userpass]},
        "type": {"auth_method_types": ["userpass"]},
        "entity": {"identity_entity_ids": [bob.entity]},
        "group": {"identity_group_ids": [inner]},
        "outer group": {"identity_group_ids": [outer]},
    }[by]
    await world.user("ann", "a")
    await world.ok("POST", "auth/other/users/eve", {"password": "pw"})
    assert (await world.login("bob"))["client_token"]
    await world.enforce("e", **fields)
    assert (await world.enter("bob", bob.code()))[0] == 200
    everybody = by in ("accessor", "type")
    ann = (await world.ok("POST", "auth/userpass/login/ann", {"password": "pw"}, token=""))["auth"]
    assert bool(ann["client_token"]) is not everybody
    assert bool((await world.login("eve", mount="other"))["client_token"]) is (by != "type")
    other = await world.other_factors()
    assert (await other.begin("bob")) and await world.ok("DELETE", "identity/mfa/login-enforcement/e") is None
    assert (await other.login("bob"))["client_token"]  # each worker sees it at once


async def test_each_enforcement_must_be_satisfied_by_one_of_its_methods(world: Factors) -> None:
    bob = await world.enrol("bob")
    key = (await world.ok("POST", "identity/mfa/method/totp", {"issuer": "i", "method_name": "key"}))["data"][
        "method_id"
    ]
    phone, world.method = world.method, key
    second = await world.secret(bob.entity)
    world.method = phone
    await world.enforce("any", mfa_method_ids=[phone, key], auth_method_types=["userpass"])
    assert (await world.finish(await world.begin("bob"), second.code(), method=key))[0] == 200
    await world.enforce("phone", auth_method_types=["userpass"])
    await world.enforce("again", mfa_method_ids=[phone, key], auth_method_types=["userpass"])
    status, body = await world.finish(await world.begin("bob"), second.code(1), method=key)
    assert (status, body["errors"]) == (403, ["failed to satisfy enforcement phone"])
    assert (await world.enter("bob", bob.code()))[0] == 200  # one code for all three
    world.clock.tick(60)
    status, body = await world.at_once("bob", f"phone:{bob.code()}, {key}:{second.code()}")
    assert status == 200
    tokens, token = world.space.tokens, body["auth"]["client_token"]
    found = await tokens.find(token)
    assert found.caller.mfa == (phone,)  # what was not needed was not tried
    assert (await world.at_once("bob", f"{key}:{second.code()}"))[0] == 403


async def test_the_token_remembers_it(world: Factors) -> None:
    bob = await world.enrol("bob")
    await world.policy("maker", **{"auth/token/create": ["update"]})
    await world.user("bob", "a", "maker")
    await world.enforce()
    token = (await world.enter("bob", bob.code()))[1]["auth"]["client_token"]
    world.clock.tick(30)
    renewed = await world.ok("POST", "auth/token/renew-self", {}, token=token)
    assert renewed["auth"]["mfa_requirement"] is None
    cedar = "forbid(principal, action, resource) unless { context.mfa };"
    await world.ok("POST", "sys/policies/cedar/p", {"policy": cedar})
    without = await world.token(policies=["a"])
    assert await world.status("GET", "secret/a", token=token) == 200
    assert await world.status("GET", "secret/a", token=without) == 403
    child = await world.token(by=token, policies=["a"])
    assert await world.status("GET", "secret/a", token=child) == 403  # nobody proved anything to get that one


@pytest.mark.parametrize("kind", ["service", "batch"])
async def test_what_the_login_earned_is_what_comes(world: Factors, kind: str) -> None:
    bob = await world.enrol("bob")
    await world.ok("POST", "auth/userpass/users/bob", {"token_type": kind, "token_ttl": "1h", "token_policies": ["a"]})
    plain = await world.login("bob")
    await world.enforce()
    waiting = await world.begin("bob")
    world.clock.tick(120)
    status, body = await world.finish(waiting, bob.code())
    auth = body["auth"]
    assert status == 200 and auth["client_token"]
    differ = {"client_token", "accessor"}
    assert {k: v for k, v in auth.items() if k not in differ} == {k: v for k, v in plain.items() if k not in differ}
    world.clock.tick(3599)
    assert await world.alive(auth["client_token"])
    world.clock.tick(1)
    assert not await world.alive(auth["client_token"])


async def test_the_token_can_come_wrapped(world: Factors) -> None:
    bob = await world.enrol("bob")
    await world.enforce()
    headers = {"X-Vault-Wrap-TTL": "60"}
    waiting = await world.begin("bob", headers=headers)  # what is asked for comes as it is
    body = {"mfa_request_id": waiting, "mfa_payload": {"phone": bob.code()}}
    wrapped = await world.ok("POST", "sys/mfa/validate", body, token="", headers=headers)
    assert wrapped["auth"] is None
    inside = await world.ok("POST", "sys/wrapping/unwrap", {}, token=wrapped["wrap_info"]["token"])
    assert await world.alive(inside["auth"]["client_token"])


async def test_what_changed_while_it_waited_counts(world: Factors) -> None:
    bob = await world.enrol("bob")
    await world.enforce()
    waiting = await world.begin("bob")
    await world.ok("POST", f"identity/entity/id/{bob.entity}", {"disabled": True})
    assert (await world.finish(waiting, bob.code()))[0] == 403
    await world.ok("POST", f"identity/entity/id/{bob.entity}", {"disabled": False})
    await world.ok("DELETE", "sys/auth/userpass")
    assert (await world.finish(waiting, bob.code()))[0] == 400


@pytest.mark.parametrize(
    "body",
    [{}, {"mfa_request_id": "x"}, {"mfa_payload": {"a": ["1"]}}, {"mfa_request_id": "x", "mfa_payload": {"a": ["1"]}},
     {"mfa_request_id": "x", "mfa_payload": {"a": {"b": "c"}}}, {"mfa_request_id": "x", "mfa_payload": "text"}],
)  # fmt: skip
async def test_a_broken_second_phase(world: Factors, body: Any) -> None:
    assert await world.status("POST", "sys/mfa/validate", body, token="") == 400


@pytest.mark.parametrize("seed", range(4))
async def test_at_the_same_time_a_code_makes_one_token_and_every_guess_counts(seed: int) -> None:
    store = YieldingStore(seed)
    world = await factors(backend=store)
    bob, ann, other = await world.enrol("bob"), await world.enrol("ann"), await world.other_factors()
    await world.enforce()
    waiting = [await world.begin("bob") for _ in range(6)]
    workers = [world, other] * 4
    store.active = True
    done = await asyncio.gather(*(w.finish(one, bob.code()) for w, one in zip(workers, waiting, strict=False)))
    assert [status for status, _ in done].count(200) == 1
    guess = f"phone:{ann.wrong()}"
    done = await asyncio.gather(*(w.at_once("ann", guess) for w in workers[:5]))
    store.active = False
    assert [status for status, _ in done] == [403] * 5
    assert (await world.enter("ann", ann.code()))[0] == 403  # all five were counted


async def test_unfinished_logins_do_not_pile_up(world: Factors) -> None:
    await world.enrol("bob")
    await world.enforce()
    for _ in range(40):
        await world.begin("bob")
        world.clock.tick(60)
    assert len(await world.stored("ns/root/identity/mfa-pending/")) <= 8
    assert len(await world.stored("ns/root/identity/mfa-due/")) <= 8


async def test_a_lease_count_quota_counts_tokens_not_attempts(world: Factors) -> None:
    bob = await world.enrol("bob")
    await world.enforce()
    await world.ok("POST", "sys/quotas/lease-count/q", {"path": "auth/userpass/", "max_leases": 1})
    waiting = [await world.begin("bob") for _ in range(3)]
    assert (await world.finish(waiting[0], bob.code()))[0] == 200
    world.clock.tick(30)
    assert (await world.finish(waiting[1], bob.code()))[0] == 429


async def test_a_namespace_has_its_own(world: Factors) -> None:
    await world.ok("POST", "sys/namespaces/team")
    await world.ok("POST", "team/sys/auth/userpass", {"type": "userpass"})
    await world.ok("POST", "team/auth/userpass/users/bob", {"password": "pw"})
    await world.enforce()
    assert (await world.ok("POST", "team/auth/userpass/login/bob", {"password": "pw"}, token=""))["auth"][
        "client_token"
    ]
    made = (await world.ok("POST", "team/identity/mfa/method/totp", {"issuer": "i"}))["data"]["method_id"]
    body = {"mfa_method_ids": [made], "auth_method_types": ["userpass"]}
    await world.ok("POST", "team/identity/mfa/login-enforcement/e", body)
    assert (await world.ok("GET", "team/identity/mfa/login-enforcement/e"))["data"]["namespace_path"] == "team/"
    auth = (await world.ok("POST", "team/auth/userpass/login/bob", {"password": "pw"}, token=""))["auth"]
    assert auth["client_token"] == "" and auth["mfa_requirement"]


async def test_no_namespace_finishes_the_login_of_another(world: Factors) -> None:
    await world.ok("POST", "sys/namespaces/team")
    bob = await world.enrol("bob")
    await world.enforce()
    waiting = await world.begin("bob")
    payload = {"mfa_request_id": waiting, "mfa_payload": {world.method: [bob.code()]}}
    unknown = await world.refused("POST", "team/sys/mfa/validate", {**payload, "mfa_request_id": "x"}, token="")
    assert await world.refused("POST", "team/sys/mfa/validate", payload, token="") == unknown
    assert (await world.finish(waiting, bob.code()))[0] == 200


def test_passcodes() -> None:
    assert header_passcodes("a:1, b ,c:2:3,a: 4,,") == {"a": ["1", " 4"], "b": [], "c": ["2:3"]}
    assert payload_passcodes({"a": ["1"], "b": "2", "c": None, "d": []}) == {"a": ["1"], "b": ["2"], "c": [], "d": []}
    for wrong in ({"a": 1}, {"a": [1]}, {"a": {}}):
        with pytest.raises(BadRequest) as error:
            payload_passcodes(wrong)
        assert json.dumps(wrong) not in str(error.value)
