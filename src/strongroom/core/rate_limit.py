"""Rate limits: a request over its limit is refused before its body is looked at, and before anything else costs time.

Where the role of a login decides which quota applies, the body is parsed first, within ``MAX_ROLE_BODY`` bytes. The
door asks ``admit`` for a message whose body has not come yet, so that what is refused is never buffered.

None of this is in the pipeline while no namespace has a rate limit (``core.Core``).
"""

import ipaddress
import math
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec

from strongroom.core.quota_entry import Place, QuotaTable, RateQuota, exempt
from strongroom.core.rate_windows import Limit, ProcessWindows, Taken, Windows
from strongroom.errors import QuotaExceeded, TooLarge, VaultError
from strongroom.sdk.engine import Call
from strongroom.sdk.request import Request, Response

MAX_ROLE_BODY = 64 * 1024  # bytes of a login that is parsed before its quota is known


class RateLimit:
    """Handler, before the Parse step.

    Args:
        space: the namespace of an id.
        now: seconds since the Unix epoch.
        windows: where requests are counted; workers of one server share them.
    """

    __slots__ = ("_check", "_now", "_space", "_windows")

    def __init__(
        self, space: Callable[[str], Any], now: Callable[[], float], *, windows: Windows | None = None
    ) -> None:
        self._space, self._now = space, now
        self._windows: Windows = windows if windows is not None else ProcessWindows()
        self._check: Callable[[Call], Awaitable[Any]] | None = None

    def knowing(self, check: Callable[[Call], Awaitable[Any]]) -> "RateLimit":
        """Itself; ``check`` finds a call's caller, for quotas that count by entity."""
        self._check = check
        return self

    def admit(self, request: Request) -> Request:
        """Count a request by its head alone: the same request, marked as counted, or with its refusal as ``fault``.

        Unmarked if the head does not tell which quota applies; it is then counted in the pipeline.
        """
        try:
            space = self._space(request.namespace)
            if request.namespace_path or (space.has_children and not space.serves(request.path)):
                return request  # which namespace it is for is not known yet
            match, path = space.mounts.router.match(request.op, request.path)
        except VaultError:
            return request
        headers: dict[str, str] = {}
        try:
            for table, place in self._tables(request, match.mount_path, path):
                if match.route.login and table.asks_role(place.mount):
                    return request
                quota = table.find(place)
                if quota is not None and quota.group_by.startswith("entity"):
                    return request
            for table, place in self._tables(request, match.mount_path, path):
                self._take(request, table.find(place), "", headers)
        except QuotaExceeded as error:
            return msgspec.structs.replace(request, fault=error)
        return msgspec.structs.replace(request, admitted=headers)

    async def pre_route(self, call: Call) -> Response | None:
        """Raises QuotaExceeded, or TooLarge for a login that is too long to be looked into."""
        request, match = call.request, call.match
        if request.admitted is not None:
            call.headers = request.admitted
            return None
        tables = list(self._tables(request, match.mount_path, request.path))
        if match.route.login and any(table.asks_role(place.mount) for table, place in tables):
            if len(request.body) > MAX_ROLE_BODY:
                raise TooLarge("http: request body too large")
            return None  # see ``RoleLimit``
        await self.count(call, tables)
        return None

    async def role_known(self, call: Call) -> None:
        """Count a login whose quota depends on its role, now that the body is parsed. Raises QuotaExceeded."""
        match = call.match
        tables = list(self._tables(call.request, match.mount_path, call.request.path))
        if any(table.asks_role(place.mount) for table, place in tables):
            await self.count(call, tables, await role_of(call))

    async def count(self, call: Call, tables: "list[tuple[QuotaTable[RateQuota], Place]]", role: str = "") -> None:
        """Take one request from the quota of each table. Raises QuotaExceeded."""
        for table, place in tables:
            quota = table.find(place, role)
            if quota is None:
                continue
            entity = await self._entity(call) if quota.group_by.startswith("entity") else ""
            if call.headers is None:
                call.headers = {}
            self._take(call.request, quota, entity, call.headers)

    async def _entity(self, call: Call) -> str:
        """The entity behind the token, "" if there is none or the token is not good: that is refused later."""
        if self._check is None or not call.request.token:
            return ""
        try:
            await self._check(call)
        except VaultError:
            return ""
        return call.caller.entity_id if call.caller is not None else ""

    def _tables(self, request: Request, mount: str, path: str) -> "Iterator[tuple[QuotaTable[RateQuota], Place]]":
        """The rate quotas that have a say in a request, and its place as they see it.

        Raises Sealed for a namespace that is not there.
        """
        space = self._space(request.namespace)
        for namespace in space.ancestors:
            above = self._space(namespace)
            below = space.path.removeprefix(above.path)
            if above.rates and not exempt(below + path, above.settings.quotas.config):
                yield above.rates, Place(below, below + mount if mount else "", below + path)
        if space.rates and not exempt(path, space.settings.quotas.config):
            yield space.rates, Place("", mount, path)

    def _take(self, request: Request, quota: RateQuota | None, entity: str, headers: dict[str, str]) -> None:
        if quota is None:
            return
        rate, by = quota.rate, quota.group_by
        if by.startswith("entity") and not entity:
            by, rate = by.removeprefix("entity_then_"), quota.secondary_rate or rate
        group = f"e{entity}" if entity else f"a{network(request.remote)}" if by == "ip" else ""
        limit = Limit.of(rate, quota.interval, quota.block_interval)
        taken = self._windows.take(f"{quota.id}\0{group}", self._now(), limit)
        if self._space(request.namespace).settings.quotas.config.response_headers:
            _tell(headers, limit, taken)
        if not taken.allowed:
            again = max(1, math.ceil(taken.reset))
            message = f'request path "{request.path}": rate limit quota exceeded'
            raise QuotaExceeded(message, retry_after=again, headers=headers)


