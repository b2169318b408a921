"""hvac with a namespace, unchanged, against a real server process with two workers over LMDB."""

from collections.abc import Iterator

import hvac
import pytest
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest

from server_fixture import Server, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("hvac-namespaces"), workers=2) as one:
        yield one


def client(server: Server, namespace: str | None = None, token: str = "") -> hvac.Client:
    return hvac.Client(url=server.address, token=token or server.token, namespace=namespace)


def test_the_calls_of_sys_namespaces(server: Server) -> None:
    root = client(server)
    with pytest.raises(InvalidPath):
        root.sys.list_namespaces()
    made = root.sys.create_namespace("team")["data"]
    assert made["path"] == "team/" and made["id"] and made["uuid"]
    below = client(server, "team")
    below.sys.create_namespace("test")
    assert root.sys.list_namespaces()["data"]["keys"] == ["team/"]
    assert below.sys.list_namespaces()["data"]["keys"] == ["test/"]
    with pytest.raises(InvalidRequest, match="child namespaces"):
        root.sys.delete_namespace("team")
    assert below.sys.delete_namespace("test")["data"]["status"] == "complete"
    assert root.sys.delete_namespace("team")["data"]["status"] == "complete"
    with pytest.raises(InvalidPath):
        root.sys.list_namespaces()
    for _ in range(8):  # whichever worker is asked
        with pytest.raises(InvalidPath, match="namespace not found"):
            client(server, "team").sys.list_mounted_secrets_engines()


def test_a_client_with_a_namespace_lives_in_it(server: Server) -> None:
    client(server).sys.create_namespace("shop")
    shop = client(server, "shop")
    shop.sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
    shop.secrets.kv.v2.create_or_update_secret("db", {"k": "v"})
    shop.sys.create_or_update_policy("reader", 'path "secret/data/*" { capabilities = ["read"] }')
    shop.sys.enable_auth_method("userpass")
    shop.auth.userpass.create_or_update_user("bob", "correct horse", policies=["reader"])
    bob = hvac.Client(url=server.address, namespace="shop")
    bob.auth.userpass.login("bob", "correct horse")
    assert bob.is_authenticated() and bob.token.count(".") == 2
    found = bob.secrets.kv.v2.read_secret_version("db", raise_on_deleted_version=True)
    assert found["data"]["data"] == {"k": "v"}
    with pytest.raises(Forbidden):
        bob.secrets.kv.v2.create_or_update_secret("db", {"k": "w"})
    outside = client(server, token=bob.token)
    assert not outside.is_authenticated()
    assert client(server).read("shop/secret/data/db")["data"]["data"] == {"k": "v"}
    assert shop.sys.read_health_status(method="GET")["sealed"] is False
    with pytest.raises(InvalidRequest, match="unavailable in namespaces"):
        shop.sys.list_enabled_audit_devices()
    accessor = bob.auth.token.lookup_self()["data"]["accessor"]
    assert shop.auth.token.lookup_accessor(accessor)["data"]["display_name"] == "userpass-bob"
    bob.auth.token.revoke_self()
    assert not bob.is_authenticated()
