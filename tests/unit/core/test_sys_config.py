"""sys/config, sys/audit, sys/locked-users, sys/tools, and what tells of the host."""

import asyncio
import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest

from strongroom.core.inert_settings import NOT_SET
from strongroom.server.config import ServerConfig
from vault_world import World
from yielding_store import YieldingStore


@pytest.fixture
async def world() -> World:
    return await World.unsealed()


async def test_cors(world: World):
    path = "sys/config/cors"
    assert (await world.ok("GET", path))["data"] == {"enabled": False}
    for body in ({}, {"allowed_origins": []}, {"allowed_origins": "*,https://a.example"}):
        assert await world.status("POST", path, body) == 400
    await world.ok("POST", path, {"allowed_origins": "https://a.example,https://b.example", "allowed_headers": "X-Own"})
    data = (await world.ok("GET", path))["data"]
    assert data["allowed_origins"] == ["https://a.example", "https://b.example"]
    assert "X-Vault-Token" in data["allowed_headers"] and data["allowed_headers"][-1] == "X-Own"
    assert (await world.other()).space.settings.cors.enabled
    await world.ok("DELETE", path)
    assert (await world.ok("GET", path))["data"] == {"enabled": False}


async def test_audited_headers(world: World):
    path = "sys/config/auditing/request-headers"
    assert (await world.ok("GET", path))["data"] == {"headers": {}}
    await world.ok("POST", f"{path}/X-Trace", {"hmac": True})
    await world.ok("POST", f"{path}/x-plain")
    assert (await world.ok("GET", path))["headers"] == {"x-plain": {"hmac": False}, "x-trace": {"hmac": True}}
    assert (await world.ok("GET", f"{path}/X-TRACE"))["data"] == {"x-trace": {"hmac": True}}
    await world.ok("DELETE", f"{path}/X-trace")
    assert await world.refused("GET", f"{path}/X-Trace") == (400, "Could not find header in config")
    assert await world.status("POST", f"{path}/bad%20name") == 400


async def test_headers_of_the_console(world: World):
    path = "sys/config/ui/headers"
    assert await world.status("LIST", path) == await world.status("GET", f"{path}/X-Own") == 404
    await world.ok("POST", f"{path}/X-Own", {"values": ["a", "b"]})
    assert (await world.ok("GET", f"{path}/X-Own"))["data"] == {"value": "a"}
    assert (await world.ok("GET", f"{path}/X-Own?multivalue=true"))["data"] == {"values": ["a", "b"]}
    assert (await world.ok("LIST", path))["data"]["keys"] == ["X-Own"]
    for name, body in (
        ("X-Vault-Own", {"values": "a"}),
        ("X-Own", {}),
        ("X-Own", {"values": ["a\r\nb"]}),
        ("%7B", {"values": "a"}),
    ):
        assert await world.status("POST", f"{path}/{name}", body) == 400
    await world.ok("DELETE", f"{path}/X-Own")
    assert await world.status("LIST", path) == 404


async def test_the_configuration_in_force_holds_no_secret(world: World):
    data = (await world.ok("GET", "sys/config/state/sanitized"))["data"]
    assert data["default_lease_ttl"] == 2764800 and data["storage"] == {"type": "memory"}
    assert world.root not in str(data) and world.keys[0] not in str(data)


async def test_settings_that_do_not_exist_here_show_as_not_set():
    world = await World.unsealed({"sanitized": {"log_format": "json"}})
    data = (await world.ok("GET", "sys/config/state/sanitized"))["data"]
    assert data["raw_storage_endpoint"] is False and data["cache_size"] == 0 and data["plugin_directory"] == ""
    assert data["telemetry"]["dogstatsd_tags"] is None and data["telemetry"]["statsd_address"] == ""
    assert data["unsafe_allow_api_audit_creation"] is True  # as test_audit_devices_come_and_go shows
    assert data["log_format"] == "json" and data["default_lease_ttl"] == 2764800  # what exists is not hidden
    assert not NOT_SET.keys() & ServerConfig().sanitized().keys()


# -- audit devices ---------------------------------------------------------------------------------------------------


