"""The steps that tie requests to tokens: who asks, counting uses, and turning a login into a token."""

from collections.abc import Callable
from typing import Any

import msgspec

from strongroom.core.identity.mfa_login import header_passcodes
from strongroom.core.identity.mfa_records import Pending
from strongroom.core.mount_entry import MountEntry
from strongroom.core.mounts import MountTable
from strongroom.core.names import namespace_of_token
from strongroom.core.namespace import Namespace
from strongroom.core.pipeline import LIMITED
from strongroom.core.token_entry import TokenEntry
from strongroom.core.tokens import Found, Tokens
from strongroom.core.ttl import bounded_ttl
from strongroom.errors import BadRequest, PermissionDenied, Sealed, VaultError
from strongroom.sdk.engine import Call
from strongroom.sdk.request import ROOT_NAMESPACE, Auth, Response
from strongroom.sdk.token_fields import address_within

ACCESSOR = "accessor"  # note of a login: the accessor that its token gets, and what is stored along with it
_ELSEWHERE = "a token has its cubbyhole in its own namespace"
QUOTA = "lease-limit"  # note of a call: the id of the lease-count quota in which its lease was reserved
SPENT = "spent"  # note of a call that took a token's last use: the token


class TokenCheck:
    """Handler: token -> Caller, early, so that all later steps know who asks."""

    def __init__(self, tokens: "TokenAuth") -> None:
        self._tokens = tokens

    async def pre_route(self, call: Call) -> Response | None:
        return await self._tokens.check(call)


class TokenAuth:
    """Handler: Auth -> token once the route is done; its ``check`` is the step before the route."""

    special_only = True  # see Pipeline
    log_note = SPENT

    def __init__(self, namespace: Callable[[str], Namespace]) -> None:
        self._namespace = namespace

    async def check(self, call: Call) -> Response | None:
        """Find the caller. Raises PermissionDenied where the route needs one and there is none."""
        request, route = call.request, call.match.route
        if not request.token:
            if route.login:
                return None
            raise PermissionDenied
        try:
            space = self._namespace(request.namespace)
        except Sealed:
            if route.while_sealed:  # a client that kept its token may still ask how the node is
                return None
            raise
        if request.namespace != ROOT_NAMESPACE:
            space = self._home(space, request.token)
        found = space.tokens.known(request.token, space.stamp) or await space.tokens.find(request.token)
        if found is None:
            if route.login:
                return None
            raise PermissionDenied
        if found.caller.bound_cidrs and not address_within(request.remote, found.caller.bound_cidrs):
            if route.login:
                return None
            raise PermissionDenied
        if space.id != request.namespace and call.match.mount_type == "cubbyhole":
            call.match = msgspec.structs.replace(call.match, refusal=BadRequest(_ELSEWHERE))
        caller = space.identity.known(found.caller)
        if caller is None:
            caller = await space.identity.caller(found.caller, keep=not found.entry.num_uses)
            if caller is None:  # its entity is gone or disabled
                if route.login:
                    return None
                raise PermissionDenied
        call.caller = caller
        if found.entry.num_uses:
            call.notes[LIMITED] = found
        return None

    def _home(self, space: Namespace, token: str) -> Namespace:
        """Where a token that came to ``space`` may be known: there, or in a namespace above that it names itself."""
        home = namespace_of_token(token)
        return self._namespace(home) if home in space.ancestors else space

    async def spend(self, call: Call) -> None:
        """Count one use of a limited token: after the request record, whatever comes of the request."""
        found: Found | None = call.notes.get(LIMITED)
        if found is None or call.match.route.login:
            return
        tokens = self._namespace(found.caller.namespace).tokens
        if not await tokens.spend(found.id):
            raise PermissionDenied
        if found.entry.num_uses == 1:
            call.notes[SPENT] = found

    async def post_route(self, call: Call, response: Response) -> Response:
        auth = response.auth
        if auth is None or auth.client_token or auth.accessor:  # an accessor: a token renewed without naming it
            return response
        if not call.match.route.login or call.match.mount_class != "auth":
            raise VaultError("only the login of an auth method makes a token")
        return await self.issue(call, response)

    async def log(self, call: Call, outcome: Response | BaseException) -> None:
        """The last use is over: end the token and what hangs on it."""
        spent: Found | None = call.notes.pop(SPENT, None)
        if spent is not None:
            await self._namespace(spent.caller.namespace).end_token(spent.id)

    async def issue(self, call: Call, response: Response) -> Response:
        """Make the token that a login has earned, or keep the login until its second factor comes.

        Raises:
            BadRequest: the method asks for what no token may have (the root policy, a batch token with uses).
            PermissionDenied: the codes that came along do not satisfy what is enforced.
        """
        auth = response.auth
        assert auth is not None
        space = self._namespace(call.request.namespace)
        mount = space.mounts.at(call.match.mount_path)
        default_ttl, max_ttl = space.mounts.ttls(mount)
        kind = token_type(auth.token_type, mount.config.token_type if mount else "")
        policies = token_policies(auth)
        ttl, warnings = bounded_ttl(
            asked=auth.ttl,
            default=default_ttl,
            maximum=min(auth.max_ttl or max_ttl, max_ttl),
            explicit_max=auth.explicit_max_ttl,
            period=auth.period,
        )
        entity_id = auth.entity_id
        if auth.alias and mount is not None:
            entity = await space.identity.logins.entity(mount, auth.alias, auth.alias_metadata, auth.group_aliases)
            entity_id = entity.id
        place = call.match.mount_path.removeprefix("auth/").rstrip("/").replace("/", "-")
        name, extra = call.notes.get(ACCESSOR, ("", ()))
        entry = TokenEntry(
            accessor=name,
            policies=policies,
            path=call.request.path,
            display_name=f"{place}-{auth.display_name}" if auth.display_name else place,
            ttl=ttl,
            max_ttl=auth.max_ttl,
            explicit_max_ttl=auth.explicit_max_ttl,
            period=auth.period,
            num_uses=auth.num_uses if kind == "service" else 0,
            renewable=auth.renewable and kind == "service",
            meta=dict(auth.metadata) if auth.metadata else None,
            bound_cidrs=auth.bound_cidrs,
            entity_id=entity_id,
            type=kind,
            mount_accessor=call.match.mount_accessor,
            no_default_policy=auth.no_default_policy,
            alias=auth.alias,
            group_aliases=tuple(auth.group_aliases),
            private=auth.private,
            namespace=space.id,
        )
        warnings = (*response.warnings, *warnings)
        waits = await self._second_factor(call, space, mount, entry, (warnings, extra))
        if isinstance(waits, Auth):
            return msgspec.structs.replace(response, auth=waits)
        token, entry = await store(space.tokens, waits, extra=extra, mounts=space.mounts, mount=call.match.mount_uuid)
        return msgspec.structs.replace(response, auth=await shown_auth(space, entry, token), warnings=warnings)

    async def _second_factor(
        self, call: Call, space: Namespace, mount: MountEntry | None, entry: TokenEntry, beside: tuple[Any, Any]
    ) -> TokenEntry | Auth:
        """The token as it may be made now, or what is asked for before; ``beside``: warnings, and further writes."""
        mfa = space.identity.mfa
        rules = () if mount is None else await mfa.rules(mount, entry.entity_id)
        if not rules:
            return entry
        given = header_passcodes(call.request.headers.get("x-vault-mfa", ""))
        if given:
            return msgspec.structs.replace(entry, mfa=await mfa.satisfy(rules, entry.entity_id, given))
        warnings, extra = beside
        pending = Pending(
            entry=entry,
            expires=0.0,
            warnings=warnings,
            extra=tuple((write.key, write.value) for write in extra),
            quota=call.notes.get(QUOTA, ""),
        )
        return await mfa.hold(pending, rules)


