"""sys/internal: what the console and the command lines ask; the OpenAPI document; help."""

import re
from typing import Any

import pytest

from strongroom.sdk.request import Op
from vault_world import World


@pytest.fixture
async def world() -> World:
    world = await World.unsealed()
    await world.ok("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    await world.ok("POST", "sys/mounts/hidden", {"type": "kv"})
    await world.ok("POST", "sys/auth/userpass", {"type": "userpass"})
    await world.policy("p", **{"secret/data/mine/*": ["read"]})
    return world


async def mounts(world: World, token: str | None = None) -> dict[str, Any]:
    data: dict[str, Any] = (await world.ok("GET", "sys/internal/ui/mounts", token=token))["data"]
    return data


async def test_one_sees_the_mounts_one_may_use(world: World):
    data = await mounts(world, await world.token(policies=["p"]))
    assert "secret/" in data["secret"] and "hidden/" not in data["secret"] and "sys/" in data["secret"]
    everything = await mounts(world)
    assert {"secret/", "hidden/"} <= set(everything["secret"]) and "userpass/" in everything["auth"]
    assert everything["secret"]["secret/"]["options"] == {"version": "2"}


async def test_a_stranger_sees_what_is_shown_to_strangers(world: World):
    assert await mounts(world, "") == {"secret": {}, "auth": {}}
    await world.ok("POST", "sys/auth/userpass/tune", {"listing_visibility": "unauth"})
    assert await mounts(world, "") == {
        "secret": {}, "auth": {"userpass/": {"type": "userpass", "description": "", "options": {}}},
    }  # fmt: skip
    assert await mounts(world, "hvs.none") == await mounts(world, "")


async def test_the_preflight_of_the_command_line(world: World):
    token = await world.token(policies=["p"])
    data = (await world.ok("GET", "sys/internal/ui/mounts/secret/mine/x", token=token))["data"]
    assert (data["path"], data["type"], data["options"]) == ("secret/", "kv", {"version": "2"})
    for path in ("hidden/x", "none/x"):
        status, said = await world.refused("GET", f"sys/internal/ui/mounts/{path}", token=token)
        assert status == 403 and said.endswith(f'grant access to path "{path}/"')
    assert await world.refused("GET", "sys/internal/ui/mounts/secret/x", token="") == (403, "permission denied")


async def document(world: World, query: str = "", token: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = await world.ok("GET", f"sys/internal/specs/openapi{query}", token=token)
    return found


async def test_the_openapi_document_is_printed_from_the_routes(world: World):
    made = await document(world)
    assert made["openapi"] == "3.0.2"
    paths = made["paths"]
    assert "post" in paths["/sys/mounts/{path}"] and paths["/sys/seal"]["x-vault-sudo"] is True
    assert paths["/auth/userpass/login/{username}"]["x-vault-unauthenticated"] is True
    assert paths["/secret/data/{path}"]["x-vault-createSupported"] is True
    names = [
        op["operationId"]
        for item in paths.values()
        for op in item.values()
        if isinstance(op, dict) and "responses" in op
    ]
    assert len(names) == len(set(names))
    for template, item in paths.items():
        declared = {p["name"] for p in item.get("parameters", [])}
        assert declared == set(re.findall(r"\{(\w+)\}", template))
        for op in item.values():
            if isinstance(op, dict) and "requestBody" in op:
                name = op["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                assert name in made["components"]["schemas"]


async def test_generic_paths_and_what_the_asker_may_see(world: World):
    paths = (await document(world, "?generic_mount_paths=true"))["paths"]
    assert "/{kv_mount_path}/data/{path}" in paths and "/auth/{userpass_mount_path}/users/{username}" in paths
    paths = (await document(world, token=await world.token(policies=["p"])))["paths"]
    assert any(path.startswith("/secret/") for path in paths) and not any(path.startswith("/hidden/") for path in paths)
    paths = (await document(world, token=""))["paths"]
    assert "/sys/health" in paths and {path.split("/")[1] for path in paths} == {"sys", "cubbyhole", "auth", "identity"}
    assert not any("userpass" in path for path in paths)


async def test_every_read_of_the_document_is_answered(world: World):
    """No 500, no "unsupported" for a path that the document lists."""
    paths = (await document(world))["paths"]
    for template, item in paths.items():
        path = re.sub(r"\{\w+\}", "x", template).strip("/")
        if "get" in item and not path.endswith(("seal", "metrics")):
            listing = any(p["name"] == "list" for p in item["get"].get("parameters", []))
            status, answer = await world.http("LIST" if listing else "GET", path)
            assert status < 500 and "unsupported" not in str(answer), (path, answer)


@pytest.mark.parametrize(
    ("path", "words"),
    [("secret/data/foo", "data/{path...}"), ("sys/mounts", "sys/mounts"), ("auth/userpass/users/bob", "users/")],
)
async def test_help_about_a_route(world: World, path: str, words: str):
    page = await world.ok("GET", f"{path}?help=1")
    assert set(page) == {"help", "see_also", "openapi"} and words in page["help"]
    assert len(page["openapi"]["paths"]) == 1


@pytest.mark.parametrize("path", ["secret", "secret/", "sys", "auth/userpass"])
async def test_help_about_a_mount_lists_its_routes(world: World, path: str):
    page = await world.ok("GET", f"{path}?help=1")
    assert "## PATHS" in page["help"] and len(page["openapi"]["paths"]) > 3


async def test_help_needs_a_token_and_a_path(world: World):
    assert await world.status("GET", "secret/data/x?help=1", token="") == 403
    assert await world.status("GET", "none/x?help=1") == 404
    assert await world.status("GET", "sys/none?help=1") == 404
    assert (await world.raw("HELP", "secret/data/x")).status == 200


async def test_counters(world: World):
    before = (await world.ok("GET", "sys/internal/counters/tokens"))["data"]["counters"]["service_tokens"]["total"]
    await world.token(policies=["p"])
    after = (await world.ok("GET", "sys/internal/counters/tokens"))["data"]["counters"]["service_tokens"]["total"]
    assert after == before + 1
    assert (await world.ok("GET", "sys/internal/counters/entities"))["data"]["counters"] == {"entities": {"total": 0}}


async def test_clients_are_not_counted_and_it_says_so(world: World):
    assert (await world.ok("GET", "sys/internal/counters/config"))["data"]["enabled"] == "disable"
    for path in ("activity", "activity/monthly"):
        assert await world.http("GET", f"sys/internal/counters/{path}") == (204, None)


async def test_the_inspections(world: World):
    for tag in ("root", "uuid", "accessor", "storage"):
        assert len((await world.ok("GET", f"sys/internal/inspect/router/{tag}"))["data"][tag]) == 7
    assert await world.status("GET", "sys/internal/inspect/router/x") == 400
    for path in ("sys/internal/inspect/request", "sys/internal/inspect/request/root"):
        shown = await world.ok("GET", path)
        assert shown["data"]["path"] == path and world.root not in str(shown)


def test_every_route_of_the_system_says_what_it_is():
    routes = World().core.router("root").mounts["sys/"].routes
    assert all(route.help for _, route in routes)
    assert all(op in Op for _, route in routes for op in route.ops)
