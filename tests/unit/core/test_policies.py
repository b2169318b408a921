"""The store of policies and the step that asks them."""

import pytest

from strongroom.core import layout
from strongroom.sdk.storage import Write
from vault_world import World


@pytest.fixture
async def world() -> World:
    world = await World.unsealed()
    await world.ok("POST", "sys/mounts/secret", {"type": "kv"})
    await world.ok("POST", "secret/a", {"x": "y"})
    return world


async def test_a_refusal_by_policy_reads_otherwise_than_a_bad_token(world: World):
    token = await world.token(policies=["none"])
    assert await world.refused("GET", "secret/a", token=token) == (403, "1 error occurred:\n\t* permission denied\n\n")
    for bad in ("", "hvs.none", "x" * 5000, "hvb.AAAA"):
        assert await world.refused("GET", "secret/a", token=bad) == (403, "permission denied")


async def test_a_stranger_cannot_tell_what_is_mounted(world: World):
    for path in ("secret/a", "none/a", "sys/none", "secret", "sys/mounts/secret"):
        assert await world.http("GET", path, token="") == (403, {"errors": ["permission denied"]})


async def test_nor_can_one_whose_policies_do_not_reach_there(world: World):
    token = await world.token(policies=["none"])
    answers = {str(await world.http("GET", path, token=token)) for path in ("secret/a", "none/a", "sys/none")}
    assert len(answers) == 1


async def test_a_policy_that_does_not_exist_grants_nothing_until_it_does(world: World):
    token = await world.token(policies=["soon"])
    assert await world.status("GET", "secret/a", token=token) == 403
    await world.policy("soon", **{"secret/a": ["read"]})
    assert await world.status("GET", "secret/a", token=token) == 200


async def test_sudo_routes_want_sudo(world: World):
    await world.policy("p", **{"sys/*": ["create", "read", "update", "delete", "list"]})
    await world.policy("s", **{"sys/*": ["create", "read", "update", "delete", "list", "sudo"]})
    plain, sudo = await world.token(policies=["p"]), await world.token(policies=["s"])
    for method, path in (
        ("GET", "sys/audit"), ("POST", "sys/rotate"), ("POST", "sys/remount"), ("POST", "sys/auth/x"),
        ("GET", "sys/config/cors"), ("LIST", "sys/leases/lookup"), ("POST", "sys/seal"), ("GET", "sys/rekey/init"),
        ("POST", "sys/generate-root/attempt"),
    ):  # fmt: skip
        assert await world.status(method, path, {} if method == "POST" else None, token=plain) == 403, path
    for method, path in (("GET", "sys/audit"), ("POST", "sys/rotate"), ("GET", "sys/rekey/init")):
        assert await world.status(method, path, {} if method == "POST" else None, token=sudo) < 300, path


async def test_a_stored_policy_that_cannot_be_read_any_more_denies_its_holders(world: World):
    await world.policy("p", **{"secret/a": ["read"]})
    await world.policy("q", **{"secret/a": ["read"]})
    token, other = await world.token(policies=["p", "q"]), await world.token(policies=["q"])
    await world.core.barrier.commit([Write(layout.policy("root", "p"), b'{"text": "path {"}')])
    world.space.policies.forget()
    assert await world.status("GET", "secret/a", token=token) == 403
    assert await world.status("GET", "secret/a", token=other) == 200


async def test_the_default_policy_lets_a_token_mind_itself_and_nothing_else(world: World):
    auth = await world.create(policies=["default"])
    token = auth["client_token"]
    allowed = [
        ("GET", "auth/token/lookup-self", None), ("POST", "auth/token/renew-self", {}),
        ("POST", "sys/capabilities-self", {"paths": ["x"]}), ("GET", "sys/internal/ui/resultant-acl", None),
        ("POST", "cubbyhole/x", {"a": "b"}), ("GET", "cubbyhole/x", None), ("LIST", "cubbyhole", None),
        ("DELETE", "cubbyhole/x", None), ("POST", "sys/tools/hash", {"input": "YQ=="}),
        ("POST", "sys/wrapping/lookup", {"token": "none"}), ("PUT", "sys/leases/lookup", {"lease_id": "none"}),
        ("PUT", "sys/leases/renew", {"lease_id": "none"}),
    ]  # fmt: skip
    for method, path, body in allowed:
        assert await world.status(method, path, body, token=token) != 403, path
    refused = [
        ("GET", "secret/a", None), ("POST", "auth/token/create", {}), ("GET", "sys/mounts", None),
        ("POST", "auth/token/lookup", {"token": world.root}), ("LIST", "auth/token/accessors", None),
        ("GET", "sys/policies/acl/default", None), ("PUT", "sys/leases/revoke", {"lease_id": "none"}),
        ("POST", "sys/tools/random", {}),
    ]  # fmt: skip
    for method, path, body in refused:
        assert await world.status(method, path, body, token=token) == 403, path
    assert await world.status("POST", "auth/token/revoke-self", {}, token=token) == 204
    assert not await world.alive(token)


async def test_a_cubbyhole_belongs_to_its_token_alone(world: World):
    one, other = await world.token(policies=["a"]), await world.token(policies=["a"])
    await world.ok("POST", "cubbyhole/x", {"a": "b"}, token=one)
    assert await world.status("GET", "cubbyhole/x", token=other) == 404
    assert await world.status("GET", "cubbyhole/x") == 404
    assert (await world.ok("GET", "cubbyhole/x", token=one))["data"] == {"a": "b"}


async def test_list_is_asked_for_the_path_with_its_slash(world: World):
    await world.policy("exact", **{"secret/": ["list"]})
    await world.policy("bare", secret=["list"])
    for name in ("exact", "bare"):
        token = await world.token(policies=[name])
        assert await world.status("LIST", "secret", token=token) == 200
        assert await world.status("GET", "secret?list=true", token=token) == 200
        assert await world.status("GET", "secret/a", token=token) == 403


async def test_wrapping_bounds_of_a_policy_hold(world: World):
    text = 'path "secret/a" { capabilities = ["read"] min_wrapping_ttl = "1m" max_wrapping_ttl = "10m" }'
    await world.ok("PUT", "sys/policies/acl/w", {"policy": text})
    token = await world.token(policies=["w"])
    for ttl, status in (("", 403), ("30s", 403), ("5m", 200), ("1h", 403)):
        headers = {"X-Vault-Wrap-TTL": ttl} if ttl else {}
        assert await world.status("GET", "secret/a", token=token, headers=headers) == status


async def test_the_root_policy_has_no_text(world: World):
    assert (await world.ok("GET", "sys/policies/acl/root"))["data"] == {"name": "root", "policy": ""}


async def test_an_unauthenticated_route_ignores_policies_and_a_bad_token(world: World):
    await world.ok("POST", "sys/auth/userpass", {"type": "userpass"})
    await world.ok("POST", "auth/userpass/users/bob", {"password": "correct horse"})
    for token in ("", "hvs.none", await world.token(policies=["a"])):
        body = {"password": "correct horse"}
        assert await world.status("POST", "auth/userpass/login/bob", body, token=token) == 200
