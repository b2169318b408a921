"""Namespaces: found by header and path, opened when needed, with tokens, policies and leases of their own."""

from typing import Any

import pytest

from strongroom.core import layout, spaces
from vault_world import World


@pytest.fixture
async def world() -> World:
    return await World.unsealed()


def inside(path: str) -> dict[str, Any]:
    return {"headers": {"X-Vault-Namespace": path}}


async def kv(world: World, namespace: str, value: str) -> None:
    await world.ok("POST", "sys/mounts/secret", {"type": "kv"}, **inside(namespace))
    await world.ok("POST", "secret/a", {"v": value}, **inside(namespace))


async def make(world: World, *paths: str) -> None:
    for path in paths:
        parent, _, name = path.rpartition("/")
        await world.ok("POST", f"sys/namespaces/{name}", **inside(parent))


async def test_create_shows_what_vault_shows_and_list_finds_it(world: World) -> None:
    assert await world.status("LIST", "sys/namespaces") == 404
    made = (await world.ok("POST", "sys/namespaces/ns1", {"custom_metadata": {"team": "a"}}))["data"]
    assert made.pop("uuid") and len(made["id"]) == 6
    assert made == {
        "id": made["id"],
        "path": "ns1/",
        "custom_metadata": {"team": "a"},
        "tainted": False,
        "locked": False,
    }
    await make(world, "ns1/ns2")
    listed = (await world.ok("LIST", "sys/namespaces"))["data"]
    assert listed["keys"] == ["ns1/"] and listed["key_info"]["ns1/"]["id"] == made["id"]
    assert (await world.ok("GET", "sys/namespaces/ns2", **inside("ns1")))["data"]["path"] == "ns1/ns2/"
    assert (await world.ok("SCAN", "sys/namespaces"))["data"]["keys"] == ["ns1/", "ns1/ns2/"]
    assert (await world.ok("GET", "sys/internal/ui/namespaces"))["data"] == {"keys": ["ns1/"]}
    assert await world.status("GET", "sys/namespaces/ns9") == 404


async def test_patch_merges_metadata_and_a_second_write_replaces_it(world: World) -> None:
    await world.ok("POST", "sys/namespaces/ns1", {"custom_metadata": {"a": "1", "b": "2"}})
    merge = {"headers": {"Content-Type": "application/merge-patch+json"}}
    patched = await world.ok("PATCH", "sys/namespaces/ns1", {"custom_metadata": {"a": None, "c": "3"}}, **merge)
    assert patched["data"]["custom_metadata"] == {"b": "2", "c": "3"}
    again = await world.ok("POST", "sys/namespaces/ns1", {"custom_metadata": {"z": "9"}})
    assert again["data"]["custom_metadata"] == {"z": "9"} and again["data"]["id"] == patched["data"]["id"]
    assert await world.status("PATCH", "sys/namespaces/ns9", {"custom_metadata": {}}, **merge) == 404


@pytest.mark.parametrize("name", ["root", "ROOT", "sys", "auth", "identity", "cubbyhole", "a%20b", "a+b", "a*", "x/y"])
async def test_names_that_nobody_may_have(world: World, name: str) -> None:
    assert await world.status("POST", f"sys/namespaces/{name}") == 400
    assert await world.stored(layout.child_prefix("root")) == []


async def test_header_path_and_both_lead_to_the_same_place(world: World) -> None:
    await make(world, "ns1", "ns1/ns2")
    await kv(world, "ns1/ns2", "deep")
    for header, path in (("ns1/ns2", "secret/a"), ("ns1/", "ns2/secret/a"), ("/ns1/ns2/", "secret/a")):
        assert (await world.ok("GET", path, **inside(header)))["data"] == {"v": "deep"}
    for header in ("", "root", "/"):
        assert (await world.ok("GET", "ns1/ns2/secret/a", **inside(header)))["data"] == {"v": "deep"}
    assert await world.status("GET", "secret/a") == 404
    assert await world.refused("GET", "secret/a", **inside("ns9")) == (404, "namespace not found")
    assert await world.refused("GET", "secret/a", **inside("ns1/ns9")) == (404, "namespace not found")


