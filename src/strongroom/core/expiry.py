"""What the leader does: end what has expired in any namespace, and finish what was begun.

The work is split into duties, one for each mount that holds expired leases, so that a mount whose server is away holds
up nobody: the server runs them side by side, an embedded vault one after the other, each a little at a time. A mount
whose server cannot be reached is left alone for a while, longer each time.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from strongroom.core.ending import Ending
from strongroom.core.identity.oidc_rotation import OidcRotation
from strongroom.core.leader import Fenced, Leader, NotLeading
from strongroom.core.lease_entry import TOKEN_GROUP, LeaseEntry, LeaseKeys, second
from strongroom.core.leases import MAX_ATTEMPTS
from strongroom.core.names import namespace_of_lease
from strongroom.core.together import first_error, together
from strongroom.errors import Unreachable, VaultError
from strongroom.sdk.storage import Write

Duty = Callable[[], Awaitable[int]]  # does a part; how many things were done, 0 = nothing is left for now
SLICE = 30  # leases dealt with at a time: more would let requests of the same process wait
_STALE = 60  # index entries dropped in one commit
_COMMIT = 15  # leases ended in one commit; each takes 4 writes of the 64
_FIRST, _LONGEST = 1.0, 60.0  # seconds that an unreachable mount is left alone, doubled each time


class Expiry:
    """See the module. Works on the leases of all namespaces; the root namespace's is the one that is asked.

    Args:
        space: the root Namespace; ``reach`` gives the others.
        storage: what the leader writes to.
    """

    def __init__(self, space: Any, storage: Fenced) -> None:
        self._space, self._storage = space, storage
        self._leader: Leader = space.parts.leader
        self._now: Callable[[], float] = space.parts.now
        self._oidc = OidcRotation(storage, self._now, space.parts.offload, self._exists)
        self._paused: dict[str, tuple[float, float]] = {}  # group -> (until, how long)

    @property
    def _keys(self) -> LeaseKeys:
        keys: LeaseKeys = self._space.leases.keys
        return keys

    async def _home(self, namespace: str) -> Ending | None:
        """A namespace's tokens and leases, as the leader writes them; None if it is gone."""
        space = self._space if namespace in ("", self._space.id) else await self._space.reach(namespace)
        return None if space is None else space.bound

    async def _exists(self, namespace: str) -> bool:
        return await self._home(namespace) is not None

    async def duties(self) -> list[tuple[str, Duty]]:
        """What is to be done now, by name. Nothing if another node leads."""
        if not await self._leader.free():
            return []
        duties: list[tuple[str, Duty]] = []
        if await self._space.tokens.revoking(1):
            duties.append(("revoking", self._resume))
        if self._space.mounts.removing and self._awake("removing"):
            duties.append(("removing", self._remove))
        if await self._storage.list(self._space.identity.store.keys.leaving, limit=1):
            duties.append(("leaving", self._leave))
        if await self._oidc.any():
            duties.append(("oidc keys", self._oidc.rotate))
        if await self._storage.list(self._keys.exp, limit=1):
            duties.append(("moving", self._move))
        groups = [group for group in await self._groups() if self._awake(group) and await self._due(group, 1)]
        duties += [(f"expired:{group}", self._of(group)) for group in groups]
        return duties

    async def _groups(self) -> list[str]:
        names: list[str] = []
        while page := await self._storage.list(self._keys.due, after=names[-1] if names else "", limit=1000):
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
            for home in dict.fromkeys(row.home for row in rows):
                await home.end_tokens([row.lease.token for row in rows if row.home is home])
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

    async def _undo(self, rows: list["_Row"]) -> tuple[list["_Row"], bool]:
        """Let the engine take back leases, side by side: those that went, and whether its server is away."""
        gone: list[_Row] = []
        away = False
        outcomes = await together([row.home.leases.undo(row.lease) for row in rows])
        for row, outcome in zip(rows, outcomes, strict=True):
            if isinstance(outcome, VaultError):
                away = away or isinstance(outcome, Unreachable)
                await row.home.leases.failed(row.lease_id, row.lease, row.revision, outcome)
            else:
                gone.append(row)
        return gone, away

    async def _drop(self, rows: list["_Row"]) -> None:
        """Forget leases, in commits that share a flush."""
        parts = [rows[start : start + _COMMIT] for start in range(0, len(rows), _COMMIT)]
        drops = [[w for row in part for w in row.home.leases.keys.drop(row.lease_id, row.lease)] for part in parts]
        first_error(await together([self._storage.commit(writes) for writes in drops]))

    async def _remove(self) -> int:
        done: int = await self._space.bound.remove_mounts()
        if done:
            self._paused.pop("removing", None)
        else:
            self._pause("removing")
        return done

    async def _leave(self) -> int:
        return int(await self._space.identity.removal.tidy(SLICE))

    def _awake(self, group: str) -> bool:
        paused = self._paused.get(group)
        return paused is None or self._now() >= paused[0]

    def _pause(self, group: str) -> None:
        known = self._paused.get(group)
        length = _FIRST if known is None else min(known[1] * 2, _LONGEST)
        self._paused[group] = self._now() + length, length

    async def _due(self, group: str, limit: int) -> list["_Row"]:
        """Leases whose time has come. Stale index entries are dropped on the way."""
        folder = f"{self._keys.due}{group}/"
        now = self._now()
        while rows := await self._storage.scan(folder, until=second(now + 1), limit=limit):
            out: list[_Row] = []
            stale: list[Write] = []
            for key, stored in rows:
                lease_id = stored.value.decode()
                home = await self._home(namespace_of_lease(lease_id))
                found = None if home is None else await home.leases.get(lease_id)
                if home is None or found is None or second(found[0].expires) != key.partition("/")[0]:
                    stale.append(Write(folder + key, None))
                elif found[0].expires <= now and found[0].attempts < MAX_ATTEMPTS:
                    out.append(_Row(home, lease_id, *found))
            for start in range(0, len(stale), _STALE):
                await self._storage.commit(stale[start : start + _STALE])
            if out or not stale:
                return out
        return []

    async def _resume(self) -> int:
        """Go on with revocations that were begun, in whatever namespace."""
        done = 0
        for note in await self._space.tokens.revoking(SLICE):
            token_id, _, namespace = note.partition(".")
            home = await self._home(namespace)
            if home is None:
                await self._storage.commit([Write(self._space.tokens.keys.revoking + note, None)])
            else:
                await home.clean_up(await home.tokens.resume(token_id))
            done += 1
        return done

    async def _move(self) -> int:
        """The index of earlier versions, which was not grouped."""
        rows = await self._storage.scan(self._keys.exp, limit=20)
        writes: list[Write] = []
        for key, stored in rows:
            lease_id = stored.value.decode()
            home = await self._home(namespace_of_lease(lease_id))
            found = None if home is None else await home.leases.get(lease_id)
            writes.append(Write(self._keys.exp + key, None))
            if found is not None and found[0].attempts < MAX_ATTEMPTS:
                writes.append(Write(self._keys.at(lease_id, found[0], found[0].expires), stored.value))
        await self._storage.commit(writes)
        return len(rows)

    async def tidy(self) -> int:
        """Each duty once, one after the other; how many things were done. Call again while > 0."""
        return await run(await self.duties())


async def run(duties: list[tuple[str, Duty]]) -> int:
    """Each duty once, one after the other; how many things were done."""
    done = 0
    for _, duty in duties:
        try:
            done += await duty()
        except NotLeading:
            return 0
        except VaultError:
            continue  # the next round tries again, and the others must not wait for it
    return done


class _Row(NamedTuple):
    home: Ending
    lease_id: str
    lease: LeaseEntry
    revision: int
