"""Cedar policies in the embedded library, with and without an event loop."""

import pytest

from strongroom import AsyncVault, SealConfig, Vault
from strongroom.errors import BadRequest, PermissionDenied

FORBID = 'forbid(principal, action, resource in Secret::"secret/prod");'


def test_the_facade_without_a_loop():
    with Vault({"memory": {}}) as vault:
        keys = vault.init(SealConfig(secret_shares=1, secret_threshold=1))
        vault.unseal(keys.keys[0])
        vault.set_token(keys.root_token)
        vault.mount("secret", "kv")
        vault.write("secret/prod/a", {"x": "y"})
        vault.write("sys/policies/acl/all", {"policy": 'path "secret/*" { capabilities = ["read"] }'})
        auth = vault.write("auth/token/create", {"policies": ["all"]}).auth
        assert auth is not None
        assert vault.read("secret/prod/a", token=auth.client_token) is not None
        vault.write("sys/policies/cedar/prod", {"policy": FORBID})
        with pytest.raises(PermissionDenied):
            vault.read("secret/prod/a", token=auth.client_token)
        with pytest.raises(BadRequest, match=r"bad#1 \(line 1\)"):
            vault.write("sys/policies/cedar/bad", {"policy": "permit();"})
        listed = vault.list("sys/policies/cedar")
        assert listed is not None and listed.data == {"keys": ["prod"]}
        vault.delete("sys/policies/cedar/prod")
        assert vault.read("secret/prod/a", token=auth.client_token) is not None


async def test_the_facade_with_one():
    async with AsyncVault({"memory": {}}) as vault:
        keys = await vault.init(SealConfig(secret_shares=1, secret_threshold=1))
        await vault.unseal(keys.keys[0])
        vault.set_token(keys.root_token)
        await vault.mount("secret", "kv")
        await vault.write("secret/dev/a", {"x": "y"})
        auth = (await vault.write("auth/token/create", {"policies": ["default"]})).auth
        assert auth is not None
        with pytest.raises(PermissionDenied):
            await vault.read("secret/dev/a", token=auth.client_token)
        permit = f'permit(principal == User::"token-{auth.accessor}", action, resource in Secret::"secret/dev");'
        await vault.write("sys/policies/cedar/dev", {"policy": permit})
        assert await vault.read("secret/dev/a", token=auth.client_token) is not None
