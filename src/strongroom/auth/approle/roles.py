"""The routes of roles: the whole role, its RoleID, its single fields."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from strongroom.auth.approle.entries import Role, RoleArgs, check_id, new_id, new_uid
from strongroom.auth.approle.fields import ROLE_FIELDS, RoleField
from strongroom.auth.approle.store import Roles
from strongroom.errors import BadRequest, Conflict, NotFound
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.fields import UNSET, Text
from strongroom.sdk.listing import Page, answer_names
from strongroom.sdk.request import Op, Response

FOLD = ("role_name",)
ATTEMPTS = 16  # of a change that meets other writers


class _RoleIdArgs(msgspec.Struct, frozen=True):
    role_id: Text = Text("")


class RoleRoutes:
    """The routes below ``role/`` that are about the role itself."""

    __slots__ = ("_mount", "_roles")

    def __init__(self, mount: Mount, roles: Roles) -> None:
        self._mount, self._roles = mount, roles

    def routes(self) -> Sequence[Route]:
        """The list, the role, the RoleID, the single fields."""
        role = "role/{role_name}"
        return (
            Route(pattern="role/", args=Page, ops={Op.LIST: self._list_roles}, help="The names of all roles."),
            Route(
                pattern=role,
                args=RoleArgs,
                ops={
                    Op.READ: self._read_role,
                    Op.CREATE: self._write_role,
                    Op.UPDATE: self._write_role,
                    Op.DELETE: self._delete_role,
                },
                fold=FOLD,
                exists=self._role_exists,
                help="A role: who may log in, and what the tokens may do.",
            ),
            Route(
                pattern=f"{role}/role-id",
                args=_RoleIdArgs,
                ops={Op.READ: self._read_role_id, Op.UPDATE: self._write_role_id},
                fold=FOLD,
                help="The RoleID of a role.",
            ),
            Route(
                pattern=f"{role}/local-secret-ids",
                ops={Op.READ: self._read_local},
                fold=FOLD,
                help="Whether the SecretIDs of a role stay on this cluster. Chosen when the role is created.",
            ),
            *(self._field_route(field) for field in ROLE_FIELDS),
        )

    async def _role_exists(self, call: Call) -> bool:
        return await self._roles.find(call.match.params["role_name"]) is not None

    async def _list_roles(self, call: Call, args: Page) -> Response:
        return await answer_names(self._mount.storage, "role/", args)

    async def _read_role(self, call: Call, args: NoArgs) -> Response:
        found = await self._roles.find(call.match.params["role_name"])
        if found is None:
            raise NotFound
        return Response(data=found[0].answer())

    async def _write_role(self, call: Call, args: RoleArgs) -> Response:
        name = call.match.params["role_name"]
        for _ in range(ATTEMPTS):
            found = await self._roles.find(name)
            before, revision = found if found is not None else (None, 0)
            local = None if args.local_secret_ids is UNSET else bool(args.local_secret_ids)
            role = before or Role(uid=new_uid(), role_id=new_id(), local_secret_ids=bool(local))
            if local is not None and local != role.local_secret_ids:
                raise BadRequest("local_secret_ids can only be chosen when the role is created")
            role = role.updated(args)
            if args.role_id is not UNSET:
                role = msgspec.structs.replace(role, role_id=check_id(args.role_id, "role_id"))
            try:
                await self._roles.put(name, role, revision, before)
            except Conflict:
                continue
            return Response(warnings=role.token.warnings(self._mount.max_lease_ttl))
        raise busy()

    async def _delete_role(self, call: Call, args: NoArgs) -> Response:
        await self._roles.delete(call.match.params["role_name"])
        return Response()

    async def _change(self, call: Call, change: Callable[[Role], Role]) -> None:
        for _ in range(ATTEMPTS):
            name, role, revision = await role_at(self._roles, call)
            try:
                await self._roles.put(name, change(role), revision, role)
            except Conflict:
                continue
            return
        raise busy()

    async def _read_role_id(self, call: Call, args: _RoleIdArgs) -> Response:
        found = await self._roles.find(call.match.params["role_name"])
        if found is None:
            raise NotFound
        return Response(data={"role_id": found[0].role_id})

    async def _write_role_id(self, call: Call, args: _RoleIdArgs) -> Response:
        role_id = check_id(args.role_id, "role_id")
        await self._change(call, lambda role: msgspec.structs.replace(role, role_id=role_id))
        return Response()

    async def _read_local(self, call: Call, args: NoArgs) -> Response:
        found = await self._roles.find(call.match.params["role_name"])
        if found is None:
            raise NotFound
        return Response(data={"local_secret_ids": found[0].local_secret_ids})

    def _field_route(self, field: RoleField) -> Route:
        async def read(call: Call, args: Any) -> Response:
            found = await self._roles.find(call.match.params["role_name"])
            if found is None:
                raise NotFound
            return Response(data=field.answer(found[0]))

        async def write(call: Call, args: Any) -> Response:
            if not field.given(args):
                raise BadRequest(f"missing {field.names[0]}")
            await self._change(call, lambda role: role.updated(args))
            return Response()

        async def reset(call: Call, args: Any) -> Response:
            if await self._role_exists(call):
                await self._change(call, field.reset)
            return Response()

        ops: dict[Op, Callable[[Any, Any], Awaitable[Response]]] = {Op.READ: read, Op.UPDATE: write, Op.DELETE: reset}
        return Route(
            pattern=f"role/{{role_name}}/{field.path}",
            args=field.args,
            ops=ops,
            fold=FOLD,
            help=f"The field {field.names[0]} of a role.",
        )


async def role_at(roles: Roles, call: Call) -> tuple[str, Role, int]:
    """Name, role and revision of the role in the path. Raises NotFound, in words that Terraform looks for."""
    name = call.match.params["role_name"]
    found = await roles.find(name)
    if found is None:
        raise NotFound(f'role "{name}" does not exist')
    return name, *found


def busy() -> Conflict:
    """What a change ends with that lost ``ATTEMPTS`` rounds."""
    return Conflict("the role is being changed by others; try again")
