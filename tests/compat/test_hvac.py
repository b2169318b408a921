"""hvac, the Python client of Vault, unchanged, against a real server process over LMDB."""

import base64
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hvac
import pytest
import requests
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, RateLimitExceeded, VaultDown

from api_server_stub import REVIEWER, ApiServer
from postgres_server import PostgresServer, folder_of_programs
from server_fixture import Server, running

READ_APP = 'path "secret/data/app/*" { capabilities = ["read", "list"] }\npath "plain/*" { capabilities = ["read"] }'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("hvac"), unauthenticated_operator_endpoints=True) as one:
        yield one


@pytest.fixture
def client(server: Server) -> hvac.Client:
    return hvac.Client(url=server.address, token=server.token)


def anonymous(server: Server, token: str | None = None) -> hvac.Client:
    return hvac.Client(url=server.address, token=token or "")


@pytest.fixture
def secret(client: hvac.Client) -> Iterator[str]:
    client.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
    yield "secret"
    client.sys.disable_secrets_engine("secret")


def test_initialise_and_unseal(tmp_path: Path) -> None:
    with running(tmp_path, unseal=False) as server:
        client = anonymous(server)
        assert client.sys.is_initialized() is False and client.sys.read_health_status(method="GET").status_code == 501
        made = client.sys.initialize(secret_shares=5, secret_threshold=3)
        assert client.sys.is_initialized() and len(made["keys"]) == len(made["keys_base64"]) == 5
        assert bytes.fromhex(made["keys"][0]) == base64.b64decode(made["keys_base64"][0])
        assert client.sys.is_sealed() and client.sys.read_health_status(method="GET").status_code == 503
        client.token = made["root_token"]
        with pytest.raises(VaultDown):
            client.sys.list_mounted_secrets_engines()
        assert client.sys.submit_unseal_key(made["keys"][0])["progress"] == 1
        assert client.sys.submit_unseal_key(reset=True)["progress"] == 0
        assert client.sys.submit_unseal_keys([made["keys_base64"][0], *made["keys"][1:3]])["sealed"] is False
        assert client.is_authenticated() and client.sys.read_health_status(method="GET")["sealed"] is False
        assert client.sys.read_leader_status()["ha_enabled"] is False
        client.sys.start_root_token_generation()  # with a token; strangers get no further than this
        client.sys.cancel_root_generation()
        client.sys.start_rekey(secret_shares=1, secret_threshold=1)
        client.sys.cancel_rekey()
        with pytest.raises(Forbidden):
            anonymous(server).sys.start_root_token_generation()
        client.sys.seal()
        assert client.sys.is_sealed()
        client.sys.submit_unseal_keys(made["keys"][2:])
        assert not client.sys.is_sealed() and client.is_authenticated()


def test_kv_version_1(client: hvac.Client) -> None:
    client.sys.enable_secrets_engine("kv", path="plain", options={"version": "1"})
    kv = client.secrets.kv.v1
    kv.create_or_update_secret("app/one", {"user": "ann", "n": 1}, mount_point="plain")
    kv.create_or_update_secret("app/one", {"user": "ann", "n": 2}, method="PUT", mount_point="plain")
    answer = kv.read_secret("app/one", mount_point="plain")
    assert answer["data"] == {"user": "ann", "n": 2} and answer["lease_duration"] > 0
    assert kv.list_secrets("app", mount_point="plain")["data"]["keys"] == ["one"]
    kv.delete_secret("app/one", mount_point="plain")
    with pytest.raises(InvalidPath):
        kv.read_secret("app/one", mount_point="plain")
    client.sys.disable_secrets_engine("plain")


