"""The order of things, and what happens when one of them says no."""

from typing import Any

import pytest

from strongroom.core.pipeline import LIMITED, Pipeline
from strongroom.core.router import Router, mounted
from strongroom.errors import AuditFailed, BadRequest, PermissionDenied, VaultError
from strongroom.sdk.engine import Call, Handler, Route
from strongroom.sdk.request import Caller, Op, Request, Response

LINES: list[str] = []


class Book:
    """An audit trail that writes into the list."""

    broken = ""

    async def request(self, call: Call, refusal: BaseException | None) -> None:
        LINES.append(f"request record{' of a refusal' if refusal else ''}")
        if self.broken == "request":
            raise AuditFailed("no device")

    async def response(self, call: Call, outcome: Response | BaseException) -> None:
        LINES.append(f"response record of {type(outcome).__name__}")
        if self.broken == "response":
            raise AuditFailed("no device")


class Engine:
    def routes(self) -> tuple[Route, ...]:
        return (Route(pattern="x", ops={Op.READ: self.read}, help="x"),)

    async def read(self, call: Call, args: Any) -> Response:
        LINES.append("engine")
        return Response(data={"a": 1})

    async def revoke(self, lease_private: Any) -> None: ...


class Step(Handler):
    """Writes each phase into the list; fails or answers where it is told to."""

    def __init__(self, name: str, *, fails: str = "", answers: str = "", error: Exception | None = None) -> None:
        self.name, self.fails, self.answers, self.error = name, fails, answers, error or BadRequest("no")

    async def _do(self, phase: str) -> Response | None:
        LINES.append(f"{phase} {self.name}")
        if phase == self.fails:
            raise self.error
        return Response(data={"early": self.name}) if phase == self.answers else None

    async def pre_route(self, call: Call) -> Response | None:
        call.caller = Caller(accessor="", policies=())
        call.notes[LIMITED] = "a token with a number of uses"
        return await self._do("pre")

    async def route(self, call: Call) -> Response | None:
        return await self._do("route")

    async def post_route(self, call: Call, response: Response) -> Response:
        await self._do("post")
        return response

    async def log(self, call: Call, outcome: Response | BaseException) -> None:
        await self._do("log")


def pipeline(*steps: Any, book: Book | None = None) -> Pipeline:
    LINES.clear()
    router = Router([mounted("e/", Engine(), kind="e", accessor="", uuid="u", mount_class="secret")])

    async def spend(call: Call) -> None:
        LINES.append("spend")

    return Pipeline(lambda namespace: router, steps, book or Book(), spend)


def request(path: str = "e/x", **fields: Any) -> Request:
    return Request(id="1", op=Op.READ, path=path, **fields)


async def refused(made: Pipeline, kind: type[Exception] = BadRequest, asked: Request | None = None) -> list[str]:
    with pytest.raises(kind):
        await made.handle(asked or request())
    return LINES


async def test_the_whole_walk():
    await pipeline(Step("1"), Step("2")).handle(request())
    assert LINES == [
        "pre 1", "pre 2", "request record", "spend", "route 1", "route 2", "engine", "post 1", "post 2", "log 1",
        "log 2", "response record of Response",
    ]  # fmt: skip


async def test_a_refusal_before_the_route_is_recorded_counted_and_reaches_no_engine():
    assert await refused(pipeline(Step("1"), Step("2", fails="pre"), Step("3"))) == [
        "pre 1", "pre 2", "request record of a refusal", "spend", "log 1", "log 2", "log 3",
        "response record of BadRequest",
    ]  # fmt: skip


async def test_a_broken_request_is_recorded_before_any_handler():
    lines = await refused(pipeline(Step("1")), PermissionDenied, request(fault=PermissionDenied()))
    assert lines == ["request record of a refusal", "log 1", "response record of PermissionDenied"]


async def test_an_early_answer_skips_the_engine_and_not_the_records():
    answer = await pipeline(Step("1", answers="pre"), Step("2")).handle(request())
    assert answer.data == {"early": "1"}
    assert "engine" not in LINES and "pre 2" not in LINES and LINES[1] == "request record" and "post 2" in LINES
    answer = await pipeline(Step("1", answers="route"), Step("2")).handle(request())
    assert answer.data == {"early": "1"} and "engine" not in LINES and "route 2" not in LINES


async def test_without_a_request_record_nothing_happens():
    book = Book()
    book.broken = "request"
    assert "engine" not in await refused(pipeline(Step("1"), book=book), AuditFailed)
    assert "spend" not in LINES


