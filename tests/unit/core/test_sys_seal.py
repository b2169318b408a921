"""sys/init, unseal, seal, health; rekey and generate-root with and without the setting that opens them."""

from typing import Any

import pytest

from strongroom.core.generate_root import decode_token
from strongroom.core.seal import SealConfig
from vault_world import World

OPEN = {"unauthenticated_operator_endpoints": True}


async def sealed(config: dict[str, Any] | None = None, shares: int = 3, threshold: int = 2) -> World:
    world = World(config)
    made = await world.core.initialize(SealConfig(shares, threshold))
    world.root, world.keys = made.root_token, made.keys
    return world


async def unseal(world: World, token: str = "") -> None:
    for key in world.keys[:2]:
        await world.ok("PUT", "sys/unseal", {"key": key}, token=token)
    assert not world.core.sealed


@pytest.mark.parametrize("token", ["", "hvs.kept-from-before", "root"])
async def test_a_client_that_kept_a_token_can_ask_and_unseal_a_sealed_vault(token: str):
    world = await sealed()
    token = world.root if token == "root" else token
    for path in ("seal-status", "leader", "init"):
        assert await world.status("GET", f"sys/{path}", token=token) == 200
    assert await world.status("GET", "sys/health", token=token) == 503
    for path in ("sys/mounts", "secret/x", "sys/none", "auth/token/lookup-self", "sys/internal/ui/mounts"):
        assert await world.refused("GET", path, token=token) == (503, "Vault is sealed")
    assert await world.status("POST", "auth/userpass/login/bob", {"password": "x"}, token=token) == 503
    await unseal(world, token)


async def test_seal_and_unseal_keep_everything_and_forget_every_key():
    world = await sealed()
    await unseal(world)
    await world.ok("POST", "cubbyhole/x", {"a": "b"})
    await world.policy("p", **{"sys/seal": ["update"]})
    assert await world.status("PUT", "sys/seal", {}, token=await world.token(policies=["p"])) == 403
    assert await world.status("PUT", "sys/seal", {}, token="") == 403
    await world.ok("PUT", "sys/seal", {})
    assert world.core.sealed and world.core.spaces == {} and world.core.barrier is None
    assert await world.status("GET", "cubbyhole/x") == 503
    await unseal(world)
    assert (await world.ok("GET", "cubbyhole/x"))["data"] == {"a": "b"}


@pytest.mark.parametrize(
    ("query", "fresh", "shut", "open_"),
    [
        ("", 501, 503, 200),
        ("?uninitcode=299&sealedcode=298&activecode=297", 299, 298, 297),
        ("?standbyok", 501, 503, 200),
        ("?standbyok=true&perfstandbyok=false", 501, 503, 200),
        ("?standbyok=maybe", 400, 400, 400),
        ("?activecode=x", 400, 400, 400),
        ("?sealedcode=99", 400, 400, 400),
        ("?sealedcode=1000", 400, 400, 400),
    ],
)
async def test_health_codes(query: str, fresh: int, shut: int, open_: int):
    world = World()
    assert await world.status("GET", f"sys/health{query}") == fresh
    world = await sealed()
    assert (await world.raw("HEAD", f"sys/health{query}", token="")).status == shut
    await unseal(world)
    assert await world.status("GET", f"sys/health{query}", token="") == open_


async def test_health_and_status_say_the_same():
    world = await sealed()
    data = (await world.http("GET", "sys/health", token=""))[1]
    assert (data["initialized"], data["sealed"], data["standby"]) == (True, True, True)
    assert "cluster_name" not in data
    await unseal(world)
    health, status = await world.ok("GET", "sys/health"), await world.ok("GET", "sys/seal-status")
    assert (health["sealed"], health["standby"], status["sealed"]) == (False, False, False)
    for name in ("version", "cluster_name", "cluster_id"):
        assert health[name] == status[name]
    assert health["server_time_utc"] == int(world.clock())


