"""A store and databases whose work suspends, and a driver that ends a request where it waits, as a door does.

outcome = run_until(world.core.handle(request), waits, at=2, how="late", error=CancelledError())

What was begun when the request ended comes to one of three ends: "lost", "kept" (done before), or "late" (done after
the request noticed, as by a writer that had it in its queue).
"""

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from typing import Any

from strongroom.engines.database.postgresql import PostgreSQL
from strongroom.sdk.databases import DatabaseConnection, DatabaseUser, NoDatabases
from strongroom.sdk.storage import Entry, Pairs, Write
from strongroom.storage.memory import MemoryStore


class Waits:
    """Counts the waits of one request and knows at which it ends."""

    def __init__(self) -> None:
        self.count = self.at = 0
        self.how = ""
        self.late: list[Callable[[], Awaitable[None]]] = []
        self.active = False

    async def done(self, work: Callable[[], Awaitable[None]]) -> None:
        """``work``, with a wait as a writer or a server makes it."""
        await self.catch_up()
        if not self.active:
            await work()
            return
        self.count += 1
        last = self.count == self.at
        if last and self.how == "lost":
            await _suspend(True)
        elif last and self.how == "late":
            self.late.append(work)
            await _suspend(True)
        else:
            await work()
            await _suspend(last)

    async def looked(self) -> None:
        """A read, which a store behind a network waits for."""
        if self.active:
            await self.catch_up()
        if self.active and self.how == "read":
            self.count += 1
            await _suspend(self.count == self.at)

    async def catch_up(self) -> None:
        while self.late:
            await self.late.pop(0)()


@types.coroutine
def _suspend(last: bool) -> Generator[bool, None, None]:
    yield last


def run_until(work: Coroutine[Any, Any, Any], waits: Waits, *, at: int, how: str, error: BaseException) -> Any:
    """Drive ``work`` and raise ``error`` in it at its wait number ``at``; its result, or what it raised."""
    waits.count, waits.at, waits.how, waits.active = 0, at, how, True
    try:
        last = work.send(None)
        while True:
            if last and isinstance(error, GeneratorExit):
                work.close()
                return error
            last = work.throw(error) if last else work.send(None)
    except StopIteration as stop:
        return stop.value
    except BaseException as raised:
        assert "ignored GeneratorExit" not in str(raised), "it waited again, so the rest of it was cut off anywhere"
        return raised
    finally:
        waits.active = False


class HaltingStore(MemoryStore):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    async def commit(self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}) -> None:
        before = super().commit
        await self.waits.done(lambda: before(writes, expect=expect))

    async def get(self, key: str) -> Entry | None:
        await self.waits.looked()
        return await super().get(key)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | None]:
        await self.waits.looked()
        return await super().get_many(keys)

    async def list(self, prefix: str, **options: Any) -> list[str]:
        await self.waits.looked()
        return await super().list(prefix, **options)

    async def scan(self, prefix: str, **options: Any) -> Pairs:
        await self.waits.looked()
        return await super().scan(prefix, **options)


class StubKind(PostgreSQL):
    """PostgreSQL's names and settings, and users that are a set."""

    def __init__(self) -> None:
        self.users: set[str] = set()

    async def verify(self, connection: DatabaseConnection) -> None:
        """It always works."""

    async def create(self, connection: DatabaseConnection, user: DatabaseUser, statements: Sequence[str]) -> None:
        self.users.add(user.name)

    async def renew(self, connection: DatabaseConnection, user: DatabaseUser, statements: Sequence[str]) -> None:
        assert user.name in self.users

    async def drop(self, connection: DatabaseConnection, name: str, statements: Sequence[str]) -> None:
        self.users.discard(name)


class StubDatabases(NoDatabases):
    def __init__(self, waits: Waits) -> None:
        self.stub, self.waits = StubKind(), waits

    def kind(self, plugin: str) -> Any:
        return self.stub

    async def run(self, login: Any, work: Any) -> Any:
        out: list[Any] = []

        async def run() -> None:
            out.append(await work(None))

        await self.waits.done(run)
        return out[0]
