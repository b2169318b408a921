"""identity/oidc/role and identity/oidc/config: what tokens are like, and who they are from."""

import secrets
import string
from typing import Any
from urllib.parse import urlsplit

import msgspec

from strongroom.core.identity.listing import listed
from strongroom.core.identity.oidc_parts import OidcParts
from strongroom.core.identity.oidc_records import OidcConfig, OidcRole, check_name, pack
from strongroom.core.identity.oidc_template import template_of
from strongroom.errors import BadRequest, NotFound
from strongroom.sdk.engine import Call, NoArgs, Route
from strongroom.sdk.fields import UNSET, Duration, Text, UnsetType
from strongroom.sdk.request import Op, Response
from strongroom.sdk.storage import Write

_LETTERS = string.ascii_letters + string.digits
_CLIENT_ID = 26  # characters
_MAX_CLIENT_ID = 256
_FIXED = (
    'If "issuer" is set, tokens of every node must be checked against that address. '
    'Setting it to "" returns to the api_addr of the configuration.'
)
_NOWHERE = 'Neither "issuer" nor the api_addr of the configuration is set: the issuer of tokens cannot be reached.'


class ConfigArgs(msgspec.Struct, frozen=True, kw_only=True):
    issuer: Text | UnsetType = UNSET


class RoleArgs(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of a write; an absent one keeps its value."""

    name: Text
    key: Text | UnsetType = UNSET
    template: Text | UnsetType = UNSET
    client_id: Text | UnsetType = UNSET
    ttl: Duration | UnsetType = UNSET


class OidcRoleRoutes(OidcParts):
    """See the module."""

    def routes(self) -> tuple[Route, ...]:
        one = {Op.READ: self.read, Op.UPDATE: self.write, Op.DELETE: self.delete}
        settings = {Op.READ: self.read_config, Op.UPDATE: self.write_config}
        return (
            Route(pattern="oidc/config", args=ConfigArgs, ops=settings, help="The issuer of OIDC tokens."),
            Route(pattern="oidc/role/", ops={Op.LIST: self.list_names}, help="The names of the OIDC roles."),
            Route(pattern="oidc/role/{name}", args=RoleArgs, ops=one, help="What OIDC tokens of this role are like."),
        )

    async def read_config(self, call: Call, args: ConfigArgs) -> Response:
        issuer = (await self._oidc.config()).issuer
        reachable = self._base(issuer).startswith("http")
        return Response(data={"issuer": issuer}, warnings=() if reachable else (_NOWHERE,))

    async def write_config(self, call: Call, args: ConfigArgs) -> Response:
        oidc = self._oidc
        if isinstance(args.issuer, UnsetType):
            return Response()
        issuer = check_issuer(args.issuer)

        async def make() -> list[Write]:
            return [Write(oidc.keys.config, pack(OidcConfig(issuer)))]

        await oidc.change(make)
        return Response(warnings=(_FIXED,) if issuer else ())

    async def read(self, call: Call, args: RoleArgs) -> Response:
        role = await self._oidc.role(check_name(args.name))
        if role is None:
            raise NotFound
        return Response(data={"client_id": role.client_id, "key": role.key, "template": role.template, "ttl": role.ttl})

    async def list_names(self, call: Call, args: NoArgs) -> Response:
        return listed(await self._oidc.names(self._oidc.keys.role))

    async def write(self, call: Call, args: RoleArgs) -> Response:
        oidc, name, changes = self._oidc, check_name(args.name), _changes(args)

        async def make() -> list[Write]:
            old = await oidc.role(name)
            if old is None:
                if not changes.get("key"):
                    raise BadRequest("the key parameter is required")
                role = OidcRole(**{"client_id": new_client_id(), **changes})
            else:
                role = msgspec.structs.replace(old, **changes)
            key = await self._named_key(role.key)  # stays until this is committed: see OidcStore.change
            if role.ttl > key.verification_ttl:
                raise BadRequest(
                    "a role's token ttl cannot be longer than the verification_ttl of the key it references"
                )
            return [Write(oidc.keys.role + name, pack(role))]

        await oidc.change(make)
        return Response()

    async def delete(self, call: Call, args: RoleArgs) -> Response:
        oidc, name = self._oidc, check_name(args.name)

        async def make() -> list[Write]:
            return [] if await oidc.role(name) is None else [Write(oidc.keys.role + name, None)]

        await oidc.change(make)
        return Response()


def check_issuer(text: str) -> str:
    """``text`` if it may stand before the path of an issuer: "" or scheme, host and port. Raises BadRequest."""
    try:
        url = urlsplit(text)
        plain = url.scheme in ("http", "https") and bool(url.hostname) and text == f"{url.scheme}://{url.netloc}"
        good = not text or (
            plain and "@" not in url.netloc and text.isascii() and text.isprintable() and " " not in text
        )
        _ = url.port
    except ValueError:
        good = False
    if not good:
        raise BadRequest(
            "invalid issuer, which must include only a scheme, host, and optional port (e.g. https://example.com:8200)"
        )
    return str(text)


def new_client_id() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(_CLIENT_ID))


def _changes(args: RoleArgs) -> dict[str, Any]:
    """What a write sets, checked. Raises BadRequest."""
    changes: dict[str, Any] = {}
    if not isinstance(args.key, UnsetType):
        if not args.key:
            raise BadRequest("the key parameter is required")
        changes["key"] = check_name(args.key)
    if not isinstance(args.template, UnsetType):
        changes["template"] = template_of(args.template)
    if not isinstance(args.ttl, UnsetType):
        changes["ttl"] = int(args.ttl)
    if not isinstance(args.client_id, UnsetType):
        if len(args.client_id) > _MAX_CLIENT_ID:
            raise BadRequest("the client_id is too long")
        changes["client_id"] = str(args.client_id) or new_client_id()
    return changes
