"""sys/policies/acl, sys/policy, sys/policies/password."""

import base64
import json
from typing import Any

import pytest

from strongroom.core.password_policy import Charset, PasswordPolicy, read
from strongroom.errors import BadRequest
from vault_world import World

TEXT = 'path "secret/*" { capabilities = ["read"] }'


@pytest.fixture
async def world() -> World:
    return await World.unsealed()


@pytest.mark.parametrize("text", [TEXT, json.dumps({"path": {"secret/*": {"capabilities": ["read"]}}})])
async def test_a_policy_is_written_read_listed_and_deleted(world: World, text: str):
    await world.ok("PUT", "sys/policies/acl/P", {"policy": text})
    assert (await world.ok("GET", "sys/policies/acl/p"))["data"] == {"name": "p", "policy": text}
    old = await world.ok("GET", "sys/policy/p")
    assert old["data"]["rules"] == old["rules"] == text
    assert (await world.ok("LIST", "sys/policies/acl"))["data"] == {"keys": ["default", "p", "root"]}
    listed = await world.ok("GET", "sys/policy")
    assert listed["policies"] == listed["data"]["keys"] == ["default", "p", "root"]
    await world.ok("DELETE", "sys/policies/acl/P")
    assert await world.status("GET", "sys/policies/acl/p") == 404
    assert await world.status("DELETE", "sys/policies/acl/p") == 204


async def test_the_old_path_shows_the_details_and_the_new_one_never(world: World):
    await world.ok("PUT", "sys/policies/acl/p", {"policy": TEXT})
    old = (await world.ok("GET", "sys/policy/p"))["data"]
    switches = {name: old.pop(name) for name in list(old) if name.startswith("allow_") or name == "cas_required"}
    assert set(old) == {"name", "rules", "version", "modified"}
    assert len(switches) == 3 and set(switches.values()) == {False}
    assert set((await world.ok("GET", "sys/policies/acl/p"))["data"]) == {"name", "policy"}  # hvac compares it whole
    root = (await world.ok("GET", "sys/policy/root"))["data"]
    assert root["version"] == 0 and "modified" not in root


async def test_the_details_are_beside_it(world: World):
    await world.ok("PUT", "sys/policies/acl/p", {"policy": TEXT})
    data = (await world.ok("GET", "sys/policies/detailed/acl/p"))["data"]
    assert data["version"] == 1 and data["policy"] == TEXT and data["modified"].endswith("Z")
    listed = (await world.ok("LIST", "sys/policies/detailed/acl"))["data"]
    assert listed["key_info"]["p"]["version"] == 1


@pytest.mark.parametrize("path", ["sys/policies/acl", "sys/policy", "sys/policies/detailed/acl"])
@pytest.mark.parametrize("name", ["root", "ROOT", "Root", "response-wrapping"])
async def test_the_reserved_ones_cannot_be_changed(world: World, path: str, name: str):
    assert await world.status("PUT", f"{path}/{name}", {"policy": TEXT}) == 400
    assert await world.status("DELETE", f"{path}/{name}") == 400


async def test_default_may_be_changed_and_not_deleted(world: World):
    token = await world.token()
    await world.ok("PUT", "sys/policies/acl/default", {"policy": TEXT})
    plain = await world.token(policies=["default"])
    assert not await world.alive(plain)  # it may not look itself up any more
    assert await world.refused("DELETE", "sys/policies/acl/default") == (400, "cannot delete default policy")
    assert await world.alive(token)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "'policy' parameter not supplied or empty"),
        ({"policy": ""}, "'policy' parameter not supplied or empty"),
        ({"policy": "path {"}, "failed to parse policy"),
        ({"policy": 'path "x" { capabilities = ["nope"] }'}, "invalid capability"),
        ({"policy": {"path": {}}}, "policy"),
    ],
)
async def test_bad_policies_are_refused_and_not_stored(world: World, body: dict[str, Any], said: str):
    status, errors = await world.refused("PUT", "sys/policies/acl/p", body)
    assert status == 400 and said in errors
    assert await world.status("GET", "sys/policies/acl/p") == 404


