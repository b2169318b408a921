"""sys/leases: look up, list, renew and revoke leases."""

from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.core.clock import rfc3339
from strongroom.core.lease_entry import LeaseEntry
from strongroom.core.leases import Failures
from strongroom.core.namespace import Namespace
from strongroom.core.token_engine import renew
from strongroom.errors import BadRequest, NotFound
from strongroom.sdk.engine import Call, NoArgs, Route
from strongroom.sdk.fields import Duration, Flag, Text
from strongroom.sdk.request import Op, Response

if TYPE_CHECKING:
    from strongroom.core.core import Core


class LeaseArgs(msgspec.Struct, frozen=True, kw_only=True):
    lease_id: Text = Text("")
    url_lease_id: Text = Text("")
    increment: Duration = Duration(0)
    sync: Flag = Flag(0)


class PrefixArgs(msgspec.Struct, frozen=True, kw_only=True):
    prefix: str = ""
    sync: Flag = Flag(0)
    after: Text = Text("")
    limit: int = 1000


class LeaseRoutes:
    """See the module. The shorter sys/renew and sys/revoke of old share the functions."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    def routes(self) -> tuple[Route, ...]:
        routes: list[Route] = []

        def add(pattern: str, function: Any, args: type[msgspec.Struct], text: str, *, sudo: bool = False) -> None:
            routes.append(Route(pattern=pattern, args=args, ops={Op.UPDATE: function}, sudo=sudo, help=text))

        add("leases/lookup", self.lookup, LeaseArgs, "A lease's properties.")
        listing = {Op.LIST: self.list}
        routes.append(Route(pattern="leases/lookup/", ops=listing, args=PrefixArgs, sudo=True, help="Leases by path."))
        routes.append(
            Route(pattern="leases/lookup/{prefix...}", ops=listing, args=PrefixArgs, sudo=True, help="Leases by path.")
        )
        for head in ("leases/", ""):
            add(head + "renew", self.renew, LeaseArgs, "Extend a lease.")
            add(head + "renew/{url_lease_id...}", self.renew, LeaseArgs, "Extend a lease.")
            add(head + "revoke", self.revoke, LeaseArgs, "End a lease and what it granted.")
            add(head + "revoke-force/{prefix...}", self.force, PrefixArgs, "Forget leases whose end fails.", sudo=True)
            add(head + "revoke-prefix/{prefix...}", self.prefix, PrefixArgs, "End all leases of a path.", sudo=True)
            add(head + "revoke/{url_lease_id...}", self.revoke, LeaseArgs, "End a lease and what it granted.")
        add("leases/tidy", self.tidy, NoArgs, "Remove what was left behind.", sudo=True)
        routes.append(Route(pattern="leases/count", ops={Op.READ: self.count}, sudo=True, help="How many leases."))
        routes.append(Route(pattern="leases", ops={Op.READ: self.irrevocable}, sudo=True, help="Irrevocable leases."))
        return tuple(routes)

    def _space(self, call: Call) -> Namespace:
        return self._core.space(call.request.namespace)

    async def lookup(self, call: Call, args: LeaseArgs) -> Response:
        space = self._space(call)
        found = await space.leases.get(str(args.lease_id))
        if found is None:
            raise BadRequest("invalid lease")
        lease, now = found[0], self._core.now()
        renewable, issued, renewed = lease.renewable, lease.issued, lease.renewed
        if lease.kind == "token":
            entry = await space.tokens.peek(lease.token)
            if entry is None:
                raise BadRequest("invalid lease")
            renewable, issued, renewed = entry.renewable, entry.created, entry.renewed
        data = {
            "id": str(args.lease_id),
            "issue_time": rfc3339(issued),
            "expire_time": rfc3339(lease.expires),
            "last_renewal": rfc3339(renewed) if renewed else None,
            "renewable": renewable,
            "ttl": max(int(lease.expires - now), 0),
        }
        return Response(data=data)

    async def list(self, call: Call, args: PrefixArgs) -> Response:
        leases = self._space(call).leases
        names = await leases.list(args.prefix, after=str(args.after), limit=max(1, min(args.limit, 10_000)))
        if not names:
            raise NotFound
        return Response(data={"keys": names})

    async def renew(self, call: Call, args: LeaseArgs) -> Response:
        space = self._space(call)
        lease_id = str(args.lease_id or args.url_lease_id)
        found = await space.leases.get(lease_id)
        if found is None:
            raise BadRequest("lease not found")
        lease: LeaseEntry = found[0]
        if lease.kind == "token":
            held = await space.tokens.find_id(lease.token)
            if held is None:
                raise BadRequest("lease not found")
            answer = await renew(space, held, args.increment, "", call.request)
            assert answer.auth is not None
            return Response(lease_id=lease_id, lease_duration=answer.auth.ttl, renewable=True, data={})
        lease = await space.leases.renew(lease_id, args.increment)
        ttl = int(lease.expires - self._core.now())
        return Response(data={}, lease_id=lease_id, lease_duration=ttl, renewable=lease.renewable)

    async def revoke(self, call: Call, args: LeaseArgs) -> Response:
        space = self._space(call)
        lease_id = str(args.lease_id or args.url_lease_id)
        if not lease_id:
            raise BadRequest("lease_id must be specified")
        found = await space.leases.get(lease_id)
        if found is not None and found[0].kind == "token":
            await space.end_token(found[0].token)
            await space.leases.forget(lease_id, found[0])  # also when its token was gone already
        elif found is not None:
            await space.leases.revoke(lease_id)
        return Response()

    async def prefix(self, call: Call, args: PrefixArgs) -> Response:
        await self._space(call).revoke_prefix(args.prefix.rstrip("/") + "/")
        return Response()

    async def force(self, call: Call, args: PrefixArgs) -> Response:
        await self._space(call).revoke_prefix(args.prefix.rstrip("/") + "/", force=True)
        return Response()

    async def tidy(self, call: Call, args: NoArgs) -> Response:
        while await self._space(call).tidy():
            pass
        note = "Tidy operation successfully started. Any information from the operation will be printed to the logs."
        return Response(status=202, warnings=(note,))

    async def count(self, call: Call, args: NoArgs) -> Response:
        return Response(data={"lease_count": len(await self._stuck(call)), "counts": {}})

    async def _stuck(self, call: Call) -> Failures:
        """Only irrevocable leases are counted and listed, and only when asked for by that name."""
        if str(call.request.data.get("type", "")).lower() != "irrevocable":
            raise NotFound
        return await self._space(call).leases.irrevocable()

    async def irrevocable(self, call: Call, args: NoArgs) -> Response:
        stuck = await self._stuck(call)
        rows = [{"lease_id": lease_id, "error": error} for lease_id, error in stuck]
        return Response(data={"lease_count": len(rows), "leases": rows})
