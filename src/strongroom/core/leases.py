"""The lease manager of one namespace: give, look up, renew, revoke.

Leases are found by an index that is ordered by the second of expiry, so neither start nor tidying grows with their
number. A token that expires has a lease too (see ``core/lease_entry.py``); ``core/expiry.py`` ends what has expired.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from strongroom.core import layout
from strongroom.core.lease_entry import LeaseEntry, LeaseKeys
from strongroom.core.mounts import MountTable
from strongroom.core.names import base62
from strongroom.core.tokens import Tokens
from strongroom.core.ttl import bounded_ttl
from strongroom.errors import BadRequest, Conflict, PermissionDenied, Unreachable, VaultError
from strongroom.sdk.storage import Write

_unpack = msgspec.msgpack.Decoder(LeaseEntry).decode
MAX_ATTEMPTS = 6  # failed revocations before a lease counts as irrevocable
PATIENCE = 24 * 3600.0  # seconds overdue until a server that cannot be reached counts as a failure of the lease
_FIRST, _LONGEST = 10, 3600  # seconds between two tries, doubled each time
_TRIES = 64


class Stuck(msgspec.Struct, frozen=True):
    """A lease whose revocation failed ``MAX_ATTEMPTS`` times, and why."""

    lease_id: str
    mount: str  # uuid
    error: str


class Leases:
    """See the module."""

    def __init__(self, storage: Any, prefix: str, mounts: MountTable, tokens: Tokens, now: Callable[[], float]) -> None:
        self._storage, self._prefix, self.keys = storage, prefix, LeaseKeys(prefix, tokens.namespace)
        self._mounts, self._tokens, self._now = mounts, tokens, now

    def over(self, storage: Any) -> "Leases":
        """The same leases, written through another store."""
        return Leases(storage, self._prefix, self._mounts, self._tokens, self._now)

    async def get(self, lease_id: str) -> tuple[LeaseEntry, int] | None:
        """The lease and its revision, or None."""
        if not lease_id or lease_id.endswith("/"):
            return None
        stored = await self._storage.get(self.keys.id + lease_id)
        return None if stored is None else (_unpack(stored.value), stored.revision)

    async def names(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        """Lease ids and folders directly under ``prefix``."""
        names: list[str] = await self._storage.list(self.keys.id + prefix, after=after, limit=limit)
        return names

    async def page(self, prefix: str, *, after: str, limit: int) -> list[tuple[str, LeaseEntry, int]]:
        """Leases whose id starts with ``prefix``, with their revisions; ``after`` is the last id of the page before."""
        rows = await self._storage.scan(self.keys.id + prefix, after=after[len(prefix) :], limit=limit)
        return [(prefix + key, _unpack(stored.value), stored.revision) for key, stored in rows]

    async def give(
        self,
        path: str,
        entry: LeaseEntry,
        *,
        home: str = "",
        also: Sequence[Write] = (),
        expect: Mapping[str, int] = {},
    ) -> str:
        """Store a new lease of a secret; its id.

        Args:
            path: of the request that made the secret.
            entry: its ``token`` holds it. The commit fails if that token was revoked meanwhile.
            home: the namespace of that token; "" = this one.
            also, expect: for the same commit.

        Raises:
            PermissionDenied: the holder is gone.
            NotFound: the mount or the namespace is being removed, or gone.
            Conflict: ``expect`` does not hold.
        """
        lease_id = f"{path}/{base62(24)}{self.keys.tail}"
        writes = [*self.keys.put(lease_id, entry), *also]
        home = home or self._tokens.namespace
        if home != self._tokens.namespace and entry.token:
            writes.append(Write(layout.abroad(home, entry.token) + self._tokens.namespace, b"1"))
        holder = f"{layout.token_prefix(home)}id/{entry.token}"
        for _ in range(_TRIES):
            held = {**expect, **self._mounts.standing(entry.mount)}
            if entry.token:
                stored = await self._storage.get_sealed(holder)
                if stored is None:
                    raise PermissionDenied
                held[holder] = stored.revision
            try:
                await self._storage.commit(writes, expect=held)
                return lease_id
            except Conflict:
                for key, revision in expect.items():
                    now = await self._storage.get_sealed(key)
                    if (now.revision if now is not None else 0) != revision:
                        raise
                await self._mounts.look_again()
        raise Conflict("the token that holds the lease changes too quickly")

    async def renew(self, lease_id: str, increment: int) -> LeaseEntry:
        """Extend a lease of a secret; its engine has a say (``renew_lease``).

        Raises:
            BadRequest: unknown, expired or not renewable, or its maximum is reached.
        """
        for _ in range(_TRIES):
            found = await self.get(lease_id)
            if found is None or found[0].kind == "token":
                raise BadRequest("lease not found")
            entry, revision = found
            now = self._now()
            if now >= entry.expires or entry.attempts:
                raise BadRequest("lease expired")
            if not entry.renewable:
                raise BadRequest("lease is not renewable")
            ttl, _ = bounded_ttl(
                asked=increment, default=entry.ttl, maximum=self._maximum(entry), age=now - entry.issued
            )
            if entry.until:
                ttl = min(ttl, int(entry.until - now))
            if ttl <= 0:
                raise BadRequest("lease is past its maximum TTL")
            new = msgspec.structs.replace(entry, expires=now + ttl, renewed=now)
            engine_renews = getattr(self._mounts.engine(entry.mount), "renew_lease", None)
            if engine_renews is not None:
                await engine_renews(entry.private, new.expires)
            with contextlib.suppress(Conflict):
                await self._storage.commit(
                    self.keys.put(lease_id, new, was=entry.expires), expect={self.keys.id + lease_id: revision}
                )
                return new
        raise Conflict("the lease changes too quickly")

    def _maximum(self, entry: LeaseEntry) -> int:
        """Seconds from the beginning: what it was given with, or what its mount allows today if that is less."""
        today = self._mounts.ttls(self._mounts.by_uuid(entry.mount))[1]
        return min(entry.max_ttl or today, today)

    async def revoke(self, lease_id: str, *, force: bool = False) -> bool:
        """Undo what a lease granted and forget it. False if there is no such lease.

        Raises:
            VaultError: the engine could not undo it; the lease stays, its failure counted, unless ``force``.
        """
        found = await self.get(lease_id)
        if found is None:
            return False
        entry, revision = found
        if entry.kind != "token":
            try:
                await self.undo(entry)
            except VaultError as error:
                if not force:
                    await self.failed(lease_id, entry, revision, error)
                    raise
        await self.forget(lease_id, entry)
        return True

    async def undo(self, entry: LeaseEntry) -> None:
        """Let the engine take back what the lease granted. Raises VaultError."""
        engine = self._mounts.engine(entry.mount)
        if engine is None and entry.mount:  # another process may have made the mount
            await self._mounts.load()
            engine = self._mounts.engine(entry.mount)
        if engine is not None:
            await engine.revoke(entry.private)

    async def queue(self, lease_id: str, entry: LeaseEntry, revision: int) -> None:
        """Let the lease expire now; the leader ends it, again and again if need be."""

        def expire(entry: LeaseEntry) -> list[Write]:
            if entry.expires <= (now := self._now()):
                return []
            return self.keys.put(lease_id, msgspec.structs.replace(entry, expires=now), was=entry.expires)

        await self._mark(lease_id, entry, revision, expire)

    async def _mark(
        self, lease_id: str, entry: LeaseEntry, revision: int, change: Callable[[LeaseEntry], list[Write]]
    ) -> None:
        """Store what ``change`` makes of a lease that must end, also if it is renewed meanwhile."""
        for _ in range(_TRIES):
            if not (writes := change(entry)):
                return
            with contextlib.suppress(Conflict):
                await self._storage.commit(writes, expect={self.keys.id + lease_id: revision})
                return
            found = await self.get(lease_id)
            if found is None:  # ended by another meanwhile: nothing may bring it back
                return
            entry, revision = found
        raise Conflict("the lease changes too quickly")

    async def failed(self, lease_id: str, entry: LeaseEntry, revision: int, error: VaultError) -> None:
        """Count a failed revocation and put it off: 10 s, 20 s, 40 s ... at most an hour.

        A server that cannot be reached is no failure of the lease for the first day: it only expires now.
        """
        now, first = self._now(), entry.attempts
        since = entry.overdue or min(entry.expires, now)
        if isinstance(error, Unreachable) and now - since < PATIENCE:
            await self.queue(lease_id, entry, revision)
            return

        def put_off(entry: LeaseEntry) -> list[Write]:
            if entry.attempts != first or first >= MAX_ATTEMPTS:  # counted by another; or by hand, once more in vain
                return []
            new = msgspec.structs.replace(
                entry,
                attempts=first + 1,
                error=str(error),
                expires=now + min(_FIRST * 2**first, _LONGEST),
                overdue=since,
            )
            if new.attempts >= MAX_ATTEMPTS:  # out of the way of those that can be undone
                return self.keys.park(lease_id, new, was=entry.expires)
            return self.keys.put(lease_id, new, was=entry.expires)

        await self._mark(lease_id, entry, revision, put_off)

    async def irrevocable(self, *, after: str = "", limit: int = 500) -> tuple[list[Stuck], str]:
        """A page of the leases whose revocation failed ``MAX_ATTEMPTS`` times, and what the next page comes after."""
        rows = await self._storage.scan(self.keys.stuck, after=after, limit=limit)
        out: list[Stuck] = []
        for _, stored in rows:
            lease_id = stored.value.decode()
            found = await self.get(lease_id)
            if found is not None:
                out.append(Stuck(lease_id, found[0].mount, found[0].error))
        return out, rows[-1][0] if rows else ""

    async def forget(self, lease_id: str, entry: LeaseEntry) -> None:
        """Drop the entry and its index entries."""
        await self._storage.commit(self.keys.drop(lease_id, entry))

    async def revoke_of_token(self, token_id: str) -> None:
        """End every lease that a dead token held. Failures stay and are tried again when they are due."""
        folder = f"{self.keys.by}{token_id}/"
        after = ""
        unreachable: set[str] = set()  # mounts whose other leases need not be tried now
        while rows := await self._storage.scan(folder, after=after, limit=100):
            for name, stored in rows:
                await self._end(stored.value.decode(), folder + name, unreachable)
            after = rows[-1][0]

    async def _end(self, lease_id: str, holding: str, unreachable: set[str]) -> None:
        found = await self.get(lease_id)
        if found is None:
            await self._storage.commit([Write(holding, None)])
        elif found[0].mount in unreachable:
            await self.queue(lease_id, *found)
        else:
            try:
                await self.revoke(lease_id)
            except Unreachable:
                unreachable.add(found[0].mount)
            except VaultError:
                pass  # counted by ``failed``
