"""Counting requests in windows of time, for rate limits.

A window begins with the first request it counts and lets ``limit`` of them through; the next request after its end
begins another. Counts of one process lie in a dict; workers of a server share theirs (``server.windows``).
"""

from collections import OrderedDict
from typing import NamedTuple, Protocol

_ROUNDING = 1e-3  # seconds; a window's end less its length is not exactly the moment it began


class Window(NamedTuple):
    """What is remembered of one counted group. Times are seconds since the Unix epoch."""

    end: float
    used: int
    blocked_until: float = 0.0


class Limit(NamedTuple):
    """How many requests in how many seconds, and for how long at least who asks for more is refused."""

    requests: int
    seconds: float
    block: float = 0.0

    @classmethod
    def of(cls, rate: float, interval: float, block: float = 0.0) -> "Limit":
        """``rate`` requests in each ``interval`` seconds; a fraction of a request makes the window longer or shorter.

        So 0.5 in a second is one in two, and 2.5 in a second are two in 0.8.
        """
        whole = max(1, int(rate))
        return cls(whole, interval * whole / rate, block)


class Taken(NamedTuple):
    """What came of a request."""

    allowed: bool
    remaining: int  # requests that the window still lets through
    reset: float  # seconds until it ends, or the block does


def after_request(window: Window | None, now: float, limit: Limit) -> tuple[Window, Taken]:
    """What ``window`` becomes by a request at ``now``; every ``Windows`` applies this rule in one step."""
    if window is not None and now < window.blocked_until <= now + max(limit.block, limit.seconds):
        return window, Taken(False, 0, window.blocked_until - now)
    if window is None or not window.end - limit.seconds - _ROUNDING <= now < window.end:
        # also when the clock was put back
        window = Window(now + limit.seconds, 0)
    left = limit.requests - window.used
    if left > 0:
        window = Window(window.end, window.used + 1)
        return window, Taken(True, left - 1, window.end - now)
    if limit.block:
        until = max(now + limit.block, window.end)  # at the end of a shorter block the window would still be full
        return Window(window.end, window.used, until), Taken(False, 0, until - now)
    return window, Taken(False, 0, window.end - now)


class Windows(Protocol):
    """Where requests are counted. One atomic step that never waits."""

    def take(self, group: str, now: float, limit: Limit) -> Taken:
        """Count a request of ``group`` by ``after_request``."""


class ProcessWindows:
    """Counts of one process, of bounded size: when it is full, the group that was seen longest ago goes."""

    __slots__ = ("_limit", "_windows")

    def __init__(self, limit: int = 65536) -> None:
        self._limit = limit
        self._windows: OrderedDict[str, Window] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def take(self, group: str, now: float, limit: Limit) -> Taken:
        window, taken = after_request(self._windows.pop(group, None), now, limit)
        self._windows[group] = window
        if len(self._windows) > self._limit:
            self._windows.popitem(last=False)
        return taken
