"""Random names: tokens, accessors, one-time passwords and ids."""

import os
import uuid

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SERVICE_PREFIX = "hvs."
BATCH_PREFIX = "hvb."
ROOT = "root"
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


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


def tail(namespace: str) -> str:
    """What the tokens, accessors and lease ids of a namespace end in: "." and its id, nothing in the root namespace."""
    return "" if namespace == ROOT else f".{namespace}"


def namespace_of_token(token: str) -> str:
    """The id of the namespace that ``token`` says it belongs to; nothing is proven by that."""
    if token.startswith((SERVICE_PREFIX, BATCH_PREFIX)):
        _, dot, namespace = token[len(SERVICE_PREFIX) :].rpartition(".")
        return namespace if dot else ROOT
    return ROOT


def namespace_of_lease(lease_id: str) -> str:
    """The id of the namespace that a lease belongs to."""
    _, dot, namespace = lease_id.rpartition("/")[2].rpartition(".")
    return namespace if dot else ROOT


def namespace_id() -> str:
    """A new namespace id: 6 base62 characters. The commit that uses it makes sure that nobody else has it."""
    return base62(6)


def new_uuid() -> str:
    """A random UUID (RFC 9562, version 4)."""
    return str(uuid.uuid4())


_ids: list[str] = []  # made ahead: one call of the system serves 256 requests
os.register_at_fork(after_in_child=_ids.clear)


def request_id() -> str:
    """A random UUID (RFC 9562, version 4) for one request; quicker than ``new_uuid``. Safe in threads and forks."""
    try:
        return _ids.pop()
    except IndexError:
        digits = os.urandom(4096).hex()
        _ids.extend(_uuid4(digits[at : at + 32]) for at in range(32, 8192, 32))
        return _uuid4(digits[:32])


def _uuid4(h: str) -> str:
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:]}"
