"""Vaults for the tests of this folder."""

from typing import Any

from strongroom import AsyncVault, SealConfig, Vault


def opened(backend: Any = None, config: Any = None, *, shares: int = 1, threshold: int = 1, **more: Any) -> Vault:
    """An unsealed vault that uses its root token."""
    vault, _ = opened_with_keys(backend, config, shares=shares, threshold=threshold, **more)
    return vault


def opened_with_keys(
    backend: Any = None, config: Any = None, *, shares: int = 1, threshold: int = 1, **more: Any
) -> tuple[Vault, Any]:
    vault = Vault({"memory": {}} if backend is None else backend, config, **more)
    made = vault.init(SealConfig(secret_shares=shares, secret_threshold=threshold))
    for share in made.keys[:threshold]:
        vault.unseal(share)
    vault.set_token(made.root_token)
    return vault, made


async def opened_async(backend: Any = None, config: Any = None, **more: Any) -> tuple[AsyncVault, Any]:
    vault = AsyncVault({"memory": {}} if backend is None else backend, config, **more)
    made = await vault.init(SealConfig(1, 1))
    await vault.unseal(made.keys[0])
    vault.set_token(made.root_token)
    return vault, made
