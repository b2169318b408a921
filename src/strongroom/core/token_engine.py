"""The engine at ``auth/token/``: look up, renew and revoke tokens; creation and roles are in their own files."""

import hmac
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from strongroom.core.namespace import Namespace
from strongroom.core.token_auth import shown_auth
from strongroom.core.token_create import TokenCreate
from strongroom.core.token_entry import TokenEntry, lookup_data
from strongroom.core.token_roles import TokenRoles
from strongroom.core.tokens import Found
from strongroom.core.ttl import bounded_ttl
from strongroom.errors import BadRequest, NotFound, PermissionDenied, wrapped
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.fields import Duration, Text
from strongroom.sdk.request import Auth, Op, Request, Response


class TokenArg(msgspec.Struct, frozen=True, kw_only=True):
    token: Text = Text("")
    increment: Duration = Duration(0)

    def __repr__(self) -> str:
        return "TokenArg()"


class AccessorArg(msgspec.Struct, frozen=True, kw_only=True):
    accessor: Text = Text("")
    increment: Duration = Duration(0)


class Increment(msgspec.Struct, frozen=True, kw_only=True):
    increment: Duration = Duration(0)


class TokenEngine:
    """See the module. Privileged: it sees the caller's token in ``call.request.token``."""

    def __init__(self, mount: Mount, namespace: Callable[[str], Namespace]) -> None:
        self._namespace = namespace
        self._roles = TokenRoles(mount)
        self._create = TokenCreate(mount, namespace, self._roles)
        self._now = mount.now

    def routes(self) -> tuple[Route, ...]:
        def one(pattern: str, function: Any, args: type[msgspec.Struct], text: str, *, sudo: bool = False) -> Route:
            return Route(pattern=pattern, args=args, sudo=sudo, ops={Op.UPDATE: function}, help=text)

        own = {Op.READ: self.lookup_self, Op.UPDATE: self.lookup_self}
        given = {Op.READ: self.lookup, Op.UPDATE: self.lookup}
        return (
            Route(pattern="lookup-self", ops=own, help="The calling token."),
            one("renew-self", self.renew_self, Increment, "Extend the calling token."),
            one("revoke-self", self.revoke_self, NoArgs, "End the calling token and its children."),
            *self._create.routes(),
            Route(pattern="lookup", args=TokenArg, ops=given, help="A token's properties."),
            one("renew", self.renew, TokenArg, "Extend a token."),
            one("revoke", self.revoke_token, TokenArg, "End a token and its children."),
            one("revoke-orphan", self.revoke_orphan, TokenArg, "End a token; its children become orphans.", sudo=True),
            one("lookup-accessor", self.lookup_accessor, AccessorArg, "A token's properties, by accessor."),
            one("renew-accessor", self.renew_accessor, AccessorArg, "Extend a token, by accessor."),
            one("revoke-accessor", self.revoke_accessor, AccessorArg, "End a token, by accessor."),
            *self._roles.routes(),
            Route(pattern="accessors/", sudo=True, ops={Op.LIST: self.accessors}, help="The accessors of all tokens."),
            one("tidy", self.tidy, NoArgs, "Remove what expired or was left behind.", sudo=True),
        )

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """Tokens are not revoked through leases' private data; see ``revoke_token``."""

    async def role_says(self, entry: TokenEntry) -> Auth | None:
        """What the role of a token grants today; None for tokens without one.

        Raises:
            BadRequest: the role is gone.
        """
        if not entry.role:
            return None
        role = await self._roles.find(entry.role)
        if role is None:
            raise BadRequest(f"original token role {entry.role!r} could not be found, not renewing")
        return Auth(period=role.period, max_ttl=entry.max_ttl)

    async def revoke_token(self, call: Call, args: TokenArg) -> Response:
        found = await self._by_token(call, args)
        if found is not None and found.id:
            await self._space(call).end_token(found.id)
        elif found is not None:
            raise BadRequest("batch tokens cannot be revoked")
        return Response()

    def _space(self, call: Call) -> Namespace:
        return self._namespace(call.request.namespace)

    def _home(self, call: Call) -> Namespace:
        """Of the calling token: the request's namespace, or one above it."""
        return self._namespace(call.caller.namespace) if call.caller is not None else self._space(call)

    async def _by_token(self, call: Call, args: TokenArg) -> Found | None:
        if not args.token:
            raise BadRequest("missing token")
        return await self._space(call).tokens.find(str(args.token))

    async def _by_accessor(self, call: Call, args: AccessorArg) -> Found:
        if not args.accessor:
            raise BadRequest("missing accessor")
        found = await self._space(call).tokens.find_accessor(str(args.accessor))
        if found is None:
            raise BadRequest(wrapped("invalid accessor"))
        return found

    async def _own(self, call: Call) -> Found:
        found = await self._home(call).tokens.find(call.request.token)
        if found is None and call.caller is not None and call.caller.token_id:
            # the last use of a limited token was counted for this very request
            entry = await self._home(call).tokens.peek(call.caller.token_id)
            found = Found(call.caller.token_id, entry, call.caller) if entry is not None else None
        if found is None:
            raise PermissionDenied
        return found

    async def lookup_self(self, call: Call, args: NoArgs) -> Response:
        found = await self._own(call)
        return await self._shown(call, found.entry, call.request.token)

    async def lookup(self, call: Call, args: TokenArg) -> Response:
        token = str(args.token)
        if not token or hmac.compare_digest(token.encode(), call.request.token.encode()):
            return await self.lookup_self(call, NoArgs())
        found = await self._space(call).tokens.find(token)
        if found is None:
            raise PermissionDenied("bad token")
        return await self._shown(call, found.entry, token)

    async def lookup_accessor(self, call: Call, args: AccessorArg) -> Response:
        return await self._shown(call, (await self._by_accessor(call, args)).entry, "")

    async def _shown(self, call: Call, entry: TokenEntry, token: str) -> Response:
        names = await self._space(call).identity.policies_of(entry.entity_id)
        identity = {"identity_policies": list(names)} if names else {}
        return Response(data=lookup_data(entry, self._now(), token=token, identity=identity))

    async def renew_self(self, call: Call, args: Increment) -> Response:
        return await renew(self._home(call), await self._own(call), args.increment, call.request.token, call.request)

    async def renew(self, call: Call, args: TokenArg) -> Response:
        found = await self._by_token(call, args)
        if found is None:
            raise PermissionDenied("bad token")
        return await self._renew(call, found, args.increment, str(args.token))

    async def renew_accessor(self, call: Call, args: AccessorArg) -> Response:
        return await self._renew(call, await self._by_accessor(call, args), args.increment, "")

    async def _renew(self, call: Call, found: Found, increment: int, token: str) -> Response:
        return await renew(self._space(call), found, increment, token, call.request)

    async def revoke_self(self, call: Call, args: NoArgs) -> Response:
        if call.caller is not None and call.caller.token_id:
            await self._home(call).end_token(call.caller.token_id)
        return Response()

    async def revoke_accessor(self, call: Call, args: AccessorArg) -> Response:
        await self._space(call).end_token((await self._by_accessor(call, args)).id)
        return Response()

    async def revoke_orphan(self, call: Call, args: TokenArg) -> Response:
        found = await self._by_token(call, args)
        if found is None:
            raise BadRequest("token to revoke not found")
        space = self._space(call)
        await space.orphan_children(found.id)
        await space.end_token(found.id)
        return Response()

    async def accessors(self, call: Call, args: NoArgs) -> Response:
        space, keys, after = self._space(call), [], ""
        while page := await space.tokens.accessors(after):
            keys += [name for name, _ in page]
            after = page[-1][1]
        if not keys:
            raise NotFound
        return Response(data={"keys": sorted(keys)})

    async def tidy(self, call: Call, args: NoArgs) -> Response:
        space = self._space(call)
        while await space.expiry.tidy():
            pass
        note = "Tidy operation successfully started. Any information from the operation will be printed to the logs."
        return Response(status=202, warnings=(note,))


