"""sys/leases: look up, list, renew and revoke leases."""

from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.core.clock import rfc3339
from strongroom.core.lease_entry import LeaseEntry
from strongroom.core.namespace import Namespace
from strongroom.core.token_engine import renew
from strongroom.errors import BadRequest, NotFound, VaultError
from strongroom.sdk.engine import Call, NoArgs, Route
from strongroom.sdk.fields import Duration, Flag, Text
from strongroom.sdk.request import Op, Response

if TYPE_CHECKING:
    from strongroom.core.core import Core


_LISTED = 10_000  # irrevocable leases in one answer, unless asked for more


class LeaseArgs(msgspec.Struct, frozen=True, kw_only=True):
    lease_id: Text = Text("")
    url_lease_id: Text = Text("")
    increment: Duration = Duration(0)
    sync: Flag = Flag(0)


class StuckArgs(msgspec.Struct, frozen=True, kw_only=True):
    type: Text = Text("")
    limit: Text = Text("")
    include_child_namespaces: Flag = Flag(0)


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
        stuck = "Leases whose end failed too often (type=irrevocable)."
        for pattern, function in (("leases/count", self.count), ("leases", self.irrevocable)):
            routes.append(Route(pattern=pattern, ops={Op.READ: function}, args=StuckArgs, sudo=True, help=stuck))
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
        names = await leases.names(args.prefix, after=str(args.after), limit=max(1, min(args.limit, 10_000)))
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
        ttl = round(lease.expires - lease.renewed)  # as granted, whatever time the commit took
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
            try:
                await space.leases.revoke(lease_id)
            except VaultError:  # counted; the leader tries again
                if args.sync:
                    raise
        return Response()

    async def prefix(self, call: Call, args: PrefixArgs) -> Response:
        prefix = args.prefix.rstrip("/") + "/"
        await self._space(call).ending.revoke_prefix(prefix, patient=not args.sync)
        return Response()

    async def force(self, call: Call, args: PrefixArgs) -> Response:
        await self._space(call).ending.revoke_prefix(args.prefix.rstrip("/") + "/", force=True)
        return Response()

    async def tidy(self, call: Call, args: NoArgs) -> Response:
        while await self._space(call).expiry.tidy():
            pass
        note = "Tidy operation successfully started. Any information from the operation will be printed to the logs."
        return Response(status=202, warnings=(note,))

    async def count(self, call: Call, args: StuckArgs) -> Response:
        """Vault counts by the mount's accessor."""
        space = self._asked(call, args)
        counts: dict[str, int] = {}
        after, total = "", 0
        while True:
            page, after = await space.leases.irrevocable(after=after)
            for stuck in page:
                accessor = _accessor(space, stuck.mount)
                counts[accessor] = counts.get(accessor, 0) + 1
                total += 1
            if not after:
                return Response(data={"lease_count": total, "counts": counts})

    def _asked(self, call: Call, args: StuckArgs) -> Namespace:
        """Only irrevocable leases are counted and listed, and only when asked for by that name."""
        if args.type.lower() != "irrevocable":
            raise NotFound
        return self._space(call)

    async def irrevocable(self, call: Call, args: StuckArgs) -> Response:
        space = self._asked(call, args)
        limit = _limit(args.limit)
        rows: list[dict[str, Any]] = []
        after = ""
        while True:
            page, after = await space.leases.irrevocable(after=after)
            rows += [
                {"lease_id": stuck.lease_id, "mount_id": _accessor(space, stuck.mount), "error": stuck.error}
                for stuck in page
            ]
            if not after or len(rows) > limit:
                break
        more = (f"there are more than {limit} irrevocable leases; see the parameter limit",)
        data = {"lease_count": len(rows[:limit]), "leases": rows[:limit]}
        return Response(data=data, warnings=more if len(rows) > limit else ())


def _accessor(space: Namespace, uuid: str) -> str:
    entry = space.mounts.by_uuid(uuid)
    return "mount-is-gone" if entry is None else entry.accessor


def _limit(text: str) -> int:
    """How many are listed: a number, or "none" for all. Raises BadRequest."""
    if text == "none":
        return 2**31
    if not text:
        return _LISTED
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) < 2**31):
        raise BadRequest('limit must be a number or "none"')
    return int(text)