class RoleLimit:
    """Handler, behind the Parse step: rate limits of login roles."""

    __slots__ = ("_limit",)

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit

    def concerns(self, call: Call) -> bool:
        return call.match.route.login and call.request.admitted is None

    async def pre_route(self, call: Call) -> Response | None:
        """Raises QuotaExceeded."""
        await self._limit.role_known(call)
        return None

    async def post_route(self, call: Call, response: Response) -> Response:
        """The limit's headers on an answer."""
        if not call.headers:
            return response
        return msgspec.structs.replace(response, headers={**call.headers, **response.headers})

    async def log(self, call: Call, outcome: Response | BaseException) -> None:
        """And on a refusal."""
        if call.headers and isinstance(outcome, VaultError):
            outcome.headers = call.headers


async def role_of(call: Call) -> str:
    """The role that a login names, "" if it names none.

    A route says with ``role`` how its logins name theirs; the others have the field ``role``, as most methods do.
    """
    if call.match.route.role is not None:
        try:
            return await call.match.route.role(call)
        except VaultError:
            return ""  # whatever is wrong with it, the route says so
    role = call.request.data.get("role")
    return role if isinstance(role, str) else ""


def network(address: str) -> str:
    """What counts as one address: an IPv4 address, or the 64 bits of IPv6 that one site is given (RFC 6177)."""
    if ":" not in address:
        return address
    try:
        parts = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = parts.ipv4_mapped
    return str(mapped) if mapped is not None else parts.packed[:8].hex()


def _tell(headers: dict[str, str], limit: Limit, taken: Taken) -> None:
    """Of several limits the one that is nearest."""
    if "X-RateLimit-Remaining" in headers and int(headers["X-RateLimit-Remaining"]) <= taken.remaining:
        return
    headers["X-RateLimit-Limit"] = str(limit.requests)
    headers["X-RateLimit-Remaining"] = str(taken.remaining)
    headers["X-RateLimit-Reset"] = str(math.ceil(taken.reset))
