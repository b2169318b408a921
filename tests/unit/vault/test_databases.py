"""The pools behind ``Mount.databases``: bounded, closed when idle or forgotten, and no caller's to interrupt."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from postgres_server import PASSWORD, PostgresServer, folder_of_programs
from strongroom.errors import DatabaseFailed, Unavailable, Unreachable
from strongroom.sdk.databases import DatabaseConnection, DatabaseLogin, NoDatabases
from strongroom.storage.completion import drive
from strongroom.vault import databases as module
from strongroom.vault.databases import AsyncpgDatabases


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    if folder_of_programs() is None:
        pytest.skip("no PostgreSQL server is installed (package postgresql)")
    with PostgresServer() as server:
        yield server


@pytest.fixture
def databases() -> Iterator[AsyncpgDatabases]:
    databases = AsyncpgDatabases()
    yield databases
    databases.close()


def login(postgres: PostgresServer, owner: str = "one", **more: object) -> DatabaseLogin:
    where = {"hosts": (("127.0.0.1", postgres.port),), "database": "postgres", "tls": "disable", **more}
    return DatabaseLogin(driver="postgresql", owner=owner, username="postgres", password=PASSWORD, **where)  # type: ignore[arg-type]


async def one(connection: DatabaseConnection) -> int:
    return int((await connection.rows("SELECT 1"))[0][0])


def connections(postgres: PostgresServer) -> int:
    return int(postgres.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'strongroom'")[0][0])


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_works_without_a_loop_and_ends_its_thread(postgres: PostgresServer):
    before, databases = set(threading.enumerate()), AsyncpgDatabases()
    assert drive(databases.run(login(postgres), one)) == 1
    assert connections(postgres) == 1
    (thread,) = set(threading.enumerate()) - before
    databases.close()
    until(lambda: connections(postgres) == 0)
    thread.join(5)
    assert not thread.is_alive()
    databases.close()
    assert drive(databases.run(login(postgres), one)) == 1  # unsealed again
    databases.close()


def test_forgotten_pools_are_closed_and_only_those(postgres: PostgresServer, databases: AsyncpgDatabases):
    for owner in ("one", "two"):
        drive(databases.run(login(postgres, owner), one))
    assert connections(postgres) == 2
    databases.forget("one")
    until(lambda: connections(postgres) == 1)
    databases.forget("two", login(postgres, "two", max_open=2))  # another login of that mount
    drive(databases.run(login(postgres, "two"), one))
    assert connections(postgres) == 1
    databases.forget("two", login(postgres, "two"))
    until(lambda: connections(postgres) == 0)


def test_idle_connections_are_closed(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "IDLE", 0.2)
    databases = AsyncpgDatabases()
    drive(databases.run(login(postgres), one))
    until(lambda: connections(postgres) == 0)
    assert drive(databases.run(login(postgres), one)) == 1
    databases.close()


async def test_never_more_connections_than_allowed(postgres: PostgresServer, databases: AsyncpgDatabases):
    most = 0

    async def work(connection: DatabaseConnection) -> None:
        nonlocal most
        query = "SELECT count(*), pg_sleep(0.02) FROM pg_stat_activity WHERE application_name = 'strongroom'"
        most = max(most, (await connection.rows(query))[0][0])

    await asyncio.gather(*(databases.run(login(postgres, max_open=2), work) for _ in range(20)))
    assert most == 2


async def test_too_much_waiting_work_is_refused(
    postgres: PostgresServer, databases: AsyncpgDatabases, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    works = [databases.run(login(postgres), one) for _ in range(10)]
    outcomes = await asyncio.gather(*works, return_exceptions=True)
    assert outcomes.count(1) >= 3 and {type(o) for o in outcomes if o != 1} == {Unavailable}
    assert await databases.run(login(postgres), one) == 1


async def test_work_goes_on_when_its_caller_is_gone(postgres: PostgresServer, databases: AsyncpgDatabases):
    begun, done = threading.Event(), threading.Event()

    async def work(connection: DatabaseConnection) -> None:
        begun.set()
        await connection.rows("SELECT pg_sleep(0.2)")
        done.set()

    task = asyncio.get_running_loop().create_task(databases.run(login(postgres), work))
    while not begun.is_set():  # noqa: ASYNC110 - polled: it is another thread's event
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(done.wait, 10)


def test_errors_say_what_kind_and_nothing_else(postgres: PostgresServer, databases: AsyncpgDatabases):
    async def wrong(connection: DatabaseConnection) -> None:
        await connection.execute("SELECT 'n33dle'::int")

    with pytest.raises(DatabaseFailed) as failed:
        drive(databases.run(login(postgres), wrong))
    assert failed.value.state == "22P02" and "n33dle" not in str(failed.value)
    with pytest.raises(Unreachable):
        drive(databases.run(login(postgres, database="none"), one))
    with pytest.raises(Unreachable):
        drive(NoDatabases().run(login(postgres), one))


def test_a_statement_that_takes_too_long_is_given_up(postgres: PostgresServer, databases: AsyncpgDatabases):
    async def slow(connection: DatabaseConnection) -> None:
        await connection.rows("SELECT pg_sleep(30)")

    with pytest.raises(Unreachable):
        drive(databases.run(login(postgres, statement_seconds=0.2), slow))
    assert drive(databases.run(login(postgres, statement_seconds=0.2), one)) == 1
