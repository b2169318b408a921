"""Secrets without a history (kv version 1): a path holds one JSON object, and a write replaces it."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from strongroom.engines.kv.names import scan_names
from strongroom.engines.kv.plain import pack, unpack
from strongroom.engines.kv.upgrade import MARKER, UPGRADING, V1
from strongroom.errors import BadRequest, Conflict, NotFound
from strongroom.sdk.engine import Call, Mount, Route
from strongroom.sdk.fields import parse_duration
from strongroom.sdk.listing import list_names
from strongroom.sdk.request import Op, Response
from strongroom.sdk.storage import Write


class At(msgspec.Struct, frozen=True):
    """A path below the mount. ``after`` and ``limit`` page a LIST or SCAN; on a write they are part of the secret."""

    path: str = ""
    after: Any = ""
    limit: Any = 0


class KV1:
    """Layout: ``v1/<path>`` holds the JSON text of the secret. A write refuses once an upgrade to v2 has begun."""

    def __init__(self, mount: Mount) -> None:
        self._storage = mount.storage
        self._lease = mount.default_lease_ttl

    def routes(self) -> Sequence[Route]:
        return (
            Route(
                pattern="{path...}",
                rest_may_be_empty=True,
                args=At,
                strict=False,
                ops={
                    Op.READ: self.read,
                    Op.CREATE: self.write,
                    Op.UPDATE: self.write,
                    Op.DELETE: self.delete,
                    Op.LIST: self.list,
                    Op.SCAN: self.scan,
                },
                exists=self.exists,
                pure=frozenset({Op.READ, Op.LIST, Op.SCAN}),
                help="A secret: any JSON object, kept as it is. A write replaces the whole object. "
                "A key named ttl tells readers, as lease_duration, how soon to read again.",
                name="kv-path",
            ),
        )

    async def exists(self, call: Call) -> bool:
        path = call.match.params["path"]
        return bool(path) and await self._storage.get(V1 + path) is not None

    async def read(self, call: Call, args: At) -> Response:
        entry = await self._storage.get(V1 + args.path) if args.path else None
        if entry is None:
            raise NotFound
        data = unpack(entry.value)
        return Response(data=data, lease_duration=self._hint(data))

    def _hint(self, data: Mapping[str, Any]) -> int:
        hint = data["ttl"] if "ttl" in data else data.get("lease")
        if hint is None:
            return self._lease
        try:
            return parse_duration(hint)
        except BadRequest:  # the writer's own key of that name, not a duration
            return self._lease

    async def write(self, call: Call, args: At) -> Response:
        if not args.path:
            raise BadRequest("missing path")
        if not call.request.data:
            raise BadRequest("missing data fields")
        await self._commit(Write(V1 + args.path, pack(call.request.data)))
        return Response()

    async def delete(self, call: Call, args: At) -> Response:
        if not args.path:
            raise BadRequest("missing path")
        await self._commit(Write(V1 + args.path, None))
        return Response()

    async def _commit(self, write: Write) -> None:
        try:
            await self._storage.commit([write], expect={MARKER: 0})
        except Conflict as error:
            raise BadRequest(UPGRADING) from error

    async def list(self, call: Call, args: At) -> Response:
        after, limit = page_of(args.after, args.limit)
        names = await list_names(self._storage, V1 + args.path, after, limit)
        if not names:
            raise NotFound
        return Response(data={"keys": names})

    async def scan(self, call: Call, args: At) -> Response:
        after, limit = page_of(args.after, args.limit)
        names = await scan_names(self._storage, V1 + args.path, after, limit)
        return Response(data={"keys": names} if names else {})

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """Secrets are not leased: ``lease_duration`` is a hint only."""


def page_of(after: Any, limit: Any) -> tuple[str, int]:
    """``after`` and ``limit`` of a LIST, checked here because on a write they may be anything. Raises BadRequest."""
    try:
        return str(after), int(limit or 0)
    except (TypeError, ValueError) as error:
        raise BadRequest("limit is not a number") from error
