"""Who ends what has expired: at most one process of all that share a store, and a paused one cannot write any more.

    core/leader        the fence: who leads. Its revision moves with each change of the leader, and every commit of a
                       leader expects the revision that it took the lead with.
    core/leader-beat   until when that holds; renewed while there is work

The lead is taken when there is work and nobody's beat stands, so an idle vault writes nothing. Another process of the
same node (the one that died was replaced) takes over at once; another node when the beat has run out. A clock that is
wrong can make two processes believe that they lead, and the fence still lets only the later one write.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from strongroom.core import layout
from strongroom.errors import Conflict
from strongroom.sdk.storage import Entry, Write

BEAT = 30.0  # seconds that a lead lasts without renewal
_RENEW = BEAT / 2


class Beat(msgspec.Struct, frozen=True):
    """Who leads, on which node, until when (seconds since the Unix epoch)."""

    holder: str
    node: str
    until: float


class NotLeading(Conflict):
    """Another process leads."""


class Leader:
    """One process's part in it. ``storage`` is the barrier, ``node`` the name of the host."""

    def __init__(self, storage: Any, node: str, now: Callable[[], float]) -> None:
        self._storage, self._node, self._now = storage, node, now
        self._me = os.urandom(8).hex()
        self._fence = self._beat = 0  # revisions, 0 = not leading
        self._until = 0.0

    async def free(self) -> bool:
        """Whether this process leads or could: nobody on another node does."""
        stored = await self._storage.get(layout.LEADER_BEAT)
        if stored is None:
            return True
        beat = msgspec.json.decode(stored.value, type=Beat)
        return beat.node == self._node or beat.until <= self._now()

    async def hold(self) -> int:
        """Lead, or go on leading; the revision of the fence. Raises NotLeading."""
        now = self._now()
        if self._fence and now < self._until - _RENEW and self._until - now <= BEAT:
            return self._fence
        fence, stored = await self._storage.get_many([layout.LEADER, layout.LEADER_BEAT])
        beat = msgspec.json.decode(stored.value, type=Beat) if stored is not None else None
        mine = beat is not None and beat.holder == self._me and fence is not None and fence.revision == self._fence
        if beat is not None and beat.node != self._node and beat.until > now:
            self.lose()
            raise NotLeading("another node leads")
        writes = [Write(layout.LEADER_BEAT, msgspec.json.encode(Beat(self._me, self._node, now + BEAT)))]
        if not mine:
            writes.append(Write(layout.LEADER, self._me.encode()))
        expect = {
            layout.LEADER: fence.revision if fence is not None else 0,
            layout.LEADER_BEAT: stored.revision if stored is not None else 0,
        }
        with contextlib.suppress(Conflict):  # with another process, or with other work of this one
            await self._storage.commit(writes, expect=expect)
        fence = await self._storage.get(layout.LEADER)
        if fence is None or fence.value != self._me.encode():
            self.lose()
            raise NotLeading("another process took the lead")
        self._fence, self._until = fence.revision, now + BEAT
        return self._fence

    def lose(self) -> None:
        """Believe no longer that this process leads; the next ``hold`` looks."""
        self._fence, self._until = 0, 0.0


class Fenced:
    """The barrier as a leader writes to it: each commit expects that it still leads."""

    def __init__(self, storage: Any, leader: Leader) -> None:
        self._storage, self._leader = storage, leader
        self.get, self.get_many, self.get_sealed = storage.get, storage.get_many, storage.get_sealed
        self.list, self.scan, self.stamp = storage.list, storage.scan, storage.stamp

    get: Callable[[str], Any]
    get_many: Callable[[Sequence[str]], Any]
    get_sealed: Callable[[str], Any]
    list: Callable[..., Any]
    scan: Callable[..., Any]
    stamp: Callable[[], int | None]

    async def commit(self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}) -> None:
        """See Storage. Raises NotLeading."""
        fence = await self._leader.hold()
        try:
            await self._storage.commit(writes, expect={**expect, layout.LEADER: fence})
        except Conflict:
            stored: Entry | None = await self._storage.get(layout.LEADER)
            if stored is None or stored.revision != fence:
                self._leader.lose()
                raise NotLeading("another process took the lead") from None
            raise


__all__ = ["BEAT", "Fenced", "Leader", "NotLeading"]
