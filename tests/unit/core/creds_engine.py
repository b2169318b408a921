"""An engine that gives out credentials with leases, without a database."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.request import Lease, Op, Response


class CredsArgs(msgspec.Struct, frozen=True):
    name: str


class Creds:
    """Stands for a database engine: the role's name is the TTL that its lease is to get, "" tells none."""

    def __init__(self, mount: Mount) -> None:
        self.revoked = 0

    def routes(self) -> Sequence[Route]:
        return (
            Route(pattern="creds/{name}", args=CredsArgs, ops={Op.READ: self.read}, facts=self.facts, help="x"),
            Route(pattern="config/{name}", args=CredsArgs, ops={Op.UPDATE: self.nothing}, help="x"),
        )

    async def facts(self, call: Call, args: CredsArgs) -> Mapping[str, Any]:
        return {} if args.name == "mute" else {"ttl": int(args.name), "max_ttl": 7200}

    async def read(self, call: Call, args: CredsArgs) -> Response:
        ttl = 60 if args.name == "mute" else int(args.name)
        return Response(data={"username": "u"}, lease=Lease(ttl=ttl, max_ttl=7200))

    async def nothing(self, call: Call, args: NoArgs) -> Response:
        return Response()

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        self.revoked += 1
