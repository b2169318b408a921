"""sys/policies/cedar: read, write, list and delete Cedar policies."""

from typing import TYPE_CHECKING

import msgspec

from strongroom.core.cedar_policies import CedarStore
from strongroom.errors import BadRequest, NotFound
from strongroom.sdk.engine import Call, NoArgs, Route
from strongroom.sdk.fields import Text
from strongroom.sdk.request import Op, Response

if TYPE_CHECKING:
    from strongroom.core.core import Core


class CedarArgs(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    policy: Text = Text("")
    tests: Text | msgspec.UnsetType = msgspec.UNSET


class CedarRoutes:
    """See the module."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    def routes(self) -> tuple[Route, ...]:
        one = {Op.READ: self.read, Op.UPDATE: self.write, Op.DELETE: self.delete}
        return (
            Route(pattern="policies/cedar", ops={Op.READ: self.names}, help="The names of the Cedar policies."),
            Route(pattern="policies/cedar/", ops={Op.LIST: self.names}, help="The names of the Cedar policies."),
            Route(
                pattern="policies/cedar/{name}",
                ops=one,
                args=CedarArgs,
                exists=self._exists,
                fold=("name",),
                help="A Cedar policy: one or more permit and forbid statements.",
            ),
        )

    def _store(self, call: Call) -> CedarStore:
        return self._core.space(call.request.namespace).cedar.store

    async def _exists(self, call: Call) -> bool:
        return await self._store(call).get(call.match.params["name"]) is not None

    async def names(self, call: Call, args: NoArgs) -> Response:
        return Response(data={"keys": await self._store(call).names()})

    async def read(self, call: Call, args: CedarArgs) -> Response:
        stored = await self._store(call).get(args.name)
        if stored is None:
            raise NotFound
        data = {"name": args.name, "policy": stored.text}
        return Response(data={**data, "tests": stored.tests} if stored.tests else data)

    async def write(self, call: Call, args: CedarArgs) -> Response:
        text = str(args.policy)
        if not text.strip():
            raise BadRequest("'policy' parameter not supplied or empty")
        tests = None if args.tests is msgspec.UNSET else str(args.tests)
        await self._store(call).put(args.name, text, self._core.now(), tests=tests)
        return Response()

    async def delete(self, call: Call, args: CedarArgs) -> Response:
        await self._store(call).delete(args.name)
        return Response()
