"""The engines of this room keep the contract, and the contract notices one that does not."""

import msgspec
import pytest

from contracts.engine_contract import NEEDLE, EngineContract
from engine_harness import Harness
from strongroom.engines.cubbyhole import Cubbyhole
from strongroom.engines.kv import factory
from strongroom.errors import BadRequest
from strongroom.sdk.engine import Route
from strongroom.sdk.request import Op, Response
from strongroom.sdk.storage import Write


class TestKV1(EngineContract):
    params = {"path": "a/b"}

    def make(self) -> Harness:
        return Harness(factory, options={"version": "1"})

    async def fill(self, harness: Harness, needle: str) -> None:
        await harness.write("a/b", {"password": needle})


class TestKV2(EngineContract):
    params = {"path": "a/b"}

    def make(self) -> Harness:
        return Harness(factory, options={"version": "2"})

    async def fill(self, harness: Harness, needle: str) -> None:
        for n in range(3):
            await harness.write("data/a/b", {"data": {"password": needle, "n": n}})
        await harness.write("metadata/a/b", {"custom_metadata": {"owner": "me"}})


class TestCubbyhole(EngineContract):
    params = {"path": "a/b"}

    def make(self) -> Harness:
        return Harness(Cubbyhole, path="cubbyhole/", kind="cubbyhole")

    async def fill(self, harness: Harness, needle: str) -> None:
        await harness.write("a/b", {"password": needle})


class Args(msgspec.Struct):
    secret: str = ""


class Broken:
    """Breaks every rule that can be broken at run time."""

    def __init__(self, mount) -> None:
        self.mount, self.last, self.revoked = mount, "", 0

    def routes(self):
        ops = {Op.READ: self.read, Op.UPDATE: self.write}
        return (Route(pattern="x", ops=ops, args=Args), Route(pattern="x/{name}", ops={Op.READ: self.read}, args=Args))

    async def read(self, call, args):
        await self.mount.storage.commit([Write("read", b"%d" % len(self.last))])
        return Response(data={"at": {1: b"bytes"}})

    async def write(self, call, args):
        self.last = args.secret
        await self.mount.storage.commit([Write("x", args.secret.encode())])
        if args.secret != NEEDLE or call.request.data.get("quiet"):
            return Response()
        raise BadRequest(f"bad secret {args.secret}")

    async def revoke(self, lease_private) -> None:
        self.revoked += 1
        await self.mount.storage.commit([Write("revoked", b"%d" % self.revoked)])

    async def initialize(self) -> None:
        await self.mount.storage.commit([Write("started", repr(self.mount.now()).encode())])
        self.mount.now.tick()


class BrokenRun(EngineContract):
    def make(self) -> Harness:
        return Harness(Broken, path="broken/")

    async def fill(self, harness: Harness, needle: str) -> None:
        await harness.write("x", {"secret": needle, "quiet": True})


CAUGHT = [
    "test_routes_are_described",
    "test_patterns_compile_and_name_each_operation_once",
    "test_starting_twice_changes_nothing",
    "test_revoking_is_safe_twice",
    "test_reads_leave_no_trace",
    "test_answers_are_json",
    "test_no_repr_shows_a_secret",
    "test_odd_input_is_refused_in_words_that_quote_nothing",
]


@pytest.mark.parametrize("name", CAUGHT)
async def test_the_contract_notices(name):
    with pytest.raises(AssertionError):
        result = getattr(BrokenRun(), name)()
        if result is not None:
            await result
