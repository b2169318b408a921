"""A login with a second factor in the embedded vault, both faces."""

from pathlib import Path

import pytest

from mfa_world import Phone
from strongroom.errors import BadRequest, PermissionDenied
from strongroom.vault import AsyncVault, Vault
from vault_world import Clock

TOTP = "identity/mfa/method/totp"
LOGIN = ("auth/userpass/login/bob", {"password": "pw"})


def test_two_phases(tmp_path: Path) -> None:
    clock = Clock()
    store = {"lmdb": {"path": str(tmp_path)}}
    with Vault(store, now=clock) as vault:
        made = vault.init()
        vault.unseal_once(made.keys)
        vault.set_token(made.root_token)
        vault.mount("auth/userpass", "userpass")
        vault.write("auth/userpass/users/bob", {"password": "pw"})
        entity = vault.write(*LOGIN, token="").auth.entity_id  # type: ignore[union-attr]
        method = vault.write(TOTP, {"issuer": "i"}).data["method_id"]  # type: ignore[index]
        secret = vault.write(f"{TOTP}/admin-generate", {"method_id": method, "entity_id": entity}).data
        assert secret is not None
        phone = Phone(secret["url"], clock, entity)
        rule = {"mfa_method_ids": [method], "identity_entity_ids": [entity]}
        vault.write("identity/mfa/login-enforcement/e", rule)
        auth = vault.login(*LOGIN).auth
        assert auth is not None and auth.mfa_requirement is not None and not auth.client_token
        assert vault.read("auth/token/lookup-self").data["policies"] == ["root"]  # type: ignore[union-attr, index]
        second = {"mfa_request_id": auth.mfa_requirement["mfa_request_id"], "mfa_payload": {method: [phone.wrong()]}}
        with pytest.raises(PermissionDenied):
            vault.login("sys/mfa/validate", second)
        second["mfa_payload"] = {method: [phone.code()]}
        assert vault.login("sys/mfa/validate", second).auth is not None
        assert vault.read("auth/token/lookup-self").data["entity_id"] == entity  # type: ignore[union-attr, index]
        with pytest.raises(BadRequest):
            vault.login("sys/mfa/validate", second)


async def test_the_async_face() -> None:
    clock = Clock()
    async with AsyncVault({"memory": {}}, now=clock) as vault:
        made = await vault.init()
        await vault.unseal_once(made.keys)
        vault.set_token(made.root_token)
        await vault.mount("auth/userpass", "userpass")
        await vault.write("auth/userpass/users/bob", {"password": "pw"})
        method = (await vault.write(TOTP, {"issuer": "i"})).data["method_id"]  # type: ignore[index]
        rule = {"mfa_method_ids": [method], "auth_method_types": ["userpass"]}
        await vault.write("identity/mfa/login-enforcement/e", rule)
        auth = (await vault.login(*LOGIN)).auth
        assert auth is not None and auth.mfa_requirement is not None
        token = await vault.read("auth/token/lookup-self")
        assert token is not None and token.data is not None and token.data["policies"] == ["root"]
