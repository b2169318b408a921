"""Strongroom: secrets and key management, embeddable and Vault-compatible. See docs/house.md for the structure."""
