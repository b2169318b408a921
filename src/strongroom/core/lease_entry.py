"""What is stored of a lease, and the keys it is stored under.

    ns/<ns>/lease/id/<lease id>                          the entry
    ns/root/lease/due/<group>/<second>/<hash of the id>   the lease id, of any namespace; a group is the uuid of the
                                                          mount that ends it, or "token". Ordered by the second of
                                                          expiry, so that expired leases are found without reading
                                                          the others, and a group that is held up holds up no other
    ns/<ns>/lease/by/<th>/<hash of the id>                the lease id, for the token that holds it
    ns/<ns>/lease/stuck/<hash of the id>                  the lease id, when its revocation failed too often
    ns/root/lease/exp/<second>/<hash of the id>           what "due" was in versions before 0.2; moved by the leader
    ns/<ns>/lease/role/<quota>/<accessor's hash>          a token that counts in a login role's quota; may outlive it

A token that expires has a lease too; its id is ``<creation path>/h<time>-<th>`` and its entry names the token.
"""

import hashlib
from typing import Any

import msgspec

from strongroom.core.layout import lease_prefix
from strongroom.core.names import tail
from strongroom.sdk.request import ROOT_NAMESPACE
from strongroom.sdk.storage import Write

TOKEN_GROUP = "token"


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
    overdue: float = 0.0  # when a revocation failed first
    error: str = ""  # why the last revocation failed, without secrets
    until: float = 0.0  # the end of the batch token that holds it, 0 = none: no renewal reaches beyond

    def __repr__(self) -> str:
        return f"LeaseEntry(kind={self.kind!r})"

    @property
    def group(self) -> str:
        """Whose queue it stands in when it expires."""
        return TOKEN_GROUP if self.kind == "token" else self.mount or "none"


def second(time: float) -> str:
    """A time as part of an ordered key: 12 decimal digits, seconds."""
    return f"{int(time):012d}"


def id_hash(lease_id: str) -> str:
    """32 hex digits that stand for a lease id in index keys."""
    return hashlib.sha256(lease_id.encode()).hexdigest()[:32]


class LeaseKeys:
    """The store keys of one namespace's leases."""

    __slots__ = ("by", "due", "exp", "id", "role", "stuck", "tail")

    def __init__(self, prefix: str, namespace: str = ROOT_NAMESPACE) -> None:
        self.id = prefix + "id/"
        shared = prefix if namespace == ROOT_NAMESPACE else lease_prefix(ROOT_NAMESPACE)
        self.due = shared + "due/"
        self.exp = shared + "exp/"
        self.tail = tail(namespace)
        self.by = prefix + "by/"
        self.stuck = prefix + "stuck/"
        self.role = prefix + "role/"

    def at(self, lease_id: str, entry: LeaseEntry, expires: float) -> str:
        """Its key in the index by expiry."""
        return f"{self.due}{entry.group}/{second(expires)}/{id_hash(lease_id)}"

    def put(self, lease_id: str, entry: LeaseEntry, *, was: float = 0.0) -> list[Write]:
        """The writes that store ``entry``; ``was`` is the expiry it had before, 0 = new."""
        writes = [Write(self.id + lease_id, msgspec.msgpack.encode(entry))]
        if was and int(was) != int(entry.expires):
            writes.append(Write(self.at(lease_id, entry, was), None))
        writes.append(Write(self.at(lease_id, entry, entry.expires), lease_id.encode()))
        if entry.kind == "secret" and entry.token and not was:
            writes.append(Write(f"{self.by}{entry.token}/{id_hash(lease_id)}", lease_id.encode()))
        return writes

    def park(self, lease_id: str, entry: LeaseEntry, *, was: float) -> list[Write]:
        """The writes that take a lease out of the queue, to be shown as irrevocable."""
        return [
            Write(self.id + lease_id, msgspec.msgpack.encode(entry)),
            Write(self.at(lease_id, entry, was), None),
            Write(self.stuck + id_hash(lease_id), lease_id.encode()),
        ]

    def drop(self, lease_id: str, entry: LeaseEntry) -> list[Write]:
        """The writes that forget a lease, at most four."""
        writes = [Write(self.id + lease_id, None), Write(self.at(lease_id, entry, entry.expires), None)]
        if entry.kind == "secret" and entry.token:
            writes.append(Write(f"{self.by}{entry.token}/{id_hash(lease_id)}", None))
        if entry.attempts:
            writes.append(Write(self.stuck + id_hash(lease_id), None))
        return writes


def token_lease_id(path: str, name: str, tail: str = "") -> str:
    """The lease id of a token: its creation path, ``h``, its name (``tokens.name_of``) and the namespace's ``tail``."""
    return f"{path}/h{name}{tail}"
