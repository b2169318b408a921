"""Random names: tokens, accessors, one-time passwords and ids."""

import os
import uuid

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SERVICE_PREFIX = "hvs."
BATCH_PREFIX = "hvb."


def base62(length: int) -> str:
    """``length`` characters, each uniform over 62 (5.95 bits)."""
    out = ""
    while len(out) < length:  # bytes from 248 on are thrown away: 248 = 4 * 62, so what is left is uniform
        out += "".join([BASE62[byte % 62] for byte in os.urandom(length + 8) if byte < 248])
    return out[:length]


def service_token() -> str:
    """A new service token: ``hvs.`` and 24 base62 characters, 143 bits; 28 characters as clients expect (B.5)."""
    return SERVICE_PREFIX + base62(24)


def accessor() -> str:
    """A token accessor: 24 base62 characters (B.7)."""
    return base62(24)


def new_uuid() -> str:
    """A random UUID (RFC 9562, version 4)."""
    return str(uuid.uuid4())
