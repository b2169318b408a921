"""sys/locked-users: names that too many failed logins have shut out, and how they are let in again."""

from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.core.router import fold
from strongroom.sdk.engine import Call, Route
from strongroom.sdk.fields import Text
from strongroom.sdk.request import Op, Response

if TYPE_CHECKING:
    from strongroom.core.core import Core


class LockedArgs(msgspec.Struct, frozen=True, kw_only=True):
    mount_accessor: Text = Text("")


class UnlockArgs(msgspec.Struct, frozen=True, kw_only=True):
    mount_accessor: str
    alias_identifier: str


class LockedRoutes:
    """See the module."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(pattern="locked-users", ops={Op.READ: self.list}, args=LockedArgs, help="Names that are locked now."),
            Route(
                pattern="locked-users/{mount_accessor}/unlock/{alias_identifier}",
                ops={Op.UPDATE: self.unlock},
                args=UnlockArgs,
                help="Let a locked name log in again.",
            ),
        )

    async def list(self, call: Call, args: LockedArgs) -> Response:
        mounts: dict[str, list[str]] = {}
        space = self._core.space(call.request.namespace)
        own = {entry.accessor for entry in space.mounts.entries.values()}
        for name in self._core.lockout.locked() if self._core.lockout is not None else ():
            if name.accessor in own and (not args.mount_accessor or name.accessor == args.mount_accessor):
                mounts.setdefault(name.accessor, []).append(name.alias)
        rows: list[dict[str, Any]] = [
            {"mount_accessor": accessor, "counts": len(names), "alias_identifiers": names}
            for accessor, names in mounts.items()
        ]
        total = sum(row["counts"] for row in rows)
        here = {"namespace_id": space.id, "namespace_path": space.path, "counts": total, "mount_accessors": rows}
        return Response(data={"by_namespace": [here], "total": total})

    async def unlock(self, call: Call, args: UnlockArgs) -> Response:
        lockout = self._core.lockout
        if self._core.space(call.request.namespace).mounts.by_accessor(args.mount_accessor) is None:
            return Response()  # as for one that nobody locked
        if lockout is not None and not lockout.unlock(args.mount_accessor, args.alias_identifier):
            lockout.unlock(args.mount_accessor, fold(args.alias_identifier))  # the name as its owner spells it
        return Response()
