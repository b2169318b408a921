"""From a login to its entity: found by mount and name, or made; its alias's metadata and external groups refreshed."""

import contextlib
import os
from collections.abc import Mapping, Sequence

import msgspec

from strongroom.core.identity.names import check_alias_name
from strongroom.core.identity.records import Alias, Entity
from strongroom.core.identity.store import MAX_WRITES, IdentityStore
from strongroom.core.mount_entry import MountEntry
from strongroom.core.names import new_uuid
from strongroom.errors import BadRequest, Conflict, PermissionDenied
from strongroom.sdk.storage import Write

_TRIES = 64
MAX_GROUP_ALIASES = 1024  # external groups that one login may prove
_LETTERS = 2048  # characters of a name of such a group that are worth looking up


class Logins:
    """See the module."""

    def __init__(self, store: IdentityStore) -> None:
        self._store = store

    async def entity(
        self,
        mount: MountEntry,
        alias: str,
        metadata: Mapping[str, str] | None = None,
        groups: Sequence[str] | None = None,
    ) -> Entity:
        """The entity of a login that succeeded.

        Args:
            mount: the auth mount.
            alias: the name that the login is known by there.
            metadata: kept with the alias in the place of what it had; None leaves that.
            groups: names of external groups at this mount that the login proves, all of them; None says nothing.

        Returns:
            the entity. Nothing is written when it was known and nothing of it has changed.

        Raises:
            BadRequest: the alias cannot be stored.
            PermissionDenied: the entity is disabled.
        """
        check_alias_name(alias)
        found = await self._found_or_made(mount, alias, dict(metadata) if metadata else None, groups)
        entity, mine, fresh = found
        if entity.disabled:
            raise PermissionDenied
        if fresh:
            return entity
        if metadata is not None and (mine.metadata or {}) != dict(metadata):
            await self._refresh(mount, alias, dict(metadata) or None)
        if groups is not None:
            await self.refresh_groups(entity.id, mount.accessor, groups)
        return entity

    async def _found_or_made(
        self, mount: MountEntry, name: str, metadata: dict[str, str] | None, groups: Sequence[str] | None
    ) -> tuple[Entity, Alias, bool]:
        store = self._store
        for _ in range(_TRIES):
            key = store.alias_key(mount.accessor, name)
            pointer = await store.storage.get_sealed(key)
            found = await store.alias_at(mount.accessor, name)
            if found is not None:
                return *found, False
            entity = self._new(mount, name, metadata)
            writes = [*store.entity_writes(entity), *store.alias_writes(entity.aliases[0])]
            # Nobody can have seen this entity yet, so its first groups move no epoch. More than fit come after it.
            joined = sorted(await self._proved(mount.accessor, groups or ()))
            first = joined[: (MAX_WRITES - len(writes)) // 2]
            for group_id in first:
                writes += store.member_writes(group_id, entity.id, here=True)
            with contextlib.suppress(Conflict):  # another login of the same name was quicker
                await store.storage.commit(
                    writes,
                    expect={
                        key: pointer.revision if pointer else 0,
                        store.keys.entity + entity.id: 0,
                        writes[1].key: 0,  # its name
                    },
                )
                if len(first) < len(joined):
                    await self.refresh_groups(entity.id, mount.accessor, groups or ())
                return entity, entity.aliases[0], True
        raise Conflict("too many logins under one name at once")

    def _new(self, mount: MountEntry, name: str, metadata: dict[str, str] | None) -> Entity:
        now, entity_id = self._store.now(), new_uuid()
        alias = Alias(
            id=new_uuid(),
            owner=entity_id,
            name=name,
            mount_accessor=mount.accessor,
            metadata=metadata,
            created=now,
            updated=now,
            local=mount.local,
        )
        return Entity(id=entity_id, name=f"entity_{os.urandom(4).hex()}", aliases=(alias,), created=now, updated=now)

    async def _refresh(self, mount: MountEntry, name: str, metadata: dict[str, str] | None) -> None:
        """The login told something else about the alias than was known; templates may name it."""
        store = self._store

        async def make(_expect: dict[str, int]) -> list[Write]:
            found = await store.alias_at(mount.accessor, name)
            if found is None:
                return []
            entity, old = found
            alias = msgspec.structs.replace(old, metadata=metadata, updated=store.now())
            rest = tuple(alias if known.id == old.id else known for known in entity.aliases)
            entity = msgspec.structs.replace(entity, aliases=rest)
            return [*store.entity_writes(entity), *store.alias_writes(alias)]

        await store.change(make)

    async def _proved(self, accessor: str, names: Sequence[str]) -> set[str]:
        """The external groups that stand for ``names`` at that mount."""
        if len(names) > MAX_GROUP_ALIASES:
            raise BadRequest(f"a login proves more than {MAX_GROUP_ALIASES} groups")
        found = set()
        for name in {name for name in names if name and len(name) <= _LETTERS}:
            group = await self._store.group_alias_at(accessor, name)
            if group is not None and group.type == "external":
                found.add(group.id)
        return found

    async def refresh_groups(self, entity_id: str, accessor: str, names: Sequence[str]) -> None:
        """Make the entity a member of the external groups that ``names`` stand for at that mount, and of no other one
        that belongs to the mount. What changed counts for the next request."""

        async def make(_expect: dict[str, int]) -> list[Write]:
            return await self._moves(entity_id, accessor, names)

        for _ in range(_TRIES):
            if not await self._moves(entity_id, accessor, names):
                return
            await self._store.change(make)

    async def _moves(self, entity_id: str, accessor: str, names: Sequence[str]) -> list[Write]:
        """The next writes towards the memberships that a login proves; [] when there is nothing to change."""
        store = self._store
        wanted = await self._proved(accessor, names)
        direct = await store.direct_groups(entity_id)
        held = {g.id for g in direct if g.alias is not None and g.alias.mount_accessor == accessor}
        if wanted == held or await store.entity(entity_id) is None:
            return []
        moves = [(g, False) for g in sorted(held - wanted)] + [(g, True) for g in sorted(wanted - held)]
        part = moves[: MAX_WRITES // 2]
        return [write for group, here in part for write in store.member_writes(group, entity_id, here=here)]
