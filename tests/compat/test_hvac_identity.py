"""hvac's calls for identities, unchanged, against a real server process: what its own tests ask for, and its effect."""

from collections.abc import Iterator
from typing import Any

import hvac
import pytest
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest

from server_fixture import Server, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("hvac-identity")) as one:
        yield one


@pytest.fixture
def client(server: Server) -> Iterator[hvac.Client]:
    client = hvac.Client(url=server.address, token=server.token)
    client.sys.enable_auth_method("userpass")
    yield client
    client.sys.disable_auth_method("userpass")
    identity = client.secrets.identity
    for names, delete in (
        (identity.list_entities, identity.delete_entity),
        (identity.list_groups, identity.delete_group),
    ):
        try:
            for key in names()["data"]["keys"]:
                delete(key)
        except InvalidPath:
            continue


def accessor(client: hvac.Client) -> str:
    return str(client.sys.list_auth_methods()["data"]["userpass/"]["accessor"])


def test_entities(client: hvac.Client) -> None:
    identity = client.secrets.identity
    made = identity.create_or_update_entity("ann", metadata={"team": "a"}, policies=["p"])["data"]
    assert identity.create_or_update_entity("ann", metadata={"team": "b"}).status_code == 204
    assert identity.update_entity(made["id"], name="ann", policies=["p", "q"]).status_code == 204
    data = identity.read_entity(made["id"])["data"]
    assert (data["name"], data["metadata"], data["policies"]) == ("ann", {"team": "b"}, ["p", "q"])
    assert identity.read_entity_by_name("ann")["data"] == data
    identity.create_or_update_entity_by_name("eve", disabled=True)
    assert identity.read_entity_by_name("eve")["data"]["disabled"] is True
    for method in ("LIST", "GET"):
        listed = identity.list_entities(method=method)["data"]
        assert len(listed["keys"]) == 2 and listed["key_info"][made["id"]]["name"] == "ann"
        assert identity.list_entities_by_name(method=method)["data"]["keys"] == ["ann", "eve"]
    assert identity.lookup_entity(name="ann")["data"]["id"] == made["id"]
    assert identity.lookup_entity(name="nobody").status_code == 204
    assert identity.delete_entity_by_name("eve").status_code == 204
    assert identity.delete_entity(made["id"]).status_code == 204
    with pytest.raises(InvalidPath):
        identity.list_entities()


def test_aliases_and_a_login(client: hvac.Client, server: Server) -> None:
    identity, mount = client.secrets.identity, accessor(client)
    client.sys.create_or_update_policy("reader", 'path "secret/x" { capabilities = ["read"] }')
    client.sys.enable_secrets_engine("kv", path="secret", options={"version": "1"})
    client.secrets.kv.v1.create_or_update_secret("x", {"a": "1"})
    client.auth.userpass.create_or_update_user("bob", "pw", policies="default")
    entity = identity.create_or_update_entity("bob")["data"]["id"]
    made = identity.create_or_update_entity_alias("bob", canonical_id=entity, mount_accessor=mount)["data"]
    assert made["canonical_id"] == entity
    assert identity.update_entity_alias(made["id"], "bob", canonical_id=entity, mount_accessor=mount)["data"] == made
    assert identity.read_entity_alias(made["id"])["data"]["mount_path"] == "auth/userpass/"
    assert identity.list_entity_aliases()["data"]["keys"] == [made["id"]]
    bob = hvac.Client(url=server.address)
    assert bob.auth.userpass.login("bob", "pw")["auth"]["entity_id"] == entity
    with pytest.raises(Forbidden):
        bob.secrets.kv.v1.read_secret("x")
    group = identity.create_or_update_group("readers", policies=["reader"], member_entity_ids=[entity])["data"]["id"]
    assert bob.secrets.kv.v1.read_secret("x")["data"] == {"a": "1"}
    own = bob.auth.token.lookup_self()["data"]
    assert (own["entity_id"], own["identity_policies"]) == (entity, ["reader"])
    identity.update_group(group, "readers", policies=["other"])
    with pytest.raises(Forbidden):
        bob.secrets.kv.v1.read_secret("x")
    identity.delete_entity_alias(made["id"])
    assert bob.auth.userpass.login("bob", "pw")["auth"]["entity_id"] != entity
    client.sys.disable_secrets_engine("secret")


def test_groups_and_their_aliases(client: hvac.Client) -> None:
    identity, mount = client.secrets.identity, accessor(client)
    child = identity.create_or_update_group("child")["data"]["id"]
    made = identity.create_or_update_group("top", metadata={"k": "v"}, member_group_ids=[child])["data"]
    assert identity.read_group(made["id"])["data"]["member_group_ids"] == [child]
    assert identity.read_group(child)["data"]["parent_group_ids"] == [made["id"]]
    assert identity.read_group_by_name("top")["data"]["metadata"] == {"k": "v"}
    identity.create_or_update_group_by_name("outside", group_type="external")
    with pytest.raises(InvalidRequest, match="group type cannot be changed"):
        identity.create_or_update_group("outside", group_type="internal")
    for method in ("LIST", "GET"):
        assert set(identity.list_groups(method=method)["data"]["keys"]) >= {child, made["id"]}
        assert identity.list_groups_by_name(method=method)["data"]["keys"] == ["child", "outside", "top"]
    outside = identity.lookup_group(name="outside")["data"]["id"]
    alias: dict[str, Any] = identity.create_or_update_group_alias("devs", mount_accessor=mount, canonical_id=outside)
    alias_id = alias["data"]["id"]
    identity.update_group_alias(alias_id, "ops", mount_accessor=mount, canonical_id=outside)
    assert identity.read_group_alias(alias_id)["data"]["name"] == "ops"
    assert identity.list_group_aliases()["data"]["keys"] == [alias_id]
    assert identity.lookup_group(alias_id=alias_id)["data"]["id"] == outside
    assert identity.delete_group_alias(alias_id).status_code == 204
    assert identity.delete_group_by_name("top").status_code == 204
    assert identity.delete_group(child).status_code == 204


def test_merging(client: hvac.Client) -> None:
    identity = client.secrets.identity
    ids = [identity.create_or_update_entity(name)["data"]["id"] for name in ("one", "two", "three")]
    assert identity.merge_entities(from_entity_ids=ids[1:], to_entity_id=ids[0]).status_code == 204
    assert identity.read_entity(ids[0])["data"]["merged_entity_ids"] == ids[1:]
    with pytest.raises(InvalidPath):
        identity.read_entity(ids[1])
