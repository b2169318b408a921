"""Regression tests of the threat rows about logins with Kubernetes service accounts, over HTTP, against the stub."""

from typing import Any

import msgspec

from api_server_stub import REVIEWER, URL, ApiServer
from strongroom.auth.kubernetes import Kubernetes
from vault_world import World


async def vault() -> tuple[World, ApiServer]:
    world = await World.unsealed()
    api = ApiServer(world.clock)

    def reaching(mount: Any) -> Any:
        return Kubernetes(msgspec.structs.replace(mount, fetch=api.fetch), local="/nowhere")

    world.made.kinds.auth["kubernetes"] = reaching
    await world.ok("POST", "sys/auth/kubernetes", {"type": "kubernetes"})
    await world.ok("POST", "auth/kubernetes/config", {"kubernetes_host": URL, "token_reviewer_jwt": REVIEWER})
    role = {"bound_service_account_names": "web", "bound_service_account_namespaces": "prod", "audience": "vault"}
    await world.ok("POST", "auth/kubernetes/role/r", {**role, "token_ttl": 600})
    api.create("prod", "web")
    return world, api


async def test_sec_ghsa_gf3j_a_deleted_service_account_renews_nothing() -> None:
    world, api = await vault()
    login = {"role": "r", "jwt": api.token("prod", "web")}
    auth = (await world.ok("POST", "auth/kubernetes/login", login, token=""))["auth"]
    token = auth["client_token"]
    world.clock.tick(100)
    assert (await world.ok("POST", "auth/token/renew-self", {}, token=token))["auth"]["lease_duration"] == 600
    del api.accounts["prod", "web"]
    world.clock.tick(100)
    for path, data, used in (
        ("auth/token/renew-self", {}, token),
        ("auth/token/renew", {"token": token}, None),
        ("auth/token/renew-accessor", {"accessor": auth["accessor"]}, None),
    ):
        assert await world.status("POST", path, data, token=used) == 403
    api.create("prod", "web", "uid-of-one-made-later")
    assert await world.status("POST", "auth/token/renew-self", {}, token=token) == 403
    assert (await world.ok("GET", "auth/token/lookup-self", token=token))["data"]["ttl"] == 500


async def test_sec_ghsa_gf3j_a_failed_login_leaves_no_token_and_shows_no_secret() -> None:
    world, api = await vault()
    before = (await world.ok("LIST", "auth/token/accessors"))["data"]["keys"]
    good = api.token("prod", "web")
    for data in ({"role": "r", "jwt": good[:-4]}, {"role": "x", "jwt": good}, {"role": "r"}, {"jwt": good}):
        status, text = await world.refused("POST", "auth/kubernetes/login", data, token="")
        assert (status, text) == (400, "invalid role or service account token")
    api.up = False
    status, text = await world.refused("POST", "auth/kubernetes/login", {"role": "r", "jwt": good}, token="")
    assert status == 502 and good not in text and REVIEWER not in text
    assert (await world.ok("LIST", "auth/token/accessors"))["data"]["keys"] == before
    api.up = True
    auth = (await world.ok("POST", "auth/kubernetes/login", {"role": "r", "jwt": good}, token=""))["auth"]
    shown = await world.ok("POST", "auth/token/lookup-accessor", {"accessor": auth["accessor"]})
    assert good not in str(shown) and good not in str(auth)
    assert REVIEWER not in str(await world.ok("GET", "auth/kubernetes/config"))
