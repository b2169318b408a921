"""What went wrong with policies elsewhere, tried on Cedar policies over HTTP, each with its positive control."""

import json
import subprocess
import sys
from typing import Any

import pytest

from strongroom.sdk.policy import Principal
from unit.policy.cedar.cedar_world import context
from vault_world import World

SECRET = "secret/data/app/db"
HEADERS = (
    "ttl", "now", "ip", "namespace", "mfa", "auth_method", "auth-method", "operation", "X-Forwarded-For", "X-Real-IP",
    "Forwarded", "X-Vault-MFA", "X-Context-TTL", "X-Strongroom-IP", "Date",
)  # fmt: skip


@pytest.fixture
async def world() -> World:
    world = await World.unsealed()
    await world.ok("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    for path in ("app/db", "restricted/key"):
        await world.ok("POST", f"secret/data/{path}", {"data": {"a": "b"}})
    await world.policy("wide", **{"secret/*": ["create", "read", "update", "patch", "delete", "list", "scan"]})
    return world


async def cedar(world: World, text: str) -> None:
    await world.ok("POST", "sys/policies/cedar/p", {"policy": text})


@pytest.mark.parametrize(
    ("attribute", "lie", "truth"),
    [
        ('context.ip == ip("10.9.9.9")', "10.9.9.9", 'context.ip == ip("127.0.0.1")'),
        ("context.mfa", "true", "context.mfa == false"),
        ('context.auth_method == "userpass"', "userpass", 'context.auth_method == "token"'),
        ('context.namespace == "admin"', "admin", 'context.namespace == "root"'),
        ('context.operation == "list"', "list", 'context.operation == "read"'),
        ('context.now < datetime("2001-01-01")', "2000-01-01T00:00:00Z", 'context.now > datetime("2001-01-01")'),
    ],
)
async def test_sec_ghsa_v9cp_no_header_becomes_context(world: World, attribute: str, lie: str, truth: str) -> None:
    token = await world.token(policies=["default"])
    headers = {name: lie for name in HEADERS if name != "X-Vault-MFA" or lie == "true"}
    await cedar(world, f"permit(principal, action, resource) when {{ {attribute} }};")
    assert await world.status("GET", SECRET, token=token) == 403
    assert await world.status("GET", SECRET, token=token, headers=headers) == 403
    assert await world.status("GET", f"{SECRET}?ip={lie}&now={lie}", token=token) == 403
    await cedar(world, f"permit(principal, action, resource) when {{ {truth} }};")
    assert await world.status("GET", SECRET, token=token, headers=headers) == 200


async def test_sec_ghsa_v9cp_a_forbid_that_fails_is_not_skipped(world: World) -> None:
    token = await world.token(policies=["wide"])
    text = "permit(principal, action, resource); forbid(principal, action, resource) when {{ {} + 1 > 1 }};"
    await cedar(world, text.format("9223372036854775807"))
    assert await world.status("GET", SECRET, token=token) == 403
    await cedar(world, text.format("-5"))
    assert await world.status("GET", SECRET, token=token) == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("LIST", "secret/metadata/restricted"), ("GET", "secret/metadata/restricted/?list=true"),
     ("SCAN", "secret/metadata/restricted"), ("LIST", "secret/detailed-metadata/restricted"),
     ("LIST", "secret/metadata/restricted/sub")],
)  # fmt: skip
async def test_sec_ghsa_xp3c_a_forbid_reaches_listings(world: World, method: str, path: str) -> None:
    token = await world.token(policies=["wide"])
    await cedar(world, 'forbid(principal, action, resource in Secret::"secret/restricted");')
    assert await world.status(method, path, token=token) == 403
    assert await world.status("LIST", "secret/metadata/app", token=token) == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "secret/data/restricted/key", None), ("GET", "secret/data/restricted/key?version=1", None),
        ("GET", "secret/metadata/restricted/key", None), ("GET", "secret/subkeys/restricted/key", None),
        ("POST", "secret/data/restricted/key", {"data": {}}),
        ("POST", "secret/delete/restricted/key", {"versions": [1]}),
        ("POST", "secret/undelete/restricted/key", {"versions": [1]}),
        ("POST", "secret/destroy/restricted/key", {"versions": [1]}),
        ("DELETE", "secret/data/restricted/key", None), ("DELETE", "secret/metadata/restricted/key", None),
        ("POST", "secret/metadata/restricted/key", {"max_versions": 3}),
    ],
)  # fmt: skip
async def test_sec_ghsa_xp3c_every_way_to_a_secret_is_the_same_secret(
    world: World, method: str, path: str, body: Any
) -> None:
    token = await world.token(policies=["wide"])
    await cedar(world, 'forbid(principal, action, resource == Secret::"secret/restricted/key");')
    assert await world.status(method, path, body, token=token) == 403
    assert await world.status(method, path.replace("restricted/key", "app/db"), body, token=token) < 300


@pytest.mark.parametrize(
    "path",
    ["secret/data/restricted//key", "secret/data/app/../restricted/key", "secret/data/restricted%2Fkey",
     "secret//data/restricted/key", "secret/data/./restricted/key", "secret/data/restricted\\key"],
)  # fmt: skip
async def test_sec_cve_2026_3605_no_spelling_gets_around_a_forbid(world: World, path: str) -> None:
    token = await world.token(policies=["wide"])
    await cedar(world, 'forbid(principal, action, resource in Secret::"secret/restricted");')
    assert await world.status("GET", path, token=token) in (400, 403)
    assert await world.status("GET", SECRET, token=token) == 200


