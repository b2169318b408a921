"""identity/entity-alias: by which names entities are known at the auth mounts."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.core.identity.listing import Listing, list_records
from strongroom.core.identity.names import check_alias_name, check_metadata, fold_alias
from strongroom.core.identity.parts import Parts
from strongroom.core.identity.records import Alias, Entity, alias_of
from strongroom.core.identity.shapes import MountOf, alias_data, alias_info
from strongroom.core.identity.store import IdentityStore
from strongroom.core.mount_entry import MountEntry
from strongroom.core.names import new_uuid
from strongroom.errors import BadRequest, NotFound, PermissionDenied
from strongroom.sdk.engine import Call, Route
from strongroom.sdk.fields import UNSET, StrMap, Text, UnsetType
from strongroom.sdk.request import Op, Response
from strongroom.sdk.storage import Write

if TYPE_CHECKING:
    from strongroom.core.identity import Identity

MAX_ALIASES = 256  # of one entity
MayChange = Callable[[Call, str], Awaitable[bool]]


class AliasArgs(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of a write; an absent one keeps its value. ``entity_id`` is the old name of ``canonical_id``."""

    id: Text = Text("")
    name: Text = Text("")
    mount_accessor: Text = Text("")
    canonical_id: Text = Text("")
    entity_id: Text = Text("")
    custom_metadata: StrMap | UnsetType = UNSET


