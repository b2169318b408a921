"""What every kind of database owes the house. A kind runs it against a real server:

class TestMine(DatabaseContract):
    @pytest.fixture
    def bench(self, server): return Bench(kind=Mine(), login=..., create=("CREATE ...",), logs_in=..., users=...)
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest

from strongroom.errors import BadRequest, VaultError
from strongroom.sdk.databases import DatabaseConnection, DatabaseKind, DatabaseLogin, DatabaseUser
from strongroom.storage.completion import drive
from strongroom.vault.databases import AsyncpgDatabases

HOSTILE = [
    "plain",
    "a b",
    'x"; DROP TABLE canary; --',
    "x'; DROP TABLE canary; --",
    "back\\slash",
    "$$x$$",
    "𝔵é",
    "{{name}}",
]
NEEDLE = "n33dle-canary-5ecret"


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """A server to run the contract on."""

    kind: DatabaseKind
    details: dict[str, object]  # of a connection as its administrator
    create: Sequence[str]  # statements that make a user who may log in
    logs_in: Callable[[str, str], bool]
    users: Callable[[], set[str]]

    @property
    def login(self) -> DatabaseLogin:
        return self.kind.login(self.details, owner="contract")


class DatabaseContract:
    """See the module."""

    @pytest.fixture
    def databases(self) -> Iterator[AsyncpgDatabases]:
        databases = AsyncpgDatabases()
        with contextlib.closing(databases):
            yield databases

    def do(
        self, bench: Bench, databases: AsyncpgDatabases, step: str, user: DatabaseUser, how: Sequence[str] = ()
    ) -> None:
        async def work(connection: DatabaseConnection) -> None:
            if step == "drop":
                await bench.kind.drop(connection, user.name, how)
            else:
                await getattr(bench.kind, step)(connection, user, how)

        drive(databases.run(bench.login, work))

    def test_it_is_found_by_its_name(self, bench: Bench, databases: AsyncpgDatabases) -> None:
        assert type(databases.kind(bench.kind.plugin)) is type(bench.kind)
        assert databases.kind("no-such-plugin") is None
        assert bench.kind.name_limit >= 32

    def test_the_login_works(self, bench: Bench, databases: AsyncpgDatabases) -> None:
        drive(databases.run(bench.login, bench.kind.verify))

    @pytest.mark.parametrize("text", HOSTILE)
    def test_no_name_and_no_password_is_read_as_anything_else(
        self, bench: Bench, databases: AsyncpgDatabases, text: str
    ) -> None:
        before = bench.users()
        user = DatabaseUser(name=text, password="p" + text, expires=time.time() + 3600)
        self.do(bench, databases, "create", user, bench.create)
        assert bench.users() == before | {text}
        assert bench.logs_in(text, user.password) and not bench.logs_in(text, "p")
        self.do(bench, databases, "renew", msgspec.structs.replace(user, password="", expires=time.time() + 7200))
        assert bench.logs_in(text, user.password)
        for _ in range(2):  # safe to repeat
            self.do(bench, databases, "drop", user)
        assert bench.users() == before and not bench.logs_in(text, user.password)

    def test_a_name_of_full_length(self, bench: Bench, databases: AsyncpgDatabases) -> None:
        name = "n" * bench.kind.name_limit
        self.do(
            bench, databases, "create", DatabaseUser(name=name, password="p", expires=time.time() + 60), bench.create
        )
        assert name in bench.users()
        self.do(bench, databases, "drop", DatabaseUser(name=name))
        assert name not in bench.users()

    def test_a_time_that_is_over_lets_nobody_in(self, bench: Bench, databases: AsyncpgDatabases) -> None:
        user = DatabaseUser(name="late", password="p", expires=time.time() - 1)
        self.do(bench, databases, "create", user, bench.create)
        assert not bench.logs_in("late", "p")
        self.do(bench, databases, "drop", user)

    def test_a_failure_in_the_middle_leaves_nothing(self, bench: Bench, databases: AsyncpgDatabases) -> None:
        before = bench.users()
        with pytest.raises(VaultError):
            self.do(
                bench,
                databases,
                "create",
                DatabaseUser(name="half", password=NEEDLE, expires=time.time() + 60),
                [*bench.create, "this is no statement"],
            )
        assert bench.users() == before

    @pytest.mark.parametrize(
        "statement", ["no '{{password}}' statement", "SELECT {{password}}::int", "SELECT '{{password}}'::date"]
    )
    def test_no_error_tells_a_password(self, bench: Bench, databases: AsyncpgDatabases, statement: str) -> None:
        user = DatabaseUser(name="x", password=NEEDLE, expires=time.time() + 60)
        with pytest.raises(VaultError) as caught:
            self.do(bench, databases, "create", user, [statement])
        error: BaseException | None = caught.value
        while error is not None:
            assert NEEDLE not in f"{error} {error!r} {error.args}"
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)

    def test_nothing_shows_the_administrators_password(self, bench: Bench) -> None:
        login = bench.login
        assert login.password and login.password not in repr(login) + bench.kind.shown(bench.details)

    @pytest.mark.parametrize(
        "url", ["", "x", "mysql://a", "://", "{{username}}", "postgresql://h:99999/x", "postgresql://a:b@h:"]
    )
    def test_a_useless_url_is_refused_without_quoting_it(self, bench: Bench, url: str) -> None:
        with pytest.raises(BadRequest) as caught:
            bench.kind.login({**bench.details, "connection_url": f"{url}{NEEDLE}" if url else ""}, owner="x")
        assert NEEDLE not in str(caught.value)


__all__ = ["Bench", "DatabaseContract"]
