"""Identity in the embedded vault: the same by the sync face, which has no event loop."""

from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import PermissionDenied
from unit.vault.vaults import opened

POLICY = 'path "secret/{{identity.entity.metadata.path}}" { capabilities = ["read"] }'


@pytest.mark.parametrize("kind", ["memory", "lmdb", "file"])
def test_a_login_has_the_policies_of_its_groups(kind: str, tmp_path: Path) -> None:
    backend: dict[str, Any] = {kind: {} if kind == "memory" else {"path": str(tmp_path / "store")}}
    with opened(backend) as vault:
        vault.mount("secret", "kv")
        vault.write("secret/a", {"k": "v"})
        vault.write("sys/policies/acl/reader", {"policy": POLICY})
        vault.mount("auth/userpass", "userpass")
        vault.write("auth/userpass/users/bob", {"password": "correct"})
        auth = vault.write("auth/userpass/login/bob", {"password": "correct"}).auth
        assert auth is not None
        with pytest.raises(PermissionDenied):
            vault.read("secret/a", token=auth.client_token)
        vault.write(f"identity/entity/id/{auth.entity_id}", {"metadata": {"path": "a"}})
        vault.write("identity/group", {"name": "g", "policies": "reader", "member_entity_ids": auth.entity_id})
        found = vault.read("secret/a", token=auth.client_token)
        assert found is not None and found.data == {"k": "v"}
        vault.delete(f"identity/entity/id/{auth.entity_id}")
        with pytest.raises(PermissionDenied):
            vault.read("secret/a", token=auth.client_token)


@pytest.mark.parametrize("kind", ["memory", "lmdb", "file"])
def test_an_oidc_token_and_a_rotation(kind: str, tmp_path: Path) -> None:
    backend: dict[str, Any] = {kind: {} if kind == "memory" else {"path": str(tmp_path / "store")}}
    with opened(backend) as vault:
        vault.write("identity/oidc/key/k", {"algorithm": "ES256", "allowed_client_ids": "*"})
        vault.write("identity/oidc/role/r", {"key": "k"})
        vault.write("sys/policies/acl/token", {"policy": 'path "identity/oidc/token/r" { capabilities = ["read"] }'})
        vault.mount("auth/userpass", "userpass")
        vault.write("auth/userpass/users/bob", {"password": "correct", "token_policies": "token"})
        auth = vault.write("auth/userpass/login/bob", {"password": "correct"}).auth
        assert auth is not None
        made = vault.read("identity/oidc/token/r", token=auth.client_token)
        assert made is not None and made.data is not None
        vault.write("identity/oidc/key/k/rotate", {})
        asked = {"token": made.data["token"], "client_id": made.data["client_id"]}
        assert vault.write("identity/oidc/introspect", asked).data == {"active": True}
        vault.write("identity/oidc/key/k/rotate", {"verification_ttl": 0})
        assert vault.write("identity/oidc/introspect", asked).data == {"active": True}, "it was replaced before"
