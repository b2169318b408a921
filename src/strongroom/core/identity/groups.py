"""identity/group: internal groups, whose members are written, and external ones, whose members log in."""

import os
from typing import Any

import msgspec

from strongroom.core.identity.listing import Listing, list_records, listed
from strongroom.core.identity.names import check_metadata, check_name, check_policies, index_of
from strongroom.core.identity.parts import Parts
from strongroom.core.identity.records import Group, group_of
from strongroom.core.identity.shapes import group_data, mount_fields
from strongroom.core.names import new_uuid
from strongroom.errors import BadRequest, NotFound
from strongroom.sdk.engine import Call, Route
from strongroom.sdk.fields import UNSET, StrList, StrMap, Text, UnsetType
from strongroom.sdk.request import Op, Response
from strongroom.sdk.storage import Write


class GroupArgs(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of a write; an absent one keeps its value."""

    id: Text = Text("")
    name: Text = Text("")
    type: Text = Text("")
    metadata: StrMap | UnsetType = UNSET
    policies: StrList | UnsetType = UNSET
    member_group_ids: StrList | UnsetType = UNSET
    member_entity_ids: StrList | UnsetType = UNSET


class GroupRoutes(Parts):
    """See the module."""

    def routes(self) -> tuple[Route, ...]:
        one = {Op.READ: self.read, Op.UPDATE: self.write, Op.DELETE: self.delete}
        about = "A group: members, policies, metadata."
        return (
            Route(pattern="group", args=GroupArgs, ops={Op.UPDATE: self.write}, help="Make or change a group."),
            Route(pattern="group/id/", args=Listing, ops={Op.LIST: self.list_ids}, help="The ids of the groups."),
            Route(pattern="group/id/{id}", args=GroupArgs, ops=one, help=about),
            Route(pattern="group/name/", args=Listing, ops={Op.LIST: self.list_names}, help="The groups' names."),
            Route(pattern="group/name/{name...}", args=GroupArgs, ops=one, fold=("name",), help=about),
        )

    async def _asked(self, call: Call, args: GroupArgs) -> Group | None:
        if "id" in call.match.params:
            return await self._store.group(str(args.id))
        if args.id:
            found = await self._store.group(str(args.id))
            if found is None:
                raise BadRequest("group not found from id")
            return found
        return await self._store.group_named(str(args.name))

    async def read(self, call: Call, args: GroupArgs) -> Response:
        group = await self._asked(call, args)
        if group is None:
            raise NotFound
        return Response(data=await self.shown(group))

    async def shown(self, group: Group) -> dict[str, Any]:
        """The group with its members, as answers show it."""
        return group_data(
            group,
            entities=await self._members.entities(group.id),
            groups=await self._members.groups(group.id),
            parents=await self._members.parents(group.id),
            namespace=self._store.namespace,
            mount_of=self._mount_of,
        )

    async def write(self, call: Call, args: GroupArgs) -> Response:
        """Members are taken away, then the group itself is written, then members are added (see Membership)."""
        found = await self._asked(call, args)
        if found is None and "id" in call.match.params:
            raise BadRequest("group not found from id")
        kind = _kind(args, found)
        changes = _changes(args)
        entities = None if args.member_entity_ids is UNSET else set(args.member_entity_ids) - {""}
        groups = None if args.member_group_ids is UNSET else set(args.member_group_ids) - {""}
        if kind == "external" and entities:
            raise BadRequest("member entities can't be set manually for external groups")
        if kind == "external" and groups:
            raise BadRequest("member groups can't be set for external groups")
        await self._members.check_entities(entities or ())
        await self._members.check_groups(found.id if found else "", groups or ())
        if found is not None:
            held = entities if kind == "internal" else None  # an empty list says nothing about an external group
            await self._members.take(found.id, entities=held, groups=groups)
        name = str(args.name) if args.name and "name" not in call.match.params else ""
        if found is None:
            name = str(args.name) or f"group_{os.urandom(4).hex()}"
        group = await self._store_group(found, kind, name, changes)
        await self._members.give(group.id, entities=entities, groups=groups)
        return Response(data={"id": group.id, "name": group.name})

    async def _store_group(self, found: Group | None, kind: str, name: str, changes: dict[str, Any]) -> Group:
        store = self._store
        made: list[Group] = []
        if name:
            check_name(name, "group")

        async def make(_expect: dict[str, int]) -> list[Write]:
            now = store.now()
            old = await store.group(found.id) if found is not None else await store.group_named(name)
            if old is None and found is not None:
                raise NotFound
            if old is None:
                group = Group(id=new_uuid(), name=name, type=kind, created=now, updated=now, **changes)
                made[:] = [group]
                return store.group_writes(group)
            if old.type != kind:
                raise BadRequest("group type cannot be changed")
            group = msgspec.structs.replace(old, **changes, name=name or old.name, updated=now, version=old.version + 1)
            made[:] = [group]
            if index_of(group.name) == index_of(old.name):
                return store.group_writes(group)
            if await store.group_named(group.name) is not None:
                raise BadRequest("group name is already in use")
            return [Write(store.keys.group_name + index_of(old.name), None), *store.group_writes(group)]

        await store.change(make)
        return made[0]

    async def delete(self, call: Call, args: GroupArgs) -> Response:
        group = await self._asked(call, args)
        if group is not None:
            await self._removal.group(group.id)
        return Response()

    async def list_ids(self, call: Call, args: Listing) -> Response:
        async def describe(value: bytes) -> dict[str, Any]:
            return await self._info(group_of(value))

        return await list_records(self._store, self._store.keys.group, args, describe)

    async def _info(self, group: Group) -> dict[str, Any]:
        info: dict[str, Any] = {
            "name": group.name,
            "num_member_entities": len(await self._members.entities(group.id)),
            "num_parent_groups": len(await self._members.parents(group.id)),
        }
        if group.alias is not None:
            where = mount_fields(group.alias.mount_accessor, self._mount_of)
            info["alias"] = {"id": group.alias.id, "name": group.alias.name, **where}
        return info

    async def list_names(self, call: Call, args: Listing) -> Response:
        return listed(await self._store.names(self._store.keys.group_name, str(args.after), args.limit))


def _kind(args: GroupArgs, found: Group | None) -> str:
    kind = str(args.type) or (found.type if found is not None else "internal")
    if kind not in ("internal", "external"):
        raise BadRequest("the type of a group is internal or external")
    if found is not None and found.type != kind:
        raise BadRequest("group type cannot be changed")
    return kind


def _changes(args: GroupArgs) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if args.metadata is not UNSET:
        changes["metadata"] = check_metadata(args.metadata)
    if args.policies is not UNSET:
        changes["policies"] = check_policies(tuple(args.policies))
    return changes