async def test_without_a_response_record_nothing_is_answered():
    book = Book()
    book.broken = "response"
    assert "engine" in await refused(pipeline(Step("1"), book=book), AuditFailed)


@pytest.mark.parametrize("phase", ["route", "post", "log"])
async def test_a_handler_that_fails_later_refuses_too_and_every_log_runs(phase: str):
    lines = await refused(pipeline(Step("1"), Step("2", fails=phase)))
    assert lines[-1] == "response record of BadRequest" and "log 2" in lines
    assert ("engine" in lines) == (phase != "route")


async def test_an_error_that_nobody_meant_is_recorded_and_raised():
    lines = await refused(pipeline(Step("1", fails="pre", error=ZeroDivisionError())), ZeroDivisionError)
    assert lines[-1] == "response record of ZeroDivisionError" and "engine" not in lines


async def test_a_path_that_leads_nowhere_walks_all_the_same():
    lines = await refused(pipeline(Step("1")), VaultError, request("none/x"))
    assert lines[:3] == ["pre 1", "request record", "spend"] and lines[-1] == "response record of NotFound"


async def test_phases_that_a_handler_does_not_have_are_not_called():
    class Bare:
        async def pre_route(self, call: Call) -> None:
            LINES.append("bare")

    await pipeline(Bare()).handle(request())
    assert LINES == ["bare", "request record", "engine", "response record of Response"]  # nobody known, no use spent


class Looker(Engine):
    def routes(self) -> tuple[Route, ...]:
        return (
            Route(pattern="x", ops={Op.READ: self.read, Op.UPDATE: self.read}, pure=frozenset({Op.READ}), help="x"),
        )


class Noter(Book):
    def __init__(self) -> None:
        self.seen: list[bool] = []

    async def request(self, call: Call, refusal: BaseException | None) -> None:
        self.seen.append(call.only_looks)


@pytest.mark.parametrize(
    ("change", "looks"),
    [({}, True), ({"wrap_ttl": 60}, False), ({"op": Op.UPDATE}, False)],
    ids=["a read", "wrapped: a token is made", "a write"],
)
async def test_what_only_looks(change: dict[str, Any], looks: bool) -> None:
    book = Noter()
    router = _router(Looker())
    await Pipeline(lambda ns: router, [], book, _nothing).handle(_request(**change))
    assert book.seen == [looks]


async def test_with_a_handler_from_outside_nothing_only_looks() -> None:
    book, step = Noter(), Handler()
    router = _router(Looker())
    await Pipeline(lambda ns: router, [step], book, _nothing, outsiders=[step]).handle(_request())
    await Pipeline(lambda ns: router, [step], book, _nothing).handle(_request())
    assert book.seen == [False, True]


async def test_a_limited_token_does_not_only_look() -> None:
    class Limits(Handler):
        async def pre_route(self, call: Call) -> Response | None:
            call.notes[LIMITED] = True
            return None

    book = Noter()
    router = _router(Looker())
    await Pipeline(lambda ns: router, [Limits()], book, _nothing).handle(_request())
    assert book.seen == [False]


async def test_only_what_was_answered_is_remembered() -> None:
    router = _router(Looker())

    class Refuses(Handler):
        async def pre_route(self, call: Call) -> Response | None:
            raise PermissionDenied

    with pytest.raises(PermissionDenied):
        await Pipeline(lambda ns: router, [Refuses()], Noter(), _nothing).handle(_request())
    assert not router._known
    await Pipeline(lambda ns: router, [], Noter(), _nothing).handle(_request())
    assert list(router._known) == [(Op.READ, "m/x")]
    assert router.match(Op.READ, "m/x")[0] is router.match(Op.READ, "m/x")[0]


async def test_a_step_that_is_not_concerned_is_passed_over() -> None:
    class Never(Step):
        def concerns(self, call: Call) -> bool:
            return False

    LINES.clear()
    router = _router(Engine())
    await Pipeline(lambda ns: router, [Never("a", fails="pre")], Book(), _nothing).handle(_request())
    assert "pre a" not in LINES


def _router(engine: Engine) -> Router:
    return Router([mounted("m/", engine, kind="t", accessor="", uuid="", mount_class="secret", privileged=True)])


def _request(**change: Any) -> Request:
    return Request(**{"id": "r", "op": Op.READ, "path": "m/x", **change})


async def _nothing(call: Call) -> None: ...
