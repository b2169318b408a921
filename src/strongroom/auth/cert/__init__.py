"""TLS client certificates: a role trusts certificates, or authorities and what the names under them look like.

``entries`` holds the shapes, ``store`` the keys and commits, ``chains`` and ``names`` decide, ``crls`` and ``ocsp``
know what was revoked, ``login`` is the login. The proof, that the client has the private key, is the TLS handshake's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from strongroom.auth.cert.crls import Crls
from strongroom.auth.cert.entries import ConfigArgs, RoleArgs, settings, shown
from strongroom.auth.cert.login import Login
from strongroom.auth.cert.store import Store
from strongroom.errors import NotFound
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.fields import Text
from strongroom.sdk.listing import Page, answer_names
from strongroom.sdk.request import Auth, Op, Request, Response


class _CrlArgs(msgspec.Struct, frozen=True, kw_only=True):
    crl: Text = Text("")
    url: Text = Text("")


class Cert:
    """The auth method ``cert``."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self._store = Store(mount)
        self._crls = Crls(mount, self._store)
        self._login = Login(mount, self._store, self._crls)

    def routes(self) -> Sequence[Route]:
        """Login, roles, revocation lists, settings."""
        return (
            self._login.route(),
            Route(pattern="certs/", args=Page, ops={Op.LIST: self._list_roles}, help="The names of all roles."),
            Route(
                pattern="certs/{name}",
                args=RoleArgs,
                ops={
                    Op.READ: self._read_role,
                    Op.CREATE: self._write_role,
                    Op.UPDATE: self._write_role,
                    Op.DELETE: self._delete_role,
                },
                fold=("name",),
                exists=self._role_exists,
                help="A role: the certificates it trusts, the names it takes, and what its tokens may do.",
            ),
            Route(pattern="crls/", args=Page, ops={Op.LIST: self._list_crls}, help="The names of all lists."),
            Route(
                pattern="crls/{name}",
                args=_CrlArgs,
                ops={
                    Op.READ: self._read_crl,
                    Op.CREATE: self._write_crl,
                    Op.UPDATE: self._write_crl,
                    Op.DELETE: self._delete_crl,
                },
                fold=("name",),
                exists=self._crl_exists,
                help="A revocation list, given or fetched from a URL.",
            ),
            Route(
                pattern="config",
                args=ConfigArgs,
                ops={Op.READ: self._read_config, Op.CREATE: self._write_config, Op.UPDATE: self._write_config},
                help="Settings of this mount.",
            ),
        )

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """Logins are leased by the token store; nothing is left behind here."""

    async def renew_from(self, auth: Auth, request: Request) -> Auth:
        """As ``Login.renewed``."""
        return await self._login.renewed(auth, request)

    # -- roles

    async def _role_exists(self, call: Call) -> bool:
        return await self._store.role(call.match.params["name"]) is not None

    async def _list_roles(self, call: Call, args: Page) -> Response:
        return await answer_names(self._mount.storage, "certs/", args)

    async def _read_role(self, call: Call, args: NoArgs) -> Response:
        role = await self._store.role(call.match.params["name"])
        if role is None:
            raise NotFound
        return Response(data=role.answer())

    async def _write_role(self, call: Call, args: RoleArgs) -> Response:
        name = call.match.params["name"]
        role = await self._store.change_role(name, lambda old: old.updated(name, args))
        return Response(warnings=(*role.warnings(), *role.token.warnings(self._mount.max_lease_ttl)))

    async def _delete_role(self, call: Call, args: NoArgs) -> Response:
        await self._store.delete_role(call.match.params["name"])
        return Response()

    # -- revocation lists

    async def _crl_exists(self, call: Call) -> bool:
        return await self._store.crl(call.match.params["name"]) is not None

    async def _list_crls(self, call: Call, args: Page) -> Response:
        return await answer_names(self._mount.storage, "crls/", args)

    async def _read_crl(self, call: Call, args: NoArgs) -> Response:
        answer = await self._crls.answer(call.match.params["name"])
        if answer is None:
            raise NotFound
        return Response(data=answer)

    async def _write_crl(self, call: Call, args: _CrlArgs) -> Response:
        await self._crls.put(call.match.params["name"], text=str(args.crl), url=str(args.url))
        return Response()

    async def _delete_crl(self, call: Call, args: NoArgs) -> Response:
        await self._store.delete_crl(call.match.params["name"])
        return Response()

    # -- settings

    async def _read_config(self, call: Call, args: NoArgs) -> Response:
        return Response(data=shown(await self._store.config()))

    async def _write_config(self, call: Call, args: ConfigArgs) -> Response:
        await self._store.change_config(lambda old: settings(old, args))
        return Response()
