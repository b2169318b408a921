"""The token store of one namespace: create, find, renew, revoke, count uses.

A token is good while its entry and those of all its ancestors stand and none has expired. That is checked at every
use, so taking away one entry ends a whole subtree at once; removing what hangs below it is only tidying.
"""

import contextlib
import hmac
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from strongroom.core import layout
from strongroom.core.batch_tokens import open_batch, seal_batch
from strongroom.core.lease_entry import LeaseEntry, LeaseKeys, token_lease_id
from strongroom.core.names import BATCH_PREFIX, accessor, service_token
from strongroom.core.together import first_error, together
from strongroom.core.token_entry import Keys, TokenEntry, TokenKeys, caller_of, token_hash
from strongroom.errors import BadRequest, Conflict, NotFound, PermissionDenied
from strongroom.sdk.request import ROOT_NAMESPACE, Caller
from strongroom.sdk.storage import Storage, Write

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(TokenEntry).decode
_MAX_CACHED = 20_000
_TRIES = 64
_BATCH = 10  # tokens removed in one commit; each takes at most 6 writes of the 64


class Found(msgspec.Struct, frozen=True):
    """A live token."""

    id: str  # th; "" for a batch token
    entry: TokenEntry
    caller: Caller
    revision: int = 0

    def __repr__(self) -> str:
        return f"Found({self.entry!r})"


class _Cached(msgspec.Struct):
    found: Found
    ancestors: tuple[tuple[str, int], ...]  # key, revision
    expires: float  # the first expiry among the token and its ancestors; 0 = none
    stamp: int | None = None  # the store's stamp under which all of them were last seen to stand


class _Cache(dict[str, _Cached]):
    """Live tokens by their text, which no repr shows."""

    def __repr__(self) -> str:
        return f"_Cache({len(self)})"


