"""identity/lookup: an entity or group by whatever is known of it. Nothing found is no error: 204."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from strongroom.core.identity.entities import EntityRoutes
from strongroom.core.identity.groups import GroupRoutes
from strongroom.core.identity.parts import Parts
from strongroom.core.identity.records import Entity, Group
from strongroom.errors import BadRequest
from strongroom.sdk.engine import Call, Route
from strongroom.sdk.fields import Text
from strongroom.sdk.request import Op, Response

if TYPE_CHECKING:
    from strongroom.core.identity import Identity


class LookupArgs(msgspec.Struct, frozen=True, kw_only=True):
    name: Text = Text("")
    id: Text = Text("")
    alias_id: Text = Text("")
    alias_name: Text = Text("")
    alias_mount_accessor: Text = Text("")

    def check(self) -> None:
        """Exactly one way to look is given. Raises BadRequest."""
        ways = [self.name, self.id, self.alias_id, self.alias_name or self.alias_mount_accessor]
        if sum(map(bool, ways)) != 1 or bool(self.alias_name) != bool(self.alias_mount_accessor):
            raise BadRequest("give one of: id, name, alias_id, or alias_name with alias_mount_accessor")


class LookupRoutes(Parts):
    """See the module. ``entities`` and ``groups`` know how to show what was found."""

    def __init__(self, identity: "Callable[[], Identity]", entities: EntityRoutes, groups: GroupRoutes) -> None:
        super().__init__(identity)
        self._entities, self._groups = entities, groups

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(pattern="lookup/entity", args=LookupArgs, ops={Op.UPDATE: self.entity}, help="Look an entity up."),
            Route(pattern="lookup/group", args=LookupArgs, ops={Op.UPDATE: self.group}, help="Look a group up."),
        )

    async def entity(self, call: Call, args: LookupArgs) -> Response:
        args.check()
        store = self._store
        entity: Entity | None = None
        if args.name:
            entity = await store.entity_named(str(args.name))
        elif args.id:
            entity = await store.entity(str(args.id))
        elif args.alias_id:
            alias = await store.alias(str(args.alias_id))
            entity = None if alias is None else await store.entity(alias.owner)
        else:
            at = await store.alias_at(str(args.alias_mount_accessor), str(args.alias_name))
            entity = None if at is None else at[0]
        return Response() if entity is None else Response(data=await self._entities.shown(entity))

    async def group(self, call: Call, args: LookupArgs) -> Response:
        args.check()
        store = self._store
        group: Group | None = None
        if args.name:
            group = await store.group_named(str(args.name))
        elif args.id:
            group = await store.group(str(args.id))
        elif args.alias_id:
            alias = await store.group_alias(str(args.alias_id))
            group = None if alias is None else await store.group(alias.owner)
        else:
            group = await store.group_alias_at(str(args.alias_mount_accessor), str(args.alias_name))
        return Response() if group is None else Response(data=await self._groups.shown(group))