@pytest.mark.parametrize("shut", [True, False])
async def test_keys_that_typed_clients_cannot_do_without(shut: bool):
    """Spring Vault and vaultrs need the first, merka-vault and vault-mgmt the second; OpenBao has neither."""
    world = await sealed()
    if not shut:
        await unseal(world)
    health = (await world.http("GET", "sys/health", token=""))[1]
    assert health["performance_standby"] is False and "enterprise" not in health
    status = await world.ok("GET", "sys/seal-status")
    assert status["build_date"] == status["commit_date"] == ""


@pytest.mark.parametrize(
    "body",
    [
        {}, {"secret_shares": 0, "secret_threshold": 0}, {"secret_shares": 1, "secret_threshold": 2},
        {"secret_shares": 5, "secret_threshold": 1}, {"secret_shares": 256, "secret_threshold": 2},
        {"secret_shares": "x", "secret_threshold": 1}, {"secret_shares": 1, "secret_threshold": 1, "pgp_keys": ["x"]},
        {"secret_shares": 1, "secret_threshold": 1, "root_token_pgp_key": "x"},
        {"secret_shares": 1, "secret_threshold": 1, "recovery_shares": 1},
    ],
)  # fmt: skip
async def test_bad_inits_leave_nothing(body: dict[str, Any]):
    world = World()
    assert await world.status("PUT", "sys/init", body, token="") == 400
    assert await world.ok("GET", "sys/init", token="") == {"initialized": False}
    made = await world.ok("PUT", "sys/init", {"secret_shares": "1", "secret_threshold": "1"}, token="")
    assert set(made) == {"keys", "keys_base64", "root_token"} and len(made["keys"]) == 1


# -- operator endpoints ----------------------------------------------------------------------------------------------

OWN = [("GET", "rekey/init"), ("PUT", "rekey/init"), ("DELETE", "rekey/init"), ("PUT", "rekey/update"),
       ("GET", "generate-root/attempt"), ("PUT", "generate-root/attempt"), ("PUT", "generate-root/update")]  # fmt: skip


async def test_operator_endpoints_need_sudo():
    world = await sealed()
    await unseal(world)
    await world.policy("p", **{"sys/*": ["create", "read", "update", "delete"]})
    for token in ("", await world.token(policies=["p"]), "hvs.none"):
        for method, path in OWN:
            assert await world.status(method, f"sys/{path}", {} if method == "PUT" else None, token=token) == 403
    assert (await world.ok("GET", "sys/generate-root/attempt"))["started"] is False


async def test_the_setting_opens_vaults_own_paths_and_no_others():
    world = await sealed(OPEN)
    await unseal(world)
    assert await world.status("GET", "sys/rekey/init", token="") == 200
    assert await world.status("GET", "sys/generate-root/attempt", token="") == 200
    for path in ("rotate/root/init", "generate-root-token/attempt", "rekey/backup"):
        assert await world.status("GET", f"sys/{path}", token="") == 403
    for method, path in (("POST", "sys/rotate"), ("PUT", "sys/seal")):
        assert await world.status(method, path, {}, token="") == 403


async def test_a_cancel_needs_the_nonce_where_it_needs_no_token():
    world = await sealed(OPEN)
    await unseal(world)
    for path, body in (("rekey/init", {"secret_shares": 1, "secret_threshold": 1}), ("generate-root/attempt", {})):
        started = await world.ok("PUT", f"sys/{path}", body, token="")
        assert await world.status("DELETE", f"sys/{path}", token="") == 400
        assert await world.status("DELETE", f"sys/{path}?nonce=wrong", token="") == 400
        assert (await world.ok("GET", f"sys/{path}", token=""))["started"] is True
        await world.ok("DELETE", f"sys/{path}?nonce={started['nonce']}", token="")
        assert (await world.ok("GET", f"sys/{path}", token=""))["started"] is False
        started = await world.ok("PUT", f"sys/{path}", body, token="")  # and in the body, as Go clients send it
        assert await world.status("DELETE", f"sys/{path}", {"nonce": "wrong"}, token="") == 400
        await world.ok("DELETE", f"sys/{path}", {"nonce": started["nonce"]}, token="")
        assert (await world.ok("GET", f"sys/{path}", token=""))["started"] is False