async def store(
    tokens: Tokens,
    entry: TokenEntry,
    *,
    token: str = "",
    parent: Found | None = None,
    extra: Any = (),
    mounts: MountTable | None = None,
    mount: str = "",
) -> tuple[str, TokenEntry]:
    """Store a new token, or seal a batch token. ``entry.ttl`` is final; the rest is as for ``Tokens.create``."""
    entry = tokens.draft(entry)
    if entry.type == "batch":
        return tokens.batch(entry), entry
    return await tokens.create(entry, token=token, parent=parent, extra=extra, mounts=mounts, mount=mount)


def token_policies(auth: Auth) -> tuple[str, ...]:
    """A login's policies: ``default`` added unless refused, ``root`` never (threat A3).

    Raises:
        BadRequest: ``root`` is among them.
    """
    names = {name.lower().strip() for name in auth.policies}
    if "root" in names:
        raise BadRequest("auth methods cannot create root tokens")
    if not auth.no_default_policy:
        names.add("default")
    return tuple(sorted(names))


def token_type(wanted: str, mount: str) -> str:
    """ "service" or "batch": what the method says within what the mount allows.

    Raises:
        BadRequest: the mount insists on the other type.
    """
    if mount in ("service", "batch"):
        if wanted and wanted != mount:
            raise BadRequest(f"the mount only issues {mount} tokens")
        return mount
    if wanted in ("service", "batch"):
        return wanted
    return "batch" if mount == "default-batch" else "service"


async def shown_auth(space: Namespace, entry: TokenEntry, token: str, *, ttl: int | None = None) -> Auth:
    """The ``auth`` block of an answer. ``token`` is "" where only the accessor was given."""
    identity = await space.identity.policies_of(entry.entity_id)
    return Auth(
        policies=tuple(sorted({*entry.policies, *identity})) if identity else entry.policies,
        token_policies=entry.policies,
        identity_policies=identity,
        metadata=entry.meta,
        display_name=entry.display_name,
        ttl=entry.ttl if ttl is None else ttl,
        renewable=entry.renewable and bool(entry.expires),
        num_uses=max(entry.num_uses, 0),
        token_type=entry.type,
        client_token=token,
        accessor=entry.accessor,
        entity_id=entry.entity_id,
        orphan=not entry.parent,
    )
