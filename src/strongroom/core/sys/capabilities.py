"""sys/capabilities: what a token may do on given paths."""

from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.core.tokens import Found
from strongroom.errors import BadRequest, PermissionDenied, VaultError, wrapped
from strongroom.sdk.engine import Call, Route
from strongroom.sdk.fields import StrList, Text
from strongroom.sdk.paths import canonical_text
from strongroom.sdk.request import Caller, Op, Response

if TYPE_CHECKING:
    from strongroom.core.core import Core


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    paths: StrList = StrList()
    path: StrList = StrList()  # the old name
    token: Text = Text("")
    accessor: Text = Text("")

    def __repr__(self) -> str:
        return "Asked()"


class CapabilityRoutes:
    """See the module."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    def routes(self) -> tuple[Route, ...]:
        def route(pattern: str, function: Any, text: str) -> Route:
            return Route(pattern=pattern, args=Asked, ops={Op.UPDATE: function}, help=text)

        return (
            route("capabilities-self", self.of_self, "What the calling token may do on some paths."),
            route("capabilities-accessor", self.of_accessor, "What a token, named by accessor, may do on some paths."),
            route("capabilities", self.of_token, "What a token may do on some paths."),
        )

    async def of_self(self, call: Call, args: Asked) -> Response:
        if call.caller is None:
            raise PermissionDenied
        return await self._answer(call, args, call.caller)

    async def of_token(self, call: Call, args: Asked) -> Response:
        if not args.token:
            raise BadRequest("no token found in request")
        found = await self._core.space(call.request.namespace).tokens.find(str(args.token))
        return await self._found(call, args, found, "invalid token")

    async def of_accessor(self, call: Call, args: Asked) -> Response:
        if not args.accessor:
            raise BadRequest("no accessor found in request")
        found = await self._core.space(call.request.namespace).tokens.find_accessor(str(args.accessor))
        return await self._found(call, args, found, "invalid accessor")

    async def _found(self, call: Call, args: Asked, found: Found | None, error: str) -> Response:
        caller = None
        if found is not None:
            caller = await self._core.space(call.request.namespace).identity.caller(found.caller, keep=False)
        if caller is None:
            raise BadRequest(wrapped(error))
        return await self._answer(call, args, caller)

    async def _answer(self, call: Call, args: Asked, caller: Caller) -> Response:
        paths = args.paths or args.path
        if not paths:
            raise BadRequest("paths must be supplied")
        acl = await self._core.acl(call.request, caller)
        data: dict[str, Any] = {}
        for path in paths:
            known = _clean(path)
            data[path] = ["root"] if caller.root else ["deny"] if known is None else acl.capabilities(known)
        if len(paths) == 1:
            data["capabilities"] = data[paths[0]]
        return Response(data=data, flat=True)


def _clean(path: str) -> str | None:
    """A path as policies know it; None for one that no request can name."""
    slash = "/" if path.endswith("/") else ""
    try:
        return canonical_text(path.strip("/").removeprefix("v1/")) + slash
    except VaultError:
        return None
