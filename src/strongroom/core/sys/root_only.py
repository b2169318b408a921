"""What only the root namespace answers: the machine, the seal, the audit trail and what all namespaces share.

The table is by the beginning of a route's pattern. A child namespace has the same routes, so that policies, help and
the OpenAPI document know them, but each refuses (threat GHSA-cg72). A new route under sys/ that is not of one namespace
alone must be named here; ``tests/security/test_namespaces.py`` holds the list of those that are open.
"""

from typing import Any

import msgspec

from strongroom.errors import BadRequest
from strongroom.sdk.engine import Call, NoArgs, Route
from strongroom.sdk.request import Response

ROOT_ONLY = (
    "audit",
    "audit-hash",
    "audit-proof",
    "config/auditing",
    "config/cors",
    "config/reload",
    "config/state",
    "config/ui",
    "decode-token",
    "generate-recovery-token",
    "generate-root",
    "generate-root-token",
    "ha-status",
    "health",
    "host-info",
    "in-flight-req",
    "init",
    "internal/counters",
    "internal/inspect",
    "key-status",
    "leader",
    "loggers",
    "metrics",
    "monitor",
    "plugins",
    "pprof",
    "quotas/config",
    "raw",
    "rekey",
    "rekey-recovery-key",
    "rotate",
    "seal",
    "seal-backend-status",
    "seal-status",
    "step-down",
    "storage",
    "unseal",
    "version-history",
)


async def refuse(_call: Call, _args: Any) -> Response:
    """Every operation of such a route in a child namespace."""
    raise BadRequest("operation unavailable in namespaces")


def is_root_only(pattern: str) -> bool:
    """Whether the route under sys/ with that pattern belongs to the root namespace alone."""
    return any(pattern == head or pattern.startswith(head + "/") for head in ROOT_ONLY)


def in_child(route: Route) -> Route:
    """The route as a child namespace has it."""
    if not is_root_only(route.pattern):
        return route
    return msgspec.structs.replace(
        route,
        ops=dict.fromkeys(route.ops, refuse),
        args=NoArgs,
        strict=False,
        exists=None,
        facts=None,
        pure=frozenset(),
    )