async def test_a_cancel_with_sudo_needs_none():
    world = await sealed()
    await unseal(world)
    await world.ok("PUT", "sys/generate-root/attempt", {})
    await world.ok("DELETE", "sys/generate-root/attempt")
    assert (await world.ok("GET", "sys/generate-root/attempt"))["started"] is False


@pytest.mark.parametrize(("head", "bare"), [("generate-root", True), ("generate-root-token", False)])
async def test_a_new_root_token(head: str, bare: bool):
    world = await sealed()
    await unseal(world)

    def shown(answer: Any) -> Any:
        return answer if bare else answer["data"]

    started = shown(await world.ok("PUT", f"sys/{head}/attempt", {}))
    assert (started["started"], started["required"], len(started["otp"])) == (True, 2, 28)
    assert await world.status("PUT", f"sys/{head}/update", {"key": world.keys[0], "nonce": "wrong"}) == 400
    for number, key in enumerate(world.keys[:2]):
        answer = shown(await world.ok("PUT", f"sys/{head}/update", {"key": key, "nonce": started["nonce"]}))
        assert answer["complete"] is (number == 1)
    token = decode_token(answer["encoded_token"], started["otp"])
    assert token.startswith("hvs.") and token not in str(answer)
    data = (await world.ok("GET", "auth/token/lookup-self", token=token))["data"]
    assert (data["policies"], data["ttl"]) == (["root"], 0)
    decoded = {"encoded_token": answer["encoded_token"], "otp": started["otp"]}
    assert (await world.ok("POST", "sys/decode-token", decoded, token=""))["data"] == {"token": token}
    assert await world.status("POST", "sys/decode-token", {**decoded, "otp": "short"}, token="") == 400


async def test_wrong_shares_make_no_token():
    world, other = await sealed(), await sealed()
    await unseal(world)
    before = len(await world.stored("ns/root/token/id/"))
    started = await world.ok("PUT", "sys/generate-root/attempt", {})
    nonce = started["nonce"]
    await world.ok("PUT", "sys/generate-root/update", {"key": other.keys[0], "nonce": nonce})
    assert await world.status("PUT", "sys/generate-root/update", {"key": other.keys[1], "nonce": nonce}) == 400
    assert len(await world.stored("ns/root/token/id/")) == before


async def test_rekeyed_shares_replace_the_old_ones():
    world = await sealed()
    await unseal(world)
    started = await world.ok("PUT", "sys/rekey/init", {"secret_shares": 2, "secret_threshold": 2})
    for key in world.keys[:2]:
        done = await world.ok("PUT", "sys/rekey/update", {"key": key, "nonce": started["nonce"]})
    await world.ok("PUT", "sys/seal", {})
    await world.ok("PUT", "sys/unseal", {"key": world.keys[0]})
    assert await world.status("PUT", "sys/unseal", {"key": world.keys[1]}) == 400
    world.keys = tuple(done["keys"])
    await unseal(world)
    assert await world.alive(world.root)


async def test_rotation():
    world = await sealed()
    await unseal(world)
    term = (await world.ok("GET", "sys/key-status"))["data"]["term"]
    for path in ("rotate", "rotate/keyring"):
        await world.ok("PUT", f"sys/{path}", {})
    answer = await world.ok("GET", "sys/key-status")
    assert answer["data"]["term"] == answer["term"] == term + 2
    await world.ok("PUT", "sys/rotate/config", {"enabled": False, "interval": "24h", "max_operations": 2_000_000})
    data = (await world.ok("GET", "sys/rotate/keyring/config"))["data"]
    assert data == {"enabled": False, "interval": 86400, "max_operations": 2_000_000}
    for body in ({"max_operations": -1}, {"max_operations": "x"}, {"interval": "-1h"}):
        assert await world.status("PUT", "sys/rotate/config", body) == 400
    assert await world.status("PUT", "sys/rotate/root", {}) == 400


async def test_there_are_no_recovery_keys():
    world = await sealed()
    await unseal(world)
    for path in ("rekey-recovery-key/init", "rotate/recovery/init", "generate-recovery-token/attempt"):
        assert await world.status("GET", f"sys/{path}") == 400