@pytest.mark.parametrize(
    "header", ["ns1//ns2", "ns1/../ns1", "./ns1", "ns1\\ns2", "ns1/%2e%2e", "//", "///", "ns1/root"]
)
async def test_the_header_is_as_canonical_as_a_path(world: World, header: str) -> None:
    await make(world, "ns1", "ns1/ns2")
    await kv(world, "ns1", "v")
    assert await world.status("GET", "secret/a", **inside(header)) in (400, 404)


async def test_a_mount_and_a_namespace_cannot_have_one_name(world: World) -> None:
    await world.ok("POST", "sys/mounts/taken/here", {"type": "kv"})
    assert (await world.refused("POST", "sys/namespaces/taken"))[1] == "path is already in use at taken/here/"
    await make(world, "ns1")
    assert (await world.refused("POST", "sys/mounts/ns1/x", {"type": "kv"}))[1] == "path is already in use at ns1/"
    assert await world.status("POST", "sys/remount", {"from": "taken/here", "to": "ns1"}) == 400


async def test_a_namespace_has_its_own_mounts_policies_and_tokens(world: World) -> None:
    await make(world, "ns1", "ns2")
    await kv(world, "ns1", "one")
    mounts = await world.ok("GET", "sys/mounts", **inside("ns1"))
    assert {"sys/", "identity/", "cubbyhole/", "secret/"} == set(mounts["data"])
    assert (await world.ok("GET", "sys/policy", **inside("ns2")))["data"]["keys"] == ["default", "root"]
    await world.ok(
        "PUT", "sys/policies/acl/reader", {"policy": 'path "secret/*" {capabilities=["read"]}'}, **inside("ns1")
    )
    made = (await world.ok("POST", "auth/token/create", {"policies": ["reader"]}, **inside("ns1")))["auth"]
    nsid = (await world.ok("GET", "sys/namespaces/ns1"))["data"]["id"]
    assert made["client_token"].endswith(f".{nsid}") and made["accessor"].endswith(f".{nsid}")
    token = made["client_token"]
    assert (await world.ok("GET", "secret/a", token=token, **inside("ns1")))["data"] == {"v": "one"}
    assert (await world.ok("GET", "ns1/secret/a", token=token))["data"] == {"v": "one"}
    assert await world.status("GET", "auth/token/lookup-self", token=token, **inside("ns1")) == 200
    for elsewhere in ("", "ns2"):
        assert await world.status("GET", "auth/token/lookup-self", token=token, **inside(elsewhere)) == 403


async def test_a_token_of_a_parent_works_below_by_its_own_policies(world: World) -> None:
    await make(world, "ns1", "ns1/ns2", "ns3")
    await kv(world, "ns1", "one")
    await kv(world, "ns1/ns2", "two")
    await kv(world, "ns3", "three")
    await world.policy(
        "far", **{"ns1/secret/*": ["read"], "ns1/ns2/secret/*": ["read"], "ns1/sys/capabilities": ["update"]}
    )
    far = await world.token(policies=["far"])
    assert (await world.ok("GET", "secret/a", token=far, **inside("ns1")))["data"] == {"v": "one"}
    assert (await world.ok("GET", "ns2/secret/a", token=far, **inside("ns1")))["data"] == {"v": "two"}
    assert await world.status("GET", "secret/a", token=far, **inside("ns3")) == 403
    assert await world.status("POST", "secret/a", {"v": "x"}, token=far, **inside("ns1")) == 403
    able = await world.ok("POST", "sys/capabilities-self", {"paths": ["secret/a", "b"]}, **inside("ns1"))
    assert able["data"]["secret/a"] == ["root"]
    own = await world.ok("GET", "auth/token/lookup-self", **inside("ns1"))
    assert own["data"]["policies"] == ["root"]


async def test_a_child_of_a_token_from_above_ends_with_it(world: World) -> None:
    await make(world, "ns1")
    await world.policy("maker", **{"ns1/auth/token/create": ["update"]})
    parent = await world.token(policies=["maker"])
    options = inside("ns1")
    assert await world.status("POST", "auth/token/create", {"policies": ["any"]}, token=parent, **options) == 400
    made = (await world.ok("POST", "auth/token/create", {}, token=parent, **options))["auth"]
    assert made["policies"] == ["default"] and not made["orphan"]
    child = made["client_token"]
    assert await world.status("GET", "auth/token/lookup-self", token=child, **options) == 200
    await world.ok("POST", "auth/token/revoke", {"token": parent})
    assert await world.status("GET", "auth/token/lookup-self", token=child, **options) == 403
    nsid = made["accessor"].rpartition(".")[2]
    assert await world.stored(f"ns/{nsid}/token/id/") == [] and await world.stored("ns/root/token/revoking/") == []


