"""The one table of what each verb of each engine is in Cedar's terms.

A row is an engine's type and route, the names of path fields left out: ``creds/{}``. It says which action each
operation is, and which part of the path is the secret. What has no row (an engine from outside) takes the plain
actions on its whole path; what needs sudo is ``manage`` everywhere.
"""

import functools
import re
from collections.abc import Mapping

import msgspec

from strongroom.sdk.engine import Match
from strongroom.sdk.policy import Asked
from strongroom.sdk.request import Op

PLAIN: Mapping[Op, str] = {
    Op.READ: "read",
    Op.LIST: "list",
    Op.SCAN: "list",
    Op.CREATE: "write",
    Op.UPDATE: "write",
    Op.PATCH: "write",
    Op.DELETE: "delete",
}


class Row(msgspec.Struct, frozen=True):
    """What a route's operations are."""

    actions: Mapping[Op, str]
    whole: bool = False  # the secret is the whole path; else the route's last field alone, the mount without one
    of_lease: bool = False


def _all(action: str, *, whole: bool = False) -> Row:
    return Row(dict.fromkeys(PLAIN, action), whole)


_SETTINGS = Row({**dict.fromkeys(PLAIN, "manage"), Op.LIST: "list"}, whole=True)

_KV: Mapping[str, Row] = {
    "{...}": Row(PLAIN),
    "data/{...}": Row(PLAIN),
    "metadata/{...}": Row(PLAIN),
    "detailed-metadata/{...}": Row(PLAIN),
    "subkeys/{...}": Row(PLAIN),
    "delete/{...}": _all("delete"),
    "undelete/{...}": _all("write"),
    "destroy/{...}": _all("delete"),
    "config": _all("manage"),
}

TABLE: Mapping[str, Mapping[str, Row]] = {
    "kv": _KV,
    "generic": _KV,  # an older name of it
    "database": {
        "config/{}": _SETTINGS,
        "config/": _SETTINGS,
        "roles/{}": _SETTINGS,
        "roles/": _SETTINGS,
        "reset/{}": _all("manage", whole=True),
        "creds/{}": _all("generate", whole=True),
    },
    # Of sys/ only what is asked of an engine's lease: leases of tokens and all else follow ACL policies alone.
    "system": {
        "leases/renew": Row({Op.UPDATE: "renew"}, of_lease=True),
        "leases/renew/{...}": Row({Op.UPDATE: "renew"}, of_lease=True),
        "renew": Row({Op.UPDATE: "renew"}, of_lease=True),
        "renew/{...}": Row({Op.UPDATE: "renew"}, of_lease=True),
        "leases/revoke": Row({Op.UPDATE: "revoke"}, of_lease=True),
        "leases/revoke/{...}": Row({Op.UPDATE: "revoke"}, of_lease=True),
        "revoke": Row({Op.UPDATE: "revoke"}, of_lease=True),
        "revoke/{...}": Row({Op.UPDATE: "revoke"}, of_lease=True),
    },
}
OWN = frozenset({"system", "identity", "cubbyhole", "token"})  # mounts of the house: ACL policies alone, but for sudo


def asked(match: Match, op: Op, path: str) -> Asked | None:
    """What ``op`` on ``path`` is in Cedar's terms; None where ACL policies alone decide.

    Args:
        match: where ``path`` leads.
        op: the operation; a create is told from an update.
        path: canonical, with the mount.
    """
    route = match.route
    if op not in PLAIN or not route.ops or not match.mount_path:
        return None  # leads nowhere: there is nothing to allow
    if route.sudo:
        return Asked("manage", path.rstrip("/"))
    if match.mount_class == "auth":
        return None
    row = TABLE.get(match.mount_type, {}).get(shape(route.pattern))
    if row is None:
        return None if match.mount_type in OWN else Asked(PLAIN[op], path.rstrip("/"))
    action = row.actions.get(op) or row.actions[Op.UPDATE]
    if row.of_lease:
        return Asked(action, "", of_lease=True)
    if row.whole:
        return Asked(action, path.rstrip("/"))
    inner = next(reversed(match.params.values()), "")
    return Asked(action, (match.mount_path + inner).rstrip("/"))


@functools.lru_cache(maxsize=1024)
def shape(pattern: str) -> str:
    """A route's pattern without the names of its fields."""
    return re.sub(r"\{\w+(\.\.\.)?\}", lambda found: "{...}" if found[1] else "{}", pattern)
