"""Taking entities, groups and the aliases of a mount away. Rights end with the first commit; the rest is tidying, and
is finished by whoever finds it (``tidy``)."""

from collections.abc import Callable

import msgspec

from strongroom.core.identity.mfa_secrets import MfaSecrets
from strongroom.core.identity.names import index_of
from strongroom.core.identity.records import Alias, entity_of, pair_of
from strongroom.core.identity.store import IdentityStore
from strongroom.sdk.storage import Write

_ALIASES = 12  # aliases of one commit, each of them four writes; an entity has one of them at a mount
_PAGE = 25  # memberships or aliases of one commit, each of them two writes


class Removal:
    """See the module."""

    def __init__(self, store: IdentityStore) -> None:
        self._store = store
        self._secrets = MfaSecrets(store)

    async def entity(self, entity_id: str) -> None:
        """Delete an entity, its aliases and memberships. Its tokens are refused from the next request on."""
        store, found = self._store, False

        async def make(_expect: dict[str, int]) -> list[Write]:
            nonlocal found
            entity = await store.entity(entity_id)
            if entity is None:
                return []
            found = True
            return [
                Write(store.keys.entity + entity.id, None),
                Write(store.keys.entity_name + index_of(entity.name), None),
                *store.leaves(f"entity-{entity.id}", msgspec.msgpack.encode(entity)),
            ]

        await store.change(make)
        if found:
            await self.entity_remains(entity_id)

    async def entity_remains(self, entity_id: str) -> None:
        """Remove what is left of an entity that is gone: what points to its aliases, its memberships, its secrets."""
        store = self._store
        note = f"{store.keys.leaving}entity-{entity_id}"
        stored = await store.storage.get(note)
        if stored is not None:
            entity = entity_of(stored.value)
            for alias in entity.aliases:
                await self._drop_pointer(alias)
            if await store.living(entity_id) is None:  # deleted, not merged: what was merged into it leads nowhere
                for start in range(0, len(entity.merged), 60):
                    part = entity.merged[start : start + 60]
                    await store.storage.commit([Write(store.keys.merged + old, None) for old in part])
        await self._drop_memberships(f"{store.keys.member_in}{entity_id}/", lambda group: (group, entity_id))
        await self._secrets.entity_left(entity_id)
        await store.storage.commit([Write(note, None)])

    async def _drop_pointer(self, alias: Alias) -> None:
        """Remove what points to an alias that is gone, unless a login has since made the name point elsewhere."""
        store = self._store
        key = store.alias_key(alias.mount_accessor, alias.name)
        stored = await store.storage.get(key)
        writes = [Write(store.keys.alias + alias.id, None)]
        if stored is not None and pair_of(stored.value)[1] == alias.id:
            both = [*writes, Write(key, None)]
            if await store.commit_if(both, {key: stored.revision}):
                return
        await store.storage.commit(writes)

    async def _drop_memberships(self, folder: str, pair: Callable[[str], tuple[str, str]]) -> None:
        store = self._store
        while names := await store.storage.list(folder, limit=_PAGE):
            await store.storage.commit([w for name in names for w in store.member_writes(*pair(name), here=False)])

    async def group(self, group_id: str) -> None:
        """Delete a group: its members lose its policies with the next request."""
        store, found = self._store, False

        async def make(_expect: dict[str, int]) -> list[Write]:
            nonlocal found
            group = await store.group(group_id)
            if group is None:
                return []
            found = True
            writes = [
                Write(store.keys.group + group.id, None),
                Write(store.keys.group_name + index_of(group.name), None),
                *store.leaves(f"group-{group.id}"),
            ]
            return writes + (store.group_alias_gone(group.alias) if group.alias else [])

        await store.change(make)
        if found:
            await self._leave_group(group_id)

    async def _leave_group(self, group_id: str) -> None:
        store = self._store
        await self._drop_memberships(f"{store.keys.member_of}{group_id}/", lambda entity: (group_id, entity))
        for folder, up in ((store.keys.parent_up, True), (store.keys.parent_down, False)):
            while names := await store.storage.list(f"{folder}{group_id}/", limit=_PAGE):
                pairs = [(name, group_id) if up else (group_id, name) for name in names]
                await store.storage.commit([w for p, c in pairs for w in store.parent_writes(p, c, here=False)])
        await store.storage.commit([Write(f"{store.keys.leaving}group-{group_id}", None)])

    async def mount(self, accessor: str) -> None:
        """Forget the aliases of an auth mount that is being removed; its accessor never comes again."""
        store = self._store
        folder = f"{store.keys.alias_at}{accessor}/"

        async def make(_expect: dict[str, int]) -> list[Write]:
            writes: list[Write] = []
            for key, stored in await store.storage.scan(folder, limit=_ALIASES):
                writes += await self._without_alias(folder + key, *pair_of(stored.value))
            return writes

        while await store.storage.list(folder, limit=1):
            await store.change(make)
        folder = f"{store.keys.group_alias_at}{accessor}/"
        while rows := await store.storage.scan(folder, limit=_PAGE):
            for key, stored in rows:
                await self._drop_group_alias(folder + key, *pair_of(stored.value))

    async def _without_alias(self, key: str, entity_id: str, alias_id: str) -> list[Write]:
        store = self._store
        writes = [Write(key, None), Write(store.keys.alias + alias_id, None)]
        entity = await store.entity(entity_id)
        if entity is not None and any(alias.id == alias_id for alias in entity.aliases):
            rest = tuple(alias for alias in entity.aliases if alias.id != alias_id)
            writes += store.entity_writes(msgspec.structs.replace(entity, aliases=rest, updated=store.now()))
        return writes

    async def _drop_group_alias(self, key: str, group_id: str, alias_id: str) -> None:
        store = self._store

        async def make(_expect: dict[str, int]) -> list[Write]:
            writes = [Write(key, None), Write(store.keys.group_alias + alias_id, None)]
            group = await store.group(group_id)
            if group is not None and group.alias is not None and group.alias.id == alias_id:
                writes += store.group_writes(msgspec.structs.replace(group, alias=None, updated=store.now()))
            return writes

        await store.change(make)

    async def tidy(self, limit: int) -> int:
        """Finish removals that were begun; how many."""
        names = await self._store.storage.list(self._store.keys.leaving, limit=limit)
        for name in names:
            kind, _, record_id = name.partition("-")
            await (self.entity_remains(record_id) if kind == "entity" else self._leave_group(record_id))
        return len(names)
