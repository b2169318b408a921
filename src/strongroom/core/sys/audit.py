"""sys/audit, sys/audit-hash and sys/audit-proof: the audit devices."""

import base64
from typing import TYPE_CHECKING

import msgspec

from strongroom.errors import BadRequest
from strongroom.sdk.engine import Call, NoArgs, Route
from strongroom.sdk.fields import Flag, StrMap, Text
from strongroom.sdk.request import Op, Response

if TYPE_CHECKING:
    from strongroom.core.core import Core


_HIDDEN = frozenset({"password"})  # options that are shown to nobody


class DeviceArgs(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    type: Text = Text("")
    description: Text = Text("")
    options: StrMap = StrMap()
    local: Flag = Flag(0)


class ProofArgs(msgspec.Struct, frozen=True, kw_only=True):
    path: str


class HashArgs(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    input: Text = Text("")


class AuditRoutes:
    """See the module."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    def routes(self) -> tuple[Route, ...]:
        one = {Op.UPDATE: self.enable, Op.DELETE: self.disable}
        return (
            Route(pattern="audit", ops={Op.READ: self.list}, sudo=True, help="The enabled audit devices."),
            Route(pattern="audit/{path...}", ops=one, args=DeviceArgs, sudo=True, help="Enable or disable a device."),
            Route(
                pattern="audit-hash/{path...}",
                ops={Op.UPDATE: self.hash},
                args=HashArgs,
                help="What a text looks like in a device's lines.",
            ),
            Route(
                pattern="audit-proof/{path...}",
                ops={Op.READ: self.proof},
                args=ProofArgs,
                help="The public key that a device's log is verified with, and its last checkpoint.",
            ),
        )

    async def list(self, call: Call, args: NoArgs) -> Response:
        data = {
            path: {
                "path": path,
                "type": entry.type,
                "description": entry.description,
                "options": {name: text for name, text in entry.options.items() if name not in _HIDDEN},
                "local": entry.local,
            }
            for path, entry in self._core.audit.devices().items()
        }
        return Response(data=data, flat=True)

    async def enable(self, call: Call, args: DeviceArgs) -> Response:
        await self._core.audit.enable(
            args.path,
            str(args.type),
            description=str(args.description),
            options=dict(args.options),
            local=bool(args.local),
        )
        return Response()

    async def disable(self, call: Call, args: DeviceArgs) -> Response:
        await self._core.audit.disable(args.path)
        return Response()

    async def hash(self, call: Call, args: HashArgs) -> Response:
        if not args.input:
            raise BadRequest('the "input" parameter is empty')
        return Response(data={"hash": self._core.audit.hash(args.path, str(args.input))}, flat=True)

    async def proof(self, call: Call, args: ProofArgs) -> Response:
        public, checkpoint = await self._core.audit.proof(args.path)
        data = {"algorithm": "ed25519", "public_key": base64.b64encode(public).decode(), "checkpoint": checkpoint}
        return Response(data=data)