async def test_audit_devices_come_and_go(tmp_path: Path):
    world = await World.unsealed({"audit_dir": str(tmp_path)})
    assert (await world.ok("GET", "sys/audit"))["data"] == {}
    body = {"type": "file", "description": "d", "options": {"file_path": str(tmp_path / "a.log")}}
    await world.ok("PUT", "sys/audit/main", body)
    listed = await world.ok("GET", "sys/audit")
    assert (
        listed["main/"]["type"] == "file"
        and listed["data"]["main/"]["options"]["file_path"] == body["options"]["file_path"]
    )  # type: ignore[index]
    hashed = await world.ok("PUT", "sys/audit-hash/main", {"input": world.root})
    assert hashed["hash"] == hashed["data"]["hash"] and hashed["hash"] in (tmp_path / "a.log").read_text()
    assert world.root not in (tmp_path / "a.log").read_text()
    assert await world.status("PUT", "sys/audit/main", body) == 400
    await world.ok("DELETE", "sys/audit/main")
    assert (await world.ok("GET", "sys/audit"))["data"] == {}
    size = (tmp_path / "a.log").stat().st_size
    await world.ok("GET", "sys/mounts")
    assert (tmp_path / "a.log").stat().st_size == size


@pytest.mark.parametrize(
    "body",
    [{}, {"type": "nope"}, {"type": "file"}, {"type": "file", "options": {"file_path": "/somewhere/else.log"}},
     {"type": "file", "options": {"path": "../else.log"}}],
)  # fmt: skip
async def test_bad_audit_devices_are_refused(tmp_path: Path, body: dict[str, Any]):
    world = await World.unsealed({"audit_dir": str(tmp_path)})
    assert await world.status("PUT", "sys/audit/main", body) == 400
    assert await world.status("PUT", "sys/audit-hash/main", {"input": "x"}) == 400
    assert (await world.ok("GET", "sys/audit"))["data"] == {}


# -- locked names ----------------------------------------------------------------------------------------------------


async def test_locked_names_are_listed_and_let_in_again(world: World):
    await world.ok("POST", "sys/auth/userpass", {"type": "userpass"})
    await world.ok("POST", "auth/userpass/users/bob", {"password": "correct horse"})
    empty = {
        "by_namespace": [{"namespace_id": "root", "namespace_path": "", "counts": 0, "mount_accessors": []}],
        "total": 0,
    }
    assert (await world.ok("GET", "sys/locked-users"))["data"] == empty
    for name in ("bob", "BOB", "Bob", "b%6Fb", "ｂｏｂ".encode().hex("%")):
        name = "%" + name if name.count("%") > 3 else name
        assert await world.status("POST", f"auth/userpass/login/{name}", {"password": "wrong"}, token="") == 400
    right = ("POST", "auth/userpass/login/bob", {"password": "correct horse"})
    assert await world.status(*right, token="") == 403
    accessor = (await world.ok("GET", "sys/auth/userpass"))["data"]["accessor"]
    data = (await world.ok("GET", f"sys/locked-users?mount_accessor={accessor}"))["data"]
    assert data["total"] == 1
    assert data["by_namespace"][0]["mount_accessors"] == [
        {"mount_accessor": accessor, "counts": 1, "alias_identifiers": ["bob"]}
    ]  # fmt: skip
    assert (await world.ok("GET", "sys/locked-users?mount_accessor=other"))["data"]["total"] == 0
    await world.ok("POST", f"sys/locked-users/{accessor}/unlock/BOB", {})
    assert await world.status(*right, token="") == 200
    assert await world.status("POST", f"sys/locked-users/{accessor}/unlock/none", {}) == 204


async def test_a_mount_has_its_own_lockout(world: World):
    await world.ok("POST", "sys/auth/userpass", {"type": "userpass"})
    await world.ok("POST", "auth/userpass/users/bob", {"password": "correct horse"})
    tune = {"user_lockout_config": {"lockout_threshold": "2", "lockout_duration": "1m"}}
    await world.ok("POST", "sys/auth/userpass/tune", tune)
    for _ in range(2):
        assert await world.status("POST", "auth/userpass/login/bob", {"password": "wrong"}, token="") == 400
    right = ("POST", "auth/userpass/login/bob", {"password": "correct horse"})
    assert await world.status(*right, token="") == 403
    world.clock.tick(60)
    assert await world.status(*right, token="") == 200


