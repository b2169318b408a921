"""How long the lease of a secret lives: the minimum rule of request, role, mount and system."""

from strongroom.sdk.engine import Mount
from strongroom.sdk.request import Caller


def lease_ttls(mount: Mount, caller: Caller | None, default: int, maximum: int, *, asked: int = 0) -> tuple[int, int]:
    """(TTL, maximum TTL) in seconds; the first may be <= 0 when the caller's own time is over.

    Args:
        mount: its TTLs are the mount's own or the system's.
        caller: a batch token's lease ends with the token (threat CVE-2020-25816).
        default: the role's default TTL, 0 = the mount's.
        maximum: the role's maximum TTL, 0 = the mount's.
        asked: what the request wants, 0 = no wish.
    """
    longest = min(maximum or mount.max_lease_ttl, mount.max_lease_ttl)
    ttl = min(asked or default or mount.default_lease_ttl, longest)
    if (end := batch_end(caller)) is not None:
        left = int(end - mount.now())
        ttl, longest = min(ttl, left), min(longest, left)
    return ttl, longest


def batch_end(caller: Caller | None) -> float | None:
    """When a batch token ends (seconds since the Unix epoch): its leases must not outlive it. None for others."""
    if caller is None or caller.token_type != "batch":
        return None
    return caller.issue_time + caller.ttl
