"""The kind of database behind ``postgresql-database-plugin``."""

import datetime
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from strongroom.engines.database.sql import check, filled
from strongroom.errors import BadRequest, DatabaseFailed
from strongroom.sdk.databases import DatabaseConnection, DatabaseLogin, DatabaseUser

_PORT = 5432
_MODES = frozenset({"disable", "prefer", "require", "verify-ca", "verify-full"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_QUERY = frozenset({"sslmode", "host", "connect_timeout", "dbname", "application_name"})
_NOT_ALLOWED = "42501"  # insufficient_privilege
_RENEW = ("ALTER ROLE {{name}} VALID UNTIL {{expiration}}",)

# What a role was granted in this database, and on it, as statements that take it back. The server quotes every name.
_GRANTS = """
SELECT CASE d.classid::oid
  WHEN 'pg_class'::regclass THEN (SELECT format('REVOKE ALL PRIVILEGES ON %s %s FROM %I',
      CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass, r.rolname)
    FROM pg_class c WHERE c.oid = d.objid)
  WHEN 'pg_namespace'::regclass THEN (SELECT format('REVOKE ALL PRIVILEGES ON SCHEMA %I FROM %I', n.nspname, r.rolname)
    FROM pg_namespace n WHERE n.oid = d.objid)
  WHEN 'pg_database'::regclass THEN (SELECT format('REVOKE ALL PRIVILEGES ON DATABASE %I FROM %I', b.datname, r.rolname)
    FROM pg_database b WHERE b.oid = d.objid)
  WHEN 'pg_proc'::regclass THEN format('REVOKE ALL PRIVILEGES ON ROUTINE %s FROM %I', d.objid::regprocedure, r.rolname)
  WHEN 'pg_type'::regclass THEN format('REVOKE ALL PRIVILEGES ON TYPE %s FROM %I', d.objid::regtype, r.rolname)
  WHEN 'pg_language'::regclass THEN (SELECT format('REVOKE ALL PRIVILEGES ON LANGUAGE %I FROM %I', l.lanname, r.rolname)
    FROM pg_language l WHERE l.oid = d.objid)
  WHEN 'pg_largeobject'::regclass THEN
    format('REVOKE ALL PRIVILEGES ON LARGE OBJECT %s FROM %I', d.objid, r.rolname)
  END
FROM pg_shdepend d JOIN pg_roles r ON d.refobjid = r.oid
WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype = 'a' AND r.rolname = $1
  AND (d.dbid = 0 OR d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


class PostgreSQL:
    """See ``sdk.databases.DatabaseKind``."""

    plugin = "postgresql-database-plugin"
    name_limit = 63  # NAMEDATALEN - 1

    def login(self, details: Mapping[str, Any], *, owner: str) -> DatabaseLogin:
        """Settings of a connection. Without ``sslmode`` the server's certificate must be right (``verify-full``),
        but on this host, where TLS is used if the server has it (threat CVE-2021-27400)."""
        hosts, database, username, password, query = _parsed(details)
        local = all(host in _LOOPBACK or host.startswith("/") for host, _ in hosts)
        tls = query.get("sslmode", "prefer" if local else "verify-full")
        if tls not in _MODES:
            raise BadRequest(f"sslmode must be one of {', '.join(sorted(_MODES))}")
        return DatabaseLogin(
            driver="postgresql",
            owner=owner,
            hosts=hosts,
            database=database,
            username=username,
            password=password,
            tls="disable" if all(host.startswith("/") for host, _ in hosts) else tls,
            ca_pem=str(details.get("tls_ca", "")),
            max_open=int(details.get("max_open_connections", 0)) or 4,
            lifetime=float(details.get("max_connection_lifetime", 0)),
            connect_seconds=_seconds(query.get("connect_timeout", "10")),
        )

    def shown(self, details: Mapping[str, Any]) -> str:
        """The ``connection_url``; a password in it becomes ``*****``."""
        return _masked(str(details.get("connection_url", "")))

    async def verify(self, connection: DatabaseConnection) -> None:
        """See DatabaseKind."""
        await connection.rows("SELECT 1")

    def check(self, statements: Sequence[str]) -> None:
        """See DatabaseKind."""
        check(statements)

    async def create(self, connection: DatabaseConnection, user: DatabaseUser, statements: Sequence[str]) -> None:
        """See DatabaseKind. All statements are one transaction."""
        if not statements:
            raise BadRequest("the role has no creation_statements")
        await _run(connection, filled(statements, _values(user)))

    async def renew(self, connection: DatabaseConnection, user: DatabaseUser, statements: Sequence[str]) -> None:
        """See DatabaseKind."""
        await _run(connection, filled(statements or _RENEW, _values(user)))

    async def drop(self, connection: DatabaseConnection, name: str, statements: Sequence[str]) -> None:
        """See DatabaseKind. Without statements: no new logins, sessions ended, grants taken back, role dropped.

        A role that owns objects is not dropped: its statements must say what becomes of them.
        """
        if not await connection.rows("SELECT 1 FROM pg_roles WHERE rolname = $1", name):
            return
        if statements:
            await _run(connection, filled(statements, _values(DatabaseUser(name=name))))
            return
        await _run(connection, filled(("ALTER ROLE {{name}} NOLOGIN",), {"name": name}))
        try:
            await connection.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", name)
        except DatabaseFailed as error:
            if error.state != _NOT_ALLOWED:  # not every administrator may; the role goes all the same
                raise
        async with connection.transaction():
            for (statement,) in await connection.rows(_GRANTS, name):
                if statement:
                    await connection.execute(statement)
            for statement in filled(("DROP ROLE IF EXISTS {{name}}",), {"name": name}):
                await connection.execute(statement)


async def _run(connection: DatabaseConnection, statements: Sequence[str]) -> None:
    async with connection.transaction():
        for statement in statements:
            await connection.execute(statement)


def _values(user: DatabaseUser) -> dict[str, str]:
    values = {"name": user.name, "username": user.name}
    if user.password:
        values["password"] = user.password
    if user.expires:
        at = datetime.datetime.fromtimestamp(int(user.expires), datetime.UTC)
        values["expiration"] = at.strftime("%Y-%m-%d %H:%M:%S+0000")
    return values


def _masked(url: str) -> str:
    head, mark, rest = url.partition("://")
    user_info, at, place = rest.rpartition("@")
    name, colon, password = user_info.partition(":")
    if mark and at and colon and password and password != "{{password}}":
        return f"{head}://{name}:*****@{place}"
    return url


def _parsed(details: Mapping[str, Any]) -> tuple[tuple[tuple[str, int], ...], str, str, str, Mapping[str, str]]:
    url = str(details.get("connection_url", ""))
    if not url:
        raise BadRequest("connection_url cannot be empty")
    head, mark, rest = url.partition("://")
    if not mark or head not in ("postgresql", "postgres"):
        raise BadRequest("connection_url must begin with postgresql://")
    place, _, query_text = rest.partition("?")
    query = dict(urllib.parse.parse_qsl(query_text))
    if set(query) - _QUERY:
        raise BadRequest(f"connection_url takes no parameters but {', '.join(sorted(_QUERY))}")
    authority, _, path = place.partition("/")
    user_info, _, host_text = authority.rpartition("@")
    name, _, password = user_info.partition(":")
    given = {"{{username}}": str(details.get("username", "")), "{{password}}": str(details.get("password", ""))}
    username = given.get(name) if name in given else urllib.parse.unquote(name) or given["{{username}}"]
    secret = given.get(password) if password in given else urllib.parse.unquote(password) or given["{{password}}"]
    if not username:
        raise BadRequest("connection_url or username must name a user")
    if any("\0" in text for text in (username, secret or "", path)):
        raise BadRequest("connection_url must not hold NUL")
    hosts = tuple(_host(text) for text in (host_text or query.get("host", "localhost")).split(","))
    return hosts, urllib.parse.unquote(path) or query.get("dbname", "") or username, username, secret or "", query


def _host(text: str) -> tuple[str, int]:
    text = urllib.parse.unquote(text)
    if text.startswith("/"):
        return text, _PORT
    name, colon, port = text.rpartition(":")
    if text.startswith("[") and text.endswith("]"):
        name, colon, port = text, "", ""
    elif not colon:
        name, port = text, ""
    if (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)) or not name.strip("[]"):
        raise BadRequest("connection_url has no usable host and port")
    return name.strip("[]"), int(port or _PORT)


def _seconds(text: str) -> float:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) <= 600):
        raise BadRequest("connect_timeout must be between 1 and 600 seconds")
    return float(text)