@pytest.mark.filterwarnings("ignore:The raise_on_deleted_version parameter:DeprecationWarning")  # hvac's own, in patch
def test_kv_version_2_versions(client: hvac.Client, secret: str) -> None:
    kv = client.secrets.kv.v2
    assert kv.create_or_update_secret("app/db", {"a": "1"}, cas=0)["data"]["version"] == 1
    with pytest.raises(InvalidRequest):
        kv.create_or_update_secret("app/db", {"a": "2"}, cas=0)
    kv.create_or_update_secret("app/db", {"a": "2"}, cas=1)
    assert kv.patch("app/db", {"b": "3"})["data"]["version"] == 3
    newest = kv.read_secret_version("app/db", raise_on_deleted_version=True)["data"]
    assert newest["data"] == {"a": "2", "b": "3"} and newest["metadata"]["version"] == 3
    assert kv.read_secret_version("app/db", version=1, raise_on_deleted_version=True)["data"]["data"] == {"a": "1"}
    kv.delete_latest_version_of_secret("app/db")
    with pytest.raises(InvalidPath):
        kv.read_secret("app/db", raise_on_deleted_version=True)
    assert kv.read_secret("app/db", raise_on_deleted_version=False)["data"]["data"] is None
    kv.undelete_secret_versions("app/db", [3])
    assert kv.read_secret("app/db", raise_on_deleted_version=True)["data"]["data"]["b"] == "3"
    kv.delete_secret_versions("app/db", [1, 2])
    kv.destroy_secret_versions("app/db", [1])
    versions = kv.read_secret_metadata("app/db")["data"]["versions"]
    assert versions["1"]["destroyed"] and versions["2"]["deletion_time"] and not versions["3"]["deletion_time"]


def test_kv_version_2_metadata_and_configuration(client: hvac.Client, secret: str) -> None:
    kv = client.secrets.kv.v2
    kv.configure(max_versions=3, cas_required=False, delete_version_after="1h")
    assert kv.read_configuration()["data"]["max_versions"] == 3
    assert kv.read_configuration()["data"]["delete_version_after"] == "1h0m0s"
    kv.create_or_update_secret("app/meta", {"a": "1"})
    kv.update_metadata("app/meta", max_versions=2, delete_version_after="30m", custom_metadata={"owner": "ann"})
    kept = kv.read_secret_metadata("app/meta")["data"]
    assert (kept["max_versions"], kept["custom_metadata"]) == (2, {"owner": "ann"})
    assert kv.list_secrets("app")["data"]["keys"] == ["meta"]
    kv.delete_metadata_and_all_versions("app/meta")
    with pytest.raises(InvalidPath):
        kv.read_secret_metadata("app/meta")


def test_policies_and_capabilities(client: hvac.Client, server: Server, secret: str) -> None:
    client.sys.create_or_update_policy("app", READ_APP)
    client.sys.create_or_update_acl_policy("other", {"path": {"x/*": {"capabilities": ["read"]}}})
    assert client.sys.read_policy("app")["data"]["rules"].startswith("path") or client.sys.read_policy("app")["rules"]
    assert set(client.sys.read_acl_policy("app")["data"]) == {"name", "policy"}
    assert {"app", "default", "root", "other"} <= set(client.sys.list_policies()["data"]["policies"])
    assert {"app", "default"} <= set(client.sys.list_acl_policies()["data"]["keys"])
    client.secrets.kv.v2.create_or_update_secret("app/db", {"a": "1"})
    made = client.auth.token.create(policies=["app"], ttl="1h")["auth"]
    limited = anonymous(server, made["client_token"])
    assert limited.secrets.kv.v2.read_secret("app/db", raise_on_deleted_version=True)["data"]["data"] == {"a": "1"}
    with pytest.raises(Forbidden):
        limited.secrets.kv.v2.create_or_update_secret("app/db", {"a": "2"})
    own = limited.sys.get_capabilities(["secret/data/app/db", "secret/data/x"])
    assert (own["secret/data/app/db"], own["secret/data/x"]) == (["list", "read"], ["deny"])
    for how in ({"token": made["client_token"]}, {"accessor": made["accessor"]}):
        assert client.sys.get_capabilities(["secret/data/app/db"], **how)["data"]["capabilities"] == ["list", "read"]
    client.sys.delete_policy("app")
    client.sys.delete_acl_policy("other")
    with pytest.raises(Forbidden):
        limited.secrets.kv.v2.read_secret("app/db", raise_on_deleted_version=True)


