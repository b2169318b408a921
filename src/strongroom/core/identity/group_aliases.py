"""identity/group-alias: by which name an external group is known at an auth mount."""

import os

import msgspec

from strongroom.core.identity.aliases import checked_mount, list_aliases
from strongroom.core.identity.listing import Listing
from strongroom.core.identity.names import check_alias_name, fold_alias
from strongroom.core.identity.parts import Parts
from strongroom.core.identity.records import Alias, Group
from strongroom.core.identity.shapes import alias_data
from strongroom.core.names import new_uuid
from strongroom.errors import BadRequest, NotFound
from strongroom.sdk.engine import Call, Route
from strongroom.sdk.fields import Text
from strongroom.sdk.request import Op, Response
from strongroom.sdk.storage import Write


class GroupAliasArgs(msgspec.Struct, frozen=True, kw_only=True):
    id: Text = Text("")
    name: Text = Text("")
    mount_accessor: Text = Text("")
    canonical_id: Text = Text("")


class GroupAliasRoutes(Parts):
    """See the module. An external group has one alias at most; another one takes the place of the first."""

    def routes(self) -> tuple[Route, ...]:
        one = {Op.READ: self.read, Op.UPDATE: self.write, Op.DELETE: self.delete}
        about = "The name of an external group at an auth mount."
        return (
            Route(pattern="group-alias", args=GroupAliasArgs, ops={Op.UPDATE: self.write}, help="Name a group."),
            Route(
                pattern="group-alias/id/", args=Listing, ops={Op.LIST: self.list_ids}, help="The ids of these names."
            ),
            Route(pattern="group-alias/id/{id}", args=GroupAliasArgs, ops=one, help=about),
        )

    async def read(self, call: Call, args: GroupAliasArgs) -> Response:
        alias = await self._store.group_alias(str(args.id))
        if alias is None:
            raise NotFound
        data = alias_data(alias, self._mount_of)
        del data["custom_metadata"], data["local"]
        return Response(data={**data, "namespace_id": self._store.namespace})

    async def list_ids(self, call: Call, args: Listing) -> Response:
        return await list_aliases(self._store, self._store.keys.group_alias, args, self._mount_of)

    async def delete(self, call: Call, args: GroupAliasArgs) -> Response:
        """Members that came by the alias leave when they log in to its mount again, as in Vault; the alias is gone."""
        alias_id = str(args.id)
        store = self._store

        async def make(_expect: dict[str, int]) -> list[Write]:
            alias = await store.group_alias(alias_id)
            if alias is None:
                return []
            group = await store.group(alias.owner)
            if group is None or group.alias is None or group.alias.id != alias_id:
                return store.group_alias_gone(alias)
            bare = msgspec.structs.replace(group, alias=None, updated=store.now(), version=group.version + 1)
            return [*store.group_alias_gone(alias), *store.group_writes(bare)]

        await store.change(make)
        return Response()

    async def write(self, call: Call, args: GroupAliasArgs) -> Response:
        made: list[Alias] = []
        store = self._store

        async def make(_expect: dict[str, int]) -> list[Write]:
            old, group = await self._old(args), None
            name = check_alias_name(str(args.name) or (old.name if old else ""))
            mount = checked_mount(self._mount_of, str(args.mount_accessor) or (old.mount_accessor if old else ""))
            owner = str(args.canonical_id) or (old.owner if old else "")
            now = store.now()
            if old is None:
                alias = Alias(
                    id=new_uuid(), owner=owner, name=name, mount_accessor=mount.accessor, created=now, updated=now
                )
            else:
                alias = msgspec.structs.replace(old, owner=owner, name=name, mount_accessor=mount.accessor, updated=now)
            if not alias.owner:  # a group of its own
                group = Group(id=new_uuid(), name=f"group_{os.urandom(4).hex()}", type="external", created=now)
                alias = msgspec.structs.replace(alias, owner=group.id)
            made[:] = [alias]
            return await self._put(old, alias, group)

        await store.change(make)
        return Response(data={"canonical_id": made[0].owner, "id": made[0].id})

    async def _old(self, args: GroupAliasArgs) -> Alias | None:
        if args.id:
            found = await self._store.group_alias(str(args.id))
            if found is None:
                raise BadRequest("invalid group alias ID")
            return found
        if not args.name or not args.mount_accessor:
            raise BadRequest("missing alias name or mount_accessor")
        at = await self._store.group_alias_at(str(args.mount_accessor), str(args.name))
        return None if at is None else at.alias

    async def _put(self, old: Alias | None, alias: Alias, group: Group | None) -> list[Write]:
        store = self._store
        group = group or await store.group(alias.owner)
        if group is None:
            raise BadRequest("invalid canonical_id: no such group")
        if group.type != "external":
            raise BadRequest("alias can't be set on an internal group")
        writes: list[Write] = []
        taken = await store.group_alias_at(alias.mount_accessor, alias.name)
        if taken is not None and (old is None or taken.alias is None or taken.alias.id != old.id):
            raise BadRequest("the group alias name is already in use at this mount")
        if old is not None:
            if (old.mount_accessor, fold_alias(old.name)) != (alias.mount_accessor, fold_alias(alias.name)):
                writes += store.group_alias_gone(old)
            if old.owner != alias.owner and (before := await store.group(old.owner)) is not None:
                bare = msgspec.structs.replace(before, alias=None, version=before.version + 1)
                writes += store.group_writes(bare)
        if group.alias is not None and group.alias.id != alias.id:
            writes += store.group_alias_gone(group.alias)
        new = msgspec.structs.replace(group, alias=alias, updated=store.now(), version=group.version + 1)
        return [*writes, *store.group_writes(new)]
