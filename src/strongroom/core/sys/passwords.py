"""sys/policies/password: policies for generated passwords, and passwords by them."""

from typing import TYPE_CHECKING

import msgspec

from strongroom.core import layout
from strongroom.core.password_policy import read
from strongroom.core.sys.policies import perhaps_base64
from strongroom.errors import BadRequest, NotFound
from strongroom.sdk.engine import Call, NoArgs, Route
from strongroom.sdk.fields import Text
from strongroom.sdk.request import Op, Response
from strongroom.sdk.storage import Write

if TYPE_CHECKING:
    from strongroom.core.core import Core


class PasswordArgs(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    policy: Text = Text("")


class PasswordRoutes:
    """See the module."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    def routes(self) -> tuple[Route, ...]:
        one = {Op.READ: self.read, Op.UPDATE: self.write, Op.DELETE: self.delete}
        head, about = "policies/password/", "How generated passwords look."
        return (
            Route(pattern=head, ops={Op.LIST: self.list}, help="The names of the password policies."),
            Route(pattern=head + "{name}", ops=one, args=PasswordArgs, exists=self._exists, help=about),
            Route(
                pattern=head + "{name}/generate",
                ops={Op.READ: self.generate},
                args=PasswordArgs,
                help="A password by a policy.",
            ),
        )

    def _key(self, call: Call, name: str) -> str:
        return layout.config(call.request.namespace, f"password-policy/{name}")

    async def _stored(self, call: Call, name: str) -> str | None:
        stored = await self._core.space(call.request.namespace).storage.get(self._key(call, name))
        return None if stored is None else stored.value.decode()

    async def _exists(self, call: Call) -> bool:
        return await self._stored(call, call.match.params["name"]) is not None

    async def _text(self, call: Call, name: str) -> str:
        text = await self._stored(call, name)
        if text is None:
            raise NotFound
        return text

    async def read(self, call: Call, args: PasswordArgs) -> Response:
        return Response(data={"policy": await self._text(call, args.name)})

    async def write(self, call: Call, args: PasswordArgs) -> Response:
        if not args.policy:
            raise BadRequest("missing policy")
        text = perhaps_base64(str(args.policy))
        read(self._core.language.plain(text, "failed to parse password policy"))
        storage = self._core.space(call.request.namespace).storage
        await storage.commit([Write(self._key(call, args.name), text.encode())])
        return Response()

    async def delete(self, call: Call, args: PasswordArgs) -> Response:
        storage = self._core.space(call.request.namespace).storage
        await storage.commit([Write(self._key(call, args.name), None)])
        return Response()

    async def list(self, call: Call, args: NoArgs) -> Response:
        space = self._core.space(call.request.namespace)
        names: list[str] = []
        while page := await space.storage.list(self._key(call, ""), after=names[-1] if names else ""):
            names += page
        if not names:
            raise NotFound
        return Response(data={"keys": names})

    async def generate(self, call: Call, args: PasswordArgs) -> Response:
        text = await self._text(call, args.name)
        return Response(data={"password": read(self._core.language.plain(text, "password policy")).generate()})
