"""sys/internal: what the console and the command lines ask before they do anything."""

from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.core.mount_entry import MountEntry, shown
from strongroom.core.mounts import PROTECTED
from strongroom.core.openapi import document
from strongroom.errors import BadRequest, PermissionDenied, VaultError
from strongroom.sdk.engine import Call, NoArgs, Route
from strongroom.sdk.paths import canonical_text
from strongroom.sdk.request import Op, Response

if TYPE_CHECKING:
    from strongroom.core.core import Core


class PathArg(msgspec.Struct, frozen=True):
    path: str


class SpecArgs(msgspec.Struct, frozen=True, kw_only=True):
    generic_mount_paths: Any = None
    context: Any = None


class InternalRoutes:
    """See the module."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    def routes(self) -> tuple[Route, ...]:
        specs = {Op.READ: self.openapi, Op.UPDATE: self.openapi}
        return (
            Route(pattern="internal/ui/mounts", login=True, ops={Op.READ: self.mounts}, help="Mounts one may see."),
            Route(
                pattern="internal/ui/mounts/{path...}",
                login=True,
                args=PathArg,
                ops={Op.READ: self.mount},
                help="The mount that a path lies in.",
            ),
            Route(
                pattern="internal/ui/namespaces", login=True, ops={Op.READ: self.namespaces}, help="Child namespaces."
            ),
            Route(pattern="internal/ui/resultant-acl", ops={Op.READ: self.acl}, help="What the calling token may do."),
            Route(
                pattern="internal/specs/openapi",
                login=True,
                args=SpecArgs,
                ops=specs,
                strict=False,
                help="This API, as OpenAPI: what the asker may see of it.",
            ),
            Route(pattern="internal/counters/tokens", ops={Op.READ: self.tokens}, help="How many tokens there are."),
            Route(pattern="internal/counters/entities", ops={Op.READ: self.entities}, help="How many entities."),
            Route(pattern="internal/counters/requests", ops={Op.READ: self.requests}, help="Counted elsewhere."),
            Route(pattern="internal/counters/activity", ops={Op.READ: self.activity}, help="Clients are not counted."),
            Route(
                pattern="internal/counters/activity/monthly",
                ops={Op.READ: self.activity},
                help="Clients are not counted.",
            ),
            Route(pattern="internal/counters/config", ops={Op.READ: self.counting}, help="What is counted of clients."),
            Route(pattern="internal/inspect/request", sudo=True, ops={Op.READ: self.request}, help="This request."),
            Route(pattern="internal/inspect/request/root", sudo=True, ops={Op.READ: self.request}, help="The same."),
            Route(pattern="internal/inspect/router/{kind}", sudo=True, ops={Op.READ: self.router}, help="The mounts."),
        )

    async def _sees(self, call: Call, entry: MountEntry) -> bool:
        if entry.config.listing_visibility == "unauth":
            return True
        if call.caller is None or entry.config.listing_visibility == "hidden":
            return False
        if call.caller.root:
            return True
        acl = await self._core.acl(call.request, call.caller)
        return acl.may_any(entry.path)

    async def mounts(self, call: Call, args: NoArgs) -> Response:
        space = self._core.space(call.request.namespace)
        data: dict[str, dict[str, Any]] = {"secret": {}, "auth": {}}
        for entry in sorted(space.mounts.entries.values(), key=lambda e: e.path):
            if not await self._sees(call, entry):
                continue
            full = shown(entry)
            if call.caller is None:
                full = {name: full[name] for name in ("type", "description", "options")}
            data[entry.mount_class][entry.shown_path] = full
        return Response(data=data)

    async def mount(self, call: Call, args: PathArg) -> Response:
        space = self._core.space(call.request.namespace)
        entry = None
        try:
            entry = space.mounts.at(canonical_text(args.path.strip("/")) + "/")
        except VaultError:
            entry = None
        if call.caller is not None and entry is not None:
            acl = await self._core.acl(call.request, call.caller)
            if call.caller.root or acl.may_any(entry.path):
                return Response(data={**shown(entry), "path": entry.path})
        if call.caller is None:
            raise PermissionDenied
        path = args.path.rstrip("/") + "/"
        raise PermissionDenied(
            f'preflight capability check returned 403, please ensure client\'s policies grant access to path "{path}"'
        )

    async def namespaces(self, call: Call, args: NoArgs) -> Response:
        """The child namespaces in which the calling token may do anything."""
        if call.caller is None:
            return Response(data={})
        acl = await self._core.acl(call.request, call.caller)
        entries = await self._core.directory.children(call.request.namespace)
        names = [entry.name + "/" for entry in entries if call.caller.root or acl.may_any(entry.name + "/")]
        return Response(data={"keys": names} if names else {})

    async def acl(self, call: Call, args: NoArgs) -> Response:
        if call.caller is None:
            raise PermissionDenied
        if call.caller.root:
            return Response(data={"root": True})
        found = (await self._core.acl(call.request, call.caller)).resultant()
        shown = {kind: {path: {"capabilities": able} for path, able in rules.items()} for kind, rules in found.items()}
        return Response(data={"root": False, **shown})

    async def openapi(self, call: Call, args: SpecArgs) -> Response:
        space = self._core.space(call.request.namespace)
        seen = {
            entry.path
            for entry in space.mounts.entries.values()
            if await self._sees(call, entry)
            or (call.caller is None and entry.path in PROTECTED)  # every vault has those
        }
        mounts = [mount for path, mount in space.mounts.router.mounts.items() if path in seen]
        generic = str(args.generic_mount_paths).lower() in ("1", "true", "t")
        return Response(data=document(mounts, version=self._core.config.version, generic=generic), bare=True)

    async def tokens(self, call: Call, args: NoArgs) -> Response:
        total, after = 0, ""
        space = self._core.space(call.request.namespace)
        prefix = space.tokens.keys.entry
        while names := await space.storage.list(prefix, after=after, limit=10_000):
            total, after = total + len(names), names[-1]
        return Response(data={"counters": {"service_tokens": {"total": total}}})

    async def entities(self, call: Call, args: NoArgs) -> Response:
        total, after = 0, ""
        space = self._core.space(call.request.namespace)
        prefix = space.identity.store.keys.entity
        while names := await space.storage.list(prefix, after=after, limit=10_000):
            total, after = total + len(names), names[-1]
        return Response(data={"counters": {"entities": {"total": total}}})

    async def requests(self, call: Call, args: NoArgs) -> Response:
        return Response(data={"counters": None})

    async def activity(self, call: Call, args: NoArgs) -> Response:
        """Nothing, as Vault answers where no clients were counted."""
        return Response()

    async def counting(self, call: Call, args: NoArgs) -> Response:
        data = {"default_report_months": 12, "enabled": "disable", "queries_available": False, "retention_months": 0}
        return Response(data=data)

    async def request(self, call: Call, args: NoArgs) -> Response:
        """The request as it arrived here, for those who look for a proxy's doings. Never with a token."""
        asked = call.request
        data = {
            "request_id": asked.id,
            "path": asked.path,
            "operation": asked.op.value,
            "remote_address": asked.remote,
            "remote_port": asked.remote_port,
            "namespace_id": asked.namespace,
        }
        return Response(data=data)

    async def router(self, call: Call, args: NoArgs) -> Response:
        kind = call.match.params["kind"]
        if kind not in ("root", "uuid", "accessor", "storage"):
            raise BadRequest("the tag must be one of root, uuid, accessor, storage")
        rows = {}
        for entry in self._core.space(call.request.namespace).mounts.entries.values():
            name = {"uuid": entry.uuid, "accessor": entry.accessor}.get(kind, entry.path)
            rows[name] = {"path": entry.path, "type": entry.type, "uuid": entry.uuid, "accessor": entry.accessor}
        return Response(data={kind: rows})
