"""identity/mfa/method: how second factors are made. TOTP is the kind there is."""

from typing import Any

import msgspec

from strongroom.core.identity.listing import Listing, list_records
from strongroom.core.identity.mfa_login import LoginMfa
from strongroom.core.identity.mfa_records import Method, enforcement_of, method_data, method_of
from strongroom.core.identity.mfa_totp import DIGESTS
from strongroom.core.identity.names import check_name, index_of
from strongroom.core.identity.parts import Parts
from strongroom.core.identity.records import Entity, pack
from strongroom.core.identity.store import is_id
from strongroom.core.names import new_uuid
from strongroom.errors import BadRequest, NotFound, UnsupportedPath
from strongroom.sdk.engine import Call, Route
from strongroom.sdk.fields import UNSET, Duration, Text, UnsetType
from strongroom.sdk.request import Op, Response
from strongroom.sdk.storage import Write

_KEY_SIZES = range(16, 65)  # bytes; RFC 4226 asks for 128 bits at least
_MAX_PERIOD, _MAX_ATTEMPTS, _MAX_QR = 3600, 100, 2000


class MethodArgs(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of a write; an absent one keeps its value."""

    method_id: Text = Text("")
    method_name: Text | UnsetType = UNSET
    issuer: Text | UnsetType = UNSET
    period: Duration | UnsetType = UNSET
    key_size: int | UnsetType = UNSET
    qr_size: int | UnsetType = UNSET
    algorithm: Text | UnsetType = UNSET
    digits: int | UnsetType = UNSET
    skew: int | UnsetType = UNSET
    max_validation_attempts: int | UnsetType = UNSET


class SecretArgs(msgspec.Struct, frozen=True, kw_only=True):
    method_id: Text = Text("")
    entity_id: Text = Text("")


class MethodRoutes(Parts):
    """See the module."""

    def routes(self) -> tuple[Route, ...]:
        one = {Op.READ: self.read, Op.UPDATE: self.write, Op.DELETE: self.delete}
        every = {Op.LIST: self.list_ids}
        own, admin = {Op.UPDATE: self.generate}, {Op.UPDATE: self.admin_generate}
        gone = {Op.UPDATE: self.admin_destroy}
        totp = "mfa/method/totp"
        return (
            Route(pattern="mfa/method/", args=Listing, ops=every, help="The ids of the MFA methods."),
            Route(pattern=f"{totp}/", args=Listing, ops=every, help="The ids of the TOTP methods."),
            Route(pattern=totp, args=MethodArgs, ops={Op.UPDATE: self.write}, help="Make a TOTP method."),
            Route(pattern=f"{totp}/generate", args=SecretArgs, ops=own, help="A secret for the caller's entity."),
            Route(pattern=f"{totp}/admin-generate", args=SecretArgs, ops=admin, help="A secret for an entity."),
            Route(pattern=f"{totp}/admin-destroy", args=SecretArgs, ops=gone, help="Take an entity's secret away."),
            Route(pattern=f"{totp}/{{method_id}}", args=MethodArgs, ops=one, help="A TOTP method."),
            Route(
                pattern="mfa/method/{method_id}",
                args=MethodArgs,
                ops={Op.READ: self.read, Op.UPDATE: self.other_kind},
                help="An MFA method of whatever kind.",
            ),
        )

    @property
    def _mfa(self) -> LoginMfa:
        return self._identity().mfa

    async def read(self, call: Call, args: MethodArgs) -> Response:
        method = await self._mfa.method(str(args.method_id))
        if method is None:
            raise NotFound
        return Response(data=method_data(method, self._store.namespace, call.request.namespace_path))

    async def other_kind(self, call: Call, args: MethodArgs) -> Response:
        """Duo, Okta and PingID are not built. Raises UnsupportedPath."""
        raise UnsupportedPath

    async def list_ids(self, call: Call, args: Listing) -> Response:
        async def describe(value: bytes) -> dict[str, Any]:
            return method_data(method_of(value), self._store.namespace, call.request.namespace_path)

        return await list_records(self._store, self._mfa.keys.method, args, describe)

    async def write(self, call: Call, args: MethodArgs) -> Response:
        store, keys = self._store, self._mfa.keys
        made: list[Method] = []

        async def make(_expect: dict[str, int]) -> list[Write]:
            old = Method(id=new_uuid()) if not args.method_id else await self._mfa.method(str(args.method_id))
            if old is None:
                raise BadRequest("there is no MFA method with that ID")
            method = _changed(old, args)
            made[:] = [method]
            writes = [Write(keys.method + method.id, pack(method))]
            if method.name != old.name:
                if old.name:
                    writes.append(Write(keys.method_name + index_of(old.name), None))
                if method.name:
                    if await store.storage.get(keys.method_name + index_of(method.name)) is not None:
                        raise BadRequest("there is an MFA method of that name already")
                    writes.append(Write(keys.method_name + index_of(method.name), method.id.encode()))
            return writes

        await store.change(make)
        return Response() if args.method_id else Response(data={"method_id": made[0].id})

    async def delete(self, call: Call, args: MethodArgs) -> Response:
        method_id = str(args.method_id)

        async def make(_expect: dict[str, int]) -> list[Write]:
            method = await self._mfa.method(method_id)
            if method is None:
                return []
            after = ""
            while rows := await self._store.storage.scan(self._mfa.keys.enforcement, after=after, limit=500):
                if any(method_id in enforcement_of(stored.value).methods for _, stored in rows):
                    raise BadRequest("the MFA method is still used by a login enforcement")
                after = rows[-1][0]
            named = [Write(self._mfa.keys.method_name + index_of(method.name), None)] if method.name else []
            return [Write(self._mfa.keys.method + method_id, None), *named]

        await self._store.change(make)
        if await self._mfa.method(method_id) is None and is_id(method_id):
            await self._identity().mfa_secrets.method_left(method_id)
        return Response()

    # -- secrets

    async def _method(self, args: SecretArgs) -> Method:
        if not args.method_id:
            raise BadRequest("missing method ID")
        method = await self._mfa.method(str(args.method_id))
        if method is None:
            raise BadRequest("there is no MFA method with that ID")
        return method

    async def _entity(self, entity_id: str) -> Entity:
        if not entity_id:
            raise BadRequest("missing entity ID")
        entity = await self._store.living(entity_id)
        if entity is None:
            raise BadRequest("there is no entity with that ID")
        return entity

    async def generate(self, call: Call, args: SecretArgs) -> Response:
        caller = call.caller
        if caller is None or not caller.entity_id or caller.namespace != self._store.namespace:
            raise BadRequest("the token has no entity here to keep a secret for")
        return await self._made(await self._method(args), await self._entity(caller.entity_id))

    async def admin_generate(self, call: Call, args: SecretArgs) -> Response:
        return await self._made(await self._method(args), await self._entity(str(args.entity_id)))

    async def _made(self, method: Method, entity: Entity) -> Response:
        url = await self._identity().mfa_secrets.make(method, entity)
        if url is None:
            return Response(warnings=(f"Entity already has a secret for MFA method {method.name!r}",))
        return Response(data={"barcode": "", "url": url})

    async def admin_destroy(self, call: Call, args: SecretArgs) -> Response:
        method, entity = await self._method(args), await self._entity(str(args.entity_id))
        await self._identity().mfa_secrets.destroy(method.id, entity.id)
        return Response()


def _changed(old: Method, args: MethodArgs) -> Method:
    """``old`` with the fields of a write. Raises BadRequest: one of them is out of its range."""
    names = {"method_name": "name", "max_validation_attempts": "max_attempts"}
    fields: dict[str, Any] = {}
    for field in MethodArgs.__struct_fields__:
        value = getattr(args, field)
        if field != "method_id" and value is not UNSET:
            plain = str(value) if isinstance(value, str) else int(value)
            fields[names.get(field, field)] = plain
    method = msgspec.structs.replace(old, **fields)
    method = msgspec.structs.replace(method, algorithm=method.algorithm.upper())
    check_name(method.name, "method")
    if not method.issuer or len(method.issuer) > 256:
        raise BadRequest("issuer must be set, to at most 256 characters")
    for wrong, text in (
        ("/" in method.name or "," in method.name or ":" in method.name, "method_name must hold no '/', ',' or ':'"),
        (method.algorithm not in DIGESTS, f"algorithm must be one of {', '.join(DIGESTS)}"),
        (method.digits not in (6, 8), "digits must be 6 or 8"),
        (method.skew not in (0, 1), "skew must be 0 or 1"),
        (not 1 <= method.period <= _MAX_PERIOD, f"period must be 1 to {_MAX_PERIOD} seconds"),
        (method.key_size not in _KEY_SIZES, "key_size must be 16 to 64 bytes"),
        (not 0 <= method.qr_size <= _MAX_QR, f"qr_size must be 0 to {_MAX_QR}"),
        (not 1 <= method.max_attempts <= _MAX_ATTEMPTS, f"max_validation_attempts must be 1 to {_MAX_ATTEMPTS}"),
    ):
        if wrong:
            raise BadRequest(text)
    return method