# -- tools and host --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "size"),
    [
        ("random", {}, 32),
        ("random/16", {}, 16),
        ("random", {"bytes": "8"}, 8),
        ("random/all/4", {}, 4),
        ("random/platform", {"bytes": 5}, 5),
    ],
)
async def test_random_bytes(world: World, path: str, body: dict[str, Any], size: int):
    made = {(await world.ok("POST", f"sys/tools/{path}", body))["data"]["random_bytes"] for _ in range(3)}
    assert len(made) == 3 and all(len(base64.b64decode(text)) == size for text in made)
    text = (await world.ok("POST", f"sys/tools/{path}", {**body, "format": "hex"}))["data"]["random_bytes"]
    assert len(bytes.fromhex(text)) == size


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("random/0", {}),
        ("random/-1", {}),
        ("random/x", {}),
        ("random/131073", {}),
        ("random/other/4", {}),
        ("random", {"format": "octal"}),
    ],
)
async def test_bad_wishes_for_random_bytes(world: World, path: str, body: dict[str, Any]):
    assert await world.status("POST", f"sys/tools/{path}", body) == 400


@pytest.mark.parametrize(
    ("path", "name"),
    [("hash", "sha256"), ("hash/sha2-512", "sha512"), ("hash/sha3-256", "sha3_256"), ("hash/sha2-224", "sha224")],
)
async def test_hashes(world: World, path: str, name: str):
    body = {"input": base64.b64encode(b"abc").decode()}
    assert (await world.ok("POST", f"sys/tools/{path}", body))["data"]["sum"] == hashlib.new(name, b"abc").hexdigest()
    shown = (await world.ok("POST", f"sys/tools/{path}", {**body, "format": "base64"}))["data"]["sum"]
    assert base64.b64decode(shown) == hashlib.new(name, b"abc").digest()
    assert await world.status("POST", f"sys/tools/{path}", {"input": "not base64!"}) == 400
    assert await world.status("POST", "sys/tools/hash/md5", body) == 400


async def test_the_host_and_the_node(world: World):
    data = (await world.ok("GET", "sys/host-info"))["data"]
    assert data["memory"]["total"] > data["memory"]["available"] > 0 and data["host"]["hostname"]
    assert all(0 <= disk["usedPercent"] <= 100 for disk in data["disk"]) and data["cpu_times"][0]["user"] >= 0
    nodes = (await world.ok("GET", "sys/ha-status"))["data"]["nodes"]
    assert [node["active_node"] for node in nodes] == [True]
    history = (await world.ok("LIST", "sys/version-history"))["data"]
    assert history["keys"] == [world.core.config.version]
    ((_, flight),) = (await world.ok("GET", "sys/in-flight-req")).items()
    assert flight["request_path"] == "/v1/sys/in-flight-req" and flight["client_remote_address"] == "127.0.0.1:40000"
    assert world.root not in str(flight)


async def test_what_only_a_server_has(world: World):
    for method, path in (("GET", "metrics"), ("GET", "monitor"), ("POST", "config/reload/license")):
        assert await world.status(method, f"sys/{path}", {} if method == "POST" else None) == 400
    levels: list[str] = []
    world.core.door.set_log_level = levels.append
    await world.ok("POST", "sys/loggers", {"level": "debug"})
    await world.ok("DELETE", "sys/loggers")
    read = await world.ok("GET", "sys/loggers")
    assert list(read["data"]) == ["strongroom"] and read["warnings"] == ["One level holds for all parts of the server."]
    assert (await world.ok("GET", "sys/loggers/core"))["warnings"] is None
    assert levels == ["debug", ""] and await world.status("POST", "sys/loggers/x", {"level": "loud"}) == 400


async def test_the_catalogue(world: World):
    data = (await world.ok("GET", "sys/plugins/catalog"))["data"]
    assert {"approle", "userpass"} <= set(data["auth"]) and "kv" in data["secret"] and "token" not in data["auth"]
    assert (await world.ok("LIST", "sys/plugins/catalog/secret"))["data"]["keys"] == data["secret"]
    assert (await world.ok("GET", "sys/plugins/catalog/secret/kv"))["data"]["builtin"] is True
    assert await world.status("GET", "sys/plugins/catalog/secret/none") == 404
    assert await world.status("LIST", "sys/plugins/catalog/none") == 400


@pytest.mark.parametrize("seed", range(3))
async def test_settings_changed_at_once_are_all_kept(seed: int):
    store = YieldingStore(seed)
    world = await World.unsealed(backend=store)
    other = await world.other()
    store.active = True
    path = "sys/config/auditing/request-headers"
    await asyncio.gather(*((world, other)[n % 2].ok("POST", f"{path}/x-{n}", {}) for n in range(8)))
    store.active = False
    assert sorted((await world.ok("GET", path))["headers"]) == [f"x-{n}" for n in range(8)]