def test_userpass(client: hvac.Client, server: Server) -> None:
    client.sys.enable_auth_method("userpass", description="people")
    users = client.auth.userpass
    users.create_or_update_user("ann", "correct horse", policies="default,app")
    assert users.list_user()["data"]["keys"] == ["ann"]
    assert set(users.read_user("ann")["data"]["token_policies"]) == {"default", "app"}
    login = anonymous(server)
    answer = login.auth.userpass.login("ann", "correct horse")
    assert answer["auth"]["metadata"] == {"username": "ann"} and login.is_authenticated()
    users.update_password_on_user("ann", "battery staple")
    with pytest.raises(InvalidRequest):
        anonymous(server).auth.userpass.login("ann", "correct horse")
    anonymous(server).auth.userpass.login("ann", "battery staple")
    users.delete_user("ann")
    client.sys.disable_auth_method("userpass")
    assert not login.is_authenticated()


def test_approle(client: hvac.Client, server: Server) -> None:
    client.sys.enable_auth_method("approle")
    roles = client.auth.approle
    roles.create_or_update_approle(
        "ci", token_policies=["app"], secret_id_num_uses=2, secret_id_ttl="10m", token_ttl="5m"
    )
    assert roles.list_roles()["data"]["keys"] == ["ci"] and roles.read_role("ci")["data"]["secret_id_num_uses"] == 2
    roles.update_role_id("ci", "the-role")
    assert roles.read_role_id("ci")["data"]["role_id"] == "the-role"
    issued = roles.generate_secret_id("ci", metadata={"build": "7"})["data"]
    roles.create_custom_secret_id("ci", "chosen-by-hand")
    assert len(roles.list_secret_id_accessors("ci")["data"]["keys"]) == 2
    assert roles.read_secret_id("ci", issued["secret_id"])["data"]["metadata"] == {"build": "7"}
    assert roles.read_secret_id_accessor("ci", issued["secret_id_accessor"])["data"]["secret_id_num_uses"] == 2
    login = anonymous(server)
    answer = login.auth.approle.login("the-role", issued["secret_id"])
    assert answer["auth"]["lease_duration"] == 300 and login.is_authenticated()
    anonymous(server).auth.approle.login("the-role", issued["secret_id"])
    with pytest.raises(InvalidRequest):  # two uses are two uses
        anonymous(server).auth.approle.login("the-role", issued["secret_id"])
    roles.destroy_secret_id("ci", "chosen-by-hand")
    wrapped = roles.generate_secret_id("ci", wrap_ttl="60s")
    assert client.sys.unwrap(wrapped["wrap_info"]["token"])["data"]["secret_id"]
    roles.delete_role("ci")
    client.sys.disable_auth_method("approle")


def test_tokens(client: hvac.Client, server: Server) -> None:
    tokens = client.auth.token
    made = tokens.create(policies=["default"], ttl="1h", meta={"for": "a test"}, display_name="one", num_uses=20)[
        "auth"
    ]
    assert tokens.lookup(made["client_token"])["data"]["meta"] == {"for": "a test"}
    assert tokens.lookup_accessor(made["accessor"])["data"]["display_name"] == "token-one"
    assert tokens.renew(made["client_token"], increment="30m")["auth"]["lease_duration"] == 1800
    assert tokens.renew_accessor(made["accessor"])["auth"]["renewable"]
    own = anonymous(server, made["client_token"])
    assert own.auth.token.lookup_self()["data"]["type"] == "service" and own.auth.token.renew_self()["auth"]
    child = tokens.create_orphan(policies=["default"], ttl="1h")["auth"]
    assert child["orphan"] and child["accessor"] in tokens.list_accessors()["data"]["keys"]
    tokens.revoke_accessor(child["accessor"])
    tokens.revoke(made["client_token"])
    assert not own.is_authenticated()
    batch = tokens.create(type="batch", policies=["default"], ttl="10m")["auth"]
    assert batch["token_type"] == "batch" and anonymous(server, batch["client_token"]).is_authenticated()
    tokens.create_or_update_role("ops", allowed_policies="default", orphan=True, token_period="1h")
    assert tokens.list_roles()["data"]["keys"] == ["ops"] and tokens.read_role("ops")["data"]["orphan"]
    periodic = tokens.create(role_name="ops", policies=["default"])["auth"]
    assert periodic["orphan"] and tokens.lookup(periodic["client_token"])["data"]["period"] == 3600
    tokens.delete_role("ops")
    last = anonymous(server, periodic["client_token"])
    last.auth.token.revoke_self()
    assert not last.is_authenticated()
    assert tokens.tidy().status_code == 202


