"""A drawer for each token: only its holder reaches it, and it goes when the token goes.

Layout: ``<token id>/<path>`` holds the JSON text of an object; the token id is the salted hash in ``Caller.token_id``.
Whoever ends a token removes the View's prefix ``<token id>/``. A wrapping token's answer lies at
``<token id>/response``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from strongroom.errors import BadRequest, IntegrityError, NotFound, PermissionDenied, VaultError
from strongroom.sdk.engine import Call, Mount, Route
from strongroom.sdk.listing import Page, answer_names
from strongroom.sdk.request import Op, Response
from strongroom.sdk.storage import Write

UNWRAP = "A wrapped answer is better opened with sys/wrapping/unwrap, which says when it was opened before."


class At(msgspec.Struct, frozen=True):
    path: str = ""


class Cubbyhole:
    """The engine of the one mount ``cubbyhole/``."""

    def __init__(self, mount: Mount) -> None:
        self._storage = mount.storage

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
                },
                exists=self.exists,
                help="Secrets that only the token they were written with can see. They end with the token.",
                name="cubbyhole-path",
            ),
        )

    async def exists(self, call: Call) -> bool:
        path = call.match.params["path"]
        try:
            drawer = _drawer(call)
        except VaultError:  # the operation itself will refuse, in its turn
            return False
        return bool(path) and await self._storage.get(drawer + path) is not None

    async def read(self, call: Call, args: At) -> Response:
        entry = await self._storage.get(_drawer(call) + args.path) if args.path else None
        if entry is None:
            raise NotFound
        try:
            data = msgspec.json.decode(entry.value, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise IntegrityError("a stored secret cannot be read") from error
        return Response(data=data, warnings=(UNWRAP,) if args.path == "response" else ())

    async def write(self, call: Call, args: At) -> Response:
        if not args.path:
            raise BadRequest("missing path")
        if not call.request.data:
            raise BadRequest("missing data fields")
        try:
            text = msgspec.json.encode(call.request.data)
            exact = msgspec.json.decode(text) == call.request.data
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise BadRequest("data cannot be kept as JSON") from error
        if not exact:  # NaN, bytes or a date of an embedding program: the encoder would quietly make others of them
            raise BadRequest("data cannot be kept as JSON")
        await self._storage.commit([Write(_drawer(call) + args.path, text)])
        return Response()

    async def delete(self, call: Call, args: At) -> Response:
        if not args.path:
            raise BadRequest("missing path")
        await self._storage.commit([Write(_drawer(call) + args.path, None)])
        return Response()

    async def list(self, call: Call, args: At) -> Response:
        return await answer_names(self._storage, _drawer(call) + args.path, Page())

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """Nothing here is leased."""


def _drawer(call: Call) -> str:
    """The caller's prefix.

    Raises:
        BadRequest: a batch token, which nothing is stored for.
        PermissionDenied: no token.
    """
    caller = call.caller
    if caller is None or not caller.token_id or "/" in caller.token_id:
        raise PermissionDenied
    if caller.token_type == "batch":
        raise BadRequest('cubbyhole operations are only supported by "service" type tokens')
    return caller.token_id + "/"
