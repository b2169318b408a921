"""What is stored of quotas, and which one applies to a request: the most specific.

role    a login of one role at an auth mount
path    one path of a mount; then paths that begin alike ("kv/data/team/*"), the longest beginning first
mount   everything below a mount
namespace, then what its parents let it inherit, and last the quota of the empty path, which is for everybody
"""

from collections.abc import Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

import msgspec

EXEMPT = (
    "sys/generate-recovery-token/attempt",
    "sys/generate-recovery-token/update",
    "sys/generate-root/attempt",
    "sys/generate-root/update",
    "sys/health",
    "sys/seal-status",
    "sys/unseal",
)  # what no rate limit counts unless told otherwise (wire facts A.3)
GROUPINGS = ("ip", "none", "entity_then_ip", "entity_then_none")


class Quota(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What both kinds have. ``path`` is "" (everybody), ends in "/" (namespace or mount), in "*", or is one path."""

    name: str
    path: str = ""
    role: str = ""
    inheritable: bool = False
    id: str = ""  # another one with each change: counts begin anew


class RateQuota(Quota, frozen=True, kw_only=True, omit_defaults=True):
    """``rate`` requests in each ``interval`` (seconds) for each address, entity, or all together."""

    rate: float
    interval: int = 1
    block_interval: int = 0  # seconds for which who went over the limit is refused, and at least to the window's end
    group_by: str = "ip"  # one of GROUPINGS
    secondary_rate: float = 0.0  # of those without an entity; 0 = as ``rate``


class LeaseQuota(Quota, frozen=True, kw_only=True, omit_defaults=True):
    """At most ``max_leases`` leases and login tokens at a time."""

    max_leases: int


class QuotaConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """sys/quotas/config."""

    response_headers: bool = False  # tell each answer's limit in X-RateLimit headers
    audit_logging: bool = False  # kept and shown; refused requests are recorded in any case
    exempt: tuple[str, ...] = EXEMPT  # paths; a "*" at the end stands for any rest


class Quotas(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All quotas of a namespace, as one value that is replaced on change."""

    config: QuotaConfig = QuotaConfig()
    rates: dict[str, RateQuota] = {}
    leases: dict[str, LeaseQuota] = {}


class Place(NamedTuple):
    """Where a request goes, as the namespace sees it that the quotas belong to."""

    namespace: str  # "" = that namespace itself, else a child's path: "team/"
    mount: str  # with the child's path before it: "team/auth/userpass/"; "" = no mount
    path: str


Q = TypeVar("Q", bound=Quota)


class QuotaTable(Generic[Q]):
    """Quotas of one kind, ready to be asked. Never changed."""

    __slots__ = ("_exact", "_globs", "_role_mounts", "_roles", "quotas")

    def __init__(self, quotas: Iterable[Q]) -> None:
        self.quotas: Mapping[str, Q] = {quota.name: quota for quota in quotas}
        self._roles = {(quota.path, quota.role): quota for quota in self.quotas.values() if quota.role}
        plain = [quota for quota in self.quotas.values() if not quota.role]
        self._exact = {quota.path: quota for quota in plain if not quota.path.endswith("*")}
        globs = [(quota.path[:-1], quota) for quota in plain if quota.path.endswith("*")]
        self._globs = sorted(globs, key=lambda pair: -len(pair[0]))
        self._role_mounts = frozenset(path for path, _ in self._roles)

    def __bool__(self) -> bool:
        return bool(self.quotas)

    def asks_role(self, mount: str) -> bool:
        """Whether the role of a login at ``mount`` decides which quota applies."""
        return mount in self._role_mounts

    def find(self, place: Place, role: str = "") -> Q | None:
        """The quota that applies to a request at ``place``, None if there is none."""
        if role and (found := self._roles.get((place.mount, role))) is not None:
            return found
        if place.mount:
            if (found := self._exact.get(place.path.rstrip("/"))) is not None:
                return found
            for start, quota in self._globs:
                if place.path.startswith(start):
                    return quota
            if (found := self._exact.get(place.mount)) is not None:
                return found
        return self._of_namespace(place.namespace)

    def _of_namespace(self, namespace: str) -> Q | None:
        found = self._exact.get(namespace)
        while found is None and namespace:
            namespace = namespace[: namespace.rstrip("/").rfind("/") + 1]
            found = self._exact.get(namespace)
            if found is not None and not found.inheritable:
                found = None
        return found


def exempt(path: str, config: QuotaConfig) -> bool:
    """Whether no rate limit counts requests of ``path``."""
    path = path.rstrip("/")
    return any(path.startswith(one[:-1]) if one.endswith("*") else path == one.rstrip("/") for one in config.exempt)