async def test_wrapped_answers_stay_in_their_namespace(world: World) -> None:
    await make(world, "ns1")
    await kv(world, "ns1", "one")
    headers = {"headers": {"X-Vault-Namespace": "ns1", "X-Vault-Wrap-TTL": "60"}}
    token = (await world.ok("GET", "secret/a", **headers))["wrap_info"]["token"]
    assert await world.status("POST", "sys/wrapping/unwrap", {"token": token}) == 400
    unwrapped = await world.ok("POST", "sys/wrapping/unwrap", {"token": token}, **inside("ns1"))
    assert unwrapped["data"] == {"v": "one"}


async def test_login_in_a_namespace(world: World) -> None:
    await make(world, "ns1")
    await world.ok("POST", "sys/auth/userpass", {"type": "userpass"}, **inside("ns1"))
    await world.ok("POST", "auth/userpass/users/bob", {"password": "correct horse"}, **inside("ns1"))
    body = {"password": "correct horse"}
    auth = (await world.ok("POST", "auth/userpass/login/bob", body, token="", **inside("ns1")))["auth"]
    assert await world.status("GET", "auth/token/lookup-self", token=auth["client_token"], **inside("ns1")) == 200
    assert await world.status("POST", "auth/userpass/login/bob", body, token="") == 403


async def test_batch_tokens_carry_their_namespace(world: World) -> None:
    await make(world, "ns1", "ns2")
    made = (await world.ok("POST", "auth/token/create", {"type": "batch", "ttl": "1h"}, **inside("ns1")))["auth"]
    token = made["client_token"]
    assert token.startswith("hvb.") and token.count(".") == 2
    assert await world.status("GET", "auth/token/lookup-self", token=token, **inside("ns1")) == 200
    for elsewhere in ("", "ns2"):
        assert await world.status("GET", "auth/token/lookup-self", token=token, **inside(elsewhere)) == 403


async def test_the_node_answers_whatever_namespace_a_client_sends(world: World) -> None:
    for header in ("ns1", "nowhere/at/all"):
        assert await world.status("GET", "sys/health", token="", **inside(header)) == 200
        assert await world.status("GET", "sys/seal-status", token="", **inside(header)) == 200
    await world.core.seal()
    assert await world.status("GET", "sys/health", token="", **inside("ns1")) == 503
    assert await world.status("GET", "secret/a", **inside("ns1")) == 503


async def test_tokens_of_a_namespace_expire_without_anybody_opening_it(world: World) -> None:
    await make(world, "ns1")
    made = (await world.ok("POST", "auth/token/create", {"ttl": "60s", "policies": ["x"]}, **inside("ns1")))["auth"]
    nsid = made["accessor"].rpartition(".")[2]
    other = await world.other()
    assert list(other.core.spaces) == ["root"]
    world.clock.tick(61)
    while await other.core.tidy():
        pass
    assert await world.stored(f"ns/{nsid}/token/id/") == [] and await world.stored("ns/root/lease/due/") == []


async def test_unsealing_opens_no_namespace_and_few_stay_open(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spaces, "MAX_OPEN", 8)
    for number in range(12):
        await make(world, f"n{number}")
    other = await world.other()
    assert list(other.core.spaces) == ["root"]
    for number in range(12):
        await other.ok("GET", "sys/mounts", **inside(f"n{number}"))
    assert "root" in other.core.spaces and len(other.core.spaces) <= 8
    assert await other.status("GET", "sys/mounts", **inside("n0")) == 200 and not other.core.directory.held


async def test_another_process_sees_a_new_namespace_and_its_end_at_once(world: World) -> None:
    other = await world.other()
    assert await other.status("GET", "sys/mounts", **inside("ns1")) == 404
    await make(world, "ns1")
    await kv(world, "ns1", "one")
    assert (await other.ok("GET", "ns1/secret/a"))["data"] == {"v": "one"}
    await world.core.directory.taint("root", "ns1")
    assert await other.status("GET", "ns1/secret/a") == 404
    assert await other.status("GET", "secret/a", **inside("ns1")) == 404
