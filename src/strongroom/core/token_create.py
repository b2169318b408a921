"""auth/token/create: children, orphans, tokens of a role, batch tokens."""

import re
from collections.abc import Callable

import msgspec

from strongroom.core.namespace import Namespace
from strongroom.core.policies import below
from strongroom.core.token_auth import shown_auth, store
from strongroom.core.token_entry import TokenEntry
from strongroom.core.token_roles import Role, TokenRoles, check_policies, matches
from strongroom.core.tokens import Found
from strongroom.core.ttl import bounded_ttl
from strongroom.errors import BadRequest, PermissionDenied
from strongroom.sdk.engine import Call, Mount, Route
from strongroom.sdk.fields import Duration, Flag, StrList, StrMap, Text
from strongroom.sdk.request import ROOT_NAMESPACE, Op, Response
from strongroom.sdk.token_fields import MAX_USES, check_cidrs, cidrs_within, normalize_policies


class CreateArgs(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of a token creation (wire facts A.3)."""

    id: Text = Text("")
    role_name: Text = Text("")
    policies: StrList = StrList()
    meta: StrMap = StrMap()
    no_parent: Flag = Flag(0)
    no_default_policy: Flag = Flag(0)
    renewable: Flag = Flag(1)
    ttl: Duration = Duration(0)
    lease: Duration = Duration(0)  # the old name of ttl
    type: Text = Text("")
    explicit_max_ttl: Duration = Duration(0)
    display_name: Text = Text("token")
    num_uses: int = 0
    period: Duration = Duration(0)
    entity_alias: Text = Text("")
    bound_cidrs: StrList = StrList()

    def __repr__(self) -> str:
        return "CreateArgs()"


class TokenCreate:
    """The routes that make tokens."""

    def __init__(self, mount: Mount, namespace: Callable[[str], Namespace], roles: TokenRoles) -> None:
        self._mount, self._namespace, self._roles = mount, namespace, roles

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(pattern="create", args=CreateArgs, ops={Op.UPDATE: self.create}, help="Make a child token."),
            Route(
                pattern="create-orphan",
                args=CreateArgs,
                sudo=True,
                ops={Op.UPDATE: self.create_orphan},
                help="Make a token without a parent: it outlives its creator.",
            ),
            Route(
                pattern="create/{role_name}",
                args=CreateArgs,
                ops={Op.UPDATE: self.create},
                help="Make a token within the limits of a role.",
            ),
        )

    async def create_orphan(self, call: Call, args: CreateArgs) -> Response:
        return await self.create(call, args, orphan=True)

    async def create(self, call: Call, args: CreateArgs, *, orphan: bool = False) -> Response:
        space = self._namespace(call.request.namespace)
        home = self._namespace(call.caller.namespace) if call.caller else space
        parent = await home.tokens.find_id(call.caller.token_id) if call.caller else None
        if parent is None:
            if call.caller is not None and call.caller.token_type == "batch":
                raise BadRequest("batch tokens cannot create more tokens")
            raise PermissionDenied
        if parent.entry.num_uses:
            raise BadRequest("restricted use token cannot generate child tokens")
        role = await self._role(str(args.role_name))
        caller = await home.identity.caller(parent.caller, keep=False)
        if caller is None:
            raise PermissionDenied
        acl = await home.policies.acl(caller, below(home.policies, call.request, caller))
        sudo = caller.root or "sudo" in acl.capabilities(call.request.path)
        kind = _kind(args, role)
        alias = _entity_alias(args, role)
        self._check(args, sudo=sudo, orphan=orphan, role=role, kind=kind)
        if args.id and space.id != ROOT_NAMESPACE:
            raise BadRequest("token IDs can only be manually specified in the root namespace")
        held = parent.entry.policies if home is space else ()  # names mean something else in another namespace
        policies = _policies(args, role, parent, held, sudo=sudo)
        entry, warnings = self._entry(call, args, role, parent, kind, policies)
        if orphan or args.no_parent or (role is not None and role.orphan):
            entry = msgspec.structs.replace(entry, parent="", parent_namespace="", entity_id="")
        if alias:  # last, so that a refused request makes no entity
            entry = msgspec.structs.replace(entry, entity_id=await self._entity(space, alias))
        token, entry = await store(space.tokens, entry, token=str(args.id), parent=parent)
        if args.id:
            warnings = (*warnings, "A token with a chosen ID is only as safe as that ID is hard to guess.")
        return Response(auth=await shown_auth(space, entry, token), warnings=warnings)

    async def _entity(self, space: Namespace, alias: str) -> str:
        """The entity known by ``alias`` at this mount, made if there is none. Raises PermissionDenied if disabled."""
        mount = space.mounts.at(self._mount.path)
        if mount is None:
            raise PermissionDenied
        return (await space.identity.logins.entity(mount, alias)).id

    async def _role(self, name: str) -> Role | None:
        if not name:
            return None
        role = await self._roles.find(name)
        if role is None:
            raise BadRequest(f"unknown role {name}")
        return role

    def _check(self, args: CreateArgs, *, sudo: bool, orphan: bool, role: Role | None, kind: str) -> None:
        if not 0 <= args.num_uses <= MAX_USES:
            raise BadRequest("number of uses cannot be negative" if args.num_uses < 0 else "too many uses")
        if args.id:
            if not sudo:
                raise BadRequest("root or sudo privileges required to specify token id")
            if role is not None:
                raise BadRequest("token ID cannot be specified with a role")
            if "." in args.id:
                raise BadRequest("custom token ID cannot have a '.' in the value")
            if len(args.id) > 512 or any(ord(c) < 0x21 for c in args.id):
                raise BadRequest("custom token ID has characters that no header can carry")
        if args.no_parent and not orphan and not sudo:
            raise BadRequest("root or sudo privileges required to create orphan token")
        if args.period and not sudo:
            raise BadRequest("root or sudo privileges required to create periodic token")
        if kind == "batch" and (args.num_uses or args.period or args.id or args.explicit_max_ttl):
            raise BadRequest("batch tokens cannot have a period, an explicit maximum, a number of uses or a chosen ID")
        if kind == "batch" and role is not None and (role.period or role.num_uses):
            raise BadRequest("the role gives a period or a number of uses, which batch tokens cannot have")

    def _entry(
        self, call: Call, args: CreateArgs, role: Role | None, parent: Found, kind: str, policies: tuple[str, ...]
    ) -> tuple[TokenEntry, tuple[str, ...]]:
        space = self._namespace(call.request.namespace)
        default_ttl, max_ttl = space.mounts.ttls(space.mounts.at(self._mount.path))
        period = int(args.period)
        explicit = int(args.explicit_max_ttl)
        if role is not None:
            period = role.period or period
            explicit = min(filter(None, (role.explicit_max_ttl, explicit)), default=0)
        asked = int(args.ttl or args.lease)
        ttl, warnings = bounded_ttl(
            asked=asked, default=default_ttl, maximum=max_ttl, explicit_max=explicit, period=period
        )
        if "root" in policies and kind == "batch":
            raise BadRequest("batch tokens cannot be root tokens")
        if "root" in policies and not asked and not period and not explicit and not parent.entry.expires:
            ttl, warnings = 0, ()
        suffix = f"/{role.path_suffix}" if role is not None and role.path_suffix else ""
        cidrs = (role.bound_cidrs if role else ()) or _cidrs(args, parent)
        entry = TokenEntry(
            accessor="",
            policies=policies,
            path=call.request.path + suffix,
            display_name=_display_name(str(args.display_name)),
            ttl=ttl,
            explicit_max_ttl=explicit,
            period=period,
            num_uses=(role.num_uses if role else 0) or args.num_uses,
            renewable=bool(args.renewable) and (role.renewable if role else True) and kind == "service",
            meta=dict(args.meta) or None,
            parent=parent.id,
            parent_namespace="" if parent.caller.namespace == space.id else parent.caller.namespace,
            role=role.name if role else "",
            bound_cidrs=cidrs,
            entity_id=parent.entry.entity_id if parent.caller.namespace == space.id else "",
            type=kind,
            mount_accessor=self._mount.accessor,
            no_default_policy=bool(args.no_default_policy),
            namespace=space.id,
        )
        return entry, warnings


def _kind(args: CreateArgs, role: Role | None) -> str:
    wanted = str(args.type)
    if wanted not in ("", "service", "batch"):
        raise BadRequest("token type must be service or batch")
    if role is None:
        return wanted or "service"
    if role.token_type in ("service", "batch"):
        if wanted and wanted != role.token_type:
            raise BadRequest(f"the role only issues {role.token_type} tokens")
        return role.token_type
    return wanted or role.token_type.removeprefix("default-")


def _entity_alias(args: CreateArgs, role: Role | None) -> str:
    """The alias whose entity the token is to have, "" for the creator's. Only a role opens this door.

    Raises:
        BadRequest: there is no role, or it does not allow this alias.
    """
    name = args.entity_alias.lower()
    if name and role is None:
        raise BadRequest("'entity_alias' is only allowed in combination with token role")
    allowed = {alias.lower() for alias in (role.allowed_entity_aliases if role else None) or ()}
    if name and not matches(name, allowed, allowed):
        raise BadRequest("invalid 'entity_alias' value")
    return name


def _cidrs(args: CreateArgs, parent: Found) -> tuple[str, ...]:
    """Where the child may be used from: never from where its creator may not."""
    asked = check_cidrs(args.bound_cidrs, name="bound_cidrs")
    if not asked:
        return parent.entry.bound_cidrs
    if not cidrs_within(asked, parent.entry.bound_cidrs):
        raise BadRequest("bound_cidrs must lie within those of the parent")
    return asked


def _policies(
    args: CreateArgs, role: Role | None, parent: Found, held: tuple[str, ...], *, sudo: bool
) -> tuple[str, ...]:
    """The child's policies: never more than the creator has, unless the creator has sudo (threat CVE-2024-55949).

    ``held`` are those of the parent that the child may have too.
    """
    asked = {name.lower().strip() for name in args.policies}
    root = "root" in asked
    wanted = tuple(sorted({*normalize_policies(asked - {"root"}), *(("root",) if root else ())}))
    if root and len(wanted) > 1:
        raise BadRequest("root tokens may not have other policies")
    no_default = bool(args.no_default_policy)
    if role is not None:
        no_default = (
            no_default
            or role.no_default_policy
            or matches("default", role.disallowed_policies, role.disallowed_policies_glob)
        )
    if role is not None and role.limits_policies:
        wanted = check_policies(role, wanted or (() if role.allows_by_name else held))
    else:
        wanted = wanted or held
        if not sudo and not {*wanted} <= {*held, "default"}:
            raise BadRequest("child policies must be subset of parent")
    if "root" in wanted and not parent.caller.root:
        raise BadRequest("root tokens may not be created without parent token being root")
    if wanted == ("root",):
        return wanted
    names = {*wanted} - {"default"} if no_default else {*wanted, "default"}
    return tuple(sorted(names - {"root"}))


def _display_name(name: str) -> str:
    """ "token" or "token-<name>", with what is not a letter or digit as "-"."""
    if not name or name == "token":
        return "token"
    return "token-" + re.sub(r"[^a-zA-Z0-9-]", "-", name)[:256].strip("-")
