"""identity/mfa/login-enforcement: which logins need a second factor."""

import re
from typing import Any

import msgspec

from strongroom.core.identity.listing import Listing, list_records
from strongroom.core.identity.mfa_login import LoginMfa
from strongroom.core.identity.mfa_records import Enforcement, enforcement_data, enforcement_of
from strongroom.core.identity.parts import Parts
from strongroom.core.identity.records import pack
from strongroom.core.names import new_uuid
from strongroom.errors import BadRequest, NotFound
from strongroom.sdk.engine import Call, Route
from strongroom.sdk.fields import UNSET, StrList, UnsetType
from strongroom.sdk.request import Op, Response
from strongroom.sdk.storage import Write

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,127}")
_MOST = 1000  # entries of one list


class EnforcementArgs(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of a write; an absent one keeps its value."""

    name: str = ""
    mfa_method_ids: StrList | UnsetType = UNSET
    auth_method_accessors: StrList | UnsetType = UNSET
    auth_method_types: StrList | UnsetType = UNSET
    identity_group_ids: StrList | UnsetType = UNSET
    identity_entity_ids: StrList | UnsetType = UNSET


class EnforcementRoutes(Parts):
    """See the module."""

    def routes(self) -> tuple[Route, ...]:
        one = {Op.READ: self.read, Op.UPDATE: self.write, Op.DELETE: self.delete}
        every, path = {Op.LIST: self.list_names}, "mfa/login-enforcement/"
        return (
            Route(pattern=path, args=Listing, ops=every, help="The names of the login enforcements."),
            Route(pattern=path + "{name}", args=EnforcementArgs, ops=one, help="Which logins need which MFA methods."),
        )

    @property
    def _mfa(self) -> LoginMfa:
        return self._identity().mfa

    async def _find(self, name: str) -> Enforcement | None:
        if _NAME.fullmatch(name) is None:
            return None
        stored = await self._store.storage.get(self._mfa.keys.enforcement + name)
        return None if stored is None else enforcement_of(stored.value)

    async def read(self, call: Call, args: EnforcementArgs) -> Response:
        rule = await self._find(args.name)
        if rule is None:
            raise NotFound
        return Response(data=enforcement_data(rule, self._store.namespace, call.request.namespace_path))

    async def list_names(self, call: Call, args: Listing) -> Response:
        async def describe(value: bytes) -> dict[str, Any]:
            return enforcement_data(enforcement_of(value), self._store.namespace, call.request.namespace_path)

        return await list_records(self._store, self._mfa.keys.enforcement, args, describe)

    async def write(self, call: Call, args: EnforcementArgs) -> Response:
        if _NAME.fullmatch(args.name) is None:
            raise BadRequest("the name must be 1 to 128 letters, digits, blanks, '_', '-' or '.'")

        async def make(_expect: dict[str, int]) -> list[Write]:
            old = await self._find(args.name) or Enforcement(id=new_uuid(), name=args.name, methods=())
            rule = msgspec.structs.replace(
                old,
                methods=_given(args.mfa_method_ids, old.methods),
                accessors=_given(args.auth_method_accessors, old.accessors),
                types=_given(args.auth_method_types, old.types),
                groups=_given(args.identity_group_ids, old.groups),
                entities=_given(args.identity_entity_ids, old.entities),
            )
            await self._check(rule, old)
            return [Write(self._mfa.keys.enforcement + rule.name, pack(rule))]

        await self._store.change(make)
        return Response()

    async def _check(self, rule: Enforcement, old: Enforcement) -> None:
        """Refuse a rule that would not do what it says; what ``old`` named may be gone since. Raises BadRequest."""
        if not rule.methods:
            raise BadRequest("missing mfa_method_ids")
        if not (rule.accessors or rule.types or rule.groups or rule.entities):
            raise BadRequest(
                "one of auth_method_accessors, auth_method_types, identity_group_ids, identity_entity_ids must be given"
            )
        store = self._store
        for field, names, before, known in (
            ("mfa_method_ids", rule.methods, old.methods, self._mfa.method),
            ("identity_group_ids", rule.groups, old.groups, store.group),
            ("identity_entity_ids", rule.entities, old.entities, store.living),
        ):
            for name in names:
                if name not in before and await known(name) is None:
                    raise BadRequest(f"{field} names one that does not exist")
        for accessor in set(rule.accessors) - set(old.accessors):
            mount = self._mount_of(accessor)
            if mount is None or not mount.path.startswith("auth/"):
                raise BadRequest("auth_method_accessors names one that does not exist")

    async def delete(self, call: Call, args: EnforcementArgs) -> Response:
        async def make(_expect: dict[str, int]) -> list[Write]:
            if await self._find(args.name) is None:
                return []
            return [Write(self._mfa.keys.enforcement + args.name, None)]

        await self._store.change(make)
        return Response()


def _given(value: StrList | UnsetType, old: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(value, UnsetType):
        return old
    if len(value) > _MOST:
        raise BadRequest(f"a list holds more than {_MOST} entries")
    return tuple(dict.fromkeys(str(name) for name in value))
