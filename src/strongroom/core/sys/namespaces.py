"""sys/namespaces: list, create, read, patch and delete the namespaces below the one that is asked."""

from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.core.space_entry import SpaceEntry, check_metadata, check_name, shown
from strongroom.errors import BadRequest, Conflict, NotFound
from strongroom.sdk.engine import Call, NoArgs, Route
from strongroom.sdk.fields import Text
from strongroom.sdk.request import Op, Response

if TYPE_CHECKING:
    from strongroom.core.core import Core

_MAX_PAGE = 10_000


class SpaceArgs(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    custom_metadata: Any = None


class ListArgs(msgspec.Struct, frozen=True, kw_only=True):
    after: Text = Text("")
    limit: int = 0


class NamespaceRoutes:
    """See the module."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    def routes(self) -> tuple[Route, ...]:
        one = {
            Op.READ: self.read,
            Op.UPDATE: self.write,
            Op.PATCH: self.patch,
            Op.DELETE: self.delete,
        }
        listing = {Op.LIST: self.list, Op.SCAN: self.scan}
        return (
            Route(pattern="namespaces/", ops=listing, args=ListArgs, help="The namespaces below this one."),
            Route(pattern="namespaces/{path}", ops=one, args=SpaceArgs, help="A namespace below this one."),
            Route(
                pattern="namespaces/{path...}/{name}",
                ops={Op.UPDATE: self.nested},
                strict=False,
                help="Namespaces further down are asked of their parents.",
            ),
        )

    async def list(self, call: Call, args: ListArgs) -> Response:
        limit = max(0, min(args.limit, _MAX_PAGE))
        entries = await self._core.directory.children(call.request.namespace, after=str(args.after), limit=limit)
        if not entries:
            raise NotFound
        return _listed({f"{entry.name}/": entry for entry in entries})

    async def scan(self, call: Call, args: ListArgs) -> Response:
        """All namespaces below, however deep; paths are relative to this one."""
        found: dict[str, SpaceEntry] = {}
        todo = [("", call.request.namespace)]
        while todo and len(found) < _MAX_PAGE:
            prefix, namespace = todo.pop(0)
            for entry in await self._core.directory.children(namespace):
                found[f"{prefix}{entry.name}/"] = entry
                todo.append((f"{prefix}{entry.name}/", entry.id))
        return _listed(dict(sorted(found.items()))) if found else Response(data={})

    async def _entry(self, call: Call, args: SpaceArgs) -> SpaceEntry:
        found = await self._core.directory.get(call.request.namespace, args.path.rstrip("/"))
        if found is None:
            raise NotFound
        return found[0]

    async def read(self, call: Call, args: SpaceArgs) -> Response:
        return Response(data=shown(await self._entry(call, args)))

    async def write(self, call: Call, args: SpaceArgs) -> Response:
        """Create a namespace, or replace the metadata of one that is there."""
        name, metadata = check_name(args.path), check_metadata(args.custom_metadata)
        directory, space = self._core.directory, self._core.space(call.request.namespace)
        if await directory.get(space.id, name) is None:
            try:
                return Response(data=shown(await directory.create(space, name, metadata)))
            except Conflict:
                if await directory.get(space.id, name) is None:
                    raise

        def replace(entry: SpaceEntry) -> SpaceEntry:
            if entry.tainted:
                raise BadRequest(f"namespace {entry.path!r} is being deleted")
            if args.custom_metadata is None:
                return entry
            return msgspec.structs.replace(entry, custom_metadata=metadata)

        return Response(data=shown(await directory.update(space.id, name, replace)))

    async def patch(self, call: Call, args: SpaceArgs) -> Response:
        """Merge into the metadata (RFC 7396): null removes a key."""
        given = args.custom_metadata
        if given is not None and not isinstance(given, dict):
            raise BadRequest("custom_metadata must be a map of text to text")

        def merge(entry: SpaceEntry) -> SpaceEntry:
            if entry.tainted:
                raise BadRequest(f"namespace {entry.path!r} is being deleted")
            merged: dict[str, Any] = {**entry.custom_metadata, **(given or {})}
            kept = check_metadata({key: value for key, value in merged.items() if value is not None})
            return msgspec.structs.replace(entry, custom_metadata=kept)

        entry = await self._core.directory.update(call.request.namespace, args.path.rstrip("/"), merge)
        return Response(data=shown(entry))

    async def delete(self, call: Call, args: SpaceArgs) -> Response:
        """Begin the removal, and end it if there is not much to remove; else the tidying goes on with it."""
        entry = await self._core.directory.taint(call.request.namespace, args.path.rstrip("/"))
        if entry is None:
            return Response()
        removals = self._core.removals
        if await removals.is_small(entry.id) and await removals.finish(entry.id):
            return Response(data={"status": "complete"})
        return Response(data={"status": "in-progress"})

    async def nested(self, call: Call, args: NoArgs) -> Response:
        raise BadRequest("namespace path may not contain a slash: ask the parent namespace")


def _listed(entries: dict[str, SpaceEntry]) -> Response:
    return Response(data={"keys": list(entries), "key_info": {path: shown(entry) for path, entry in entries.items()}})
