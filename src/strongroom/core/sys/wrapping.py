"""sys/wrapping: wrap, look up, unwrap and rewrap. Asking about a bad token is 400, never 403 (wire facts B.2)."""

from typing import TYPE_CHECKING

import msgspec

from strongroom.core import wrapping
from strongroom.core.clock import rfc3339
from strongroom.errors import BadRequest
from strongroom.sdk.engine import Call, Route
from strongroom.sdk.fields import Text
from strongroom.sdk.request import Op, Response

if TYPE_CHECKING:
    from strongroom.core.core import Core


class TokenArg(msgspec.Struct, frozen=True, kw_only=True):
    token: Text = Text("")

    def __repr__(self) -> str:
        return "TokenArg()"


class WrappingRoutes:
    """See the module."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    def routes(self) -> tuple[Route, ...]:
        look = {Op.UPDATE: self.lookup, Op.READ: self.lookup}
        return (
            Route(pattern="wrapping/wrap", ops={Op.UPDATE: self.wrap}, strict=False, help="Wrap data of one's own."),
            Route(pattern="wrapping/lookup", login=True, args=TokenArg, ops=look, help="What a wrapping token is for."),
            Route(
                pattern="wrapping/unwrap",
                login=True,
                args=TokenArg,
                ops={Op.UPDATE: self.unwrap},
                help="The wrapped answer, once.",
            ),
            Route(
                pattern="wrapping/rewrap",
                args=TokenArg,
                ops={Op.UPDATE: self.rewrap},
                help="A new wrapping token for the same answer.",
            ),
        )

    def _token(self, call: Call, args: TokenArg) -> str:
        return str(args.token) or call.request.token

    async def wrap(self, call: Call, args: object) -> Response:
        if not call.request.wrap_ttl:
            raise BadRequest("endpoint requires response wrapping to be used")
        return Response(data=dict(call.request.data))

    async def lookup(self, call: Call, args: TokenArg) -> Response:
        space = self._core.space(call.request.namespace)
        entry = (await wrapping.find(space, self._token(call, args))).entry
        data = {
            "creation_path": entry.creation_path,
            "creation_time": rfc3339(entry.created),
            "creation_ttl": entry.ttl,
        }
        return Response(data=data)

    async def unwrap(self, call: Call, args: TokenArg) -> Response:
        space = self._core.space(call.request.namespace)
        text, _ = await wrapping.take(space, self._token(call, args))
        return wrapping.unkept(text)

    async def rewrap(self, call: Call, args: TokenArg) -> Response:
        space = self._core.space(call.request.namespace)
        text, entry = await wrapping.take(space, self._token(call, args))
        answer = wrapping.unkept(text)
        accessor = answer.auth.accessor if answer.auth else ""
        info = await wrapping.wrap(space, text, ttl=entry.ttl, path=entry.creation_path, wrapped_accessor=accessor)
        return Response(wrap_info=info)
