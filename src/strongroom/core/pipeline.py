"""The walk of every request. If it is not here, it does not happen to a request."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec

from strongroom.core.help import help_page
from strongroom.core.router import Router, nowhere
from strongroom.errors import VaultError
from strongroom.sdk.engine import Call
from strongroom.sdk.request import Op, Request, Response

LIMITED = "limited"  # note of a call whose token has a number of uses: the token as it was found
TRANSITION = "transition"  # note of a call that seals, unseals or initialises, once it is recorded
RECORDED = "recorded"  # note of a call whose answer was recorded before its effect (init: keys must not be lost)


class Recorder(Protocol):
    """The audit trail, as the pipeline sees it."""

    async def request(self, call: Call, refusal: BaseException | None) -> None: ...

    async def response(self, call: Call, outcome: Response | BaseException) -> None: ...


class NoRecorder:
    """No audit at all (tests of single parts)."""

    async def request(self, call: Call, refusal: BaseException | None) -> None: ...

    async def response(self, call: Call, outcome: Response | BaseException) -> None: ...


class Pipeline:
    """match -> pre_route -> request record -> spend -> route -> post_route -> log -> response record.

    Args:
        router: gives today's Router of a namespace id.
        handlers: in order; each takes part in the phases it has. Handlers need not inherit. One with ``special_only``
            has nothing to do after the route unless the call was noted before it, or ``_special`` says so. One with
            ``concerns`` (a plain function of the call) has nothing to do before it where that is False, and one with
            ``log_note`` logs calls only that it left that note on.
        audit: without its request record nothing runs; without its response record nothing is answered.
        spend: counts one use of a limited token. Runs after the request record, for refused calls too.
        after: what a recorded answer still has to bring about before it leaves (seal, hand over).
        outsiders: those of the handlers that are not the core's own.
        denied: told of each 403 before it leaves.
    """

    def __init__(
        self,
        router: Callable[[str], Router],
        handlers: Sequence[Any],
        audit: Recorder,
        spend: Callable[[Call], Awaitable[None]],
        after: Callable[[Call, Response], Awaitable[Response]] | None = None,
        outsiders: Sequence[Any] = (),
        denied: Callable[[Call, VaultError], None] = lambda call, error: None,
    ) -> None:
        self._router = router
        self._audit = audit
        self._spend = spend
        self._after = after
        self._outsiders = bool(outsiders)
        self._denied = denied
        self._pre = [(getattr(h, "concerns", None), h.pre_route) for h in handlers if _has(h, "pre_route")]
        self._route = [h.route for h in handlers if _has(h, "route")]
        self._post = [(h.post_route, getattr(h, "special_only", False)) for h in handlers if _has(h, "post_route")]
        self._log = [(getattr(h, "log_note", ""), h.log) for h in handlers if _has(h, "log")]

    async def handle(self, request: Request) -> Response:
        """Walk ``request`` through the house.

        Raises:
            VaultError: refused or failed; already recorded when it reaches the caller.
        """
        known = None
        try:
            router = self._router(request.namespace)
            known = router.known(request.op, request.path)
            match, path = known or router.look_up(request.op, request.path)
        except VaultError as error:
            match, path = nowhere(error), request.path
        call = Call(request, match)
        if path != request.path:
            call.request = msgspec.structs.replace(request, path=path)
        outcome: Response | BaseException
        try:
            outcome = await self._walk(call)
            if known is None and path == request.path and (call.only_looks or match.mount_class == "secret"):
                router.keep(request.op, request.path, match)
        except BaseException as error:
            outcome = error
        try:
            for note, log in self._log:
                if not note or note in call.notes:
                    await log(call, outcome)
        except BaseException as error:
            outcome = error
        await self._audit.response(call, outcome)
        if isinstance(outcome, BaseException):
            if isinstance(outcome, VaultError) and outcome.status == 403:
                self._denied(call, outcome)
            raise outcome
        if self._after is not None and TRANSITION in call.notes:
            return await self._after(call, outcome)
        return outcome

    async def _walk(self, call: Call) -> Response:
        early: Response | None = None
        refusal: BaseException | None = call.request.fault
        if refusal is None:
            try:
                for concerns, pre in self._pre:
                    if concerns is not None and not concerns(call):
                        continue
                    early = await pre(call)
                    if early is not None:
                        break
            except BaseException as error:
                refusal = error
        noted = bool(call.notes)
        request = call.request
        if request.op in call.match.route.pure and not (noted or request.wrap_ttl or self._outsiders):
            call.only_looks = True
        await self._audit.request(call, refusal)
        if LIMITED in call.notes:
            await self._spend(call)
        if refusal is not None:
            raise refusal
        response = early if early is not None else await self._answer(call)
        special: bool | None = None
        for post, special_only in self._post:
            if special_only:
                if special is None:
                    special = noted or _special(call, response)
                if not special:
                    continue
            response = await post(call, response)
            if not special:
                special = None  # a step from outside may have asked for more
        if self._outsiders and response.memo is not None:
            response = msgspec.structs.replace(response, memo=None)  # it may say something else than its engine said
        return response

    async def _answer(self, call: Call) -> Response:
        for route in self._route:
            answer: Response | None = await route(call)
            if answer is not None:
                return answer
        if call.request.op is Op.HELP:
            return help_page(call, self._router(call.request.namespace))
        return await self._router(call.request.namespace).route(call)


def _special(call: Call, response: Response) -> bool:
    """Whether there is more to do than to answer: a token or lease to make, an answer to wrap, a warning to add."""
    return bool(
        response.auth is not None
        or response.lease is not None
        or response.wrap_ttl
        or call.request.wrap_ttl
        or call.warnings
    )


def _has(handler: Any, phase: str) -> bool:
    """Whether ``handler`` has ``phase`` of its own (the base class's empty ones are not called)."""
    function = getattr(type(handler), phase, None) or getattr(handler, phase, None)
    return function is not None and getattr(function, "__module__", "") != "strongroom.sdk.engine"
