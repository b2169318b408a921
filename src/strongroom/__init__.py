"""Strongroom: secrets and key management, embeddable and Vault-compatible. See docs/house.md for the structure.

from strongroom import Vault, AsyncVault, SealConfig
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom.vault import AsyncVault as AsyncVault
    from strongroom.vault import SealConfig as SealConfig
    from strongroom.vault import Vault as Vault

__version__ = "0.1.0"
__all__ = ["AsyncVault", "SealConfig", "Vault"]


def __getattr__(name: str) -> Any:
    """Load the vault only for those who embed it: the command line starts without it."""
    if name in __all__:
        return getattr(importlib.import_module("strongroom.vault"), name)
    raise AttributeError(f"module 'strongroom' has no attribute {name!r}")
