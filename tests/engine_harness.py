"""One engine without the rest of the house: real router and field decoding in front, a watched memory store behind.

    harness = Harness(factory, options={"version": "2"})
    await harness.write("data/app", {"data": {"a": 1}})
    status, body = await harness.http("GET", "data/app?version=1")

``call`` and its shorthands return the engine's Response or raise its VaultError. ``http`` answers as the HTTP door
would, envelope and all, so recorded answers of a real server can be compared with it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from strongroom.core.facts import Facts, Warnings
from strongroom.core.router import Router, mounted
from strongroom.errors import StorageFailed, VaultError
from strongroom.sdk.engine import Call, Engine, Mount, Route
from strongroom.sdk.request import Caller, Op, Request, Response
from strongroom.sdk.storage import Entry, Pairs, View, Write
from strongroom.storage.memory import open_store

START = 1_800_000_000.0
ALICE = Caller(accessor="accessor-alice", policies=("default",), token_id="alice", display_name="alice")
BOB = Caller(accessor="accessor-bob", policies=("default",), token_id="bob", display_name="bob")
PREFIX = "ns/root/data/00000000-0000-0000-0000-000000000001/"
VERBS = {
    "GET": Op.READ,
    "POST": Op.UPDATE,
    "PUT": Op.UPDATE,
    "PATCH": Op.PATCH,
    "DELETE": Op.DELETE,
    "LIST": Op.LIST,
    "SCAN": Op.SCAN,
}


class Clock:
    """The time, moved by hand."""

    def __init__(self, time: float = START) -> None:
        self.time = time

    def __call__(self) -> float:
        return self.time

    def tick(self, seconds: float = 1.0) -> None:
        self.time += seconds


class Crash(BaseException):
    """The process dies here: no ``except Exception`` and no retry may stop it."""


class WatchedStore:
    """A memory store that counts, that lets parallel requests interleave, and that can die at a commit.

    ``crash_at = n`` raises Crash in place of the n-th commit from now, ``crash_after = n`` right after it;
    ``fail_at = n`` raises StorageFailed in its place. Each goes off once.
    """

    def __init__(self, *, interleave: bool = False) -> None:
        self.inner = open_store({})
        self.interleave = interleave
        self.reads = self.commits = self.writes = self.expects = 0
        self.crash_at = self.crash_after = self.fail_at = 0

    async def _step(self) -> None:
        if self.interleave:
            await asyncio.sleep(0)

    async def get(self, key: str) -> Entry | None:
        self.reads += 1
        await self._step()
        return await self.inner.get(key)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | None]:
        self.reads += 1
        await self._step()
        return await self.inner.get_many(keys)

    async def scan(self, prefix: str, *, after: str = "", until: str = "", limit: int = 1000) -> Pairs:
        self.reads += 1
        await self._step()
        return await self.inner.scan(prefix, after=after, until=until, limit=limit)

    async def commit(self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}) -> None:
        await self._step()
        self.crash_at, at = max(0, self.crash_at - 1), self.crash_at
        self.crash_after, after = max(0, self.crash_after - 1), self.crash_after
        self.fail_at, fail = max(0, self.fail_at - 1), self.fail_at
        if at == 1:
            raise Crash
        if fail == 1:
            raise StorageFailed("the store could not write")
        await self.inner.commit(writes, expect=expect)
        self.commits += 1
        self.writes += len(writes)
        self.expects += len(expect)
        if after == 1:
            raise Crash

    async def watch(self, prefix: str) -> AsyncIterator[str]:
        async for key in self.inner.watch(prefix):
            yield key

    async def close(self) -> None:
        await self.inner.close()

    async def keys(self, prefix: str = "") -> list[str]:
        """Every key below ``prefix``, relative to it."""
        return [key for key, _ in await self.inner.scan(prefix, limit=1_000_000)]

    async def dump(self) -> bytes:
        """All values, to look for what must not be there any more."""
        return b"\n".join(entry.value for _, entry in await self.inner.scan("", limit=1_000_000))

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        self.reads += 1
        await self._step()
        return await self.inner.list(prefix, after=after, limit=limit)


class Harness:
    """An engine at ``path``, as one process has it. Share ``store`` and ``clock`` to have several processes."""

    def __init__(
        self,
        factory: Callable[[Mount], Engine],
        *,
        path: str = "secret/",
        options: Mapping[str, str] | None = None,
        store: WatchedStore | None = None,
        clock: Clock | None = None,
        mount_class: str = "secret",
        kind: str = "kv",
        **mount: Any,
    ) -> None:
        self.store = store or WatchedStore()
        self.clock = clock or Clock()
        self.path = path
        self.mount = Mount(
            path=path, storage=View(self.store, PREFIX), now=self.clock, options=options or {}, type=kind, **mount
        )
        self.engine = factory(self.mount)
        self._router = Router(
            [mounted(path, self.engine, kind=kind, accessor=kind + "_1", uuid="1", mount_class=mount_class)]
        )
        self._facts, self._warnings = Facts(), Warnings()

    async def keys(self) -> list[str]:
        """What the engine has stored."""
        return await self.store.keys(PREFIX)

    def routes(self) -> Sequence[Route]:
        return self.engine.routes()

    async def start(self) -> "Harness":
        """What the core does when the mount is created or its options change."""
        initialize = getattr(self.engine, "initialize", None)
        if initialize is not None:
            await initialize()
        return self

    def prepare(self, op: Op, path: str, data: Mapping[str, Any] | None = None, caller: Caller | None = ALICE) -> Call:
        """The call as it stands after matching. A LIST or SCAN gets the slash that the door adds."""
        path = self.path + path
        if op in (Op.LIST, Op.SCAN) and not path.endswith("/"):
            path += "/"
        match, path = self._router.match(op, path)
        request = Request(id="request-1", op=op, path=path, data=dict(data or {}))
        return Call(request=request, match=match, caller=caller)

    async def call(
        self, op: Op, path: str, data: Mapping[str, Any] | None = None, *, caller: Caller | None = ALICE
    ) -> Response:
        """Match, decode and call. Raises what the engine raises; ``UPDATE`` becomes ``CREATE`` where nothing is."""
        call = self.prepare(op, path, data, caller)
        await self._facts.pre_route(call)
        return await self._warnings.post_route(call, await self._router.route(call))

    async def op_of(self, path: str, data: Mapping[str, Any] | None = None) -> Op:
        """What policies are asked about for a write: create or update."""
        call = self.prepare(Op.UPDATE, path, data)
        await self._facts.pre_route(call)
        return call.request.op

    async def read(self, path: str, data: Mapping[str, Any] | None = None, **more: Any) -> Response:
        return await self.call(Op.READ, path, data, **more)

    async def write(self, path: str, data: Mapping[str, Any] | None = None, **more: Any) -> Response:
        return await self.call(Op.UPDATE, path, data, **more)

    async def patch(self, path: str, data: Mapping[str, Any] | None = None, **more: Any) -> Response:
        return await self.call(Op.PATCH, path, data, **more)

    async def delete(self, path: str, data: Mapping[str, Any] | None = None, **more: Any) -> Response:
        return await self.call(Op.DELETE, path, data, **more)

    async def scan(self, path: str = "", data: Mapping[str, Any] | None = None, **more: Any) -> list[str]:
        return await self._names(Op.SCAN, path, data, **more)

    async def _names(self, op: Op, path: str, data: Mapping[str, Any] | None, **more: Any) -> list[str]:
        try:
            response = await self.call(op, path, data, **more)
        except VaultError as error:
            if error.status == 404:
                return []
            raise
        return list((response.data or {}).get("keys", []))

    async def http(
        self, method: str, target: str, body: Mapping[str, Any] | None = None, *, caller: Caller | None = ALICE
    ) -> tuple[int, Any]:
        """Status and decoded body (None when empty) as over HTTP; ``target`` is below the mount, with its query."""
        path, _, query = target.partition("?")
        data: dict[str, Any] = dict(reversed(parse_qsl(query, keep_blank_values=True)))
        op = VERBS[method]
        if method == "GET" and data.pop("list", "") == "true":
            op = Op.LIST
        elif method == "GET" and data.pop("scan", "") == "true":
            op = Op.SCAN
        if op in (Op.UPDATE, Op.PATCH):
            data |= body or {}
        try:
            response = await self.call(op, path, data, caller=caller)
        except VaultError as error:
            return error.status, _refused(error)
        return _answered(response)

    async def list(self, path: str = "", data: Mapping[str, Any] | None = None, **more: Any) -> list[str]:
        """The names, [] where the engine says 404."""
        return await self._names(Op.LIST, path, data, **more)


def _answered(response: Response) -> tuple[int, Any]:
    if response.raw is not None:
        return response.status or 200, response.raw or None
    empty = response.data is None and not (response.warnings or response.auth or response.lease)
    if empty and not response.status:
        return 204, None
    return response.status or 200, _envelope(response.data, response.warnings, response.lease_duration)


def _refused(error: VaultError) -> dict[str, Any]:
    if error.data is not None or error.warnings:
        return _envelope(error.data, error.warnings, 0)
    return {"errors": list(error.messages)}


def _envelope(data: Any, warnings: Sequence[str], lease_duration: int) -> dict[str, Any]:
    return {
        "request_id": "request-1",
        "lease_id": "",
        "renewable": False,
        "lease_duration": lease_duration,
        "data": msgspec.json.decode(msgspec.json.encode(data)),
        "wrap_info": None,
        "warnings": list(warnings) or None,
        "auth": None,
    }


def shape(value: Any) -> Any:
    """Keys and types of a JSON value: what must be equal to a recorded answer whose values differ."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
