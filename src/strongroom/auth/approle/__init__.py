"""Roles for machines: a RoleID says which role, a SecretID proves the right to it.

``entries`` holds the shapes and their rules, ``store`` the keys and commits, ``fields`` the paths of single fields;
here are the routes and the login.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from strongroom.auth.approle.entries import (
    MAX_METADATA,
    Role,
    RoleArgs,
    SecretId,
    check_id,
    check_uses,
    keyed,
    new_id,
    new_uid,
)
from strongroom.auth.approle.fields import ROLE_FIELDS, RoleField
from strongroom.auth.approle.store import Roles, SecretIds
from strongroom.errors import BadRequest, Conflict, NotFound, PermissionDenied
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.fields import UNSET, Duration, StrList, StrMap, Text, UnsetType
from strongroom.sdk.request import Auth, Op, Response
from strongroom.sdk.storage import Storage
from strongroom.sdk.token_fields import TokenParams, address_within, check_cidrs, cidrs_within

_REFUSED = "invalid role or secret ID"
_ATTEMPTS = 16  # of a change that meets other writers
_LOGIN_ATTEMPTS = 1024  # each lost round means that another login won it
_FOLD = ("role_name",)


class _Login(msgspec.Struct, frozen=True):
    role_id: Text = Text("")
    secret_id: Text = Text("")

    def __repr__(self) -> str:
        return "_Login()"


class _RoleIdArgs(msgspec.Struct, frozen=True):
    role_id: Text = Text("")


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


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    after: Text = Text("")
    limit: int = 0


class AppRole:
    """The auth method ``approle``."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self._storage: Storage = mount.storage
        self._roles = Roles(mount)
        self._secrets = SecretIds(mount, self._roles)

    async def initialize(self) -> None:
        """Make the salt."""
        await self._roles.salt()

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """Logins are leased by the token store; nothing is left behind here."""

    async def renew(self, auth: Auth) -> Auth:
        """Today's TTLs for a token whose role still exists.

        Raises:
            PermissionDenied: the role is gone; one of the same name created since does not count.
        """
        found = await self._roles.find(str(auth.private.get("role_name", "")))
        if found is None or found[0].uid != auth.private.get("uid"):
            raise PermissionDenied("the role of this token no longer exists")
        return found[0].token.renewed(auth)

    def routes(self) -> Sequence[Route]:
        """Login, roles, their RoleID, single fields and SecretIDs, tidying."""
        role = "role/{role_name}"
        return (
            Route(
                pattern="login",
                args=_Login,
                ops={Op.UPDATE: self._login, Op.CREATE: self._login},
                login=True,
                facts=self._login_facts,
                help="Log in with a RoleID and a SecretID.",
            ),
            Route(pattern="role/", args=_Page, ops={Op.LIST: self._list_roles}, help="The names of all roles."),
            Route(
                pattern=role,
                args=RoleArgs,
                ops={
                    Op.READ: self._read_role,
                    Op.CREATE: self._write_role,
                    Op.UPDATE: self._write_role,
                    Op.DELETE: self._delete_role,
                },
                fold=_FOLD,
                exists=self._role_exists,
                help="A role: who may log in, and what the tokens may do.",
            ),
            Route(
                pattern=f"{role}/role-id",
                args=_RoleIdArgs,
                ops={Op.READ: self._read_role_id, Op.UPDATE: self._write_role_id},
                fold=_FOLD,
                help="The RoleID of a role.",
            ),
            Route(
                pattern=f"{role}/local-secret-ids",
                ops={Op.READ: self._read_local},
                fold=_FOLD,
                help="Whether the SecretIDs of a role stay on this cluster. Chosen when the role is created.",
            ),
            *(self._field_route(field) for field in ROLE_FIELDS),
            *self._secret_routes(role),
            Route(
                pattern="tidy/secret-id",
                ops={Op.UPDATE: self._tidy},
                help="Remove what is left of expired SecretIDs.",
            ),
        )

    def _secret_routes(self, role: str) -> Sequence[Route]:
        def route(path: str, args: type[msgspec.Struct], ops: Any, text: str) -> Route:
            return Route(pattern=f"{role}/{path}", args=args, ops=ops, fold=_FOLD, help=text)

        def both(function: Any) -> dict[Op, Any]:
            return {Op.UPDATE: function, Op.DELETE: function}

        return (
            route("secret-id/", _Page, {Op.LIST: self._list_secrets}, "The accessors of a role's SecretIDs."),
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
        )

    # -- login

    async def _login_facts(self, call: Call, args: _Login) -> Mapping[str, Any]:
        return {"login_alias": keyed(await self._roles.salt(), "login-alias", args.role_id)}

    async def _login(self, call: Call, args: _Login) -> Response:
        if not args.role_id:
            raise BadRequest("missing role_id")
        for _ in range(_LOGIN_ATTEMPTS):
            try:
                return Response(auth=await self._try_login(call.request.remote, str(args.role_id), str(args.secret_id)))
            except Conflict:
                continue
        raise Conflict("too many logins with this SecretID at once; try again")

    async def _try_login(self, remote: str, role_id: str, secret_id: str) -> Auth:
        found = await self._roles.by_role_id(role_id)
        if found is None:
            # As many steps as for a role that exists, so that time says little about which RoleIDs do.
            await self._secrets.find("", "", await self._secrets.digest("", secret_id))
            raise BadRequest(_REFUSED)
        name, role, revision = found
        token, metadata = role.token, {"role_name": name}
        digest, secret = "", None
        if role.bind_secret_id:
            digest = await self._secrets.digest(role.uid, secret_id)
            secret = await self._secrets.find(name, role.uid, digest)
            if secret is None:
                raise BadRequest(_REFUSED)
            _check_source(remote, secret[0].cidr_list)
            token = _narrowed(remote, token, secret[0].token_bound_cidrs)
            metadata = {**secret[0].metadata, **metadata}  # the role's name cannot be forged
        _check_source(remote, role.secret_id_bound_cidrs)
        auth = token.grant(
            remote=remote,
            alias=role.role_id,
            display_name="",
            metadata=dict(sorted(metadata.items())),
            private={"role_name": name, "uid": role.uid},
        )
        if secret is not None:  # last, so that a refused login takes no use
            await self._secrets.spend(name, role.uid, digest, secret, revision)
        return auth

    # -- roles

    async def _role_exists(self, call: Call) -> bool:
        return await self._roles.find(call.match.params["role_name"]) is not None

    async def _role(self, call: Call) -> tuple[str, Role, int]:
        name = call.match.params["role_name"]
        found = await self._roles.find(name)
        if found is None:
            raise NotFound(f'role "{name}" does not exist')  # Terraform looks for this text
        return name, *found

    async def _list_roles(self, call: Call, args: _Page) -> Response:
        return _listing(await self._roles.names(str(args.after), args.limit))

    async def _read_role(self, call: Call, args: NoArgs) -> Response:
        found = await self._roles.find(call.match.params["role_name"])
        if found is None:
            raise NotFound
        return Response(data=found[0].answer())

    async def _write_role(self, call: Call, args: RoleArgs) -> Response:
        name = call.match.params["role_name"]
        for _ in range(_ATTEMPTS):
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
        raise _busy()

    async def _delete_role(self, call: Call, args: NoArgs) -> Response:
        await self._roles.delete(call.match.params["role_name"])
        return Response()

    async def _change(self, call: Call, change: Callable[[Role], Role]) -> None:
        for _ in range(_ATTEMPTS):
            name, role, revision = await self._role(call)
            try:
                await self._roles.put(name, change(role), revision, role)
            except Conflict:
                continue
            return
        raise _busy()

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
            fold=_FOLD,
            help=f"The field {field.names[0]} of a role.",
        )

    # -- SecretIDs

    async def _list_secrets(self, call: Call, args: _Page) -> Response:
        name, role, _ = await self._role(call)
        return _listing(await self._secrets.accessors(name, role.uid, str(args.after), args.limit))

    async def _generate(self, call: Call, args: _SecretArgs) -> Response:
        return await self._issue(call, args, new_id())

    async def _custom(self, call: Call, args: _CustomSecretArgs) -> Response:
        return await self._issue(call, args, check_id(args.secret_id, "secret_id"))

    async def _issue(self, call: Call, args: _SecretArgs, secret_id: str) -> Response:
        for _ in range(_ATTEMPTS):
            name, role, revision = await self._role(call)
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
        raise _busy()

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
        name, role, _ = await self._role(call)
        found = await self._secrets.find(name, role.uid, await self._secrets.digest(role.uid, args.secret_id))
        return Response() if found is None else Response(data=found[0].answer())

    async def _destroy(self, call: Call, args: _BySecret) -> Response:
        if not args.secret_id:
            raise BadRequest("missing secret_id")
        name, role, _ = await self._role(call)
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
        name, role, _ = await self._role(call)
        pointer = await self._secrets.pointer(str(args.secret_id_accessor))
        if pointer is None:
            raise NotFound(_NO_ACCESSOR)
        if (pointer.role, pointer.uid) != (name, role.uid):
            raise PermissionDenied
        return name, role.uid, pointer.digest

    async def _tidy(self, call: Call, args: NoArgs) -> Response:
        await self._secrets.tidy()
        return Response(status=202, warnings=("Tidying of SecretIDs was started and has ended.",))


_NO_ACCESSOR = "failed to find accessor entry for secret_id_accessor"  # Terraform looks for this text


def _check_source(remote: str, blocks: Sequence[str]) -> None:
    if blocks and not address_within(remote, blocks):
        raise BadRequest("source address unauthorized through CIDR restrictions on the secret ID")


def _narrowed(remote: str, token: TokenParams, blocks: tuple[str, ...]) -> TokenParams:
    """``token`` bound to a SecretID's own blocks; to the role's when those were narrowed since it was issued.

    Raises:
        PermissionDenied: ``remote`` lies outside of the one or the other.
    """
    if not blocks:
        return token
    token.bound_to(remote)
    if not address_within(remote, blocks):
        raise PermissionDenied
    if not cidrs_within(blocks, token.token_bound_cidrs):
        return token
    return msgspec.structs.replace(token, token_bound_cidrs=blocks)


def _listing(names: list[str]) -> Response:
    if not names:
        raise NotFound
    return Response(data={"keys": names})


def _busy() -> Conflict:
    return Conflict("the role is being changed by others; try again")
