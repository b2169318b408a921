"""What every secret engine and auth method owes the house. A plug-in runs it so:

class TestMine(EngineContract):
    def make(self) -> Harness: return Harness(MyEngine, path="mine/", kind="mine")
    async def fill(self, harness, needle): await harness.write("roles/r", {"secret": needle})
    params = {"role": "r"}  # values for the fields of route patterns
"""

import re
from collections.abc import Awaitable, Iterator, Mapping
from typing import Any

import msgspec

from engine_harness import ALICE, Harness
from strongroom.errors import VaultError
from strongroom.sdk.engine import NoArgs, Route
from strongroom.sdk.fields import convert
from strongroom.sdk.request import Op, Response

NEEDLE = "n33dle-canary-5ecret"
READS = (Op.READ, Op.LIST, Op.SCAN)
WRITES = (Op.CREATE, Op.UPDATE, Op.PATCH, Op.DELETE)
ODD = [None, True, -1, 2**70, 1.5, "", NEEDLE, "1", "-1s", [NEEDLE], [None], {"k": NEEDLE}, {"": None}, [[]], "é" * 300]


class EngineContract:
    """Subclass it in a test module; see above."""

    params: Mapping[str, str] = {}

    def make(self) -> Harness:
        """A fresh engine on a fresh store."""
        raise NotImplementedError

    async def fill(self, harness: Harness, needle: str) -> None:
        """Store something at the paths that ``params`` leads to, with ``needle`` wherever a secret goes."""
        raise NotImplementedError

    async def filled(self) -> Harness:
        harness = await self.make().start()
        await self.fill(harness, NEEDLE)
        return harness

    def path(self, route: Route, op: Op = Op.READ) -> str:
        """A path below the mount that ``route`` serves."""
        path = re.sub(r"\{(\w+)(?:\.\.\.)?\}", lambda field: self.params.get(field[1], "x"), route.pattern)
        if op in (Op.LIST, Op.SCAN) and route.rest_may_be_empty and route.pattern.endswith("...}"):
            path = route.pattern[: route.pattern.rindex("{")]
        return path

    def operations(self, harness: Harness, ops: tuple[Op, ...]) -> Iterator[tuple[Route, Op]]:
        return ((route, op) for route in harness.routes() for op in ops if op in route.ops)

    def test_routes_are_described(self) -> None:
        harness = self.make()
        assert harness.routes(), "an engine without routes"
        for route in harness.routes():
            assert route.help.strip(), f"{route.pattern!r} has no help"
            assert route.ops, f"{route.pattern!r} serves nothing"
            assert set(route.ops) <= {*READS, *WRITES}, f"{route.pattern!r} serves an unknown operation"
            assert not route.login or set(route.ops) <= {Op.CREATE, Op.UPDATE, Op.READ}, "a login is a write or a read"
            assert not (route.login and route.sudo), "a route without a token cannot ask for sudo"

    def test_patterns_compile_and_name_each_operation_once(self) -> None:
        seen: set[tuple[str, Op]] = set()
        for route in self.make().routes():
            assert not route.pattern.startswith("/")
            assert not route.pattern.endswith("/") or set(route.ops) <= {Op.LIST, Op.SCAN}, "only a LIST ends in /"
            fields = set(route.compile().groupindex)
            assert set(route.fold) <= fields, f"{route.pattern!r} folds a field it does not have"
            known = {field.name for field in msgspec.structs.fields(route.args)}
            assert route.args is NoArgs or fields <= known, f"{route.pattern!r} has fields its args lack"
            for op in route.ops:
                assert (route.pattern, op) not in seen, f"{op} {route.pattern!r} stands twice"
                seen.add((route.pattern, op))

    def test_names_are_unique(self) -> None:
        names = [route.name for route in self.make().routes() if route.name]
        assert len(names) == len(set(names))

    def test_routes_are_the_same_each_time_and_need_no_store(self) -> None:
        harness = self.make()
        first, second = harness.routes(), harness.routes()
        assert [(r.pattern, tuple(r.ops), r.args) for r in first] == [(r.pattern, tuple(r.ops), r.args) for r in second]
        assert (harness.store.reads, harness.store.commits) == (0, 0)

    async def test_starting_twice_changes_nothing(self) -> None:
        harness = await self.filled()
        before = await harness.store.dump()
        await harness.start()
        assert await harness.store.dump() == before

    async def test_revoking_is_safe_twice(self) -> None:
        harness = await self.filled()
        before = await harness.store.dump()
        for private in ({}, {}, {"unknown": "lease"}, {"unknown": "lease"}):
            await harness.engine.revoke(private)
        assert await harness.store.dump() == before

    async def test_reads_leave_no_trace(self) -> None:
        harness = await self.filled()
        harness.store.commits, before, served = 0, await harness.store.dump(), 0
        for route, op in self.operations(harness, READS):
            if await outcome(harness.call(op, self.path(route, op))) is not None:
                served += 1
        assert harness.store.commits == 0
        assert await harness.store.dump() == before
        assert served or not list(self.operations(harness, READS)), "fill() left nothing to read"

    async def test_existence_checks_leave_no_trace_and_need_no_caller(self) -> None:
        harness = await self.filled()
        harness.store.commits = 0
        for route in harness.routes():
            if route.exists is not None:
                call = harness.prepare(Op.UPDATE, self.path(route), caller=None)
                assert await route.exists(call) in (True, False) if call.match.params else True
        assert harness.store.commits == 0

    async def test_answers_are_json(self) -> None:
        harness = await self.filled()
        for route, op in self.operations(harness, READS):
            response = await outcome(harness.call(op, self.path(route, op)))
            if response is not None and response.data is not None:
                text = msgspec.json.encode(response.data)
                assert msgspec.json.decode(text) == response.data, (
                    f"{op} {route.pattern!r} answers what JSON cannot hold"
                )

    async def test_no_repr_shows_a_secret(self) -> None:
        harness = await self.filled()
        shown = [repr(harness.engine), repr(harness.mount.storage), *map(repr, harness.routes())]
        for route, op in self.operations(harness, READS):
            response = await outcome(harness.call(op, self.path(route, op)))
            shown += [repr(response), str(response)]
        shown += [repr(value) for value in vars(harness.engine).values()] if hasattr(harness.engine, "__dict__") else []
        assert NEEDLE.encode() in await harness.store.dump(), "fill() put no secret there, so the test sees nothing"
        assert not [text for text in shown if NEEDLE in text]

    async def test_odd_input_is_refused_in_words_that_quote_nothing(self) -> None:
        """Each field of each write gets each odd value: a VaultError below 500 or an answer, and never the value."""
        harness = await self.filled()
        for route, op in self.operations(harness, WRITES):
            names = [field.encode_name for field in msgspec.structs.fields(route.args)] or ["field"]
            for name in names:
                for value in ODD:
                    if name not in route.compile().groupindex:
                        await self.attempt(harness, op, self.path(route, op), {name: value})

    async def attempt(self, harness: Harness, op: Op, path: str, data: dict[str, Any]) -> None:
        try:
            await harness.call(Op.UPDATE if op is Op.CREATE else op, path, data, caller=ALICE)
        except VaultError as error:
            where = f"{op} {path} {sorted(data)}"
            assert error.status < 500, f"{where}: {error.status} {error}"
            assert NEEDLE not in f"{error} {error!r} {error.args} {error.warnings}", f"{where} quotes its input"

    def test_fields_have_defaults_or_a_clear_complaint(self) -> None:
        for route in self.make().routes():
            try:
                convert(dict.fromkeys(route.compile().groupindex, "x"), route.args)
            except VaultError as error:
                assert re.fullmatch(r"missing \w+", str(error)), str(error)


async def outcome(answer: Awaitable[Response]) -> Response | None:
    """The answer, or None where the engine refuses."""
    try:
        return await answer
    except VaultError as error:
        assert error.status < 500, f"{type(error).__name__}: {error}"
        return None


__all__ = ["NEEDLE", "EngineContract"]
