"""One auth method without the rest of the house: the real router and field decoding in front, a memory store behind."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from argon2 import PasswordHasher

from engine_harness import START, Clock, WatchedStore
from strongroom.core.facts import Facts
from strongroom.core.lockout import Lockout, LockoutRecheck
from strongroom.core.router import Router, mounted
from strongroom.sdk.engine import Call, Mount
from strongroom.sdk.request import Auth, Op, Request, Response
from strongroom.sdk.storage import Entry, View, Write

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PREFIX = "ns/root/data/1/"


class RecordingStore(WatchedStore):
    """Interleaves parallel requests and remembers what was written together."""

    def __init__(self) -> None:
        super().__init__(interleave=True)
        self.log: list[list[str]] = []

    async def commit(self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}) -> None:
        await super().commit(writes, expect=expect)
        self.log.append([write.key.removeprefix(PREFIX) for write in writes])


class Door:
    """Sends requests to one auth method, through a Lockout if there is one; keeps what the method issued."""

    def __init__(
        self, make: Callable[[Mount], Any], *, kind: str, guard: Callable[[Clock], Lockout] | None = None, **mount: Any
    ) -> None:
        self.clock, self.store = Clock(), RecordingStore()
        storage = View(self.store, PREFIX)
        self.mount = Mount(
            path=f"auth/{kind}/", storage=storage, now=self.clock, accessor=f"auth_{kind}_1", type=kind, **mount
        )
        self.make, self.facts = make, Facts()
        self.guard = guard(self.clock) if guard is not None else None
        self.issued: list[Auth] = []
        self.restart()

    def restart(self) -> None:
        """A new instance of the method on the same store."""
        mount = self.mount
        self.engine = self.make(mount)
        place = mounted(
            mount.path, self.engine, kind=mount.type, accessor=mount.accessor, uuid="1", mount_class="auth"
        )  # fmt: skip
        self.router = Router([place])

    async def call(
        self,
        op: Op,
        path: str,
        data: dict[str, Any] | None = None,
        *,
        remote: str = "10.0.0.1",
        certificate: bytes = b"",
        chain: tuple[bytes, ...] = (),
    ) -> Response:
        path = self.mount.path + path + ("/" if op is Op.LIST else "")
        match, path = self.router.match(op, path)
        proof = {"certificate": certificate, "chain": chain}
        call = Call(Request(id="request-1", op=op, path=path, data=data or {}, remote=remote, **proof), match)
        await self.facts.pre_route(call)
        response = await (self.router.route(call) if self.guard is None else self._guarded(call, self.guard))
        if response.auth is not None:
            self.issued.append(response.auth)
        return response

    async def _guarded(self, call: Call, guard: Lockout) -> Response:
        outcome: Response | BaseException = Response()
        try:
            await guard.pre_route(call)
            outcome = await self.router.route(call)
            outcome = await LockoutRecheck(guard).post_route(call, outcome)
            return outcome
        except BaseException as error:
            outcome = error
            raise
        finally:
            await guard.log(call, outcome)

    async def write(self, path: str, data: dict[str, Any] | None = None, **more: Any) -> Response:
        return await self.call(Op.UPDATE, path, data, **more)

    async def read(self, path: str) -> dict[str, Any]:
        return dict((await self.call(Op.READ, path)).data or {})

    async def delete(self, path: str) -> Response:
        return await self.call(Op.DELETE, path)

    async def list(self, path: str, **data: Any) -> list[str]:
        return list(((await self.call(Op.LIST, path, data)).data or {})["keys"])

    async def entries(self) -> dict[str, Entry]:
        """All that the method has stored."""
        return dict(await self.store.inner.scan(PREFIX, limit=1_000_000))


__all__ = ["CHEAP", "START", "Clock", "Door"]
