"""One auth method without the rest of the house: the real router in front, a store in memory behind."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from argon2 import PasswordHasher

from strongroom.core.router import Router, mounted
from strongroom.errors import Conflict
from strongroom.sdk.engine import Call, Mount
from strongroom.sdk.fields import convert
from strongroom.sdk.request import Auth, Op, Request, Response
from strongroom.sdk.storage import Entry, Pairs, Write

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
START = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> float:
        return self.time


class Store:
    """Entries in a dict. Every call yields once, so that parallel requests interleave as they would on a real store."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.revision = 0
        self.commits: list[list[Write]] = []

    async def get(self, key: str) -> Entry | None:
        await asyncio.sleep(0)
        return self.entries.get(key)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | None]:
        await asyncio.sleep(0)
        return [self.entries.get(key) for key in keys]

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        await asyncio.sleep(0)
        names = set()
        for key in self.entries:
            if key.startswith(prefix):
                head, slash, _ = key[len(prefix) :].partition("/")
                names.add(head + slash)
        return [name for name in sorted(names) if name > after][:limit]

    async def scan(self, prefix: str, *, after: str = "", until: str = "", limit: int = 1000) -> Pairs:
        await asyncio.sleep(0)
        found = [(k[len(prefix) :], e) for k, e in sorted(self.entries.items()) if k.startswith(prefix)]
        return [(k, e) for k, e in found if k > after and (not until or k < until)][:limit]

    async def commit(self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}) -> None:
        await asyncio.sleep(0)
        for key, revision in expect.items():
            now = self.entries.get(key)
            if (now.revision if now else 0) != revision:
                raise Conflict("changed")
        self.revision += 1
        self.commits.append(list(writes))
        for write in writes:
            if write.value is None:
                self.entries.pop(write.key, None)
            else:
                self.entries[write.key] = Entry(write.value, self.revision)


class Door:
    """Sends requests to one auth method; keeps what it issued."""

    def __init__(self, make: Callable[[Mount], Any], *, kind: str, guard: Any = None, **mount: Any) -> None:
        self.clock, self.store = Clock(), Store()
        self.mount = Mount(
            path=f"auth/{kind}/", storage=self.store, now=self.clock, accessor=f"auth_{kind}_1", type=kind, **mount
        )
        self.make = make
        self.guard = guard
        self.issued: list[Auth] = []
        self.restart()

    def restart(self) -> None:
        self.engine = self.make(self.mount)
        self.router = Router(
            [
                mounted(
                    self.mount.path, self.engine, kind=self.mount.type, accessor=self.mount.accessor, uuid="u",
                    mount_class="auth",
                )
            ]
        )  # fmt: skip

    async def call(
        self, op: Op, path: str, data: dict[str, Any] | None = None, *, remote: str = "10.0.0.1"
    ) -> Response:
        path = self.mount.path + path + ("/" if op is Op.LIST else "")
        match, path = self.router.match(op, path)
        call = Call(Request(id="r", op=op, path=path, data=data or {}, remote=remote), match)
        if match.refusal is not None:
            raise match.refusal
        call.args = convert(call.request.data, match.route.args)
        if match.route.facts is not None:
            call.facts = await match.route.facts(call, call.args)
        if self.guard is None:
            response = await self.router.route(call)
        else:
            response = await self._guarded(call)
        if response.auth is not None:
            self.issued.append(response.auth)
        return response

    async def _guarded(self, call: Call) -> Response:
        outcome: Response | BaseException | None = None
        try:
            await self.guard.pre_route(call)
            outcome = await self.router.route(call)
            outcome = await self.guard.post_route(call, outcome)
            return outcome
        except BaseException as error:
            outcome = error
            raise
        finally:
            assert outcome is not None
            await self.guard.log(call, outcome)

    async def write(self, path: str, data: dict[str, Any] | None = None, **more: Any) -> Response:
        return await self.call(Op.UPDATE, path, data, **more)

    async def read(self, path: str) -> dict[str, Any]:
        data = (await self.call(Op.READ, path)).data
        assert data is not None
        return dict(data)

    async def delete(self, path: str) -> Response:
        return await self.call(Op.DELETE, path)

    async def list(self, path: str, **data: Any) -> list[str]:
        data_ = (await self.call(Op.LIST, path, data)).data
        assert data_ is not None
        return list(data_["keys"])


__all__ = ["CHEAP", "START", "Clock", "Door", "Store"]
