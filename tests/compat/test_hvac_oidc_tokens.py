"""hvac's calls for OIDC tokens of identities, unchanged, against a real server process."""

from collections.abc import Iterator

import hvac
import pytest
from hvac.exceptions import InvalidPath, InvalidRequest
from joserfc import jwt
from joserfc.jwk import KeySet

from server_fixture import Server, running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("hvac-oidc")) as one:
        yield one


def test_keys_roles_tokens_and_what_checks_them(server: Server) -> None:
    client = hvac.Client(url=server.address, token=server.token)
    identity = client.secrets.identity
    identity.configure_tokens_backend(issuer="https://python-hvac.org:1234")
    assert identity.read_tokens_backend_configuration()["data"]["issuer"] == "https://python-hvac.org:1234"
    assert identity.create_named_key("key", verification_ttl=1801).status_code == 204
    assert identity.rotate_named_key("key", verification_ttl=1800).status_code == 204
    assert identity.read_named_key("key")["data"]["verification_ttl"] == 1800
    identity.create_named_key("key", allowed_client_ids=["*"])
    assert identity.read_named_key("key")["data"]["algorithm"] == "RS256"
    assert identity.list_named_keys()["data"]["keys"] == ["key"]
    template = '{"user": {{identity.entity.name}}}'
    assert identity.create_or_update_role("role", "key", template=template, ttl="1h").status_code == 204
    client_id = identity.read_role("role")["data"]["client_id"]
    assert identity.list_roles()["data"]["keys"] == ["role"]
    with pytest.raises(InvalidRequest, match="referenced by these roles: role"):
        identity.delete_named_key("key")

    client.sys.enable_auth_method("userpass")
    client.sys.create_or_update_policy("token", 'path "identity/oidc/token/role" { capabilities = ["read"] }')
    client.auth.userpass.create_or_update_user("bob", "pw", policies="token")
    bob = hvac.Client(url=server.address)
    entity = bob.auth.userpass.login("bob", "pw")["auth"]["entity_id"]
    made = bob.secrets.identity.generate_signed_id_token("role")["data"]
    assert (made["client_id"], made["ttl"]) == (client_id, 3600)
    assert identity.introspect_signed_id_token(made["token"], client_id) == {"active": True}
    assert identity.introspect_signed_id_token(made["token"], "other")["active"] is False
    nobody = hvac.Client(url=server.address)
    assert nobody.secrets.identity.read_well_known_configurations()["issuer"].startswith(
        "https://python-hvac.org:1234/"
    )
    keys = nobody.secrets.identity.read_active_public_keys()
    claims = jwt.decode(made["token"], KeySet.import_key_set(keys), algorithms=["RS256"]).claims
    assert (claims["sub"], claims["aud"]) == (entity, client_id) and claims["user"].startswith("entity_")

    assert identity.delete_role("role").status_code == 204
    assert identity.delete_named_key("key").status_code == 204
    with pytest.raises(InvalidPath):
        identity.read_named_key("key")
