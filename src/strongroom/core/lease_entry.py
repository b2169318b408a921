"""What is stored of a lease, and the keys it is stored under.

    ns/<ns>/lease/id/<lease id>                 the entry
    ns/root/lease/exp/<second>/<hash of the id> the lease id, of any namespace; ordered by the second of expiry, so that
                                                 expired leases are found without reading the others
    ns/<ns>/lease/by/<th>/<hash of the id>       the lease id, for the token that holds it
    ns/<ns>/lease/stuck/<hash of the id>         the lease id, when its revocation failed too often
    ns/<ns>/lease/role/<quota>/<accessor's hash> a token that counts in the quota of a login role; may outlive it

A token that expires has a lease too; its id is ``<creation path>/h<time>-<th>`` and its entry names the token.
"""

import hashlib
from typing import Any

import msgspec

from strongroom.core.layout import lease_prefix
from strongroom.core.names import tail
from strongroom.sdk.request import ROOT_NAMESPACE
from strongroom.sdk.storage import Write


class LeaseEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One lease. Times are seconds since the Unix epoch, TTLs seconds."""

    token: str = ""  # th: of the token itself (kind "token"), or of the token that holds the secret
    kind: str = "secret"  # "secret" | "token"
    issued: float = 0.0
    expires: float = 0.0
    renewed: float = 0.0
    ttl: int = 0
    max_ttl: int = 0
    renewable: bool = True
    mount: str = ""  # uuid of the mount whose engine revokes it
    private: dict[str, Any] = {}
    attempts: int = 0  # failed revocations
    error: str = ""  # why the last revocation failed, without secrets

    def __repr__(self) -> str:
        return f"LeaseEntry(kind={self.kind!r})"


def second(time: float) -> str:
    """A time as part of an ordered key: 12 decimal digits, seconds."""
    return f"{int(time):012d}"


def id_hash(lease_id: str) -> str:
    """32 hex digits that stand for a lease id in index keys."""
    return hashlib.sha256(lease_id.encode()).hexdigest()[:32]


class LeaseKeys:
    """The store keys of one namespace's leases."""

    __slots__ = ("by", "exp", "id", "role", "stuck", "tail")

    def __init__(self, prefix: str, namespace: str = ROOT_NAMESPACE) -> None:
        self.id = prefix + "id/"
        shared = prefix if namespace == ROOT_NAMESPACE else lease_prefix(ROOT_NAMESPACE)
        self.exp = shared + "exp/"
        self.tail = tail(namespace)
        self.by = prefix + "by/"
        self.stuck = prefix + "stuck/"
        self.role = prefix + "role/"

    def put(self, lease_id: str, entry: LeaseEntry, *, was: float = 0.0) -> list[Write]:
        """The writes that store ``entry``; ``was`` is the expiry it had before, 0 = new."""
        name = id_hash(lease_id)
        writes = [Write(self.id + lease_id, msgspec.msgpack.encode(entry))]
        if was and int(was) != int(entry.expires):
            writes.append(Write(f"{self.exp}{second(was)}/{name}", None))
        writes.append(Write(f"{self.exp}{second(entry.expires)}/{name}", lease_id.encode()))
        if entry.kind == "secret" and not was:
            writes.append(Write(f"{self.by}{entry.token}/{name}", lease_id.encode()))
        return writes

    def drop(self, lease_id: str, entry: LeaseEntry) -> list[Write]:
        """The writes that forget a lease."""
        name = id_hash(lease_id)
        writes = [Write(self.id + lease_id, None), Write(f"{self.exp}{second(entry.expires)}/{name}", None)]
        if entry.kind == "secret":
            writes.append(Write(f"{self.by}{entry.token}/{name}", None))
        if entry.attempts:
            writes.append(Write(self.stuck + name, None))
        return writes


def token_lease_id(path: str, name: str, tail: str = "") -> str:
    """The lease id of a token: its creation path, ``h``, its name (``tokens.name_of``) and the namespace's ``tail``."""
    return f"{path}/h{name}{tail}"
