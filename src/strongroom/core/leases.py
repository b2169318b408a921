"""The lease manager of one namespace: give, look up, renew, revoke, find the expired.

Leases are found by an index that is ordered by the second of expiry, so neither start nor tidying grows with their
number. A token that expires has a lease too (see ``core/lease_entry.py``).
"""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from strongroom.core import layout
from strongroom.core.lease_entry import LeaseEntry, LeaseKeys, id_hash, second
from strongroom.core.mounts import MountTable
from strongroom.core.names import base62, namespace_of_lease
from strongroom.core.tokens import Tokens
from strongroom.core.ttl import bounded_ttl
from strongroom.errors import BadRequest, Conflict, VaultError
from strongroom.sdk.engine import Call
from strongroom.sdk.request import Response
from strongroom.sdk.storage import Write

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(LeaseEntry).decode
MAX_ATTEMPTS = 6  # failed revocations before a lease counts as irrevocable
_TRIES = 16


Expired = list[tuple[str, LeaseEntry]]
Failures = list[tuple[str, str]]


class Leases:
    """See the module."""

    def __init__(self, storage: Any, prefix: str, mounts: MountTable, tokens: Tokens, now: Callable[[], float]) -> None:
        self._storage, self.keys, self._mounts, self._tokens, self._now = (
            storage,
            LeaseKeys(prefix, tokens.namespace),
            mounts,
            tokens,
            now,
        )

    async def get(self, lease_id: str) -> tuple[LeaseEntry, int] | None:
        """The lease and its revision, or None."""
        if not lease_id or lease_id.endswith("/"):
            return None
        stored = await self._storage.get(self.keys.id + lease_id)
        return None if stored is None else (_unpack(stored.value), stored.revision)

    async def _anywhere(self, lease_id: str) -> tuple[LeaseEntry, int] | None:
        """As ``get``, for a lease of any namespace."""
        home = namespace_of_lease(lease_id)
        if home == self._tokens.namespace:
            return await self.get(lease_id)
        stored = await self._storage.get(f"{layout.lease_prefix(home)}id/{lease_id}")
        return None if stored is None else (_unpack(stored.value), stored.revision)

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        """Lease ids and folders directly under ``prefix``."""
        names: list[str] = await self._storage.list(self.keys.id + prefix, after=after, limit=limit)
        return names

    async def give(self, path: str, entry: LeaseEntry, *, home: str = "") -> str:
        """Store a new lease of a secret; its id. ``home``: the namespace of the token that holds it, "" = this one."""
        lease_id = f"{path}/{base62(24)}{self.keys.tail}"
        writes = self.keys.put(lease_id, entry)
        if home and home != self._tokens.namespace and entry.token:
            writes.append(Write(layout.abroad(home, entry.token) + self._tokens.namespace, b"1"))
        await self._storage.commit(writes)
        return lease_id

    async def renew(self, lease_id: str, increment: int) -> LeaseEntry:
        """Extend a lease of a secret.

        Raises:
            BadRequest: unknown, expired or not renewable, or its maximum is reached.
        """
        for _ in range(_TRIES):
            found = await self.get(lease_id)
            if found is None or found[0].kind == "token":
                raise BadRequest("lease not found")
            entry, revision = found
            now = self._now()
            if now >= entry.expires:
                raise BadRequest("lease expired")
            if not entry.renewable:
                raise BadRequest("lease is not renewable")
            ttl, _ = bounded_ttl(
                asked=increment, default=entry.ttl, maximum=entry.max_ttl or 2764800, age=now - entry.issued
            )
            if ttl <= 0:
                raise BadRequest("lease is past its maximum TTL")
            new = msgspec.structs.replace(entry, expires=now + ttl, renewed=now)
            with contextlib.suppress(Conflict):
                await self._storage.commit(
                    self.keys.put(lease_id, new, was=entry.expires), expect={self.keys.id + lease_id: revision}
                )
                return new
        raise Conflict("the lease changes too quickly")

    async def revoke(self, lease_id: str, *, force: bool = False) -> bool:
        """Undo what a lease granted and forget it. False if there is no such lease.

        Raises:
            VaultError: the engine could not undo it; the lease stays, its failure counted, unless ``force``.
        """
        found = await self.get(lease_id)
        if found is None:
            return False
        entry, _ = found
        if entry.kind != "token":
            engine = self._mounts.engine(entry.mount)
            try:
                if engine is not None:
                    await engine.revoke(entry.private)
            except VaultError as error:
                if not force:
                    await self._failed(lease_id, entry, str(error))
                    raise
        await self.forget(lease_id, entry)
        return True

    async def _failed(self, lease_id: str, entry: LeaseEntry, reason: str) -> None:
        """Count a failed revocation and put it off: 10 s, 20 s, 40 s ... at most an hour."""
        later = self._now() + min(10 * 2**entry.attempts, 3600)
        new = msgspec.structs.replace(entry, attempts=entry.attempts + 1, error=reason, expires=later)
        if new.attempts >= MAX_ATTEMPTS:  # out of the way of those that can be undone
            writes = [*self.keys.drop(lease_id, entry), Write(self.keys.id + lease_id, _pack(new))]
            writes.append(Write(f"{self.keys.by}{entry.token}/{id_hash(lease_id)}", lease_id.encode()))
            writes.append(Write(self.keys.stuck + id_hash(lease_id), lease_id.encode()))
        else:
            writes = self.keys.put(lease_id, new, was=entry.expires)
        await self._storage.commit(writes)

    async def irrevocable(self) -> Failures:
        """Leases whose revocation failed ``MAX_ATTEMPTS`` times: (id, why)."""
        out: Failures = []
        after = ""
        while rows := await self._storage.scan(self.keys.stuck, after=after, limit=500):
            for _, stored in rows:
                lease_id = stored.value.decode()
                found = await self.get(lease_id)
                if found is not None:
                    out.append((lease_id, found[0].error))
            after = rows[-1][0]
        return out

    async def forget(self, lease_id: str, entry: LeaseEntry) -> None:
        """Drop the entry and its index entries."""
        await self._storage.commit(self.keys.drop(lease_id, entry))

    async def expired(self, limit: int) -> Expired:
        """Leases of all namespaces whose time has come, the oldest first, at most ``limit``.

        Stale index entries are dropped.
        """
        rows = await self._storage.scan(self.keys.exp, until=second(self._now() + 1), limit=limit)
        out: Expired = []
        for key, stored in rows:
            lease_id = stored.value.decode()
            found = await self._anywhere(lease_id)
            if found is None or second(found[0].expires) != key.partition("/")[0]:
                await self._storage.commit([Write(self.keys.exp + key, None)])
                continue
            if found[0].expires <= self._now() and found[0].attempts < MAX_ATTEMPTS:
                out.append((lease_id, found[0]))
        return out

    async def revoke_of_token(self, token_id: str) -> None:
        """End every lease that a dead token held. Failures stay and are tried again by ``expired``."""
        folder = f"{self.keys.by}{token_id}/"
        after = ""
        while rows := await self._storage.scan(folder, after=after, limit=100):
            for name, stored in rows:
                with contextlib.suppress(VaultError):
                    if not await self.revoke(stored.value.decode()):
                        await self._storage.commit([Write(folder + name, None)])
            after = rows[-1][0]


