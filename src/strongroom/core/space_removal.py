"""Removing a namespace: everything it gave out is revoked, everything it kept is deleted. Resumable at every step.

The journal is the key ``core/unfinished/<id>``, written in the commit that taints the namespace. While it is there the
tidying comes back, in any process. What is left to do is read off the store, so a step that was done twice does no
harm; the entry goes last. A while after that its keys are swept once more, for what a request that was under way in
another process may have written late.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from strongroom.core import layout
from strongroom.core.namespace import Namespace, Place
from strongroom.core.spaces import Spaces
from strongroom.core.sweep import delete_prefix, keys_below
from strongroom.errors import Conflict, VaultError
from strongroom.sdk.storage import Write

SWEEP_AFTER = 120  # seconds
SOON = 2000  # keys: a namespace with fewer is removed while the caller waits
_SLICE = 200  # tokens that are ended between two looks at other work
_place = msgspec.msgpack.Decoder(Place).decode


class Removals:
    """See the module. ``storage`` is the barrier."""

    def __init__(self, storage: Any, spaces: Spaces, now: Callable[[], float]) -> None:
        self._storage, self._spaces, self._now = storage, spaces, now

    async def is_small(self, namespace: str) -> bool:
        """Whether there is so little in a namespace that its removal need not be left to the tidying."""
        return len(await keys_below(self._storage, layout.namespace_prefix(namespace), SOON)) < SOON

    async def finish(self, namespace: str) -> bool:
        """Work on a tainted namespace until it is gone; False if something in it could not be revoked yet."""
        while True:
            try:
                if not await self._step(namespace):
                    return True
            except VaultError:
                return False

    async def any(self) -> bool:
        """Whether there is unfinished work."""
        return bool(await self._storage.list(layout.UNFINISHED, limit=1))

    async def tidy(self, *, limit: int = 16) -> int:
        """One step for each namespace with unfinished work until ``limit`` things were done; how many were."""
        done = 0
        for name in await self._storage.list(layout.UNFINISHED):
            if done >= limit:
                break
            with contextlib.suppress(VaultError):  # a lease that cannot be undone keeps its namespace; see Leases
                done += await self._step(name)
        return done

    async def _step(self, namespace: str) -> int:
        """One bounded step. 0 if there is nothing left to do now.

        Raises:
            VaultError: a lease could not be revoked.
        """
        mark = await self._storage.get(layout.UNFINISHED + namespace)
        place = await self._storage.get(layout.place(namespace))
        if mark is None:
            return 0
        if place is None:
            return await self._sweep(namespace, mark.value)
        where = _place(place.value)
        parent, name = where.ancestors[-1], where.path.rstrip("/").rpartition("/")[2]
        found = await self._spaces.get(parent, name)
        if found is not None and not found[0].tainted:
            return await self._tidied(namespace, mark.revision)
        space = await self._spaces.open(namespace)
        if space is not None and (ended := await self._revoke(space)):
            return ended
        await delete_prefix(self._storage, layout.namespace_prefix(namespace))
        await self._storage.commit(
            [
                Write(layout.child(parent, name), None),
                Write(layout.place(namespace), None),
                Write(layout.UNFINISHED + namespace, str(int(self._now()) + SWEEP_AFTER).encode()),
                Write(layout.epoch(parent), b"1"),
            ],
            expect={layout.child(parent, name): found[1] if found is not None else 0},
        )
        self._spaces.forget(namespace)
        return 1

    async def _revoke(self, space: Namespace) -> int:
        """End tokens and what hangs on them, then the leases that are left; 0 when there are none."""
        names = await self._storage.list(space.tokens.keys.entry, limit=_SLICE)
        for token_id in names:
            await space.end_token(token_id)
        if names:
            return len(names)
        ended, waiting = 0, False
        for key in await keys_below(self._storage, space.leases.keys.id, _SLICE):
            lease_id = key[len(space.leases.keys.id) :]
            found = await space.leases.get(lease_id)
            if found is not None and found[0].kind == "token":
                await space.leases.forget(lease_id, found[0])
            elif found is not None and found[0].attempts and found[0].expires > self._now():
                waiting = True  # it failed, and was put off
                continue
            else:
                try:
                    await space.leases.revoke(lease_id)
                except VaultError:
                    waiting = True
                    continue
            ended += 1
        if waiting and not ended:
            raise Conflict("leases that cannot be undone keep the namespace")
        return ended

    async def _tidied(self, namespace: str, revision: int) -> int:
        """Finish what was begun in a namespace that stays (mounts, identities); the mark goes when all is done."""
        space = await self._spaces.open(namespace)
        if space is None:
            return 0
        if done := await space.tidy():
            return done
        if space.mounts.removing:  # something in it cannot be undone yet
            return 0
        key = layout.UNFINISHED + namespace
        with contextlib.suppress(Conflict):  # something else was begun meanwhile
            await self._storage.commit([Write(key, None)], expect={key: revision})
        return 1

    async def _sweep(self, namespace: str, due: bytes) -> int:
        if not due.isdigit() or self._now() < int(due):
            return 0
        await delete_prefix(self._storage, layout.namespace_prefix(namespace))
        await self._storage.commit([Write(layout.UNFINISHED + namespace, None)])
        return 1
