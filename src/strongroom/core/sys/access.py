"""sys/remount: move a mount."""

from typing import TYPE_CHECKING

import msgspec

from strongroom.core.mounts import PROTECTED
from strongroom.core.names import new_uuid
from strongroom.errors import BadRequest, NotFound
from strongroom.sdk.engine import Call, Route
from strongroom.sdk.fields import Text
from strongroom.sdk.request import Op, Response

if TYPE_CHECKING:
    from strongroom.core.core import Core

_MAX_REMEMBERED = 256


class RemountArgs(msgspec.Struct, frozen=True, kw_only=True):
    to: Text = Text("")
    # "from" is a word of the language, so it is read from the request itself


class StatusArgs(msgspec.Struct, frozen=True):
    migration_id: str


class RemountRoutes:
    """See the module. A move is one commit here, so its status is known when the answer leaves."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                pattern="remount",
                args=RemountArgs,
                sudo=True,
                strict=False,
                ops={Op.UPDATE: self.remount},
                help="Move a mount to another path.",
            ),
            Route(
                pattern="remount/status/{migration_id}",
                args=StatusArgs,
                ops={Op.READ: self.status},
                help="How a move went.",
            ),
        )

    async def remount(self, call: Call, args: RemountArgs) -> Response:
        source, target = str(call.request.data.get("from") or "").strip("/"), str(args.to).strip("/")
        if not source or not target:
            raise BadRequest("both 'from' and 'to' path must be specified as a string")
        space = self._core.space(call.request.namespace)
        old = space.mounts.entries.get(source + "/")
        if old is None:
            raise BadRequest(f'no matching mount at "{source}/"')
        if old.path in PROTECTED:
            raise BadRequest(f'cannot remount "{old.path}"')
        new = target + "/"
        if new == old.path:
            raise BadRequest(f"path is already in use at {new}")
        if old.path.startswith("auth/") != new.startswith("auth/"):
            raise BadRequest(f'cannot remount "{old.path}" to "{new}": one is an auth mount, the other is not')
        await space.mounts.replace(old.path, lambda entry: msgspec.structs.replace(entry, path=new))
        await space.ending.revoke_prefix(old.path)
        migration = new_uuid()
        done = {"source_mount": old.path, "target_mount": new, "status": "success"}
        await space.remember_migration(migration, done, keep=_MAX_REMEMBERED)
        note = "Mount move has been queued. Progress will be reported in the status endpoint and the server's log."
        return Response(data={"migration_id": migration}, flat=True, warnings=(note,))

    async def status(self, call: Call, args: StatusArgs) -> Response:
        done = await self._core.space(call.request.namespace).migration(args.migration_id)
        if done is None:
            raise NotFound
        return Response(data={"migration_id": args.migration_id, "migration_info": done})
