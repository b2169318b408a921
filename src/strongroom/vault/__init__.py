"""The embedded vault, and how one is put together: the same pipeline as the server's, in your process."""

from strongroom.core.seal import SealConfig
from strongroom.vault.assemble import Assembled, VaultConfig, assemble
from strongroom.vault.embedded import AsyncVault, Vault

__all__ = ["Assembled", "AsyncVault", "SealConfig", "Vault", "VaultConfig", "assemble"]
