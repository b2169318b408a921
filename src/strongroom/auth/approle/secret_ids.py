"""The routes of SecretIDs: make, list, look up, destroy, tidy."""

from collections.abc import Sequence
from typing import Any

import msgspec

from strongroom.auth.approle.entries import (
    MAX_METADATA,
    Role,
    SecretId,
    check_id,
    check_uses,
    new_id,
)
from strongroom.auth.approle.roles import ATTEMPTS, FOLD, busy, role_at
from strongroom.auth.approle.store import Roles, SecretIds
from strongroom.errors import BadRequest, Conflict, NotFound, PermissionDenied
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.fields import UNSET, Duration, StrList, StrMap, Text, UnsetType
from strongroom.sdk.listing import Page
from strongroom.sdk.request import Op, Response
from strongroom.sdk.token_fields import check_cidrs, cidrs_within

_NO_ACCESSOR = "failed to find accessor entry for secret_id_accessor"  # Terraform looks for this text


class _SecretArgs(msgspec.Struct, frozen=True, kw_only=True):
    metadata: StrMap | UnsetType = UNSET
    cidr_list: StrList = StrList()
    token_bound_cidrs: StrList = StrList()
    num_uses: int | UnsetType = UNSET
    ttl: Duration | UnsetType = UNSET


class _CustomSecretArgs(_SecretArgs, frozen=True, kw_only=True):
    secret_id: Text = Text("")

    def __repr__(self) -> str:
        return "_CustomSecretArgs()"


class _BySecret(msgspec.Struct, frozen=True):
    secret_id: Text = Text("")

    def __repr__(self) -> str:
        return "_BySecret()"


class _ByAccessor(msgspec.Struct, frozen=True):
    secret_id_accessor: Text = Text("")