class LeaseStep:
    """Handler: an engine's wish for a lease becomes a lease id in the answer."""

    special_only = True  # see Pipeline

    def __init__(self, namespace: Callable[[str], Any]) -> None:
        self._namespace = namespace

    async def post_route(self, call: Call, response: Response) -> Response:
        wish = response.lease
        if wish is None:
            return response
        space = self._namespace(call.request.namespace)
        mount = space.mounts.at(call.match.mount_path)
        default_ttl, max_ttl = space.mounts.ttls(mount)
        caller = call.caller
        ttl, warnings = bounded_ttl(asked=wish.ttl, default=default_ttl, maximum=min(wish.max_ttl or max_ttl, max_ttl))
        now = space.parts.now()
        entry = LeaseEntry(
            token=caller.token_id if caller else "",
            issued=now,
            expires=now + ttl,
            ttl=ttl,
            max_ttl=min(wish.max_ttl or max_ttl, max_ttl),
            renewable=wish.renewable,
            mount=call.match.mount_uuid,
            private=wish.private,
        )
        lease_id = await space.leases.give(call.request.path, entry, home=caller.namespace if caller else "")
        return msgspec.structs.replace(
            response,
            lease=None,
            lease_id=lease_id,
            lease_duration=ttl,
            renewable=wish.renewable,
            warnings=(*response.warnings, *warnings),
        )
