"""Kubernetes service accounts: the API server says whose a token is (TokenReview), at each login and each renewal.

``entries`` holds configuration and roles, ``accounts`` reads and checks tokens, ``api_server`` asks.

Keys: ``config`` holds one ``Config``, ``role/<name>`` one ``Role``, as JSON.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from strongroom.auth.kubernetes.accounts import Account, Refused, check_locally, claimed
from strongroom.auth.kubernetes.api_server import LOCAL, ApiServer
from strongroom.auth.kubernetes.entries import Config, ConfigArgs, Role, RoleArgs, read_selector, selects
from strongroom.errors import BadRequest, Conflict, NotFound, PermissionDenied
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.fields import Text
from strongroom.sdk.listing import Page, answer_names
from strongroom.sdk.request import Auth, Op, Response
from strongroom.sdk.storage import Write

_REFUSED = "invalid role or service account token"
_ATTEMPTS = 8  # of a read-modify-write that meets another writer


class _Login(msgspec.Struct, frozen=True):
    role: Text = Text("")
    jwt: Text = Text("")

    def __repr__(self) -> str:
        return "_Login()"


class Kubernetes:
    """The auth method ``kubernetes``.

    Args:
        mount: where it is mounted.
        local: the folder where a pod finds its own token and authority.
    """

    def __init__(self, mount: Mount, *, local: str = LOCAL) -> None:
        self._mount, self._storage, self._local = mount, mount.storage, local

    def routes(self) -> Sequence[Route]:
        """Login, configuration, roles."""
        return (
            Route(
                pattern="login",
                args=_Login,
                ops={Op.UPDATE: self._login, Op.CREATE: self._login},
                login=True,
                facts=self._facts,
                help="Log in with the token of a service account.",
            ),
            Route(
                pattern="config",
                args=ConfigArgs,
                ops={Op.READ: self._read_config, Op.CREATE: self._write_config, Op.UPDATE: self._write_config},
                exists=self._config_exists,
                help="How the API server is reached, and by which keys tokens are checked.",
            ),
            Route(pattern="role/", args=Page, ops={Op.LIST: self._list}, help="The names of all roles."),
            Route(
                pattern="role/{name}",
                args=RoleArgs,
                ops={
                    Op.READ: self._read,
                    Op.CREATE: self._write,
                    Op.UPDATE: self._write,
                    Op.DELETE: self._delete,
                },
                fold=("name",),
                exists=self._exists,
                help="A role: which service accounts may log in, and what their tokens may do.",
            ),
        )

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """Logins are leased by the token store; nothing is left behind here."""

    async def renew(self, auth: Auth) -> Auth:
        """Today's TTLs for a token whose role still exists and would still take the service account's token.

        Raises:
            PermissionDenied: the role is gone or has other policies, or the service account or its token is not
                vouched for any more (threat GHSA-gf3j).
            Unreachable: the API server does not say.
        """
        private = auth.private
        role = await self._role(str(private.get("role", "")))
        if role is None or role.uid != private.get("uid"):
            raise PermissionDenied("the role of this token no longer exists")
        if list(role.token.token_policies) != list(private.get("policies", ())):
            raise PermissionDenied("policies have changed, not renewing")
        try:
            await self._proved(role, str(private.get("jwt", "")))
        except Refused:
            raise PermissionDenied("the service account of this token is not vouched for any more") from None
        return role.token.renewed(auth)

    # -- login

    async def _facts(self, call: Call, args: _Login) -> Mapping[str, Any]:
        """No ``login_alias``: nobody guesses a signature, and a stranger must not lock out a role."""
        return {}

    async def _login(self, call: Call, args: _Login) -> Response:
        name, jwt = str(args.role).lower(), str(args.jwt).strip()
        role = await self._role(name)
        try:
            if role is None:
                raise Refused("no such role")
            account = await self._proved(role, jwt)
        except Refused:
            raise BadRequest(_REFUSED) from None
        by_name = role.alias_name_source == "serviceaccount_name"
        metadata = {
            "role": name,
            "service_account_name": account.name,
            "service_account_namespace": account.namespace,
            "service_account_secret_name": account.secret,
            "service_account_uid": account.uid,
        }
        auth = role.token.grant(
            remote=call.request.remote,
            alias=f"{account.namespace}/{account.name}" if by_name else account.uid,
            display_name=f"{account.namespace}-{account.name}",
            metadata=metadata,
            private={"role": name, "uid": role.uid, "policies": list(role.token.token_policies)},
        )
        kind = auth.token_type or self._mount.token_type.removeprefix("default-")
        if kind != "batch":  # which is never renewed
            auth = msgspec.structs.replace(auth, private={**auth.private, "jwt": jwt})
        # With the alias go the parts of the name, for templates in policies; not the role, which changes by login.
        kept = {key: value for key, value in metadata.items() if key != "role"}
        return Response(auth=msgspec.structs.replace(auth, alias_metadata=kept))

    async def _proved(self, role: Role, jwt: str) -> Account:
        """The service account whose token ``jwt`` is, if ``role`` takes it.

        Raises:
            Refused: it proves nothing, or the role does not take the account.
            Unreachable: the API server does not say.
        """
        config = await self._config()
        if config is None or not (config.kubernetes_host or config.pem_keys):
            raise Refused("not configured")
        account = claimed(jwt)
        if not role.takes_name(account.name):
            raise Refused("another service account")
        if config.pem_keys:
            now = self._mount.now()
            await self._mount.offload(lambda: check_locally(jwt, config, role, now))
        server = ApiServer(self._mount, config, self._local)
        by_name = role.takes_namespace(account.namespace)
        if not by_name and not role.bound_service_account_namespace_selector:
            raise Refused("another namespace")
        if config.kubernetes_host:
            await server.review(jwt, role, account)
        if not by_name:
            if not config.kubernetes_host:
                raise Refused("nobody tells the namespace's labels")
            selector = read_selector(role.bound_service_account_namespace_selector)
            if not selects(selector, await server.labels(account.namespace, jwt)):
                raise Refused("another namespace")
        return account

    # -- configuration

    async def _config(self) -> Config | None:
        entry = await self._storage.get("config")
        return None if entry is None else msgspec.json.decode(entry.value, type=Config)

    async def _config_exists(self, call: Call) -> bool:
        return await self._storage.get("config") is not None

    async def _read_config(self, call: Call, args: NoArgs) -> Response:
        config = await self._config()
        if config is None:
            raise NotFound
        return Response(data=config.answer())

    async def _write_config(self, call: Call, args: ConfigArgs) -> Response:
        made = await self._change("config", Config, lambda old: (old or Config()).updated(args))
        return Response(warnings=made.warnings())

    # -- roles

    async def _role(self, name: str) -> Role | None:
        if not name or "/" in name or not name.isprintable() or len(name) > 512:
            return None
        entry = await self._storage.get(f"role/{name}")
        return None if entry is None else msgspec.json.decode(entry.value, type=Role)

    async def _exists(self, call: Call) -> bool:
        return await self._role(call.match.params["name"]) is not None

    async def _list(self, call: Call, args: Page) -> Response:
        return await answer_names(self._storage, "role/", args)

    async def _read(self, call: Call, args: NoArgs) -> Response:
        role = await self._role(call.match.params["name"])
        if role is None:
            raise NotFound
        return Response(data=role.answer())

    async def _write(self, call: Call, args: RoleArgs) -> Response:
        key = f"role/{call.match.params['name']}"
        made = await self._change(key, Role, lambda old: (old or Role(uid=os.urandom(8).hex())).updated(args))
        return Response(warnings=(*made.warnings(), *made.token.warnings(self._mount.max_lease_ttl)))

    async def _delete(self, call: Call, args: NoArgs) -> Response:
        await self._storage.commit([Write(f"role/{call.match.params['name']}", None)])
        return Response()

    async def _change(self, key: str, kind: Any, change: Any) -> Any:
        """Read, change and write back what is stored at ``key``."""
        for _ in range(_ATTEMPTS):
            entry = await self._storage.get(key)
            made = change(None if entry is None else msgspec.json.decode(entry.value, type=kind))
            try:
                await self._storage.commit(
                    [Write(key, msgspec.json.encode(made))], expect={key: entry.revision if entry else 0}
                )
            except Conflict:
                continue
            return made
        raise Conflict("it is being changed by others; try again")
