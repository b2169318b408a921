"""identity/entity: people and programs."""

import os
from typing import Any

import msgspec

from strongroom.core.identity.listing import Listing, list_records, listed
from strongroom.core.identity.names import check_metadata, check_name, check_policies, index_of
from strongroom.core.identity.parts import Parts
from strongroom.core.identity.records import Entity, entity_of
from strongroom.core.identity.shapes import entity_data, entity_info
from strongroom.core.names import new_uuid
from strongroom.errors import BadRequest, NotFound
from strongroom.sdk.engine import Call, Route
from strongroom.sdk.fields import UNSET, Flag, StrList, StrMap, Text, UnsetType
from strongroom.sdk.request import Op, Response
from strongroom.sdk.storage import Write

_FOLDED = ("name",)


class EntityArgs(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of a write; an absent one keeps its value."""

    id: Text = Text("")
    name: Text = Text("")
    metadata: StrMap | UnsetType = UNSET
    policies: StrList | UnsetType = UNSET
    disabled: Flag | UnsetType = UNSET


class Ids(msgspec.Struct, frozen=True, kw_only=True):
    entity_ids: StrList = StrList()


class EntityRoutes(Parts):
    """See the module."""

    def routes(self) -> tuple[Route, ...]:
        one = {Op.READ: self.read, Op.UPDATE: self.write, Op.DELETE: self.delete}
        about = "An entity: metadata, policies, aliases."
        return (
            Route(pattern="entity", args=EntityArgs, ops={Op.UPDATE: self.write}, help="Make or change an entity."),
            Route(
                pattern="entity/batch-delete", args=Ids, ops={Op.UPDATE: self.delete_many}, help="Delete many entities."
            ),
            Route(pattern="entity/id/", args=Listing, ops={Op.LIST: self.list_ids}, help="The ids of the entities."),
            Route(pattern="entity/id/{id}", args=EntityArgs, ops=one, help=about),
            Route(pattern="entity/name/", args=Listing, ops={Op.LIST: self.list_names}, help="The entities' names."),
            Route(pattern="entity/name/{name...}", args=EntityArgs, ops=one, fold=_FOLDED, help=about),
        )

    async def _asked(self, call: Call, args: EntityArgs) -> Entity | None:
        """The entity that the path names, or for a write the fields."""
        if "id" in call.match.params:
            return await self._store.entity(str(args.id))
        if args.id:
            found = await self._store.entity(str(args.id))
            if found is None:
                raise BadRequest("entity not found from id")
            return found
        return await self._store.entity_named(str(args.name))

    async def read(self, call: Call, args: EntityArgs) -> Response:
        entity = await self._asked(call, args)
        if entity is None:
            raise NotFound
        return Response(data=await self.shown(entity))

    async def shown(self, entity: Entity) -> dict[str, Any]:
        """The entity with its groups, as answers show it."""
        direct, inherited = await self._views.groups_of(entity.id)
        return entity_data(entity, direct, inherited, namespace=self._store.namespace, mount_of=self._mount_of)

    async def write(self, call: Call, args: EntityArgs) -> Response:
        changes = _changes(args)
        by_name = "name" in call.match.params
        found = await self._asked(call, args)
        if found is None:
            if "id" in call.match.params:
                raise BadRequest("entity not found from id")
            entity = await self._create(str(args.name), changes)
            if entity is not None:
                return Response(data={"id": entity.id, "name": entity.name, "aliases": None})
            found = await self._asked(call, args)  # somebody made it in between
        if found is None:
            raise BadRequest("the entity changes too quickly")
        entity_id = found.id
        name = str(args.name) if args.name and not by_name else ""

        async def make(expect: dict[str, int]) -> list[Write]:
            old = await self._store.entity(entity_id)
            if old is None:
                raise NotFound
            new = msgspec.structs.replace(old, **changes, name=name or old.name)
            return await self._renamed(old, new, expect)

        await self._store.change(make)
        return Response()

    async def _create(self, name: str, changes: dict[str, Any]) -> Entity | None:
        """A new entity, or None if one of that name has come to be. Nobody holds it yet, so no epoch moves."""
        store, now = self._store, self._store.now()
        for _ in range(8):
            entity = Entity(
                id=new_uuid(),
                name=check_name(name, "entity") or f"entity_{os.urandom(4).hex()}",
                created=now,
                updated=now,
                **changes,
            )
            if await store.claim(store.keys.entity_name + index_of(entity.name), store.entity_writes(entity)):
                return entity
            if name:
                return None
        return None

    async def _renamed(self, old: Entity, new: Entity, expect: dict[str, int]) -> list[Write]:
        """The writes that put ``new`` in the place of ``old``."""
        store = self._store
        new = msgspec.structs.replace(new, updated=store.now())
        if index_of(new.name) == index_of(old.name):
            return store.entity_writes(new)
        check_name(new.name, "entity")
        if await store.entity_named(new.name) is not None:
            raise BadRequest("entity name is already in use")
        expect[store.keys.entity_name + index_of(new.name)] = 0
        return [Write(store.keys.entity_name + index_of(old.name), None), *store.entity_writes(new)]

    async def delete(self, call: Call, args: EntityArgs) -> Response:
        entity = await self._asked(call, args)
        if entity is not None:
            await self._removal.entity(entity.id)
        return Response()

    async def delete_many(self, call: Call, args: Ids) -> Response:
        if not args.entity_ids:
            raise BadRequest("missing entity ids to delete")
        for entity_id in args.entity_ids:
            await self._removal.entity(entity_id)
        return Response()

    async def list_ids(self, call: Call, args: Listing) -> Response:
        async def describe(value: bytes) -> dict[str, Any]:
            return entity_info(entity_of(value), self._mount_of)

        return await list_records(self._store, self._store.keys.entity, args, describe)

    async def list_names(self, call: Call, args: Listing) -> Response:
        return listed(await self._store.names(self._store.keys.entity_name, str(args.after), args.limit))


def _changes(args: EntityArgs) -> dict[str, Any]:
    """What a write sets, checked. Raises BadRequest."""
    changes: dict[str, Any] = {}
    if args.metadata is not UNSET:
        changes["metadata"] = check_metadata(args.metadata)
    if args.policies is not UNSET:
        changes["policies"] = check_policies(tuple(args.policies))
    if args.disabled is not UNSET:
        changes["disabled"] = bool(args.disabled)
    return changes
