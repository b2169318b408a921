"""``Databases`` over asyncpg: bounded pools in an event loop of their own, in a thread of its own.

One way for a server, an embedded vault with a loop and one without: the caller waits on a ``Completion``, which all of
them know. The thread starts with the first work and ends with ``close``; a pool that nobody used for ``IDLE`` seconds
is closed.
"""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from strongroom.errors import DatabaseFailed, Unavailable, Unreachable, VaultError
from strongroom.sdk.databases import DatabaseKind, DatabaseLogin, Work
from strongroom.storage.completion import Completion, settle
from strongroom.vault import plugins

T = TypeVar("T")
IDLE = 60.0  # seconds
GRACE = 2.0  # seconds that work gets to end when everything is closed
MAX_WAITING = 256  # pieces of work that wait for a connection of one pool; more are refused


class _Outcome(Completion):
    """A completion that brings a value."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        super().__init__()
        self.value: Any = None


class AsyncpgConnection:
    """See ``sdk.databases.DatabaseConnection``."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def execute(self, statement: str) -> None:
        with _told():
            await self._inner.execute(statement)

    async def rows(self, query: str, *values: Any) -> Sequence[Sequence[Any]]:
        with _told():
            return [tuple(row) for row in await self._inner.fetch(query, *values)]

    def transaction(self) -> Any:
        return self._inner.transaction()


class _Told:
    """Turns the driver's errors into the house's.

    Neither its text nor the server's is passed on: they may quote a statement, and with it a password.
    """

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, VaultError) or not isinstance(error, Exception):
            return
        raise _translated(error) from None


def _told() -> _Told:
    return _Told()


def _translated(error: Exception) -> VaultError:
    import asyncpg

    name = type(error).__name__
    state = str(getattr(error, "sqlstate", None) or "")
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return Unreachable(f"the database refused the login ({name}, SQLSTATE {state})")
    if isinstance(error, asyncpg.PostgresConnectionError | OSError | TimeoutError | ssl.SSLError) or state[:2] == "57":
        return Unreachable(f"the database cannot be reached ({name})")
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return Unreachable(f"the server has no such database ({name}, SQLSTATE {state})")
    if isinstance(error, asyncpg.TooManyConnectionsError | asyncpg.CannotConnectNowError):
        return Unreachable(f"the database takes no more connections ({name})")
    if isinstance(error, asyncpg.PostgresError):
        return DatabaseFailed(f"the database refused a statement ({name}, SQLSTATE {state})", state=state)
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        return Unreachable(f"the connection to the database cannot be used ({name})")
    return DatabaseFailed(f"the work on the database failed ({name})")


class _Pool:
    """One login's connections. Lives in the loop's thread."""

    def __init__(self, login: DatabaseLogin, loop: asyncio.AbstractEventLoop) -> None:
        self.login, self._loop = login, loop
        self._inner: Any = None
        self._opening = asyncio.Lock()
        self.working = 0
        self.used = loop.time()
        self._free = asyncio.Event()
        self._free.set()

    async def _pool(self) -> Any:
        async with self._opening:
            if self._inner is None:
                self._inner = await asyncio.wait_for(self._open(), self.login.connect_seconds)
            return self._inner

    async def _open(self) -> Any:
        import asyncpg

        login = self.login
        return await asyncpg.create_pool(
            host=[host for host, _ in login.hosts],
            port=[port for _, port in login.hosts],
            user=login.username,
            password=login.password,
            database=login.database,
            ssl=_tls(login),
            min_size=0,
            max_size=login.max_open,
            max_inactive_connection_lifetime=min(login.lifetime or IDLE, IDLE),
            timeout=login.connect_seconds,
            command_timeout=login.statement_seconds,
            statement_cache_size=0,
            # Literals are escaped by the standard's rule, so a backslash must mean itself.
            server_settings={"application_name": "strongroom", "standard_conforming_strings": "on"},
        )

    async def run(self, work: Callable[[AsyncpgConnection], Awaitable[T]]) -> T:
        if self.working >= MAX_WAITING:
            raise Unavailable("too much work waits for this database")
        self.working += 1
        self._free.clear()
        try:
            with _told():
                pool = await self._pool()
                # Waiting for a free connection and opening one share the limit.
                connection = await pool.acquire(timeout=self.login.connect_seconds)
            try:
                with _told():
                    return await work(AsyncpgConnection(connection))
            finally:
                with contextlib.suppress(Exception):  # a broken connection is dropped by the pool
                    await pool.release(connection, timeout=5)
        finally:
            self.working -= 1
            self.used = self._loop.time()
            if not self.working:
                self._free.set()

    async def close_when_done(self) -> None:
        await self._free.wait()
        await self.close()

    async def close(self) -> None:
        if self._inner is not None:
            inner, self._inner = self._inner, None
            try:
                await asyncio.wait_for(inner.close(), 5)
            except Exception:
                inner.terminate()


