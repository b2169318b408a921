"""Tokens that somebody else signed: ``jwt`` takes one that the caller brings, ``oidc`` lets a browser fetch one.

Both names are the same method; a role's ``role_type`` says which way it is for. ``keys`` tells whose signature it is,
``claims`` what a token must say, ``provider`` keeps the keys of the other side, ``config`` and ``roles`` hold shapes
and rules, ``login`` puts them together; ``browser`` has the logins in a browser, ``exchange`` what they ask the
provider, ``flows`` their memory, ``pages`` what a person sees, ``redirect`` where a browser may be sent.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from strongroom.auth.jwt.browser import Browser
from strongroom.auth.jwt.config import Config, ConfigArgs, made
from strongroom.auth.jwt.login import Logins
from strongroom.auth.jwt.provider import Provider
from strongroom.auth.jwt.roles import Roles
from strongroom.errors import BadRequest, NotFound, PermissionDenied, Unreachable
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.request import Auth, Op, Response
from strongroom.sdk.storage import Write


class Jwt:
    """The auth methods ``jwt`` and ``oidc``."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self._provider = Provider(mount)
        self._roles = Roles(mount)
        self._logins = Logins(mount, self._roles, self._provider)
        self._browser = Browser(mount, self._logins)

    def routes(self) -> Sequence[Route]:
        """Login, configuration, roles, logins in a browser."""
        return (
            self._logins.route(),
            Route(
                pattern="config",
                args=ConfigArgs,
                ops={Op.READ: self._read, Op.CREATE: self._write, Op.UPDATE: self._write},
                exists=self._configured,
                help="Whose signatures count, and how the provider is asked. A write replaces everything.",
            ),
            *self._roles.routes(),
            *self._browser.routes(),
        )

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """Logins are leased by the token store; nothing is left behind here."""

    async def renew(self, auth: Auth) -> Auth:
        """Today's TTLs for a token whose role still exists.

        Raises:
            PermissionDenied: the role is gone; one of the same name created since does not count.
        """
        found = await self._roles.find(str(auth.private.get("role", "")))
        if found is None or found[0].uid != auth.private.get("uid"):
            raise PermissionDenied("the role of this token no longer exists")
        return found[0].token.renewed(auth)

    async def _configured(self, call: Call) -> bool:
        return await self._mount.storage.get("config") is not None

    async def _read(self, call: Call, args: NoArgs) -> Response:
        entry = await self._mount.storage.get("config")
        if entry is None:
            raise NotFound
        return Response(data=msgspec.json.decode(entry.value, type=Config).answer())

    async def _write(self, call: Call, args: ConfigArgs) -> Response:
        config = made(args)
        writes = [Write("config", msgspec.json.encode(config)), Write("keyset", None)]
        warnings: tuple[str, ...] = ()
        if config.provider_config:
            warnings = ("provider_config is kept, but nothing follows from it",)
        if config.asks:
            try:
                writes[1] = Write("keyset", msgspec.msgpack.encode(await self._provider.first(config)))
            except Unreachable as error:
                if not args.skip_jwks_validation:
                    what = "oidc discovery" if config.oidc_discovery_url else "jwks"
                    raise BadRequest(f"error checking {what} URL: {error}") from error
                warnings = (*warnings, f"the provider was not checked: {error}")
        await self._mount.storage.commit(writes)
        return Response(warnings=warnings)
