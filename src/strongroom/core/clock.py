"""Times as Vault prints them."""

import time

RFC3339_NEVER = "0001-01-01T00:00:00Z"


def rfc3339(seconds: float) -> str:
    """Seconds since the Unix epoch as RFC 3339 UTC with nanoseconds and ``Z``: "2026-11-21T20:55:47.909410792Z"."""
    whole = int(seconds // 1)
    nanos = int((seconds - whole) * 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{nanos:09d}Z"
