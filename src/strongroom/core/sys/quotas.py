"""sys/quotas: rate limits, limits of the number of leases, and what goes for all of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from strongroom.core import layout
from strongroom.core.epoch import commit_with_epoch
from strongroom.core.names import new_uuid
from strongroom.core.namespace import Namespace
from strongroom.core.quota_entry import GROUPINGS, LeaseQuota, Quota, Quotas, RateQuota
from strongroom.core.router import Mounted
from strongroom.core.settings import load_settings
from strongroom.errors import BadRequest, NotFound, VaultError
from strongroom.sdk.engine import Call, NoArgs, Route
from strongroom.sdk.fields import Duration, Flag, StrList, Text
from strongroom.sdk.paths import canonical_text
from strongroom.sdk.request import Op, Request, Response
from strongroom.sdk.storage import Write

if TYPE_CHECKING:
    from strongroom.core.core import Core

Q = TypeVar("Q", bound=Quota)
MAX_RATE = 1e9  # requests in an interval
MAX_LEASES = 2**53  # beyond this a JSON number is no longer exact


class ConfigArgs(msgspec.Struct, frozen=True, kw_only=True):
    enable_rate_limit_response_headers: Flag | None = None
    enable_rate_limit_audit_logging: Flag | None = None
    rate_limit_exempt_paths: StrList | None = None


class NameArg(msgspec.Struct, frozen=True, kw_only=True):
    name: str


class RateArgs(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    path: Text = Text("")
    role: Text = Text("")
    rate: float = 0.0
    interval: Duration = Duration(0)
    block_interval: Duration = Duration(0)
    inheritable: Flag | None = None
    group_by: Text = Text("")
    secondary_rate: float = 0.0
    type: Text = Text("")


class LeaseArgs(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    path: Text = Text("")
    role: Text = Text("")
    max_leases: int = 0
    inheritable: Flag | None = None
    type: Text = Text("")


class QuotaRoutes:
    """See the module."""

    def __init__(self, core: "Core") -> None:
        self._core = core

    def routes(self) -> tuple[Route, ...]:
        config = {Op.READ: self.read_config, Op.UPDATE: self.write_config}
        rate = {Op.READ: self.read_rate, Op.DELETE: self.delete_rate}
        lease = {Op.READ: self.read_lease, Op.DELETE: self.delete_lease}
        counts = {Op.UPDATE: self.write_lease}
        writes = {Op.UPDATE: self.write_rate}  # not strict: clients repeat the name, and expect 204 without a warning
        return (
            Route(pattern="quotas/config", ops=config, args=ConfigArgs, help="What goes for all rate limits."),
            Route(pattern="quotas/rate-limit/", ops={Op.LIST: self.list_rates}, help="The rate limits."),
            Route(pattern="quotas/rate-limit/{name}", ops=rate, args=NameArg, help="A rate limit."),
            Route(
                pattern="quotas/rate-limit/{name}", ops=writes, args=RateArgs, strict=False, help="Set a rate limit."
            ),
            Route(pattern="quotas/lease-count/", ops={Op.LIST: self.list_leases}, help="The limits of leases."),
            Route(pattern="quotas/lease-count/{name}", ops=lease, args=NameArg, help="A limit of leases."),
            Route(
                pattern="quotas/lease-count/{name}",
                ops=counts,
                args=LeaseArgs,
                strict=False,
                help="Set a limit of leases.",
            ),
        )

    # -- what goes for all

    async def read_config(self, call: Call, args: ConfigArgs) -> Response:
        config = self._space(call).settings.quotas.config
        return Response(
            data={
                "enable_rate_limit_audit_logging": config.audit_logging,
                "enable_rate_limit_response_headers": config.response_headers,
                "rate_limit_exempt_paths": list(config.exempt),
            }
        )

    async def write_config(self, call: Call, args: ConfigArgs) -> Response:
        given: dict[str, Any] = {}
        if args.enable_rate_limit_response_headers is not None:
            given["response_headers"] = bool(args.enable_rate_limit_response_headers)
        if args.enable_rate_limit_audit_logging is not None:
            given["audit_logging"] = bool(args.enable_rate_limit_audit_logging)
        if args.rate_limit_exempt_paths is not None:
            given["exempt"] = tuple(_exempt_path(path) for path in args.rate_limit_exempt_paths)

        def change(quotas: Quotas) -> Quotas:
            return msgspec.structs.replace(quotas, config=msgspec.structs.replace(quotas.config, **given))

        await self._change(call, change)
        return Response()

    # -- rate limits

    async def list_rates(self, call: Call, args: NoArgs) -> Response:
        return _listed(self._space(call).settings.quotas.rates)

    async def read_rate(self, call: Call, args: NameArg) -> Response:
        quota = self._space(call).settings.quotas.rates.get(args.name)
        if quota is None:
            raise NotFound
        own = {
            "rate": _number(quota.rate),
            "interval": quota.interval,
            "block_interval": quota.block_interval,
            "group_by": quota.group_by,
            "secondary_rate": _number(quota.secondary_rate),
        }
        return Response(data={**_shown(quota, "rate-limit"), **own})

    async def write_rate(self, call: Call, args: RateArgs) -> Response:
        _check_type(args.type, "rate-limit")
        if not 0 < args.rate <= MAX_RATE:
            raise BadRequest("'rate' is invalid: it must be greater than 0")
        if not 0 <= args.secondary_rate <= MAX_RATE:
            raise BadRequest("'secondary_rate' is invalid: it must not be negative")
        group_by = str(args.group_by) or "ip"
        if group_by not in GROUPINGS:
            raise BadRequest(f"'group_by' must be one of {', '.join(GROUPINGS)}")
        quota = RateQuota(
            **(await self._place(call, args)),
            rate=args.rate,
            interval=int(args.interval) or 1,
            block_interval=int(args.block_interval),
            group_by=group_by,
            secondary_rate=args.secondary_rate,
        )

        def change(quotas: Quotas) -> Quotas:
            return msgspec.structs.replace(quotas, rates=_put(quotas.rates, quota))

        await self._change(call, change)
        return Response()

    async def delete_rate(self, call: Call, args: NameArg) -> Response:
        await self._change(
            call, lambda quotas: msgspec.structs.replace(quotas, rates=_without(quotas.rates, args.name))
        )
        return Response()

    # -- numbers of leases

    async def list_leases(self, call: Call, args: NoArgs) -> Response:
        return _listed(self._space(call).settings.quotas.leases)

    async def read_lease(self, call: Call, args: NameArg) -> Response:
        space = self._space(call)
        quota = space.settings.quotas.leases.get(args.name)
        if quota is None:
            raise NotFound
        counter = await space.lease_counter.count(quota)
        return Response(data={**_shown(quota, "lease-count"), "max_leases": quota.max_leases, "counter": counter})

    async def write_lease(self, call: Call, args: LeaseArgs) -> Response:
        _check_type(args.type, "lease-count")
        if not 0 < args.max_leases <= MAX_LEASES:
            raise BadRequest("'max_leases' is invalid: it must be greater than 0")
        quota = LeaseQuota(**(await self._place(call, args)), max_leases=args.max_leases)

        def change(quotas: Quotas) -> Quotas:
            return msgspec.structs.replace(quotas, leases=_put(quotas.leases, quota))

        await self._change(call, change)
        return Response()

    async def delete_lease(self, call: Call, args: NameArg) -> Response:
        await self._change(
            call, lambda quotas: msgspec.structs.replace(quotas, leases=_without(quotas.leases, args.name))
        )
        return Response()

    # -- both

    def _space(self, call: Call) -> Namespace:
        return self._core.space(call.request.namespace)

    async def _change(self, call: Call, change: "Any") -> None:
        """Store what ``change`` makes of the quotas as they are now, and move the epoch."""
        space = self._space(call)
        writes: list[Write] = []

        async def before() -> None:
            quotas = change((await load_settings(space.storage, space.id)).quotas)
            writes[:] = [Write(layout.config(space.id, "quotas"), msgspec.json.encode(quotas))]

        await commit_with_epoch(space.storage, space.id, writes, before=before)
        await space.reload()

    async def _place(self, call: Call, args: RateArgs | LeaseArgs) -> dict[str, Any]:
        """The fields that say where a quota applies. Raises BadRequest."""
        space = self._space(call)
        home, path = await self._enter(space, str(args.path))
        below = home.path[len(space.path) :]
        if below and isinstance(args, LeaseArgs):
            raise BadRequest("a lease-count quota holds in its own namespace")
        path, mount = _resolve(home, path) if path else ("", None)
        role = str(args.role)
        if role and (mount is None or mount.mount_class != "auth" or path != mount.path):
            raise BadRequest(f"invalid mount path {path!r}: the path of a quota for a role must be an auth mount")
        path = below + path
        inheritable = path == "" if args.inheritable is None else bool(args.inheritable)
        if path == "" and not inheritable:
            raise BadRequest("all global quotas must be inheritable")
        if inheritable and mount is not None:
            raise BadRequest("only namespace quotas can be configured as inheritable")
        return {"name": args.name, "path": path, "role": role, "inheritable": inheritable, "id": new_uuid()}

    async def _enter(self, space: Namespace, path: str) -> tuple[Namespace, str]:
        """The namespace at or below ``space`` that a quota's path lies in, and the rest. Raises BadRequest."""
        path = path.strip("/")
        begins = path.endswith("*")
        rest = path if begins or not path else path + "/*"
        probe = Request(id="", op=Op.UPDATE, path=rest, namespace_path=space.path)
        try:
            if rest:
                canonical_text(rest)
            directory = self._core.directory
            inside = await directory.enter(probe, self._core.backend.stamp())
        except VaultError as error:
            raise BadRequest(f"invalid mount path {path!r}") from error
        try:
            return self._core.space(inside.namespace), inside.path if begins else inside.path.removesuffix("*").strip(
                "/"
            )
        finally:
            directory.leave(inside)


