"""Who is in which group: pairs of keys, changed in commits of bounded size. No group is ever above itself."""

from collections.abc import Iterable

from strongroom.core.identity.store import IdentityStore
from strongroom.errors import BadRequest
from strongroom.sdk.storage import Write

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
        while await self._gone(group_id, entities, groups):
            await self._store.change(lambda _expect: self._gone(group_id, entities, groups))

    async def _gone(self, group_id: str, entities: set[str] | None, groups: set[str] | None) -> list[Write]:
        store = self._store
        writes: list[Write] = []
        if entities is not None:
            leaving = sorted({*await self.entities(group_id)} - entities)[:_PAGE]
            writes = [w for entity in leaving for w in store.member_writes(group_id, entity, here=False)]
        if groups is not None and not writes:
            leaving = sorted({*await self.groups(group_id)} - groups)[:_PAGE]
            writes = [w for child in leaving for w in store.parent_writes(group_id, child, here=False)]
        return writes

    async def give(self, group_id: str, *, entities: set[str] | None, groups: set[str] | None) -> None:
        """Add the members among those that are not in yet. Raises BadRequest as the checks do."""

        async def make(_expect: dict[str, int]) -> list[Write]:
            if await self._store.group(group_id) is None:
                raise BadRequest("the group is gone")
            return await self._missing(group_id, entities, groups, check=True)

        while await self._missing(group_id, entities, groups):
            await self._store.change(make)

    async def _missing(
        self, group_id: str, entities: set[str] | None, groups: set[str] | None, *, check: bool = False
    ) -> list[Write]:
        store = self._store
        joining = sorted((entities or set()) - {*await self.entities(group_id)})[:_PAGE] if entities else []
        if joining:
            if check:
                await self.check_entities(joining)
            return [w for entity in joining for w in store.member_writes(group_id, entity, here=True)]
        joining = sorted((groups or set()) - {*await self.groups(group_id)})[:_PAGE] if groups else []
        if joining and check:
            await self.check_groups(group_id, joining)
        return [w for child in joining for w in store.parent_writes(group_id, child, here=True)]
