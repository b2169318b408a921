"""The ``database`` engine: users of a database that end with their lease.

    config/<name>    how to reach a database, and which roles may use it
    role/<name>      which statements make and end a user
    intent/<user>    a user is being made and has no lease yet; what ``finish`` undoes when no lease came of it

A user is made so: the intent is stored, the database makes the user, and one commit stores the lease and removes the
intent. Wherever that ends early, either a lease or the intent remembers the user.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from strongroom.engines.database.entries import (
    Config,
    ConfigArgs,
    Intent,
    Named,
    Role,
    RoleArgs,
)
from strongroom.engines.database.names import default_password, user_name
from strongroom.errors import BadRequest, Conflict, NotFound, VaultError
from strongroom.sdk.databases import DatabaseConnection, DatabaseKind, DatabaseLogin, DatabaseUser
from strongroom.sdk.engine import Call, Mount, Route
from strongroom.sdk.leases import lease_ttls
from strongroom.sdk.listing import Page, answer_names
from strongroom.sdk.request import Lease, Op, Response
from strongroom.sdk.storage import Write

GRACE = 600.0  # seconds until an intent without a lease counts as left behind
_RETRY, _LONGEST = 30.0, 3600.0  # seconds between tries to undo one: doubled each time, up to the second
_TRIES = 16  # of a change that meets other writers
_pack = msgspec.msgpack.Encoder().encode
_config = msgspec.msgpack.Decoder(Config).decode
_role = msgspec.msgpack.Decoder(Role).decode
_intent = msgspec.msgpack.Decoder(Intent).decode


class Database:
    """See the module."""

    def __init__(self, mount: Mount) -> None:
        self._mount, self._storage = mount, mount.storage

    def __repr__(self) -> str:
        return f"Database({self._mount.path!r})"

    def routes(self) -> Sequence[Route]:
        """Connections, roles, credentials."""
        config = {Op.READ: self.read_config, Op.UPDATE: self.write_config, Op.DELETE: self.delete_config}
        role = {Op.READ: self.read_role, Op.UPDATE: self.write_role, Op.DELETE: self.delete_role}
        return (
            Route(pattern="config/", args=Page, ops={Op.LIST: self.list_configs}, help="The names of the connections."),
            Route(
                pattern="config/{name}",
                args=ConfigArgs,
                ops=config,
                exists=self._config_exists,
                help="How a database is reached. The password is never shown.",
            ),
            Route(
                pattern="reset/{name}",
                args=Named,
                ops={Op.UPDATE: self.reset},
                help="Close connections and begin anew.",
            ),
            Route(pattern="roles/", args=Page, ops={Op.LIST: self.list_roles}, help="The names of the roles."),
            Route(
                pattern="roles/{name}",
                args=RoleArgs,
                ops=role,
                exists=self._role_exists,
                help="How the users of a role are made and ended, and how long they live.",
            ),
            Route(
                pattern="creds/{name}",
                args=Named,
                ops={Op.READ: self.creds},
                facts=self._creds_facts,
                help="Credentials of a new user, which end with their lease.",
            ),
        )

    # -- connections ---------------------------------------------------------------------------------------------

    async def _find_config(self, name: str) -> tuple[Config, int] | None:
        stored = await self._storage.get("config/" + name)
        return None if stored is None else (_config(stored.value), stored.revision)

    async def _config_exists(self, call: Call) -> bool:
        return await self._find_config(call.match.params["name"]) is not None

    def _kind(self, config: Config) -> DatabaseKind:
        kind = self._mount.databases.kind(config.plugin)
        if kind is None:
            raise BadRequest("unknown database plugin; see plugin_name")
        return kind

    def _login(self, config: Config) -> DatabaseLogin:
        return self._kind(config).login(config.details, owner=self._mount.uuid)

    async def list_configs(self, call: Call, args: Page) -> Response:
        return await answer_names(self._storage, "config/", args)

    async def read_config(self, call: Call, args: ConfigArgs) -> Response:
        found = await self._find_config(args.name)
        if found is None:
            raise NotFound
        return Response(data=found[0].answer(self._kind(found[0]).shown(found[0].details)))

    async def write_config(self, call: Call, args: ConfigArgs) -> Response:
        found = await self._find_config(args.name)
        config = (found[0] if found else Config()).updated(args)
        if found is None and not config.plugin:
            raise BadRequest("plugin_name is needed")
        kind, login = self._kind(config), self._login(config)
        if config.verify_connection:
            try:
                await self._mount.databases.run(login, kind.verify)
            except VaultError as error:
                raise BadRequest(f"error creating database object: error verifying connection: {error}") from None
        revision = found[1] if found else 0
        await self._storage.commit(
            [Write("config/" + args.name, _pack(config))], expect={"config/" + args.name: revision}
        )
        if found:
            self._forget(found[0])
        return Response()

    def _forget(self, config: Config) -> None:
        with contextlib.suppress(BadRequest):  # its kind is not installed any more
            self._mount.databases.forget(self._mount.uuid, self._login(config))

    async def delete_config(self, call: Call, args: ConfigArgs) -> Response:
        found = await self._find_config(args.name)
        if found is not None:
            await self._storage.commit([Write("config/" + args.name, None)])
            self._forget(found[0])
        return Response()

    async def reset(self, call: Call, args: Named) -> Response:
        found = await self._find_config(args.name)
        if found is None:
            raise BadRequest("cannot find database configuration")
        self._forget(found[0])
        return Response()

    def close(self) -> None:
        """Let go of all connections."""
        self._mount.databases.forget(self._mount.uuid)

    # -- roles ---------------------------------------------------------------------------------------------------

    async def _find_role(self, name: str) -> tuple[Role, int] | None:
        stored = await self._storage.get("role/" + name)
        return None if stored is None else (_role(stored.value), stored.revision)

    async def _role_exists(self, call: Call) -> bool:
        return await self._find_role(call.match.params["name"]) is not None

    async def list_roles(self, call: Call, args: Page) -> Response:
        return await answer_names(self._storage, "role/", args)

    async def read_role(self, call: Call, args: RoleArgs) -> Response:
        found = await self._find_role(args.name)
        if found is None:
            raise NotFound
        return Response(data=found[0].answer())

    async def write_role(self, call: Call, args: RoleArgs) -> Response:
        key = "role/" + args.name
        for _ in range(_TRIES):
            found = await self._find_role(args.name)
            role = (found[0] if found else Role()).updated(args, call.request.data)
            await self._check(role)
            with contextlib.suppress(Conflict):
                await self._storage.commit([Write(key, _pack(role))], expect={key: found[1] if found else 0})
                return Response()
        raise Conflict("the role changes too quickly")

    async def _check(self, role: Role) -> None:
        """A role may come before its connection; statements are checked once the kind is known."""
        found = await self._find_config(role.db_name)
        kind = self._mount.databases.kind(found[0].plugin if found else Config().plugin)
        if kind is not None:
            for statements in (role.creation_statements, role.revocation_statements):
                kind.check(statements)
            for statements in (role.renew_statements, role.rollback_statements):
                kind.check(statements)

    async def delete_role(self, call: Call, args: RoleArgs) -> Response:
        await self._storage.commit([Write("role/" + args.name, None)])
        return Response()

    # -- credentials ---------------------------------------------------------------------------------------------

    async def _creds_facts(self, call: Call, args: Named) -> Mapping[str, Any]:
        """What policies see: the TTL that the lease would get, in seconds."""
        found = await self._find_role(args.name)
        if found is None:
            return {}
        return {"ttl": lease_ttls(self._mount, call.caller, found[0].default_ttl, found[0].max_ttl)[0]}

    async def creds(self, call: Call, args: Named) -> Response:
        found = await self._find_role(args.name)
        if found is None:
            raise BadRequest(f"unknown role: {args.name}")
        role = found[0]
        stored = await self._find_config(role.db_name)
        if stored is None:
            raise BadRequest("the role's db_name is no connection")
        config = stored[0]
        if not config.allows(args.name):
            raise BadRequest(f'"{args.name}" is not an allowed role')
        kind, login = self._kind(config), self._login(config)
        ttl, max_ttl = lease_ttls(self._mount, call.caller, role.default_ttl, role.max_ttl)
        if ttl <= 0:
            raise BadRequest("the lease would be over already")
        now = self._mount.now()
        shown = call.caller.display_name if call.caller is not None else ""
        password = await self._mount.password(config.password_policy) if config.password_policy else default_password()
        user = DatabaseUser(
            name=user_name(shown, args.name, now, limit=kind.name_limit), password=password, expires=now + ttl
        )
        key, revision = await self._note(role, user, now)

        async def create(connection: DatabaseConnection) -> None:
            await kind.create(connection, user, role.creation_statements)

        try:
            await self._mount.databases.run(login, create)
        except VaultError:
            await self._undo(key, revision)
            raise
        private = {"db": role.db_name, "role": args.name, "user": user.name, "revoke": list(role.revocation_statements)}
        return Response(
            data={"password": password, "username": user.name},
            lease=Lease(ttl=ttl, max_ttl=max_ttl, private=private, intent=(key, revision)),
        )

    async def _note(self, role: Role, user: DatabaseUser, now: float) -> tuple[str, int]:
        """Store the intent to make ``user``; its key and revision."""
        key = "intent/" + user.name
        statements = role.rollback_statements or role.revocation_statements
        intent = Intent(db_name=role.db_name, user=user.name, statements=statements, made=now, due=now + GRACE)
        await self._storage.commit([Write(key, _pack(intent))], expect={key: 0})
        stored = await self._storage.get(key)
        if stored is None:
            raise Conflict("the intent is gone")
        return key, stored.revision

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """Drop the user of a lease. Raises VaultError when the database did not."""
        name = lease_private.get("user")
        if isinstance(name, str) and name:
            await self._drop(str(lease_private.get("db", "")), name, tuple(lease_private.get("revoke", ())))

    async def _drop(self, db_name: str, name: str, statements: Sequence[str]) -> None:
        found = await self._find_config(db_name)
        if found is None:
            raise VaultError("the connection that made this user is gone")
        kind = self._kind(found[0])

        async def drop(connection: DatabaseConnection) -> None:
            await kind.drop(connection, name, statements)

        await self._mount.databases.run(self._login(found[0]), drop)

    async def renew_lease(self, lease_private: Mapping[str, Any], expires: float) -> None:
        """Let the user of a lease log in until ``expires``. Raises VaultError: no role, or the database refused."""
        role = await self._find_role(str(lease_private.get("role", "")))
        found = await self._find_config(str(lease_private.get("db", "")))
        if role is None or found is None:
            raise BadRequest("the role of this lease is gone, so it cannot be renewed")
        kind = self._kind(found[0])
        user = DatabaseUser(name=str(lease_private["user"]), expires=expires)

        async def renew(connection: DatabaseConnection) -> None:
            await kind.renew(connection, user, role[0].renew_statements)

        await self._mount.databases.run(self._login(found[0]), renew)

    # -- what was left behind ------------------------------------------------------------------------------------

    async def finish(self) -> int:
        """Drop users that were made and got no lease. A few each time; a failure is tried again later."""
        now, done = self._mount.now(), 0
        for name, stored in await self._storage.scan("intent/", limit=100):
            intent = _intent(stored.value)
            if intent.due <= now and done < 5:
                await self._undo("intent/" + name, stored.revision)
                done += 1
        return 0  # the failures among them must not be asked for again at once

    async def _undo(self, key: str, revision: int) -> None:
        """Drop the user of an intent and forget the intent; if that fails, note when to try again."""
        stored = await self._storage.get(key)
        if stored is None or stored.revision != revision:
            return
        intent = _intent(stored.value)
        later = msgspec.structs.replace(
            intent, tries=intent.tries + 1, due=self._mount.now() + min(_RETRY * 2**intent.tries, _LONGEST)
        )
        # From here on no lease can come of it any more, for its commit expects the revision that it saw.
        try:
            await self._storage.commit([Write(key, _pack(later))], expect={key: revision})
        except Conflict:
            return
        with contextlib.suppress(VaultError):
            await self._drop(intent.db_name, intent.user, intent.statements)
            await self._storage.commit([Write(key, None)])


__all__ = ["GRACE", "Database"]