def _resolve(space: Namespace, path: str) -> tuple[str, Mounted]:
    """The one spelling of a path of ``space``, and the mount it lies in. Raises BadRequest."""
    begins = path.endswith("*")
    whole = path.removesuffix("*")
    router = space.mounts.router
    mount = router.mount_of(whole if begins else whole + "/")
    if not begins:
        _, whole = router.match(Op.UPDATE, whole)  # a name that the engine folds is folded here too
    if mount is None or "*" in whole:
        raise BadRequest(f"invalid mount path {path!r}")
    if begins:
        return whole + "*", mount
    return (mount.path if whole + "/" == mount.path else whole), mount


def _put(quotas: Mapping[str, Q], quota: Q) -> dict[str, Q]:
    """With ``quota`` in place. Raises BadRequest if another one says where this one applies."""
    for other in quotas.values():
        if other.name != quota.name and (other.path, other.role) == (quota.path, quota.role):
            raise BadRequest(f"quota rule with similar properties exists under the name {other.name!r}")
    return {**quotas, quota.name: quota}


def _without(quotas: Mapping[str, Q], name: str) -> dict[str, Q]:
    return {other: quota for other, quota in quotas.items() if other != name}


def _listed(quotas: Mapping[str, Quota]) -> Response:
    if not quotas:
        raise NotFound
    return Response(data={"keys": sorted(quotas)})


def _shown(quota: Quota, kind: str) -> dict[str, Any]:
    return {
        "type": kind,
        "name": quota.name,
        "path": quota.path,
        "role": quota.role,
        "inheritable": quota.inheritable,
    }


def _number(rate: float) -> float | int:
    """As Go writes it: without a fraction that is nothing."""
    return int(rate) if rate.is_integer() else rate


def _check_type(given: str, kind: str) -> None:
    if given and given != kind:
        raise BadRequest(f"quota type {given!r} does not match the path: it is {kind!r} here")


def _exempt_path(path: str) -> str:
    """As it is compared. Raises BadRequest."""
    bare = path.strip("/")
    canonical_text(bare.removesuffix("*") or "*")
    return bare