def _tls(login: DatabaseLogin) -> Any:
    """What asyncpg wants for ``ssl``. Only "verify-ca" and "verify-full" look at the certificate, as libpq has it."""
    if login.tls in ("disable", "prefer"):
        return login.tls
    context = ssl.create_default_context(cadata=login.ca_pem or None)
    if login.tls != "verify-full":
        context.check_hostname = False
    if login.tls == "require" and not login.ca_pem:
        context.verify_mode = ssl.CERT_NONE
    return context


class _Side:
    """The thread, its loop and its pools."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.pools: dict[DatabaseLogin, _Pool] = {}
        self.thread = threading.Thread(target=self._main, name="strongroom-databases", daemon=True)
        self.thread.start()
        self.loop.call_soon_threadsafe(self._sweep)

    def work(self, login: DatabaseLogin, work: Work[Any], outcome: _Outcome) -> None:
        pool = self.pools.get(login)
        if pool is None:
            pool = self.pools[login] = _Pool(login, self.loop)
        _keep(self.loop.create_task(_settled(pool.run(work), outcome)))

    def drop(self, owner: str, login: DatabaseLogin | None) -> None:
        for key, pool in list(self.pools.items()):
            if key.owner == owner and login in (None, key):
                del self.pools[key]
                _keep(self.loop.create_task(pool.close_when_done()))

    def _sweep(self) -> None:
        for key, pool in list(self.pools.items()):
            if not pool.working and self.loop.time() - pool.used > IDLE:
                del self.pools[key]
                _keep(self.loop.create_task(pool.close()))
        self.loop.call_later(IDLE / 4, self._sweep)

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            self.loop.run_until_complete(self._finish())
        finally:
            self.loop.close()

    async def _finish(self) -> None:
        """Let what still runs end, for ``GRACE`` seconds, then close everything."""
        running = asyncio.all_tasks() - {asyncio.current_task()}
        if running:
            _, late = await asyncio.wait(running, timeout=GRACE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for pool in self.pools.values():
            await pool.close()


class AsyncpgDatabases:
    """See the module and ``sdk.databases.Databases``. May be called from any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._side: _Side | None = None
        self._kinds: dict[str, DatabaseKind] = {}

    def __repr__(self) -> str:
        return f"AsyncpgDatabases({'idle' if self._side is None else 'running'})"

    def kind(self, plugin: str) -> DatabaseKind | None:
        """The kind that an entry point of ``strongroom.databases`` brings, or None."""
        if plugin not in self._kinds:
            if plugin not in plugins.names("databases"):
                return None
            self._kinds[plugin] = plugins.load("databases", plugin)()
        return self._kinds[plugin]

    def kinds(self) -> Sequence[str]:
        """See ``Databases.kinds``."""
        return plugins.names("databases")

    async def run(self, login: DatabaseLogin, work: Work[T]) -> T:
        """See ``Databases.run``."""
        outcome = _Outcome()
        with self._guard:
            side = self._side = self._side or _Side()
            side.loop.call_soon_threadsafe(side.work, login, work, outcome)
        await outcome
        result: T = outcome.value
        return result

    def forget(self, owner: str, login: DatabaseLogin | None = None) -> None:
        """See ``Databases.forget``."""
        with self._guard:
            if self._side is not None:
                self._side.loop.call_soon_threadsafe(self._side.drop, owner, login)

    def close(self) -> None:
        """See ``Databases.close``. Waits until the thread has ended."""
        with self._guard:
            side, self._side = self._side, None
            if side is not None:
                side.loop.call_soon_threadsafe(side.loop.stop)
        if side is not None and side.thread is not threading.current_thread():
            side.thread.join()


_tasks: set[asyncio.Task[Any]] = set()


def _keep(task: "asyncio.Task[Any]") -> None:
    """A task that nobody holds may be collected while it waits."""
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _settled(work: Awaitable[Any], outcome: _Outcome) -> None:
    error: BaseException | None = None
    try:
        outcome.value = await work
    except asyncio.CancelledError:
        error = Unavailable("the vault was closed during work on a database")
    except BaseException as raised:
        error = raised
    settle([(outcome, error)])