async def renew(space: Namespace, found: Found, increment: int, token: str, request: Request) -> Response:
    """Extend a token's life, as ``request`` asks.

    Raises:
        BadRequest: batch, not renewable, past its maximum, or the auth method does not grant it any more.
    """
    entry = found.entry
    if entry.type == "batch":
        raise BadRequest("batch tokens cannot be renewed")
    if not entry.renewable or not entry.expires:
        raise BadRequest("lease is not renewable")
    granted = await _method_says(space, entry, request)
    mount = space.mounts.by_accessor(entry.mount_accessor)
    proved = granted.group_aliases if granted is not None and entry.alias else entry.group_aliases
    if entry.entity_id:
        view = await space.identity.view(entry.entity_id)
        if view is None or view.disabled:
            raise PermissionDenied("the entity of this token is gone or disabled")
        if proved != entry.group_aliases and mount is not None:
            await space.identity.logins.refresh_groups(view.id, mount.accessor, proved)
    default_ttl, max_ttl = space.mounts.ttls(mount)
    now = space.parts.now()
    ttl, warnings = bounded_ttl(
        asked=increment or (granted.ttl if granted else 0),
        default=entry.ttl or default_ttl,
        maximum=min((granted.max_ttl if granted else entry.max_ttl) or max_ttl, max_ttl),
        explicit_max=entry.explicit_max_ttl,
        period=granted.period if granted else entry.period,
        age=now - entry.created,
    )
    if ttl <= 0:
        raise BadRequest("past the max TTL, cannot renew")

    def extend(old: TokenEntry) -> TokenEntry:
        if not old.live(now):
            raise PermissionDenied("bad token")
        return msgspec.structs.replace(old, expires=now + ttl, renewed=now, group_aliases=proved)

    entry = await space.tokens.update(found.id, extend)
    return Response(auth=await shown_auth(space, entry, token, ttl=ttl), warnings=warnings)


async def _method_says(space: Namespace, entry: TokenEntry, request: Request) -> Auth | None:
    """What the auth method or role that made the token grants today; None for tokens that neither made."""
    mount = space.mounts.by_accessor(entry.mount_accessor)
    if mount is None:
        return None
    engine = space.mounts.router.mounts[mount.path].engine
    if isinstance(engine, TokenEngine):
        return await engine.role_says(entry)
    ask: Callable[[Auth], Any] | None = getattr(engine, "renew", None)
    ask_from: Callable[[Auth, Request], Any] | None = getattr(engine, "renew_from", None)
    if ask is None and ask_from is None:
        return None
    given: Mapping[str, str] | None = entry.meta
    auth = Auth(
        policies=entry.policies,
        metadata=given,
        alias=entry.alias,
        group_aliases=entry.group_aliases,
        display_name=entry.display_name,
        ttl=0,
        max_ttl=entry.max_ttl,
        period=entry.period,
        private=entry.private,
    )
    result: Auth = await (ask_from(auth, request) if ask_from is not None else ask(auth))  # type: ignore[misc]
    return result