def test_wrapping(client: hvac.Client, server: Server) -> None:
    wrapped = client.sys.wrap({"a": "b"}, ttl=120)["wrap_info"]
    assert wrapped["ttl"] == 120
    assert anonymous(server, wrapped["token"]).sys.unwrap()["data"] == {"a": "b"}
    with pytest.raises(InvalidRequest):
        client.sys.unwrap(wrapped["token"])
    token = client.auth.token.create(policies=["default"], wrap_ttl="60s")["wrap_info"]
    assert token["wrapped_accessor"] and client.sys.unwrap(token["token"])["auth"]["client_token"]


def test_audit_devices(client: hvac.Client, server: Server) -> None:
    client.sys.enable_audit_device("file", path="trail", options={"file_path": str(server.folder / "audit.log")})
    assert client.sys.list_enabled_audit_devices()["data"]["trail/"]["type"] == "file"
    hashed = client.sys.calculate_hash("trail", "needle")["data"]["hash"]
    assert hashed.startswith("hmac-sha256:")
    client.sys.create_or_update_policy("needle", 'path "needle" { capabilities = ["read"] }')
    text = (server.folder / "audit.log").read_text()
    assert '"type":"response"' in text.replace(" ", "") and server.token not in text
    client.sys.disable_audit_device("trail")
    assert "trail/" not in client.sys.list_enabled_audit_devices()["data"]


def test_mounts(client: hvac.Client) -> None:
    client.sys.enable_secrets_engine("kv", path="one", description="first", config={"default_lease_ttl": "1h"})
    assert client.sys.list_mounted_secrets_engines()["data"]["one/"]["description"] == "first"
    client.sys.tune_mount_configuration("one", default_lease_ttl="2h", max_lease_ttl="4h", description="tuned")
    assert client.sys.read_mount_configuration("one")["data"]["default_lease_ttl"] == 7200
    assert client.sys.retrieve_mount_option("one", "version", "1") == "1"
    client.secrets.kv.v1.create_or_update_secret("x", {"a": "1"}, mount_point="one")
    client.sys.move_backend("one", "two")
    assert client.secrets.kv.v1.read_secret("x", mount_point="two")["data"] == {"a": "1"}
    client.sys.disable_secrets_engine("two")
    assert "two/" not in client.sys.list_mounted_secrets_engines()["data"]
    client.sys.enable_auth_method("userpass", path="people")
    client.sys.tune_auth_method("people", default_lease_ttl="30m", listing_visibility="unauth")
    assert client.sys.read_auth_method_tuning("people")["data"]["default_lease_ttl"] == 1800
    assert "people/" in client.sys.list_auth_methods()["data"]
    client.sys.disable_auth_method("people")


def test_leases(client: hvac.Client) -> None:
    client.sys.enable_auth_method("userpass", path="leased")
    client.auth.userpass.create_or_update_user("bob", "a password", policies="default", mount_point="leased")
    for _ in range(2):
        login = hvac.Client(url=client.url)
        login.auth.userpass.login("bob", "a password", mount_point="leased")
    keys = client.sys.list_leases("auth/leased/login/bob")["data"]["keys"]
    assert len(keys) == 2
    lease = f"auth/leased/login/bob/{keys[0]}"
    assert client.sys.read_lease(lease)["data"]["id"] == lease
    assert client.sys.renew_lease(lease, increment=600)["lease_id"] == lease
    client.sys.revoke_lease(lease)
    client.sys.revoke_prefix("auth/leased")
    assert not login.is_authenticated()
    client.sys.revoke_force("auth/leased")
    client.sys.disable_auth_method("leased")


def test_keys(client: hvac.Client, server: Server) -> None:
    before = client.sys.get_encryption_key_status()["data"]["term"]
    client.sys.rotate_encryption_key()
    assert client.sys.get_encryption_key_status()["data"]["term"] == before + 1
    asked = client.sys.start_root_token_generation()
    assert client.sys.read_root_generation_progress()["started"]
    for share in server.shares[:2]:
        made = client.sys.generate_root(share, asked["nonce"])
    token = base64.b64decode(made["encoded_root_token"] + "==")
    plain = bytes(a ^ b for a, b in zip(token, asked["otp"].encode(), strict=True)).decode()
    assert len(asked["otp"]) == 28 and anonymous(server, plain).is_authenticated()
    asked = client.sys.start_root_token_generation()
    with pytest.raises(InvalidRequest):  # on opened endpoints a stranger must not stop what he did not begin
        anonymous(server).sys.cancel_root_generation()
    anonymous(server).adapter.delete("/v1/sys/generate-root/attempt", params={"nonce": asked["nonce"]})
    assert not client.sys.read_root_generation_progress()["started"]