class AliasRoutes(Parts):
    """See the module. ``may_change`` tells whether the caller may change the entity with that id."""

    def __init__(self, identity: "Callable[[], Identity]", may_change: MayChange) -> None:
        super().__init__(identity)
        self._may_change = may_change

    def routes(self) -> tuple[Route, ...]:
        """``alias`` and ``persona`` are the names of old: the same routes."""
        one = {Op.READ: self.read, Op.UPDATE: self.write, Op.DELETE: self.delete}
        ids, write = {Op.LIST: self.list_ids}, {Op.UPDATE: self.write}
        about = "An alias: the name of an entity at an auth mount."
        routes: list[Route] = []
        for place in ("entity-alias", "alias", "persona"):
            routes += (
                Route(pattern=place, args=AliasArgs, ops=write, help="Make or change an alias."),
                Route(pattern=f"{place}/id/", args=Listing, ops=ids, help="The ids of the aliases."),
                Route(pattern=f"{place}/id/{{id}}", args=AliasArgs, ops=one, help=about),
            )
        return tuple(routes)

    async def read(self, call: Call, args: AliasArgs) -> Response:
        alias = await self._store.alias(str(args.id))
        if alias is None:
            raise NotFound
        return Response(data={**alias_data(alias, self._mount_of), "namespace_id": self._store.namespace})

    async def list_ids(self, call: Call, args: Listing) -> Response:
        return await list_aliases(self._store, self._store.keys.alias, args, self._mount_of)

    async def delete(self, call: Call, args: AliasArgs) -> Response:
        store, alias_id = self._store, str(args.id)

        async def make(_expect: dict[str, int]) -> list[Write]:
            alias = await store.alias(alias_id)
            entity = await store.entity(alias.owner) if alias is not None else None
            if alias is None or entity is None:
                return []
            return [*store.entity_writes(self._without(entity, alias_id)), *store.alias_gone(alias)]

        await store.change(make)
        return Response()

    async def write(self, call: Call, args: AliasArgs) -> Response:
        """Make an alias, or change the one that has the id, or the name at the mount.

        An alias is moved onto another entity only by who may also change that entity: its holder gets all that the
        entity may do (threat CVE-2021-41802).
        """
        custom = None if args.custom_metadata is UNSET else check_metadata(args.custom_metadata, "custom_metadata")
        made: list[Alias] = []

        async def make(expect: dict[str, int]) -> list[Write]:
            old = await self._old(args)
            name = str(args.name) or (old.name if old else "")
            mount = checked_mount(self._mount_of, str(args.mount_accessor) or (old.mount_accessor if old else ""))
            wanted = str(args.canonical_id or args.entity_id)
            alias = self._next(old, check_alias_name(name), mount, wanted)
            if args.custom_metadata is not UNSET:
                alias = msgspec.structs.replace(alias, custom_metadata=custom)
            if old is not None and wanted and wanted != old.owner and not await self._may_change(call, wanted):
                raise PermissionDenied
            alias, writes = await self._put(old, alias, expect)
            made[:] = [alias]
            return writes

        await self._store.change(make)
        return Response(data={"canonical_id": made[0].owner, "id": made[0].id})

    async def _old(self, args: AliasArgs) -> Alias | None:
        if args.id:
            found = await self._store.alias(str(args.id))
            if found is None:
                raise BadRequest("invalid alias ID")
            return found
        if not args.name:
            raise BadRequest("missing alias name")
        if not args.mount_accessor:
            raise BadRequest("missing mount_accessor")
        at = await self._store.alias_at(str(args.mount_accessor), str(args.name))
        return None if at is None else at[1]

    def _next(self, old: Alias | None, name: str, mount: MountEntry, owner: str) -> Alias:
        now = self._store.now()
        if old is None:
            return Alias(
                id=new_uuid(),
                owner=owner,
                name=name,
                mount_accessor=mount.accessor,
                created=now,
                updated=now,
                local=mount.local,
            )
        return msgspec.structs.replace(
            old, name=name, mount_accessor=mount.accessor, owner=owner or old.owner, local=mount.local, updated=now
        )

    async def _put(self, old: Alias | None, alias: Alias, expect: dict[str, int]) -> tuple[Alias, list[Write]]:
        """The writes that put ``alias`` in the place of ``old``: with the entity that holds it, and the one that did.

        Raises:
            BadRequest: no such entity, or it has another alias at the mount, or the name at the mount is taken.
        """
        store = self._store
        writes: list[Write] = []
        if not alias.owner:  # an entity of its own
            alias, entity = _own_entity(alias)
        else:
            found = await store.entity(alias.owner)
            if found is None:
                raise BadRequest("invalid canonical ID")
            entity = found
        if old is None or (old.mount_accessor, fold_alias(old.name)) != (alias.mount_accessor, fold_alias(alias.name)):
            if await store.alias_at(alias.mount_accessor, alias.name) is not None:
                raise BadRequest("alias already exists for requested mount accessor and name")
            key = store.alias_key(alias.mount_accessor, alias.name)
            pointer = await store.storage.get_sealed(key)
            expect[key] = pointer.revision if pointer else 0
            if old is not None:
                writes += store.alias_gone(old)
        if any(a.mount_accessor == alias.mount_accessor and a.id != alias.id for a in entity.aliases):
            raise BadRequest("Entity already has an alias for this mount, please delete the previous one")
        if old is not None and old.owner != alias.owner and (before := await store.entity(old.owner)) is not None:
            writes += store.entity_writes(self._without(before, old.id))
        entity = self._with(entity, alias)
        return alias, [*writes, *store.entity_writes(entity), *store.alias_writes(alias)]

    def _without(self, entity: Entity, alias_id: str) -> Entity:
        rest = tuple(alias for alias in entity.aliases if alias.id != alias_id)
        return msgspec.structs.replace(entity, aliases=rest, updated=self._store.now())

    def _with(self, entity: Entity, alias: Alias) -> Entity:
        rest = tuple(known for known in entity.aliases if known.id != alias.id)
        if len(rest) >= MAX_ALIASES:
            raise BadRequest(f"an entity can have at most {MAX_ALIASES} aliases")
        return msgspec.structs.replace(entity, aliases=(*rest, alias), updated=self._store.now())


def _own_entity(alias: Alias) -> tuple[Alias, Entity]:
    entity_id = new_uuid()
    entity = Entity(id=entity_id, name=f"entity_{entity_id[:8]}", created=alias.created, updated=alias.updated)
    return msgspec.structs.replace(alias, owner=entity_id), entity


def checked_mount(mount_of: MountOf, accessor: str) -> MountEntry:
    """The auth mount with that accessor. Raises BadRequest."""
    entry = mount_of(accessor) if accessor else None
    if entry is None or entry.mount_class != "auth":
        raise BadRequest("invalid mount accessor")
    return entry


async def list_aliases(store: IdentityStore, prefix: str, args: Listing, mount_of: MountOf) -> Response:
    """The aliases of entities, or of groups, with what they point at."""

    async def describe(value: bytes) -> dict[str, Any]:
        return alias_info(alias_of(value), mount_of)

    return await list_records(store, prefix, args, describe)
