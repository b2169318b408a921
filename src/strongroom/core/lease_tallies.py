"""How many leases each lease-count quota has, as an upper bound that is cheap to keep.

Leases that are made are added; those that end are not taken away. When a tally reaches its quota's maximum, the leases
are counted in the store, and the tally is right again (``core.lease_limit``). So ending a lease costs nothing, and
after a restart, when tallies are not known, counting begins with the first lease.

A count may miss leases that are being stored while it looks. So those under way when it began are added to it, and
those that were added since. It may then be too high for a moment, never too low.
"""

import enum
from typing import Protocol

import msgspec


class Room(enum.Enum):
    """What a tally says of one more lease."""

    FREE = 1
    FULL = 2  # as far as is known: some may have ended meanwhile
    UNKNOWN = 3  # nobody has counted yet


FORGOTTEN = 120.0  # seconds after which what is still under way died with its process


class Tally(msgspec.Struct):
    """A number of leases (-1 = not known) and what tells how far a count may be wrong."""

    leases: int = -1
    added: int = 0  # ever
    under_way: int = 0  # added, and not stored yet
    counts: int = 0  # that were completed
    last: float = 0.0  # time of the last addition, seconds since the Unix epoch

    def room(self, most: int) -> Room:
        """Whether another lease fits under ``most``."""
        if self.leases < 0:
            return Room.UNKNOWN
        return Room.FREE if self.leases < most else Room.FULL

    def add(self, now: float) -> None:
        """One more is being made."""
        self.added += 1
        self.under_way += 1
        self.last = now
        if self.leases >= 0:
            self.leases += 1

    def end(self, *, made: bool) -> None:
        """It is stored, or was not made after all."""
        self.under_way = max(0, self.under_way - 1)
        if not made:
            self.leases = max(-1 if self.leases < 0 else 0, self.leases - 1)

    def settle(self, counted: int, begun: "Tally", now: float) -> None:
        """A count found ``counted``; it began when the tally was ``begun``. If another came first, that one holds."""
        if self.counts != begun.counts:
            return
        self.counts += 1
        if now - begun.last > FORGOTTEN and self.added == begun.added:
            self.under_way = begun.under_way = 0
        self.leases = counted + self.added - begun.added + begun.under_way


class Tallies(Protocol):
    """Where tallies are kept, by the id of the quota. Each method is one atomic step and never waits."""

    def get(self, quota: str) -> Tally:
        """A copy."""

    def take(self, quota: str, most: int, now: float) -> Room:
        """Add one lease if it is FREE."""

    def add(self, quota: str, now: float) -> None:
        """As ``Tally.add``."""

    def end(self, quota: str, *, made: bool) -> None:
        """As ``Tally.end``."""

    def settle(self, quota: str, counted: int, begun: Tally, now: float) -> None:
        """As ``Tally.settle``."""


class ProcessTallies:
    """Tallies of one process; workers of a server share theirs (``server.tallies``)."""

    __slots__ = ("_tallies",)

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}

    def _at(self, quota: str) -> Tally:
        return self._tallies.setdefault(quota, Tally())

    def get(self, quota: str) -> Tally:
        return msgspec.structs.replace(self._at(quota))

    def take(self, quota: str, most: int, now: float) -> Room:
        tally = self._at(quota)
        room = tally.room(most)
        if room is Room.FREE:
            tally.add(now)
        return room

    def add(self, quota: str, now: float) -> None:
        self._at(quota).add(now)

    def end(self, quota: str, *, made: bool) -> None:
        self._at(quota).end(made=made)

    def settle(self, quota: str, counted: int, begun: Tally, now: float) -> None:
        self._at(quota).settle(counted, begun, now)