def test_rekey(client: hvac.Client, server: Server) -> None:
    asked = client.sys.start_rekey(secret_shares=4, secret_threshold=3, require_verification=True)
    assert client.sys.read_rekey_progress()["started"]
    answer: Any = client.sys.rekey_multi(server.shares[:2], nonce=asked["nonce"])
    assert len(answer["keys"]) == 4
    verified = client.sys.rekey_verify_multi(answer["keys"][:3], nonce=answer["verification_nonce"])
    assert verified["complete"]
    client.sys.start_rekey(secret_shares=1, secret_threshold=1)
    client.sys.cancel_rekey()
    assert not client.sys.read_rekey_progress()["started"]
    server.shares = answer["keys"]
    client.sys.seal()
    client.sys.submit_unseal_keys(server.shares[1:])
    assert not client.sys.is_sealed()


def test_the_environment_names_server_and_token(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", server.address)
    monkeypatch.setenv("VAULT_TOKEN", server.token)
    assert hvac.Client().is_authenticated()
    headers = {"X-Vault-Token": server.token, "X-Vault-Request": "true"}
    listed = requests.request("LIST", f"{server.address}/v1/sys/policies/acl", headers=headers, timeout=10)
    assert listed.status_code == 200 and "default" in listed.json()["data"]["keys"]
    bearer = {"Authorization": f"Bearer {server.token}"}
    assert requests.get(f"{server.address}/v1/auth/token/lookup-self", headers=bearer, timeout=10).status_code == 200


def test_kubernetes(client: hvac.Client, server: Server) -> None:
    """Against a stub that speaks TokenReview (it is no Kubernetes)."""
    api = ApiServer(time.time)
    api.create("prod", "web")
    with api.serve() as url:
        client.sys.enable_auth_method("kubernetes")
        method = client.auth.kubernetes
        method.configure(url, token_reviewer_jwt=REVIEWER, disable_local_ca_jwt=True)
        assert method.read_config()["kubernetes_host"] == url and REVIEWER not in str(method.read_config())
        method.create_role("web", "web", "prod", policies="app", ttl="5m", audience="vault")
        assert method.list_roles()["keys"] == ["web"] and method.read_role("web")["token_policies"] == ["app"]
        login = anonymous(server)
        answer = login.auth.kubernetes.login("web", api.token("prod", "web"))
        assert answer["auth"]["metadata"]["service_account_name"] == "web" and login.is_authenticated()
        assert login.auth.token.renew_self()["auth"]["lease_duration"] == 300
        with pytest.raises(InvalidRequest):
            anonymous(server).auth.kubernetes.login("web", api.token("prod", "mail"))
        del api.accounts["prod", "web"]
        with pytest.raises(Forbidden):
            login.auth.token.renew_self()
        method.delete_role("web")
        client.sys.disable_auth_method("kubernetes")


def test_quotas(client: hvac.Client, secret: str) -> None:
    quotas = client.sys
    made = quotas.create_or_update_quota(
        "slow", rate=1, path=secret, interval="1h", block_interval="2h", rate_limit_type="rate-limit"
    )
    assert made.status_code == 204
    shown = quotas.read_quota("slow")["data"]
    assert (shown["name"], shown["path"], shown["rate"], shown["interval"]) == ("slow", "secret/", 1, 3600)
    assert (shown["type"], shown["block_interval"], shown["inheritable"]) == ("rate-limit", 7200, False)
    assert quotas.list_quotas()["data"]["keys"] == ["slow"]
    answers = [requests.get(f"{client.url}/v1/secret/data/a", timeout=10).status_code for _ in range(3)]
    assert answers == [403, 429, 429]
    with pytest.raises(RateLimitExceeded, match="rate limit quota exceeded"):
        client.secrets.kv.v2.read_secret_version("a", raise_on_deleted_version=True)
    quotas.create_or_update_quota("slow", rate=1000, path=secret)
    client.secrets.kv.v2.create_or_update_secret("a", {"x": "1"})
    assert quotas.delete_quota("slow").status_code == 204
    with pytest.raises(InvalidPath):
        quotas.list_quotas()


def test_database(client: hvac.Client, server: Server) -> None:
    if folder_of_programs() is None:
        pytest.skip("no PostgreSQL server is installed (package postgresql)")
    with PostgresServer() as postgres:
        client.sys.enable_secrets_engine("database", path="db")
        database = client.secrets.database
        plugin = "postgresql-database-plugin"
        more = {"connection_url": postgres.url, "username": "postgres", "password": postgres.password}
        database.configure("pg", plugin, allowed_roles=["app"], mount_point="db", **more)
        shown = database.read_connection("pg", mount_point="db")["data"]
        assert shown["plugin_name"] == plugin and shown["allowed_roles"] == ["app"]
        assert "password" not in shown["connection_details"]
        assert database.list_connections(mount_point="db")["data"]["keys"] == ["pg"]
        statement = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"
        for name in ("app", "other"):
            database.create_role(name, "pg", [statement], default_ttl="1h", max_ttl="2h", mount_point="db")
        assert database.list_roles(mount_point="db")["data"]["keys"] == ["app", "other"]
        assert database.read_role("app", mount_point="db")["data"]["default_ttl"] == 3600
        with pytest.raises(InvalidRequest):
            database.generate_credentials("other", mount_point="db")
        made = database.generate_credentials("app", mount_point="db")
        user, password = made["data"]["username"], made["data"]["password"]
        assert made["lease_duration"] == 3600 and postgres.logs_in(user, password)
        assert client.sys.renew_lease(made["lease_id"], increment=5400)["lease_duration"] == 5400
        database.reset_connection("pg", mount_point="db")
        client.sys.revoke_lease(made["lease_id"])
        assert not postgres.logs_in(user, password)
        short = database.create_role("app", "pg", [statement], default_ttl="1s", mount_point="db")
        assert short.status_code == 204
        made = database.generate_credentials("app", mount_point="db")["data"]
        deadline = time.monotonic() + 20
        while made["username"] in postgres.roles():  # the server ends it by itself
            assert time.monotonic() < deadline
            time.sleep(0.1)
        database.delete_role("app", mount_point="db")
        database.delete_connection("pg", mount_point="db")
        client.sys.disable_secrets_engine("db")


def test_the_command_line_and_database_credentials(client: hvac.Client, server: Server, tmp_path: Path) -> None:
    if folder_of_programs() is None:
        pytest.skip("no PostgreSQL server is installed (package postgresql)")

    def strongroom(*arguments: str) -> str:
        environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        environ |= {"VAULT_ADDR": server.address, "VAULT_TOKEN": server.token}
        command = [sys.executable, "-m", "strongroom", *arguments]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with PostgresServer() as postgres:
        strongroom("secrets", "enable", "database")
        login = [f"connection_url={postgres.url}", "username=postgres", f"password={postgres.password}"]
        plugin = "plugin_name=postgresql-database-plugin"
        strongroom("write", "database/config/pg", plugin, "allowed_roles=app", *login)
        statement = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"
        strongroom("write", "database/roles/app", "db_name=pg", "default_ttl=1h", f"creation_statements={statement}")
        shown = dict(line.split(None, 1) for line in strongroom("read", "database/creds/app").splitlines()[2:])
        assert (shown["lease_duration"], shown["lease_renewable"]) == ("1h", "true")
        assert postgres.logs_in(shown["username"], shown["password"])
        lease = shown["lease_id"]
        assert lease in strongroom("lease", "lookup", lease)
        assert "2h" in strongroom("lease", "renew", "-increment=2h", lease)
        strongroom("lease", "revoke", "-sync", lease)
        assert not postgres.logs_in(shown["username"], shown["password"])
        other = strongroom("read", "-field=username", "database/creds/app")
        strongroom("lease", "revoke", "-prefix", "-sync", "database/creds/app")
        assert other.strip() not in postgres.roles()
        strongroom("secrets", "disable", "database")
