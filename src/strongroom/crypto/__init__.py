"""Primitives: Shamir shares, locked memory, authenticated encryption, process hardening, self-tests."""
