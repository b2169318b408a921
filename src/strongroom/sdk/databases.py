"""How an engine reaches database servers: it is handed a ``Databases`` and never opens a connection by itself.

An engine gives a piece of work to ``Databases.run``, which lends it a connection of a bounded pool and runs it where
waiting for a network is allowed. So engines run in a server, in an embedded vault with a loop and in one without.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

import msgspec

from strongroom.errors import Unreachable

T = TypeVar("T")


class DatabaseLogin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a database is, as whom to log in, and how many connections may be open. Equal logins share a pool."""

    driver: str  # "postgresql"
    owner: str  # uuid of the mount
    hosts: tuple[tuple[str, int], ...]  # name or address and port; a path is a unix socket's folder
    database: str
    username: str
    password: str
    tls: str = "verify-full"  # "disable" | "prefer" | "require" | "verify-ca" | "verify-full"
    ca_pem: str = ""  # "" = the system's
    max_open: int = 4
    lifetime: float = 0.0  # seconds, 0 = no limit
    connect_seconds: float = 10.0
    statement_seconds: float = 60.0

    def __repr__(self) -> str:
        return f"DatabaseLogin({self.driver}, {self.hosts!r})"


class DatabaseConnection(Protocol):
    """One connection, lent for one piece of work."""

    async def execute(self, statement: str) -> None:
        """Run a statement without parameters. Raises DatabaseFailed, Unreachable."""

    async def rows(self, query: str, *values: Any) -> Sequence[Sequence[Any]]:
        """Run one query with parameters ($1, ...). Raises DatabaseFailed, Unreachable."""

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """All or nothing; inside another one, a savepoint."""


Work = Callable[[DatabaseConnection], Awaitable[T]]


class DatabaseUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user to make or to change. ``expires`` is in seconds since the Unix epoch."""

    name: str
    password: str = ""
    expires: float = 0.0

    def __repr__(self) -> str:
        return f"DatabaseUser({self.name!r})"


class DatabaseKind(Protocol):
    """A kind of database: one file, registered under ``strongroom.databases`` by its plug-in's name.

    ``statements`` are a role's own, () = the kind's usual ones. Names and passwords are put into them so that none
    can be read as anything but a name or a text. All but ``login`` are safe to run twice.
    """

    plugin: str  # "postgresql-database-plugin"
    name_limit: int  # bytes of UTF-8 in a user's name

    def login(self, details: Mapping[str, Any], *, owner: str) -> DatabaseLogin:
        """A connection's settings (``connection_url``, ``username``, ``password``, ...) read.

        Raises:
            BadRequest: they cannot be used; the text quotes none of them.
        """

    def shown(self, details: Mapping[str, Any]) -> str:
        """The ``connection_url`` without its secrets."""

    async def verify(self, connection: DatabaseConnection) -> None:
        """The login works. Raises DatabaseFailed, Unreachable."""

    def check(self, statements: Sequence[str]) -> None:
        """Refuse statements that could never be filled in. Raises BadRequest."""

    async def create(self, connection: DatabaseConnection, user: DatabaseUser, statements: Sequence[str]) -> None:
        """Make a user, or leave nothing of it."""

    async def renew(self, connection: DatabaseConnection, user: DatabaseUser, statements: Sequence[str]) -> None:
        """Let a user log in until ``user.expires``."""

    async def drop(self, connection: DatabaseConnection, name: str, statements: Sequence[str]) -> None:
        """End a user and its sessions; fine if there is none."""


class Databases(Protocol):
    """What ``Mount.databases`` is."""

    def kind(self, plugin: str) -> DatabaseKind | None:
        """The kind of that name, or None."""

    def kinds(self) -> Sequence[str]:
        """The plug-ins' names of all kinds that are installed, sorted."""

    async def run(self, login: DatabaseLogin, work: Work[T]) -> T:
        """``work`` on a connection of ``login``'s pool. ``work`` runs to its end whatever becomes of the caller.

        Raises:
            DatabaseFailed: the server refused a statement.
            Unreachable: no connection within ``connect_seconds``, refused credentials, an unverified certificate.
        """

    def forget(self, owner: str, login: DatabaseLogin | None = None) -> None:
        """Close the pools of a mount (or only ``login``'s), once the work on them has ended."""

    def close(self) -> None:
        """Close everything. A later ``run`` begins anew."""


class NoDatabases:
    """The ``databases`` of a vault that may not reach any."""

    def kind(self, plugin: str) -> DatabaseKind | None:
        return None

    def kinds(self) -> Sequence[str]:
        return ()

    async def run(self, login: DatabaseLogin, work: Work[T]) -> T:
        raise Unreachable("this vault reaches no databases")

    def forget(self, owner: str, login: DatabaseLogin | None = None) -> None:
        """There is nothing to close."""

    def close(self) -> None:
        """There is nothing to close."""
