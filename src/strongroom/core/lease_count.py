"""How many leases a quota has. They are counted in the store in slices: no request pays for more than ``SLICE`` names.

A lease's id begins with the path that was asked for it, so the folders of the lease index tell which quota their
leases belong to. Tokens of a login role are in an index of their own, because no path tells them.
"""

import math
from collections.abc import Callable
from typing import Any

from strongroom.core.lease_entry import LeaseKeys
from strongroom.core.lease_tallies import Room, Tallies, Tally
from strongroom.core.quota_entry import LeaseQuota, Place
from strongroom.errors import QuotaExceeded
from strongroom.sdk.storage import Write

SLICE = 5000  # names that are looked at in one go
_PAGE = 1000
SECRET_NAME = 24  # characters that the lease id of a secret has behind its path
_AGAIN = 1.0  # seconds at least between two counts of a full quota


class LeaseWalk:
    """A count under way.

    Args:
        storage: the barrier.
        keys: of the namespace's leases.
        quota: whose leases are counted.
        owner: the id of the quota that the leases of a path belong to.
        begun: the tally as it was when it began.
    """

    def __init__(
        self, storage: Any, keys: LeaseKeys, quota: LeaseQuota, owner: Callable[[str], str], begun: Tally
    ) -> None:
        self._storage, self._keys, self._quota, self._owner = storage, keys, quota, owner
        self.begun, self.counted, self.busy = begun, 0, False
        self._folders: list[tuple[str, str]] = [(self._begin(), "")]  # and the name after which to go on

    def _begin(self) -> str:
        """The folder below which all its leases are."""
        path = self._quota.path
        if path.endswith("*"):
            return path[: path.rfind("/") + 1]
        return path if not path or path.endswith("/") else path + "/"

    async def advance(self) -> bool:
        """Look at the next ``SLICE`` names; whether the count is complete."""
        left = SLICE
        while self._folders and left > 0:
            folder, after = self._folders.pop()
            names = await self._storage.list(self._keys.id + folder, after=after, limit=min(_PAGE, left))
            left -= max(1, len(names))
            if len(names) == min(_PAGE, left + len(names)):
                self._folders.append((folder, names[-1]))
            self._folders += [(folder + name, "") for name in names if name.endswith("/")]
            leases = sum(not name.endswith("/") for name in names)
            if not folder.startswith("auth/"):  # a token from elsewhere is the wrapping of an answer
                leases -= sum(len(name.partition(".")[0]) != SECRET_NAME for name in names if not name.endswith("/"))
            if leases and self._owner(folder.rstrip("/")) == self._quota.id:
                self.counted += leases
        return not self._folders


class RoleWalk:
    """A count of the tokens that logins of a role made: of its index, without the entries whose token is gone."""

    def __init__(self, storage: Any, folder: str, exists: Callable[[str], str], begun: Tally) -> None:
        self._storage, self._folder, self._exists = storage, folder, exists
        self.begun, self.counted, self.busy = begun, 0, False
        self._after = ""

    async def advance(self) -> bool:
        """As ``LeaseWalk.advance``; entries of tokens that are gone are deleted."""
        for _ in range(SLICE // _PAGE):
            names = await self._storage.list(self._folder, after=self._after, limit=_PAGE)
            if not names:
                return True
            self._after = names[-1]
            gone = [name for name in names if await self._storage.get_sealed(self._exists(name)) is None]
            for start in range(0, len(gone), 60):
                await self._storage.commit([Write(self._folder + name, None) for name in gone[start : start + 60]])
            self.counted += len(names) - len(gone)
        return False


class LeaseCounter:
    """The numbers of leases of one namespace's quotas.

    Args:
        space: the namespace.
        tallies: where they are kept.
        now: seconds since the Unix epoch.
    """

    def __init__(self, space: Any, tallies: Tallies, now: Callable[[], float]) -> None:
        self._space, self._tallies, self._now = space, tallies, now
        self._walks: dict[str, LeaseWalk | RoleWalk] = {}
        self._again: dict[str, float] = {}  # when a full quota may be counted again

    def quota(self, path: str, role: str = "") -> LeaseQuota | None:
        """The quota that leases of ``path`` belong to."""
        mount = self._space.mounts.router.mount_of(path + "/")
        found: LeaseQuota | None = self._space.lease_quotas.find(Place("", mount.path if mount else "", path), role)
        return found

    def _owner(self, path: str) -> str:
        quota = self.quota(path)
        return "" if quota is None else quota.id

    async def room(self, quota: LeaseQuota, path: str, *, take: bool) -> None:
        """Make sure that there is room for one more lease, and take it. Raises QuotaExceeded."""
        room = self._room(quota, take=take)
        if room is Room.FREE:
            return
        if room is Room.UNKNOWN or quota.id in self._walks or self._now() >= self._again.get(quota.id, 0.0):
            counted = await self._advance(quota)
            if counted is None and room is Room.UNKNOWN:
                if take:
                    self._tallies.add(quota.id, self._now())  # the count that is under way will have it
                return
            if counted is not None and self._room(quota, take=take) is Room.FREE:
                return
        again = max(1, math.ceil(self._again.get(quota.id, 0.0) - self._now()))
        raise QuotaExceeded(f'request path "{path}": lease count quota exceeded', retry_after=again)

    def _room(self, quota: LeaseQuota, *, take: bool) -> Room:
        if take:
            return self._tallies.take(quota.id, quota.max_leases, self._now())
        return self._tallies.get(quota.id).room(quota.max_leases)

    def end(self, quota: str, *, made: bool) -> None:
        """A lease that was reserved is stored, or was not made after all."""
        self._tallies.end(quota, made=made)

    async def count(self, quota: LeaseQuota, slices: int = 20) -> int:
        """How many leases it has, for whoever asks: exact unless there are more than ``slices`` can count."""
        for _ in range(slices):
            counted = await self._advance(quota)
            if counted is not None:
                return counted
        return max(0, self._tallies.get(quota.id).leases)

    async def _advance(self, quota: LeaseQuota) -> int | None:
        """Go on counting; the number once it is complete."""
        walk = self._walks.get(quota.id)
        if walk is None:
            walk = self._walks[quota.id] = self._walk(quota)
        if walk.busy:
            return None
        walk.busy = True
        try:
            complete = await walk.advance()
        finally:
            walk.busy = False
        if not complete and walk.counted < quota.max_leases:
            return None
        del self._walks[quota.id]
        self._tallies.settle(quota.id, walk.counted, walk.begun, self._now())
        self._again[quota.id] = self._now() + max(_AGAIN, walk.counted / SLICE * 0.2)
        return walk.counted

    def _walk(self, quota: LeaseQuota) -> LeaseWalk | RoleWalk:
        space, begun = self._space, self._tallies.get(quota.id)
        if quota.role:
            return RoleWalk(space.storage, self._role_folder(quota), lambda name: space.tokens.keys.acc + name, begun)
        return LeaseWalk(space.storage, space.leases.keys, quota, self._owner, begun)

    def _role_folder(self, quota: LeaseQuota) -> str:
        return f"{self._space.leases.keys.role}{quota.id}/"

    def note_role(self, quota: LeaseQuota, name: str) -> list[Write]:
        """The writes by which the token with the accessor ``name`` belongs to a quota of a role."""
        return [Write(self._role_folder(quota) + self._space.tokens.hash(name), b"1")] if quota.role else []
