"""Rate limits: a request over its limit is refused before its body is looked at, and before anything else costs time.

Where the role of a login decides which quota applies, the body is parsed first, within ``MAX_ROLE_BODY`` bytes. The
door asks ``admit`` for a message whose body has not come yet, so that what is refused is never buffered.

None of this is in the pipeline while no namespace has a rate limit (``core.Core``).
"""

import ipaddress
import math
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

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
        space: the open namespace of an id.
        now: seconds since the Unix epoch.
        windows: where requests are counted; workers of one server share them.
        seen: the namespace that a path from the root lies in, and the rest of it, as far as is known.
    """

    __slots__ = ("_check", "_now", "_seen", "_space", "_windows")

    def __init__(
        self,
        space: Callable[[str], Any],
        now: Callable[[], float],
        *,
        windows: Windows | None = None,
        seen: Callable[[str], tuple[Any, str]],
    ) -> None:
        self._space, self._now, self._seen = space, now, seen
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
            located = self._locate(request)
            if located is None:
                return request
            space, path = located
            match, path = space.mounts.router.match(request.op, path)
            rules = self._rules(space, match.mount_path, path)
        except VaultError:
            return request
        for rule in rules:
            quota = rule.table.find(rule.place)
            if (match.route.login and rule.asks_role) or (quota is not None and quota.group_by.startswith("entity")):
                return request
        headers: dict[str, str] = {}
        try:
            for rule in rules:
                self._take(request, rule, rule.table.find(rule.place), "", headers)
        except QuotaExceeded as error:
            return msgspec.structs.replace(request, fault=error)
        return msgspec.structs.replace(request, admitted=headers)

    def _locate(self, request: Request) -> tuple[Any, str] | None:
        """The namespace and path of a request as it came; None if another look may find another namespace."""
        root, asked = self._space(request.namespace), request.namespace_path.strip("/")
        if not asked and (not root.has_children or root.serves(request.path)):
            return root, request.path
        space, path = self._seen(f"{asked}/{request.path}" if asked else request.path)
        found = space.path.startswith(f"{asked}/" if asked else "") and space.serves(path)
        return (space, path) if found else None

    async def pre_route(self, call: Call) -> Response | None:
        """Raises QuotaExceeded, or TooLarge for a login that is too long to be looked into."""
        request, match = call.request, call.match
        if request.admitted is not None:
            call.headers = request.admitted
            return None
        rules = self._rules(self._space(request.namespace), match.mount_path, request.path)
        if match.route.login and any(rule.asks_role for rule in rules):
            if len(request.body) > MAX_ROLE_BODY:
                raise TooLarge("http: request body too large")
            return None  # see ``RoleLimit``
        await self._count(call, rules)
        return None

    async def role_known(self, call: Call) -> None:
        """Count a login whose quota depends on its role, now that the body is parsed. Raises QuotaExceeded."""
        request = call.request
        rules = self._rules(self._space(request.namespace), call.match.mount_path, request.path)
        if any(rule.asks_role for rule in rules):
            await self._count(call, rules, await role_of(call))

    async def _count(self, call: Call, rules: "list[_Rule]", role: str = "") -> None:
        """Take one request from the quota of each namespace. Raises QuotaExceeded."""
        for rule in rules:
            quota = rule.table.find(rule.place, role)
            if quota is None:
                continue
            entity = await self._entity(call) if quota.group_by.startswith("entity") else ""
            if call.headers is None:
                call.headers = {}
            self._take(call.request, rule, quota, entity, call.headers)

    async def _entity(self, call: Call) -> str:
        """The entity behind the token, "" if there is none or the token is not good: that is refused later."""
        if self._check is None or not call.request.token:
            return ""
        try:
            await self._check(call)
        except VaultError:
            return ""
        return call.caller.entity_id if call.caller is not None else ""

    def _rules(self, space: Any, mount: str, path: str) -> "list[_Rule]":
        """What has a say in a request: the limits of its namespace and of each one above, so that none loosens those.

        Raises Sealed for a namespace that is not open.
        """
        rules = []
        for owner in (space, *map(self._space, space.ancestors)):
            config = owner.settings.quotas.config
            if owner.rates and not exempt(path, config):
                below = space.path[len(owner.path) :]
                place = Place(below, below + mount if mount else "", below + path)
                if not below or not exempt(place.path, config):
                    rules.append(_Rule(owner.rates, place, config.response_headers))
        return rules

    def _take(
        self, request: Request, rule: "_Rule", quota: RateQuota | None, entity: str, headers: dict[str, str]
    ) -> None:
        if quota is None:
            return
        rate, by = quota.rate, quota.group_by
        if by.startswith("entity") and not entity:
            by, rate = by.removeprefix("entity_then_"), quota.secondary_rate or rate
        group = f"e{entity}" if entity else f"a{network(request.remote)}" if by == "ip" else ""
        limit = Limit.of(rate, quota.interval, quota.block_interval)
        taken = self._windows.take(f"{quota.id}\0{group}", self._now(), limit)
        if rule.tells:
            _tell(headers, limit, taken)
        if not taken.allowed:
            again = max(1, math.ceil(taken.reset))
            message = f'request path "{request.path}": rate limit quota exceeded'
            raise QuotaExceeded(message, retry_after=again, headers=headers)


class _Rule(NamedTuple):
    """The limits of one namespace, and a request's place as it sees it."""

    table: QuotaTable[RateQuota]
    place: Place
    tells: bool  # whether answers carry X-RateLimit headers

    @property
    def asks_role(self) -> bool:
        return self.table.asks_role(self.place.mount)


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
            outcome.headers = {**outcome.headers, **call.headers}


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
