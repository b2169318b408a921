"""The identity of one namespace: reading its records, and changing what callers' rights depend on."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from strongroom.core import layout
from strongroom.core.epoch import commit_with_epoch
from strongroom.core.identity.names import fold_alias, index_of
from strongroom.core.identity.records import (
    Alias,
    Entity,
    Group,
    Keys,
    alias_of,
    entity_of,
    group_of,
    pack,
    pair_of,
)
from strongroom.errors import Conflict
from strongroom.sdk.request import ROOT_NAMESPACE
from strongroom.sdk.storage import Write

MAX_WRITES = 60  # of the 64 of a commit; the epoch takes one
_HOPS = 64  # merges of merges that are followed


class IdentityStore:
    """See the module. ``storage`` is the barrier; ``hash`` turns a text into the name it is stored under."""

    def __init__(self, storage: Any, namespace: str, hash_text: Callable[[str], str], now: Callable[[], float]) -> None:
        self.storage, self.namespace, self.now = storage, namespace, now
        self.keys = Keys(layout.identity_prefix(namespace))
        self._hash = hash_text
        self.on_change: Callable[[], None] = _nothing  # told at once; other processes see the epoch

    def leaves(self, what: str, value: bytes = b"1") -> list[Write]:
        """The note that ``what`` ("entity-<id>") is gone and its rest is to be removed, where the tidying finds it."""
        note = Write(self.keys.leaving + what, value)
        if self.namespace == ROOT_NAMESPACE:
            return [note]
        return [note, Write(layout.UNFINISHED + self.namespace, b"1")]

    # -- read ----------------------------------------------------------------------------------------------------

    async def entity(self, entity_id: str) -> Entity | None:
        """The entity with exactly that id."""
        stored = await self.storage.get(self.keys.entity + entity_id) if is_id(entity_id) else None
        return None if stored is None else entity_of(stored.value)

    async def living(self, entity_id: str) -> Entity | None:
        """The entity with that id, or the one it was merged into."""
        for _ in range(_HOPS):
            entity = await self.entity(entity_id)
            if entity is not None or not is_id(entity_id):
                return entity
            stored = await self.storage.get(self.keys.merged + entity_id)
            if stored is None:
                return None
            entity_id = stored.value.decode()
        return None

    async def entity_named(self, name: str) -> Entity | None:
        """The entity of that name, in any case."""
        stored = await self.storage.get(self.keys.entity_name + index_of(name)) if name else None
        return None if stored is None else await self.entity(pair_of(stored.value)[0])

    async def group(self, group_id: str) -> Group | None:
        stored = await self.storage.get(self.keys.group + group_id) if is_id(group_id) else None
        return None if stored is None else group_of(stored.value)

    async def group_named(self, name: str) -> Group | None:
        stored = await self.storage.get(self.keys.group_name + index_of(name)) if name else None
        return None if stored is None else await self.group(pair_of(stored.value)[0])

    async def alias(self, alias_id: str) -> Alias | None:
        """An entity's alias by its id."""
        stored = await self.storage.get(self.keys.alias + alias_id) if is_id(alias_id) else None
        return None if stored is None else alias_of(stored.value)

    async def group_alias(self, alias_id: str) -> Alias | None:
        stored = await self.storage.get(self.keys.group_alias + alias_id) if is_id(alias_id) else None
        return None if stored is None else alias_of(stored.value)

    def alias_key(self, mount_accessor: str, name: str) -> str:
        """Where an entity's alias of that name at that mount is pointed to from."""
        return f"{self.keys.alias_at}{mount_accessor}/{self._hash('alias ' + fold_alias(name))}"

    def group_alias_key(self, mount_accessor: str, name: str) -> str:
        return f"{self.keys.group_alias_at}{mount_accessor}/{self._hash('group-alias ' + fold_alias(name))}"

    async def alias_at(self, mount_accessor: str, name: str) -> tuple[Entity, Alias] | None:
        """The entity and its alias of that name at that mount."""
        stored = await self.storage.get(self.alias_key(mount_accessor, name))
        if stored is None:
            return None
        owner, alias_id = pair_of(stored.value)
        entity = await self.entity(owner)
        alias = None if entity is None else next((a for a in entity.aliases if a.id == alias_id), None)
        return None if entity is None or alias is None else (entity, alias)

    async def group_alias_at(self, mount_accessor: str, name: str) -> Group | None:
        """The external group of that name at that mount."""
        stored = await self.storage.get(self.group_alias_key(mount_accessor, name))
        if stored is None:
            return None
        owner, alias_id = pair_of(stored.value)
        group = await self.group(owner)
        return group if group is not None and group.alias is not None and group.alias.id == alias_id else None

    async def names(self, prefix: str, after: str, most: int) -> list[str]:
        """The names that an index holds, as they were written: up to ``most`` (0 = all) after ``after``."""
        names: list[str] = []
        key = index_of(after) if after else ""
        while rows := await self.storage.scan(prefix, after=key, limit=min(1000, most - len(names)) if most else 1000):
            names += [pair_of(stored.value)[1] for _, stored in rows]
            key = rows[-1][0]
            if most and len(names) >= most:
                break
        return names

    async def direct_groups(self, entity_id: str) -> list[Group]:
        """The groups that the entity itself is a member of, as they are now."""
        names = await self.names_below(f"{self.keys.member_in}{entity_id}/")
        found = await self.storage.get_many([self.keys.group + name for name in names]) if names else []
        return [group_of(stored.value) for stored in found if stored is not None]

    async def names_below(self, prefix: str) -> list[str]:
        """All child names under ``prefix``, read a page at a time."""
        names: list[str] = []
        while page := await self.storage.list(prefix, after=names[-1] if names else ""):
            names += page
        return names

    # -- change --------------------------------------------------------------------------------------------------

    async def change(self, make: Callable[[dict[str, int]], Awaitable[Sequence[Write]]]) -> None:
        """Commit what ``make`` makes of the records as they are now, and move the epoch, so that it counts for the
        next request of everybody; ``make`` is asked again if others come between.

        Args:
            make: given a dict for the revisions it relies on of keys that change without the epoch too: names of
                entities and pointers to aliases. No writes: nothing is done.

        Raises:
            VaultError: what ``make`` raises; nothing was written.
        """
        writes: list[Write] = []
        expect: dict[str, int] = {}

        async def before() -> None:
            expect.clear()
            writes[:] = await make(expect)
            if not writes:
                raise _NothingToDo

        with contextlib.suppress(_NothingToDo):
            await commit_with_epoch(self.storage, self.namespace, writes, before=before, expect=expect)
            self.on_change()

    async def claim(self, key: str, writes: Sequence[Write]) -> bool:
        """Commit what nobody can depend on yet, if ``key`` is free. False if it is taken."""
        return await self.commit_if(writes, {key: 0})

    async def commit_if(self, writes: Sequence[Write], expect: Mapping[str, int]) -> bool:
        """Commit without moving the epoch; False if ``expect`` does not hold."""
        try:
            await self.storage.commit(writes, expect=expect)
        except Conflict:
            return False
        return True

    def entity_writes(self, entity: Entity) -> list[Write]:
        """The entity's record and its name."""
        return [
            Write(self.keys.entity + entity.id, pack(entity)),
            Write(self.keys.entity_name + index_of(entity.name), pack((entity.id, entity.name))),
        ]

    def alias_writes(self, alias: Alias) -> list[Write]:
        """The alias's own record and what points to it; the entity that holds it is written beside."""
        return [
            Write(self.keys.alias + alias.id, pack(alias)),
            Write(self.alias_key(alias.mount_accessor, alias.name), pack((alias.owner, alias.id))),
        ]

    def alias_gone(self, alias: Alias) -> list[Write]:
        return [
            Write(self.keys.alias + alias.id, None),
            Write(self.alias_key(alias.mount_accessor, alias.name), None),
        ]

    def group_writes(self, group: Group) -> list[Write]:
        """The group's record, its name, and its alias if it has one."""
        writes = [
            Write(self.keys.group + group.id, pack(group)),
            Write(self.keys.group_name + index_of(group.name), pack((group.id, group.name))),
        ]
        if group.alias is not None:
            alias = group.alias
            writes += [
                Write(self.keys.group_alias + alias.id, pack(alias)),
                Write(self.group_alias_key(alias.mount_accessor, alias.name), pack((group.id, alias.id))),
            ]
        return writes

    def group_alias_gone(self, alias: Alias) -> list[Write]:
        return [
            Write(self.keys.group_alias + alias.id, None),
            Write(self.group_alias_key(alias.mount_accessor, alias.name), None),
        ]

    def member_writes(self, group_id: str, entity_id: str, *, here: bool) -> list[Write]:
        """Both sides of one membership, made or taken away."""
        value = b"1" if here else None
        return [
            Write(f"{self.keys.member_in}{entity_id}/{group_id}", value),
            Write(f"{self.keys.member_of}{group_id}/{entity_id}", value),
        ]

    def parent_writes(self, parent_id: str, group_id: str, *, here: bool) -> list[Write]:
        """Both sides of one membership of a group in a group."""
        value = b"1" if here else None
        return [
            Write(f"{self.keys.parent_up}{group_id}/{parent_id}", value),
            Write(f"{self.keys.parent_down}{parent_id}/{group_id}", value),
        ]


def _nothing() -> None:
    """Nobody keeps anything."""


class _NothingToDo(Exception):
    """There was nothing to change."""


def is_id(text: str) -> bool:
    """Whether ``text`` can be the last part of a key: what clients send as ids is looked up as it is."""
    return bool(text) and len(text) <= 128 and text.isascii() and text.isprintable() and "/" not in text
