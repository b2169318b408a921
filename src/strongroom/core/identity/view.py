"""What a caller is by its entity: computed once for each token and epoch, from there on a look into a dict."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from strongroom.core.identity.records import Entity, Group, IdentityView
from strongroom.core.identity.store import IdentityStore
from strongroom.core.mount_entry import MountEntry
from strongroom.sdk.request import Caller

_MAX_CALLERS = 20_000
_MAX_ENTITIES = 10_000
_MAX_GROUPS = 10_000


class _Member(msgspec.Struct, frozen=True):
    group: Group
    parents: tuple[str, ...]


class Views:
    """See the module. ``mount_of`` finds a mount by its accessor."""

    def __init__(self, store: IdentityStore, mount_of: Callable[[str], MountEntry | None]) -> None:
        self._store, self.mount_of = store, mount_of
        # By the address of the token's own Caller, which the pair keeps alive: batch tokens have no other name.
        self._callers: dict[int, tuple[Caller, Caller]] = {}
        self._views: dict[str, tuple[Entity, IdentityView] | None] = {}
        self._groups: dict[str, _Member | None] = {}
        self._age = 0

    def forget(self) -> None:
        """Drop everything: the epoch moved."""
        self._age += 1
        self._callers.clear()
        self._views.clear()
        self._groups.clear()

    def known(self, caller: Caller) -> Caller | None:
        """What ``caller`` gave since the epoch moved, or None."""
        hit = self._callers.get(id(caller))
        return hit[1] if hit is not None and hit[0] is caller else None

    async def caller(self, caller: Caller, *, keep: bool = True) -> Caller | None:
        """``caller``, as its token tells it, with what its entity adds; None if the entity is gone or disabled.

        ``keep`` is for callers that come again as the same object.
        """
        age = self._age
        entry = self.mount_of(caller.mount_accessor) if caller.mount_accessor else None
        changes: dict[str, Any] = {}
        if entry is not None:
            changes = {"auth_type": entry.type, "auth_path": entry.path}
        if caller.entity_id:
            view = await self.view(caller.entity_id)
            if view is None or view.disabled:
                return None
            changes |= {
                "entity_id": view.id,
                "entity_name": view.name,
                "groups": tuple(name for _, name, _ in view.groups),
                "identity_policies": view.policies,
                "policies": tuple(sorted({*caller.token_policies, *view.policies})),
            }
        made = msgspec.structs.replace(caller, **changes)
        if keep and age == self._age:
            if len(self._callers) >= _MAX_CALLERS:
                self._callers.clear()
            self._callers[id(caller)] = caller, made
        return made

    async def view(self, entity_id: str) -> IdentityView | None:
        """The entity with that id, or the one that it was merged into."""
        found = await self._both(entity_id)
        return None if found is None else found[1]

    async def _both(self, entity_id: str) -> tuple[Entity, IdentityView] | None:
        if entity_id in self._views:
            return self._views[entity_id]
        age = self._age
        entity = await self._store.living(entity_id)
        found = None if entity is None else (entity, await self._made(entity))
        if age == self._age:
            if len(self._views) >= _MAX_ENTITIES:
                self._views.clear()
            self._views[entity_id] = found
        return found

    async def _made(self, entity: Entity) -> IdentityView:
        direct, inherited = await self.groups_of(entity.id)
        groups = sorted([*direct, *inherited], key=lambda group: group.name)
        policies = {*entity.policies, *(name for group in groups for name in group.policies)}
        return IdentityView(
            entity.id,
            entity.name,
            entity.metadata or {},
            entity.disabled,
            tuple((group.id, group.name, group.metadata or {}) for group in groups),
            tuple(sorted(policies - {"root"})),
            tuple((alias.mount_accessor, alias.name, alias.metadata or {}) for alias in entity.aliases),
        )

    async def groups_of(self, entity_id: str) -> tuple[list[Group], list[Group]]:
        """(groups that the entity is a member of, groups that those are members of, at any distance)."""
        names = await self._store.names_below(f"{self._store.keys.member_in}{entity_id}/")
        direct = [member for name in names if (member := await self._member(name)) is not None]
        seen = {member.group.id for member in direct}
        inherited: list[Group] = []
        queue = [parent for member in direct for parent in member.parents]
        while queue:
            group_id = queue.pop()
            if group_id in seen:
                continue
            seen.add(group_id)
            above = await self._member(group_id)
            if above is not None:
                inherited.append(above.group)
                queue += above.parents
        return [member.group for member in direct], inherited

    async def _member(self, group_id: str) -> _Member | None:
        if group_id in self._groups:
            return self._groups[group_id]
        age = self._age
        group = await self._store.group(group_id)
        found = None
        if group is not None:
            parents = await self._store.names_below(f"{self._store.keys.parent_up}{group_id}/")
            found = _Member(group, tuple(parents))
        if age == self._age:
            if len(self._groups) >= _MAX_GROUPS:
                self._groups.clear()
            self._groups[group_id] = found
        return found

    async def template(self, entity_id: str) -> Mapping[str, Any]:
        """The identity that policies may name in templates, as ``policy.templating.render`` takes it."""
        found = await self._both(entity_id) if entity_id else None
        if found is None:
            return {}
        entity, view = found
        aliases = {
            alias.mount_accessor: {
                "id": alias.id,
                "name": alias.name,
                "metadata": alias.metadata or {},
                "custom_metadata": alias.custom_metadata or {},
            }
            for alias in entity.aliases
        }
        about = {"id": entity.id, "name": entity.name, "metadata": view.metadata, "aliases": aliases}
        return {
            "entity": about,
            "groups": {
                "ids": {group_id: {"name": name, "metadata": data} for group_id, name, data in view.groups},
                "names": {name: {"id": group_id, "metadata": data} for group_id, name, data in view.groups},
            },
        }
