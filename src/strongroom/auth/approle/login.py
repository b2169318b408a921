"""The login of the AppRole method."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from strongroom.auth.approle.entries import keyed
from strongroom.auth.approle.store import Roles, SecretIds
from strongroom.errors import BadRequest, Conflict, PermissionDenied
from strongroom.sdk.engine import Call, Route
from strongroom.sdk.fields import Text
from strongroom.sdk.request import Auth, Op, Response
from strongroom.sdk.token_fields import TokenParams, address_within, cidrs_within

_REFUSED = "invalid role or secret ID"
_ATTEMPTS = 1024  # each lost round means that another login won it


class _Login(msgspec.Struct, frozen=True):
    role_id: Text = Text("")
    secret_id: Text = Text("")

    def __repr__(self) -> str:
        return "_Login()"


class Login:
    """The route ``login``."""

    __slots__ = ("_roles", "_secrets")

    def __init__(self, roles: Roles, secrets: SecretIds) -> None:
        self._roles, self._secrets = roles, secrets

    def route(self) -> Route:
        """Log in; the fact is a keyed hash of the RoleID, so that what a stranger sends shows nowhere."""
        return Route(
            pattern="login",
            args=_Login,
            ops={Op.UPDATE: self._login, Op.CREATE: self._login},
            login=True,
            facts=self._login_facts,
            role=self._role,
            help="Log in with a RoleID and a SecretID.",
        )

    async def _login_facts(self, call: Call, args: _Login) -> Mapping[str, Any]:
        return {"login_alias": keyed(await self._roles.salt(), "login-alias", args.role_id)}

    async def _role(self, call: Call) -> str:
        """The name of the role whose RoleID is given, for quotas; "" if there is none."""
        return await self._roles.name_of(str(call.request.data.get("role_id", "")))

    async def _login(self, call: Call, args: _Login) -> Response:
        if not args.role_id:
            raise BadRequest("missing role_id")
        for _ in range(_ATTEMPTS):
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
        auth = msgspec.structs.replace(auth, alias_metadata={"role_name": name})
        if secret is not None:  # last, so that a refused login takes no use
            await self._secrets.spend(name, role.uid, digest, secret, revision)
        return auth


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
