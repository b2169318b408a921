"""Who is in which group: pairs of keys, changed in commits of bounded size. No group is ever above itself."""

import functools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from strongroom.core.identity.store import IdentityStore
from strongroom.errors import BadRequest
from strongroom.sdk.storage import Write

T = TypeVar("T")
_PAGE = 25  # memberships of one commit, each of them two writes
MAX_ABOVE = 10_000  # groups that a group may be in, at any distance


class Membership:
    """See the module. A change takes away before it gives, so that a change cut short never leaves more rights than
    the state before it or the one asked for; asking again finishes it."""

    def __init__(self, store: IdentityStore) -> None:
        self._store = store

    async def entities(self, group_id: str) -> list[str]:
        """Ids of the entities that are members themselves, sorted."""
        return await self._store.names_below(f"{self._store.keys.member_of}{group_id}/")

    async def groups(self, group_id: str) -> list[str]:
        """Ids of the groups that are members themselves."""
        return await self._store.names_below(f"{self._store.keys.parent_down}{group_id}/")

    async def parents(self, group_id: str) -> list[str]:
        """Ids of the groups that the group is a member of."""
        return await self._store.names_below(f"{self._store.keys.parent_up}{group_id}/")

    async def check_entities(self, ids: Iterable[str]) -> None:
        """Raises BadRequest if one does not exist."""
        for entity_id in ids:
            if await self._store.entity(entity_id) is None:
                raise BadRequest("invalid entity ID in member_entity_ids")

    async def check_groups(self, group_id: str, ids: Iterable[str]) -> None:
        """Raises BadRequest if one does not exist, or the group ``group_id`` ("" = a new one) lies below it."""
        above = await self._above(group_id) if group_id else set()
        for member in ids:
            if await self._store.group(member) is None:
                raise BadRequest("invalid group ID in member_group_ids")
            if member in above:
                raise BadRequest("cyclic relationship detected for a member group ID")

    async def _above(self, group_id: str) -> set[str]:
        """The group itself and all it is in."""
        seen, queue = {group_id}, [group_id]
        while queue:
            for parent in await self.parents(queue.pop()):
                if parent not in seen:
                    seen.add(parent)
                    queue.append(parent)
            if len(seen) > MAX_ABOVE:
                raise BadRequest("groups are nested too widely")
        return seen

    async def take(self, group_id: str, *, entities: set[str] | None, groups: set[str] | None) -> None:
        """Remove the members that are not among those; None leaves that kind alone."""
        store = self._store
        if entities is not None:
            gone = sorted({*await self.entities(group_id)} - entities)
            await self._put([store.member_writes(group_id, entity, here=False) for entity in gone])
        if groups is not None:
            gone = sorted({*await self.groups(group_id)} - groups)
            await self._put([store.parent_writes(group_id, child, here=False) for child in gone])

    async def give(self, group_id: str, *, entities: set[str] | None, groups: set[str] | None) -> None:
        """Add the members among those that are not in yet. Raises BadRequest as the checks do."""
        store = self._store
        if entities:
            new = sorted(entities - {*await self.entities(group_id)})
            for part in _parts(new):
                writes = [store.member_writes(group_id, entity, here=True) for entity in part]
                await self._put(writes, functools.partial(self.check_entities, part), group_id)
        if groups:
            new = sorted(groups - {*await self.groups(group_id)})
            for part in _parts(new):
                writes = [store.parent_writes(group_id, child, here=True) for child in part]
                await self._put(writes, functools.partial(self.check_groups, group_id, part), group_id)

    async def _put(
        self, pairs: list[list[Write]], check: Callable[[], Awaitable[None]] | None = None, group_id: str = ""
    ) -> None:
        """Commit ``pairs`` in parts; ``check`` and that the group stands hold at the moment of the commit."""
        for part in _parts(pairs):

            async def make(_expect: dict[str, int], part: Sequence[list[Write]] = part) -> list[Write]:
                if check is not None:
                    if await self._store.group(group_id) is None:
                        raise BadRequest("the group is gone")
                    await check()
                return [write for pair in part for write in pair]

            await self._store.change(make)


def _parts(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[start : start + _PAGE] for start in range(0, len(items), _PAGE)]