async def test_the_old_field_and_base64(world: World):
    answer = await world.ok("PUT", "sys/policies/acl/p", {"rules": TEXT})
    assert "deprecated" in answer["warnings"][0]
    await world.ok("PUT", "sys/policies/acl/q", {"policy": base64.b64encode(TEXT.encode()).decode()})
    assert (await world.ok("GET", "sys/policies/acl/q"))["data"]["policy"] == TEXT


async def test_a_change_holds_for_tokens_that_are_out_already_in_every_process(world: World):
    other = await world.other()
    token = await world.token(policies=["later"])
    await world.ok("POST", "sys/mounts/secret", {"type": "kv"})
    for each in (world, other):
        assert await each.status("GET", "secret/x", token=token) == 403
    await world.ok("PUT", "sys/policies/acl/later", {"policy": TEXT})
    for each in (world, other):
        assert await each.status("GET", "secret/x", token=token) == 404
    await other.ok("DELETE", "sys/policies/acl/later")
    for each in (world, other):
        assert await each.status("GET", "secret/x", token=token) == 403


async def test_create_and_update_are_told_apart(world: World):
    await world.policy("maker", **{"sys/policies/acl/*": ["create"]})
    token = await world.token(policies=["maker"])
    assert await world.status("PUT", "sys/policies/acl/new", {"policy": TEXT}, token=token) == 204
    assert await world.status("PUT", "sys/policies/acl/new", {"policy": TEXT}, token=token) == 403


# -- passwords -------------------------------------------------------------------------------------------------------

LETTERS = 'length = 20 rule "charset" { charset = "abc" min-chars = 2 } rule "charset" { charset = "12" min-chars = 1 }'


async def test_a_password_policy_from_beginning_to_end(world: World):
    path = "sys/policies/password/pp"
    assert await world.status("LIST", "sys/policies/password") == await world.status("GET", path) == 404
    await world.ok("PUT", path, {"policy": LETTERS})
    assert (await world.ok("GET", path))["data"] == {"policy": LETTERS}
    assert (await world.ok("LIST", "sys/policies/password"))["data"]["keys"] == ["pp"]
    made = {(await world.ok("GET", f"{path}/generate"))["data"]["password"] for _ in range(20)}
    assert len(made) == 20 and all(len(p) == 20 and set(p) <= set("abc12") for p in made)
    await world.ok("DELETE", path)
    assert await world.status("GET", f"{path}/generate") == 404


@pytest.mark.parametrize(
    "policy",
    [
        "", "length = 20", 'rule "charset" { charset = "abc" }', 'length = 3 rule "charset" { charset = "abc" }',
        'length = 101 rule "charset" { charset = "abc" }', 'length = "20" rule "charset" { charset = "abc" }',
        'length = 20 rule "charset" { charset = "" }', 'length = 20 rule "charset" { charset = "a\\nb" }',
        'length = 20 rule "words" { charset = "abc" }', 'length = 20 rule "charset" { charset = "abc" min-chars = 21 }',
        'length = 4 rule "charset" { charset = "a" min-chars = 3 } rule "charset" { charset = "b" min-chars = 2 }',
        'length = 20 rule "charset" { charset = "abc" } color = "red"', "length = {", 'length = 20 rule = "x"',
        'length = 20 rule "charset" { charset = "abc" min-chars = -1 }',
        'length = true rule "charset" { charset = "a" }',
    ],
)  # fmt: skip
async def test_bad_password_policies_are_refused(world: World, policy: str):
    assert await world.status("PUT", "sys/policies/password/pp", {"policy": policy}) == 400
    assert await world.status("GET", "sys/policies/password/pp") == 404


def test_passwords_hold_what_is_asked_and_use_every_character():
    policy = PasswordPolicy(10, (Charset("abc", 3), Charset("12", 2), Charset("xyz")))
    seen: dict[str, int] = {}
    for _ in range(2000):
        password = policy.generate()
        assert len(password) == 10
        assert sum(c in "abc" for c in password) >= 3 and sum(c in "12" for c in password) >= 2
        seen[password[0]] = seen.get(password[0], 0) + 1
    assert set(seen) == set("abc12xyz")  # every place takes every kind
    assert policy.generate() != policy.generate()


def test_one_character_is_enough():
    assert read({"length": 4, "rule": [{"charset": [{"charset": "aa"}]}]}).generate() == "aaaa"
    with pytest.raises(BadRequest):
        read({"length": 4, "rule": [{"charset": "abc"}]})
