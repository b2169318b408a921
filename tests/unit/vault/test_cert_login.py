"""A certificate handed to the embedded vault by the program around it."""

import pytest

from certificates import make
from engine_harness import START
from strongroom.errors import BadRequest, PermissionDenied
from strongroom.vault import AsyncVault, Vault

ROOT = make("root", ca=True)
A, B = ROOT.sign("a").der, ROOT.sign("b").der
ROLE = {"certificate": ROOT.pem, "token_ttl": 600}


def test_login_and_renewal() -> None:
    with Vault({"memory": {}}, now=lambda: START) as vault:
        made = vault.init()
        vault.unseal_once(made.keys)
        vault.set_token(made.root_token)
        vault.mount("auth/cert", "cert")
        vault.write("auth/cert/certs/r", ROLE)
        with pytest.raises(BadRequest):
            vault.login("auth/cert/login")
        auth = vault.login("auth/cert/login", {}, certificate=A).auth
        assert auth is not None and auth.metadata is not None and auth.metadata["common_name"] == "a"
        for other in (b"", B):
            with pytest.raises(PermissionDenied):
                vault.write("auth/token/renew-self", {}, certificate=other)
        assert vault.write("auth/token/renew-self", {}, certificate=A).auth is not None


async def test_the_async_face() -> None:
    async with AsyncVault({"memory": {}}, now=lambda: START) as vault:
        made = await vault.init()
        await vault.unseal_once(made.keys)
        vault.set_token(made.root_token)
        await vault.mount("auth/cert", "cert")
        await vault.write("auth/cert/certs/r", ROLE)
        assert (await vault.login("auth/cert/login", {}, certificate=A)).auth is not None
        assert (await vault.write("auth/token/renew-self", {}, certificate=A)).auth is not None
