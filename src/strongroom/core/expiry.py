"""What the leader does in one namespace: end what has expired, and finish what was begun.

The work is split into duties, one for each mount that holds expired leases, so that a mount whose server is away holds
up nobody: the server runs them side by side, an embedded vault one after the other, each a little at a time. A mount
whose server cannot be reached is left alone for a while, longer each time.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from strongroom.core.ending import Ending
from strongroom.core.leader import Fenced, Leader, NotLeading
from strongroom.core.lease_entry import TOKEN_GROUP, LeaseEntry, second
from strongroom.core.leases import MAX_ATTEMPTS, Leases
from strongroom.core.mounts import MountTable
from strongroom.core.together import first_error, together
from strongroom.core.tokens import Tokens
from strongroom.errors import Unreachable, VaultError
from strongroom.sdk.storage import Write

Duty = Callable[[], Awaitable[int]]  # does a part; how many things were done, 0 = nothing is left for now
Due = tuple[str, LeaseEntry, int]  # lease id, entry, revision
SLICE = 30  # leases dealt with at a time: more would let requests of the same process wait
_STALE = 60  # index entries dropped in one commit
_COMMIT = 15  # leases ended in one commit; each takes 4 writes of the 64
_FIRST, _LONGEST = 1.0, 60.0  # seconds that an unreachable mount is left alone, doubled each time
_OLD = 12  # digits of a second


class Expiry:
    """See the module. ``storage`` is the barrier."""

    def __init__(
        self,
        namespace: str,
        storage: Any,
        leader: Leader,
        mounts: MountTable,
        tokens: Tokens,
        leases: Leases,
        now: Callable[[], float],
    ) -> None:
        self._storage, self._leader, self._mounts, self._now = Fenced(storage, leader), leader, mounts, now
        own_tokens = tokens.over(self._storage)
        self._leases = leases.over(self._storage)
        self._ending = Ending(namespace, self._storage, mounts, own_tokens, self._leases)
        self._tokens = own_tokens
        self._paused: dict[str, tuple[float, float]] = {}  # group -> (until, how long)

    async def duties(self) -> list[tuple[str, Duty]]:
        """What is to be done now, by name. Nothing if another node leads."""
        if not await self._leader.free():
            return []
        duties: list[tuple[str, Duty]] = []
        if await self._tokens.revoking(1):
            duties.append(("revoking", self._resume))
        if self._mounts.removing and self._awake("removing"):
            duties.append(("removing", self._remove))
        if await self._storage.list(self._leases.keys.exp, limit=1):
            duties.append(("moving", self._move))
        groups = [group for group in await self._groups() if self._awake(group) and await self._due(group, 1)]
        duties += [(f"expired:{group}", self._of(group)) for group in groups]
        for uuid, engine in self._mounts.engines():
            if (finish := getattr(engine, "finish", None)) is not None:
                duties.append((f"finish:{uuid}", finish))
        return duties

    async def _groups(self) -> list[str]:
        names: list[str] = []
        while page := await self._storage.list(self._leases.keys.due, after=names[-1] if names else "", limit=1000):
            names += page
        return [name.rstrip("/") for name in names]

    def _of(self, group: str) -> Duty:
        async def expire() -> int:
            return await self.expire(group)

        return expire

    async def expire(self, group: str, limit: int = SLICE) -> int:
        """End expired leases of one group, the oldest first, at most ``limit``; how many were dealt with."""
        rows = await self._due(group, limit)
        if group == TOKEN_GROUP:
            await self._ending.end_tokens([lease.token for _, lease, _ in rows])
            await self._drop(rows)  # also of tokens that were gone already
            return len(rows)
        if not rows:
            return 0
        await self._leader.hold()  # before anything is done outside
        gone, away = await self._undo(rows[:1])  # the first alone: its server may be away
        if not away:
            more, away = await self._undo(rows[1:])
            gone += more
        await self._drop(gone)
        if away:
            self._pause(group)
            return 0
        self._paused.pop(group, None)
        return len(rows)

    async def _undo(self, rows: list[Due]) -> tuple[list[Due], bool]:
        """Let the engine take back leases, side by side: those that went, and whether its server is away."""
        gone: list[Due] = []
        away = False
        outcomes = await together([self._leases.undo(lease) for _, lease, _ in rows])
        for (lease_id, lease, revision), outcome in zip(rows, outcomes, strict=True):
            if isinstance(outcome, VaultError):
                away = away or isinstance(outcome, Unreachable)
                await self._leases.failed(lease_id, lease, revision, outcome)
            else:
                gone.append((lease_id, lease, revision))
        return gone, away

    async def _drop(self, rows: list[Due]) -> None:
        """Forget leases, in commits that share a flush."""
        parts = [rows[start : start + _COMMIT] for start in range(0, len(rows), _COMMIT)]
        drops = [[w for name, lease, _ in part for w in self._leases.keys.drop(name, lease)] for part in parts]
        first_error(await together([self._storage.commit(writes) for writes in drops]))

    async def _remove(self) -> int:
        done = await self._ending.remove_mounts()
        if done:
            self._paused.pop("removing", None)
        else:
            self._pause("removing")
        return done

    def _awake(self, group: str) -> bool:
        paused = self._paused.get(group)
        return paused is None or self._now() >= paused[0]

    def _pause(self, group: str) -> None:
        known = self._paused.get(group)
        length = _FIRST if known is None else min(known[1] * 2, _LONGEST)
        self._paused[group] = self._now() + length, length

    async def _due(self, group: str, limit: int) -> list[Due]:
        """Leases whose time has come. Stale index entries are dropped on the way."""
        folder = f"{self._leases.keys.due}{group}/"
        now = self._now()
        while rows := await self._storage.scan(folder, until=second(now + 1), limit=limit):
            out: list[Due] = []
            stale: list[Write] = []
            for key, stored in rows:
                lease_id = stored.value.decode()
                found = await self._leases.get(lease_id)
                if found is None or second(found[0].expires) != key.partition("/")[0]:
                    stale.append(Write(folder + key, None))
                elif found[0].expires <= now and found[0].attempts < MAX_ATTEMPTS:
                    out.append((lease_id, *found))
            for start in range(0, len(stale), _STALE):
                await self._storage.commit(stale[start : start + _STALE])
            if out or not stale:
                return out
        return []

    async def _resume(self) -> int:
        done = 0
        for token_id in await self._tokens.revoking(SLICE):
            await self._ending.clean_up(await self._tokens.resume(token_id))
            done += 1
        return done

    async def _move(self) -> int:
        """The index of earlier versions, which was not grouped."""
        keys = self._leases.keys
        rows = await self._storage.scan(keys.exp, limit=20)
        writes: list[Write] = []
        for key, stored in rows:
            lease_id = stored.value.decode()
            found = await self._leases.get(lease_id)
            writes.append(Write(keys.exp + key, None))
            if found is not None and found[0].attempts < MAX_ATTEMPTS:
                writes.append(Write(keys.at(lease_id, found[0], found[0].expires), stored.value))
        await self._storage.commit(writes)
        return len(rows)

    async def tidy(self) -> int:
        """Each duty once, one after the other; how many things were done. Call again while > 0."""
        done = 0
        for _, duty in await self.duties():
            try:
                done += await duty()
            except NotLeading:
                return 0
            except VaultError:
                continue  # the next round tries again, and the others must not wait for it
        return done