class SecretIdRoutes:
    """The routes of a role's SecretIDs, and their tidying."""

    __slots__ = ("_mount", "_roles", "_secrets")

    def __init__(self, mount: Mount, roles: Roles, secrets: SecretIds) -> None:
        self._mount, self._roles, self._secrets = mount, roles, secrets

    def routes(self) -> Sequence[Route]:
        """Everything below ``role/<name>/`` that is about SecretIDs, and ``tidy/secret-id``."""

        def route(path: str, args: type[msgspec.Struct], ops: Any, text: str) -> Route:
            return Route(pattern=f"role/{{role_name}}/{path}", args=args, ops=ops, fold=FOLD, help=text)

        def both(function: Any) -> dict[Op, Any]:
            return {Op.UPDATE: function, Op.DELETE: function}

        return (
            route("secret-id/", Page, {Op.LIST: self._list_secrets}, "The accessors of a role's SecretIDs."),
            route("secret-id", _SecretArgs, {Op.UPDATE: self._generate}, "Make a SecretID."),
            route("custom-secret-id", _CustomSecretArgs, {Op.UPDATE: self._custom}, "Set a SecretID of one's own."),
            route("secret-id/lookup", _BySecret, {Op.UPDATE: self._look_up}, "What is known of a SecretID."),
            route("secret-id/destroy", _BySecret, both(self._destroy), "Destroy a SecretID."),
            route(
                "secret-id-accessor/lookup",
                _ByAccessor,
                {Op.UPDATE: self._look_up_accessor},
                "What is known of the SecretID of an accessor.",
            ),
            route(
                "secret-id-accessor/destroy",
                _ByAccessor,
                both(self._destroy_accessor),
                "Destroy the SecretID of an accessor.",
            ),
            Route(
                pattern="tidy/secret-id",
                ops={Op.UPDATE: self._tidy},
                help="Remove what is left of expired SecretIDs.",
            ),
        )

    async def _list_secrets(self, call: Call, args: Page) -> Response:
        name, role, _ = await role_at(self._roles, call)
        return await self._secrets.accessors(name, role.uid, args)

    async def _generate(self, call: Call, args: _SecretArgs) -> Response:
        return await self._issue(call, args, new_id())

    async def _custom(self, call: Call, args: _CustomSecretArgs) -> Response:
        return await self._issue(call, args, check_id(args.secret_id, "secret_id"))

    async def _issue(self, call: Call, args: _SecretArgs, secret_id: str) -> Response:
        for _ in range(ATTEMPTS):
            name, role, revision = await role_at(self._roles, call)
            if not role.bind_secret_id:
                raise BadRequest("bind_secret_id is not set on the role")
            secret = self._new_secret(role, args)
            try:
                await self._secrets.create(name, role, revision, secret_id, secret)
            except Conflict:
                continue
            return Response(
                data={
                    "secret_id": secret_id,
                    "secret_id_accessor": secret.accessor,
                    "secret_id_num_uses": secret.num_uses,
                    "secret_id_ttl": secret.ttl,
                }
            )
        raise busy()

    def _new_secret(self, role: Role, args: _SecretArgs) -> SecretId:
        """A SecretID no freer than its role. Raises BadRequest when ``args`` asks for more."""
        uses, ttl = role.secret_id_num_uses, role.secret_id_ttl
        if args.num_uses is not UNSET:
            asked = check_uses(args.num_uses, "num_uses")
            if uses and not 0 < asked <= uses:
                raise BadRequest("num_uses must not be higher than the role's secret_id_num_uses")
            uses = asked
        if args.ttl is not UNSET:
            if ttl and not 0 < args.ttl <= ttl:
                raise BadRequest("ttl must not be longer than the role's secret_id_ttl")
            ttl = int(args.ttl)
        ttl = min(ttl, self._mount.max_lease_ttl)
        sources = check_cidrs(args.cidr_list, name="cidr_list")
        if not cidrs_within(sources, role.secret_id_bound_cidrs):
            raise BadRequest("cidr_list must lie inside the role's secret_id_bound_cidrs")
        bound = check_cidrs(args.token_bound_cidrs, name="token_bound_cidrs")
        if not cidrs_within(bound, role.token.token_bound_cidrs):
            raise BadRequest("token_bound_cidrs must lie inside the role's token_bound_cidrs")
        metadata = {} if args.metadata is UNSET else dict(args.metadata)
        if len(msgspec.json.encode(metadata)) > MAX_METADATA:
            raise BadRequest(f"metadata is larger than {MAX_METADATA} bytes")
        now = self._mount.now()
        return SecretId(
            accessor=new_id(),
            created=now,
            updated=now,
            expires=now + ttl if ttl else 0.0,
            ttl=ttl,
            num_uses=uses,
            metadata={str(key): str(value) for key, value in metadata.items()},
            cidr_list=sources,
            token_bound_cidrs=bound,
        )

    async def _look_up(self, call: Call, args: _BySecret) -> Response:
        if not args.secret_id:
            raise BadRequest("missing secret_id")
        name, role, _ = await role_at(self._roles, call)
        found = await self._secrets.find(name, role.uid, await self._secrets.digest(role.uid, args.secret_id))
        return Response() if found is None else Response(data=found[0].answer())

    async def _destroy(self, call: Call, args: _BySecret) -> Response:
        if not args.secret_id:
            raise BadRequest("missing secret_id")
        name, role, _ = await role_at(self._roles, call)
        await self._secrets.destroy(name, role.uid, await self._secrets.digest(role.uid, args.secret_id))
        return Response()

    async def _look_up_accessor(self, call: Call, args: _ByAccessor) -> Response:
        name, uid, digest = await self._of_accessor(call, args)
        found = await self._secrets.find(name, uid, digest)
        if found is None:
            raise NotFound(_NO_ACCESSOR)
        return Response(data=found[0].answer())

    async def _destroy_accessor(self, call: Call, args: _ByAccessor) -> Response:
        await self._secrets.destroy(*await self._of_accessor(call, args))
        return Response()

    async def _of_accessor(self, call: Call, args: _ByAccessor) -> tuple[str, str, str]:
        """Where the accessor's SecretID lies, if the role in the path is its role (threat CVE-2023-24999)."""
        if not args.secret_id_accessor:
            raise BadRequest("missing secret_id_accessor")
        name, role, _ = await role_at(self._roles, call)
        pointer = await self._secrets.pointer(str(args.secret_id_accessor))
        if pointer is None:
            raise NotFound(_NO_ACCESSOR)
        if (pointer.role, pointer.uid) != (name, role.uid):
            raise PermissionDenied
        return name, role.uid, pointer.digest

    async def _tidy(self, call: Call, args: NoArgs) -> Response:
        await self._secrets.tidy()
        return Response(status=202, warnings=("Tidying of SecretIDs was started and has ended.",))