@pytest.mark.parametrize(
    "name", ['x"};permit(principal,action,resource);//', "a\\", 'User::"root"', "policy0", "\U0001f511", "a\nb"]
)
async def test_sec_cve_2026_71543_a_name_is_never_read_as_cedar(world: World, name: str) -> None:
    """Paths and names go to the engine as data, whatever is in them."""
    await cedar(world, 'permit(principal, action, resource in Secret::"secret/app");')
    await world.space.refresh()
    policies = await world.space.cedar.store.policies()
    for who in (Principal("User", name), Principal("User", "u", (name,))):
        assert policies.decide(who, "read", f"secret/{name}", context()).effect == "none"
        verdict = policies.decide(who, "read", f"secret/app/{name}", context())
        assert (verdict.effect, verdict.errors) == ("permit", ())


async def test_sec_cve_2026_55776_cedar_text_that_overflows_the_engine_is_refused(world: World) -> None:
    """The engine ends the process on text that nests some hundred brackets: control in a process of its own."""
    deep = f"permit(principal, action, resource) when {{ {'(' * 2000}true{')' * 2000} }};"
    control = "import sys, cedarpy; cedarpy.PolicySet.from_str(sys.stdin.read())"
    died = subprocess.run([sys.executable, "-c", control], input=deep, text=True, capture_output=True, timeout=60)
    assert died.returncode != 0
    status, error = await world.refused("POST", "sys/policies/cedar/p", {"policy": deep})
    assert status == 400 and "nest" in error
    chain = f"permit(principal, action, resource) when {{ true{' && true' * 20000} }};"
    assert (await world.refused("POST", "sys/policies/cedar/p", {"policy": chain}))[0] == 400
    await cedar(world, "permit(principal, action, resource) when { ((((true)))) };")


async def test_sec_errors_quote_no_text_of_a_policy(world: World) -> None:
    status, error = await world.refused(
        "POST", "sys/policies/cedar/p", {"policy": 'permit(principal, action, resource) when { "hunter2" + 1 == 1 };'}
    )
    assert status == 400 and "p#1 (line 1)" in error
    assert "hunter2" not in error


async def test_sec_ghsa_mjch_cedar_policies_stay_in_their_namespace(world: World) -> None:
    await world.ok("POST", "sys/namespaces/ns1")
    inside: dict[str, Any] = {"headers": {"X-Vault-Namespace": "ns1"}}
    await world.ok("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}, **inside)
    await world.ok("POST", f"{SECRET}", {"data": {"a": "b"}}, **inside)
    wide = {"path": {"secret/*": {"capabilities": ["read"]}}}
    await world.ok("PUT", "sys/policies/acl/wide", {"policy": json.dumps(wide)}, **inside)
    above = await world.token(policies=["wide"])
    within = str(
        (await world.ok("POST", "auth/token/create", {"policies": ["wide"]}, **inside))["auth"]["client_token"]
    )
    forbid = {"policy": "forbid(principal, action, resource);"}
    await world.ok("POST", "sys/policies/cedar/p", forbid)
    assert await world.status("GET", SECRET, token=above) == 403
    assert await world.status("GET", SECRET, token=within, **inside) == 200
    await world.ok("DELETE", "sys/policies/cedar/p")
    await world.ok("POST", "sys/policies/cedar/p", forbid, **inside)
    assert await world.status("GET", SECRET, token=above) == 200
    assert await world.status("GET", SECRET, token=within, **inside) == 403
    assert (await world.ok("GET", "sys/policies/cedar"))["data"] == {"keys": []}
    assert (await world.ok("GET", "sys/policies/cedar", **inside))["data"] == {"keys": ["p"]}


async def test_sec_ghsa_mjch_names_of_another_namespace_are_not_ours(world: World) -> None:
    """A token from above is governed by the policies below, under names that nobody below can have."""
    await world.ok("POST", "sys/namespaces/ns1")
    inside: dict[str, Any] = {"headers": {"X-Vault-Namespace": "ns1"}}
    await world.ok("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}}, **inside)
    await world.ok("POST", SECRET, {"data": {"a": "b"}}, **inside)
    await world.ok("POST", "sys/auth/userpass", {"type": "userpass"})
    await world.ok("POST", "auth/userpass/users/ann", {"password": "pw"})
    login = (await world.ok("POST", "auth/userpass/login/ann", {"password": "pw"}, token=""))["auth"]
    await world.ok("POST", "identity/group", {"name": "ops", "member_entity_ids": [login["entity_id"]]})
    name = (await world.ok("GET", f"identity/entity/id/{login['entity_id']}"))["data"]["name"]
    for who in (f'principal == User::"{name}"', 'principal in Group::"ops"'):
        permit = f"permit({who}, action, resource);"
        await world.ok("POST", "sys/policies/cedar/p", {"policy": permit}, **inside)
        assert await world.status("GET", SECRET, token=login["client_token"], **inside) == 403
        await world.ok("POST", "sys/policies/cedar/p", {"policy": permit})
        assert await world.status("GET", SECRET, token=login["client_token"]) == 200
    for kind in ("group", "entity"):
        assert (await world.refused("POST", f"identity/{kind}", {"name": "/ops"}, **inside))[0] == 400
    foreign = {"policy": 'permit(principal in Group::"/ops", action, resource);'}
    await world.ok("POST", "sys/policies/cedar/p", foreign, **inside)
    assert await world.status("GET", SECRET, token=login["client_token"], **inside) == 200