class Tokens:
    """See the module. ``storage`` is the barrier, keys start with ``prefix``."""

    def __init__(
        self,
        storage: Any,
        prefix: str,
        lease_prefix: str,
        keys: TokenKeys,
        now: Callable[[], float],
        namespace: str = ROOT_NAMESPACE,
    ) -> None:
        self._storage, self._prefix, self._lease_prefix = storage, prefix, lease_prefix
        self.namespace = namespace
        self.keys = Keys(prefix, namespace)
        self.leases = LeaseKeys(lease_prefix, namespace)
        self._secrets = keys
        self._now = now
        self._cache = _Cache()
        self.ground: Mapping[str, int] = {}  # see MountTable.ground

    def derived_key(self, label: bytes) -> bytes:
        """32 bytes for another use, bound to this namespace's token store (HMAC-SHA-256 of ``label``)."""
        return hmac.digest(self._secrets.batch, label, "sha256")

    def over(self, storage: Any) -> "Tokens":
        """The same tokens, written through another store."""
        same = Tokens(storage, self._prefix, self._lease_prefix, self._secrets, self._now, self.namespace)
        same.ground = self.ground
        return same

    def hash(self, text: str) -> str:
        """The name under which a token or accessor is stored."""
        return token_hash(self._secrets.salt, text)

    # -- find ----------------------------------------------------------------------------------------------------

    def known(self, token: str, stamp: int | None) -> Found | None:
        """The live token, if it was seen to stand under this very ``stamp`` of the store, taken for this request."""
        cached = self._cache.get(token)
        if cached is None or stamp is None or cached.stamp != stamp:
            return None
        return None if cached.expires and self._now() >= cached.expires else cached.found

    async def find(self, token: str) -> Found | None:
        """The live token, or None: unknown, expired, used up, revoked, or an ancestor is."""
        cached = self._cache.get(token)
        if cached is not None:
            if await self._still(cached):
                return cached.found
            self._cache.pop(token, None)  # another thread may have been quicker
        if token.startswith(BATCH_PREFIX):
            return await self._find_batch(token)
        return await self._load(self.hash(token), token)

    async def find_id(self, token_id: str) -> Found | None:
        """As ``find``, by the token's hash."""
        return await self._load(token_id, "")

    async def find_accessor(self, name: str) -> Found | None:
        """As ``find``, by accessor."""
        stored = await self._storage.get(self.keys.acc + self.hash(name))
        if stored is None:
            return None
        return await self._load(msgspec.json.decode(stored.value)["id"], "")

    async def _still(self, cached: _Cached) -> bool:
        found = cached.found
        if cached.expires and self._now() >= cached.expires:
            return False
        stamp = self._storage.stamp()  # taken before the look, so that a change during it is seen next time
        if stamp is not None and stamp == cached.stamp:
            return True
        if found.id:
            stored = await self._storage.get_sealed(self.keys.entry + found.id)
            if stored is None or stored.revision != found.revision:
                return False
        for key, revision in cached.ancestors:
            stored = await self._storage.get_sealed(key)
            if stored is None or stored.revision != revision:
                return False
        cached.stamp = stamp
        return True

    async def _load(self, token_id: str, token: str) -> Found | None:
        stored = await self._storage.get(self.keys.entry + token_id)
        if stored is None:
            return None
        entry = _unpack(stored.value)
        found = Found(token_id, entry, caller_of(entry, token_id), stored.revision)
        return await self._check(found, token)

    async def _find_batch(self, token: str) -> Found | None:
        entry = open_batch(self._secrets.batch, token.removesuffix(self.keys.tail))
        if entry is None:
            return None
        return await self._check(Found("", entry, caller_of(entry, "")), token)

    def _key(self, token_id: str, namespace: str) -> str:
        """Where the entry of a token of this namespace ("") or of one above it lies."""
        return f"{layout.token_prefix(namespace)}id/{token_id}" if namespace else self.keys.entry + token_id

    async def _check(self, found: Found, token: str, home: str = "") -> Found | None:
        now = self._now()
        if not found.entry.live(now):
            return None
        ancestors: list[tuple[str, int]] = []
        expires = found.entry.expires
        parent, home = found.entry.parent, found.entry.parent_namespace or home
        while parent:
            key = self._key(parent, home)
            stored = await self._storage.get(key)
            if stored is None:
                return None
            entry = _unpack(stored.value)
            if not entry.live(now):
                return None
            ancestors.append((key, stored.revision))
            expires = min(filter(None, (expires, entry.expires)), default=0.0)
            parent, home = entry.parent, entry.parent_namespace or home
        if token and not found.entry.num_uses:
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            self._cache[token] = _Cached(found, tuple(ancestors), expires)
        return found

    # -- create --------------------------------------------------------------------------------------------------

    async def create(
        self,
        entry: TokenEntry,
        *,
        token: str = "",
        extra: Sequence[Write] = (),
        parent: Found | None = None,
        mounts: Any = None,
        mount: str = "",
    ) -> tuple[str, TokenEntry]:
        """Store a new service token; ``entry``'s accessor and times must be set (see ``draft``).

        Args:
            entry: what to store.
            token: a caller-chosen token, "" = make one.
            extra: built with ``cubbyhole`` writes and the like, in the same commit.
            parent: the caller; the commit fails if it was changed or revoked meanwhile, and is retried.
            mounts, mount: the MountTable and the uuid of the mount whose login earned it, which must stand.

        Returns:
            (token, entry).

        Raises:
            BadRequest: the chosen token exists already.
            PermissionDenied: the parent is gone.
            NotFound: the namespace or the mount is being removed, or gone.
        """
        chosen = bool(token)
        token = token or service_token() + self.keys.tail
        token_id = self.hash(token)
        writes = [*self._writes(token_id, entry), *extra]
        for _ in range(_TRIES):
            expect = dict(self.ground if mounts is None else mounts.standing(mount))
            if entry.parent and parent is not None:
                expect[self._key(entry.parent, entry.parent_namespace)] = parent.revision
            expect[self.keys.entry + token_id] = 0  # last: a caller that chooses its own token is no parent of itself
            if chosen:  # what hung on an earlier token of that name must be gone
                expect[self.keys.note(token_id)] = 0
            try:
                await self._storage.commit(writes, expect=expect)
            except Conflict:
                taken = await self._storage.get_many([self.keys.entry + token_id, self.keys.note(token_id)])
                if chosen and any(taken):
                    raise BadRequest("cannot create a token with a duplicate ID") from None
                for key, revision in self.ground.items():
                    stored = await self._storage.get_sealed(key)
                    if stored is None or stored.revision != revision:
                        raise NotFound("namespace not found") from None
                if mounts is not None:
                    await mounts.look_again()
                if entry.parent:
                    parent = await self._parent(entry)
                    if parent is None:
                        raise PermissionDenied from None
                continue
            return token, entry
        raise Conflict("the parent token changes too quickly")

    async def _parent(self, entry: TokenEntry) -> Found | None:
        """The live parent of a token that is being made."""
        home = entry.parent_namespace
        if not home:
            return await self.find_id(entry.parent)
        stored = await self._storage.get(self._key(entry.parent, home))
        if stored is None:
            return None
        parent = _unpack(stored.value)
        return await self._check(
            Found(entry.parent, parent, caller_of(parent, entry.parent), stored.revision), "", home
        )

    def batch(self, entry: TokenEntry) -> str:
        """A batch token: the entry itself, sealed. Nothing is stored."""
        return seal_batch(self._secrets.batch, entry, os.urandom(12)) + self.keys.tail

    def draft(self, entry: TokenEntry) -> TokenEntry:
        """``entry`` with accessor and times filled in from its ``ttl`` and the clock.

        Raises:
            BadRequest: it would never expire, and is no root token (threat CVE-2021-32923).
        """
        if entry.ttl <= 0 and (entry.ttl < 0 or "root" not in entry.policies):
            raise BadRequest("a token needs a lease of at least one second")
        now = self._now()
        name = (entry.accessor or accessor() + self.keys.tail) if entry.type != "batch" else ""
        return msgspec.structs.replace(
            entry, accessor=name, created=now, expires=now + entry.ttl if entry.ttl else 0.0, ordered=True
        )

    def _writes(self, token_id: str, entry: TokenEntry) -> list[Write]:
        writes = [
            Write(self.keys.entry + token_id, _pack(entry)),
            Write(
                self.keys.acc + self.hash(entry.accessor),
                msgspec.json.encode({"id": token_id, "accessor": entry.accessor}),
            ),
        ]
        if entry.parent:
            writes.append(Write(f"{self.keys.child}{entry.parent}/{name_of(token_id, entry)}", b"1"))
        if entry.parent and entry.parent_namespace:
            writes.append(Write(layout.abroad(entry.parent_namespace, entry.parent) + self.namespace, b"1"))
        if entry.expires:
            lease = LeaseEntry(token=token_id, kind="token", expires=entry.expires)
            writes += self.leases.put(self._lease_id(token_id, entry), lease)
        return writes

    def _lease_id(self, token_id: str, entry: TokenEntry) -> str:
        return token_lease_id(entry.path, name_of(token_id, entry), self.keys.tail)

    # -- change --------------------------------------------------------------------------------------------------

    async def update(self, token_id: str, change: Callable[[TokenEntry], TokenEntry]) -> TokenEntry:
        """Read, change and store an entry, again until no other writer came between.

        Raises:
            NotFound: there is no such token.
        """
        key = self.keys.entry + token_id
        for _ in range(_TRIES):
            stored = await self._storage.get(key)
            if stored is None:
                raise NotFound
            old = _unpack(stored.value)
            new = change(old)
            if new is old:
                return old
            writes = [Write(key, _pack(new))]
            if new.expires != old.expires and new.expires:
                lease = LeaseEntry(token=token_id, kind="token", expires=new.expires)
                writes += self.leases.put(self._lease_id(token_id, new), lease, was=old.expires)
            with contextlib.suppress(Conflict):
                await self._storage.commit(writes, expect={key: stored.revision})
                return new
        raise Conflict("the token changes too quickly")

    async def spend(self, token_id: str) -> bool:
        """Count one use. False if none was left (another request took the last one). True: -1 marks the last."""

        def take(entry: TokenEntry) -> TokenEntry:
            if entry.num_uses < 0:
                raise PermissionDenied
            if entry.num_uses == 0:
                return entry
            return msgspec.structs.replace(entry, num_uses=entry.num_uses - 1 or -1)

        try:
            await self.update(token_id, take)
        except (PermissionDenied, NotFound):
            return False
        return True

    # -- revoke --------------------------------------------------------------------------------------------------

    async def revoke(self, token_id: str) -> list[str]:
        """End a token and its whole subtree. Safe to call twice, and to be interrupted.

        The first commit removes the entry (and so ends the subtree) and notes that the tree must be tidied; the
        rest may be done later by anybody (``resume``). Returns the ids that were removed, the token's first.
        """
        return await self.revoke_all([token_id])

    async def revoke_all(self, token_ids: Sequence[str]) -> list[str]:
        """As ``revoke`` for several tokens, ``_BATCH`` of them in one commit."""
        commits = []
        for start in range(0, len(token_ids), _BATCH):
            first: list[Write] = []
            for token_id in token_ids[start : start + _BATCH]:
                stored = await self._storage.get(self.keys.entry + token_id)
                first.append(Write(self.keys.note(token_id), b"1"))
                if stored is not None:
                    first += self._drop(token_id, _unpack(stored.value))
            commits.append(self._storage.commit(first))
        first_error(await together(commits))
        gone: list[str] = []
        for token_id in token_ids:
            gone += await self.resume(token_id)
        return gone

    async def resume(self, token_id: str) -> list[str]:
        """Remove everything below a revoked token, deepest last, in commits of bounded size."""
        gone = [token_id]
        queue = [token_id]
        while queue:
            parent = queue.pop()
            folder = f"{self.keys.child}{parent}/"
            while names := await self._storage.list(folder, limit=_BATCH):
                writes: list[Write] = []
                for name in names:
                    child = name.rpartition("-")[2]
                    stored = await self._storage.get(self.keys.entry + child)
                    writes.append(Write(folder + name, None))
                    writes.append(Write(self.keys.note(child), b"1"))
                    if stored is not None:
                        writes += self._drop(child, _unpack(stored.value), child=False)
                    queue.append(child)
                    gone.append(child)
                await self._storage.commit(writes)
        return gone

    async def forget(self, token_ids: Sequence[str]) -> None:
        """The trees below these are tidied and what hung on them is gone: drop the notes."""
        for start in range(0, len(token_ids), 60):
            await self._storage.commit([Write(self.keys.note(i), None) for i in token_ids[start : start + 60]])

    async def revoking(self, limit: int = 100) -> list[str]:
        """Revocations that began and may not be finished, of all namespaces: ids with the namespace's tail."""
        names: list[str] = await self._storage.list(self.keys.revoking, limit=limit)
        return names

    async def orphan_children(self, token_id: str) -> None:
        """Cut the children loose before their parent is revoked alone."""
        folder = f"{self.keys.child}{token_id}/"
        while names := await self._storage.list(folder, limit=_BATCH):
            for name in names:
                with contextlib.suppress(NotFound):
                    await self.update(name.rpartition("-")[2], _orphan)
                await self._storage.commit([Write(folder + name, None)])

    def _drop(self, token_id: str, entry: TokenEntry, *, child: bool = True) -> list[Write]:
        writes = [
            Write(self.keys.entry + token_id, None),
            Write(self.keys.acc + self.hash(entry.accessor), None),
        ]
        if entry.parent and child:
            writes.append(Write(f"{self.keys.child}{entry.parent}/{name_of(token_id, entry)}", None))
        if entry.expires:
            lease = LeaseEntry(token=token_id, kind="token", expires=entry.expires)
            writes += self.leases.drop(self._lease_id(token_id, entry), lease)
        return writes

    async def accessors(self, after: str = "", limit: int = 1000) -> list[tuple[str, str]]:
        """(accessor, key) of a page of tokens, in the store's order; ``after`` is the last key of the page before."""
        rows = await self._storage.scan(self.keys.acc, after=after, limit=limit)
        return [(msgspec.json.decode(entry.value)["accessor"], key) for key, entry in rows]

    async def peek(self, token_id: str) -> TokenEntry | None:
        """The entry as stored, live or not."""
        stored = await self._storage.get(self.keys.entry + token_id)
        return None if stored is None else _unpack(stored.value)


def _orphan(entry: TokenEntry) -> TokenEntry:
    return msgspec.structs.replace(entry, parent="", parent_namespace="")


async def token_keys(storage: Storage, prefix: str) -> TokenKeys:
    """The namespace's token secrets.

    Raises:
        NotFound: the store was never initialised.
    """
    stored = await storage.get(Keys(prefix).secrets)
    if stored is None:
        raise NotFound("no token keys")
    return msgspec.msgpack.decode(stored.value, type=TokenKeys)


def new_token_keys(prefix: str) -> tuple[TokenKeys, Write]:
    """Fresh secrets and the write that stores them (part of init)."""
    keys = TokenKeys(os.urandom(32), os.urandom(32))
    return keys, Write(Keys(prefix).secrets, msgspec.msgpack.encode(keys))


def name_of(token_id: str, entry: TokenEntry) -> str:
    """By what a token is listed below its parent and among the leases; in the order of creation."""
    return f"{int(entry.created * 1000):012x}-{token_id}" if entry.ordered else token_id
