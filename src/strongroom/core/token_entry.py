"""What is stored of a token, and the keys it is stored under. The token itself is stored nowhere.

ns/<ns>/token/id/<th>              the entry; th = HMAC-SHA-256(salt, token), 40 hex digits
ns/<ns>/token/acc/<accessor hash>  accessor and th
ns/<ns>/token/child/<parent th>/<time>-<th>   time of creation in ms, 12 hex digits: tokens made one after the other lie
                                              side by side (entries of the first layout have no time)
ns/<ns>/token/abroad/<th>/<id>     a namespace below in which children or leases hang on the token
ns/root/token/revoking/<th>[.<id>] a revocation of a tree that has begun, in any namespace; finished by whoever finds it
ns/<ns>/lease/...                  see core/lease_entry.py: a token that expires has a lease
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import msgspec

from strongroom.core.layout import token_prefix
from strongroom.core.names import tail
from strongroom.sdk.request import ROOT_NAMESPACE, Caller


class TokenEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One service token. Times are seconds since the Unix epoch, TTLs seconds; 0 = none."""

    accessor: str
    policies: tuple[str, ...]
    path: str  # where it was made: auth/token/create
    display_name: str = "token"
    created: float = 0.0
    ttl: int = 0  # as granted at creation
    expires: float = 0.0  # 0 = never
    renewed: float = 0.0  # last renewal
    max_ttl: int = 0  # of the method that made it
    explicit_max_ttl: int = 0
    period: int = 0
    num_uses: int = 0  # left; -1 = used up, waiting for its end
    renewable: bool = True
    meta: dict[str, str] | None = None
    parent: str = ""  # th of the parent; "" = orphan
    parent_namespace: str = ""  # of a parent in a namespace above; "" = the own
    role: str = ""
    bound_cidrs: tuple[str, ...] = ()
    entity_id: str = ""
    type: str = "service"
    mount_accessor: str = ""
    no_default_policy: bool = False
    alias: str = ""
    group_aliases: tuple[str, ...] = ()  # external groups that the login, or the last renewal, proved
    private: dict[str, Any] = {}  # of the auth method, for its renew()
    creation_path: str = ""  # of a wrapping token: the request whose answer it holds
    namespace: str = ROOT_NAMESPACE
    mfa: tuple[str, ...] = ()  # ids of the MFA methods that the login passed
    ordered: bool = False  # its child note and its lease are named with the time of creation

    def __repr__(self) -> str:
        return f"TokenEntry(display_name={self.display_name!r}, path={self.path!r})"

    def live(self, now: float) -> bool:
        """Whether the token may be used at ``now``, as far as its own entry tells."""
        return (not self.expires or now < self.expires) and self.num_uses >= 0


class TokenKeys(msgspec.Struct, frozen=True):
    """The secrets of one namespace's token store; made once, kept in the barrier."""

    salt: bytes  # 32 bytes
    batch: bytes  # 32 bytes: AES-256-GCM key of batch tokens

    def __repr__(self) -> str:
        return "TokenKeys()"


def token_hash(salt: bytes, text: str) -> str:
    """The name a token or accessor is stored under: 160 bits of HMAC-SHA-256, 40 hex digits."""
    return hmac.digest(salt, text.encode(), hashlib.sha256).hex()[:40]


def caller_of(entry: TokenEntry, token_id: str) -> Caller:
    """The entry as a value that is passed on."""
    return Caller(
        accessor=entry.accessor,
        policies=entry.policies,
        display_name=entry.display_name,
        token_id=token_id,
        token_policies=entry.policies,
        entity_id=entry.entity_id,
        namespace=entry.namespace,
        token_type=entry.type,
        path=entry.path,
        mount_accessor=entry.mount_accessor,
        metadata=entry.meta,
        bound_cidrs=entry.bound_cidrs,
        issue_time=entry.created,
        ttl=entry.ttl,
        orphan=not entry.parent,
        parent=entry.parent,
        root="root" in entry.policies,
        mfa=entry.mfa,
    )


class Keys:
    """The store keys of one namespace's tokens."""

    __slots__ = ("acc", "child", "entry", "revoking", "secrets", "tail")

    def __init__(self, prefix: str, namespace: str = ROOT_NAMESPACE) -> None:
        self.entry = prefix + "id/"
        self.acc = prefix + "acc/"
        self.child = prefix + "child/"
        shared = prefix if namespace == ROOT_NAMESPACE else token_prefix(ROOT_NAMESPACE)
        self.revoking = shared + "revoking/"
        self.tail = tail(namespace)
        self.secrets = prefix + "keys"

    def note(self, token_id: str) -> str:
        """The note that the tree below a token is being revoked."""
        return self.revoking + token_id + self.tail


def lookup_data(entry: TokenEntry, now: float, *, token: str, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of a token look-up (wire facts B.7). ``token`` is "" when asked by accessor."""
    from strongroom.core.clock import rfc3339

    data: dict[str, Any] = {
        "accessor": entry.accessor,
        "creation_time": int(entry.created),
        "creation_ttl": entry.ttl,
        "display_name": entry.display_name,
        "entity_id": entry.entity_id,
        "expire_time": rfc3339(entry.expires) if entry.expires else None,
        "explicit_max_ttl": entry.explicit_max_ttl,
        "id": token,
        "issue_time": rfc3339(entry.created),
        "meta": entry.meta,
        "num_uses": max(entry.num_uses, 0),
        "orphan": not entry.parent,
        "path": entry.path,
        "policies": list(entry.policies),
        "renewable": entry.renewable and bool(entry.expires),
        "ttl": max(int(entry.expires - now), 0) if entry.expires else 0,
        "type": entry.type,
    }
    if entry.role:
        data["role"] = entry.role
    if entry.period:
        data["period"] = entry.period
    if entry.bound_cidrs:
        data["bound_cidrs"] = list(entry.bound_cidrs)
    if entry.renewed:
        data["last_renewal"] = rfc3339(entry.renewed)
        data["last_renewal_time"] = int(entry.renewed)
    data.update(identity)
    return data
