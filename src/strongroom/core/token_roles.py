"""Token roles: what tokens made through ``auth/token/create/<role>`` may be (auth/token/roles)."""

import contextlib
from collections.abc import Container, Iterable
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from strongroom.errors import BadRequest, Conflict, NotFound
from strongroom.sdk.engine import Call, Mount, Route
from strongroom.sdk.fields import UNSET, Duration, Flag, StrList, Text, UnsetType
from strongroom.sdk.request import Op, Response
from strongroom.sdk.storage import Write
from strongroom.sdk.token_fields import MAX_USES, check_cidrs, normalize_policies

_TRIES = 32
_TYPES = ("service", "batch", "default-service", "default-batch")


class Role(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One role, as stored. Durations in seconds."""

    name: str
    allowed_policies: tuple[str, ...] = ()
    disallowed_policies: tuple[str, ...] = ()
    allowed_policies_glob: tuple[str, ...] = ()
    disallowed_policies_glob: tuple[str, ...] = ()
    allowed_entity_aliases: tuple[str, ...] | None = None
    orphan: bool = False
    renewable: bool = True
    path_suffix: str = ""
    period: int = 0
    explicit_max_ttl: int = 0
    bound_cidrs: tuple[str, ...] = ()
    no_default_policy: bool = False
    num_uses: int = 0
    token_type: str = "default-service"

    @property
    def allows_by_name(self) -> bool:
        """Whether the role says which policies its tokens may have."""
        return bool(self.allowed_policies or self.allowed_policies_glob)

    @property
    def limits_policies(self) -> bool:
        """Whether the role decides about policies at all; if not, the creator's own are the limit."""
        return self.allows_by_name or bool(self.disallowed_policies or self.disallowed_policies_glob)


class RoleArgs(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of POST auth/token/roles/{role_name}; an absent one keeps its value."""

    role_name: str
    allowed_policies: StrList | UnsetType = UNSET
    disallowed_policies: StrList | UnsetType = UNSET
    allowed_policies_glob: StrList | UnsetType = UNSET
    disallowed_policies_glob: StrList | UnsetType = UNSET
    allowed_entity_aliases: StrList | UnsetType = UNSET
    orphan: Flag | UnsetType = UNSET
    renewable: Flag | UnsetType = UNSET
    path_suffix: Text | UnsetType = UNSET
    period: Duration | UnsetType = UNSET
    token_period: Duration | UnsetType = UNSET
    explicit_max_ttl: Duration | UnsetType = UNSET
    token_explicit_max_ttl: Duration | UnsetType = UNSET
    bound_cidrs: StrList | UnsetType = UNSET
    token_bound_cidrs: StrList | UnsetType = UNSET
    token_no_default_policy: Flag | UnsetType = UNSET
    token_num_uses: int | UnsetType = UNSET
    token_type: Text | UnsetType = UNSET


class RoleName(msgspec.Struct, frozen=True):
    role_name: str


class TokenRoles:
    """The routes below ``auth/token/roles``."""

    def __init__(self, mount: Mount) -> None:
        self._storage = mount.storage

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                pattern="roles/{role_name}",
                args=RoleArgs,
                ops={Op.READ: self.read, Op.UPDATE: self.write, Op.DELETE: self.delete},
                exists=self._exists,
                help="A token role: limits and defaults for tokens made through it.",
            ),
            Route(pattern="roles/", ops={Op.LIST: self.list}, help="The names of the token roles."),
        )

    async def find(self, name: str) -> Role | None:
        """The role, or None."""
        stored = await self._storage.get(f"roles/{name}")
        return None if stored is None else msgspec.json.decode(stored.value, type=Role)

    async def _exists(self, call: Call) -> bool:
        return await self.find(call.match.params["role_name"]) is not None

    async def read(self, call: Call, args: RoleArgs) -> Response:
        role = await self.find(args.role_name)
        if role is None:
            raise NotFound
        data: dict[str, Any] = {
            "allowed_entity_aliases": None
            if role.allowed_entity_aliases is None
            else list(role.allowed_entity_aliases),
            "allowed_policies": list(role.allowed_policies),
            "allowed_policies_glob": list(role.allowed_policies_glob),
            "disallowed_policies": list(role.disallowed_policies),
            "disallowed_policies_glob": list(role.disallowed_policies_glob),
            "explicit_max_ttl": role.explicit_max_ttl,
            "name": role.name,
            "orphan": role.orphan,
            "path_suffix": role.path_suffix,
            "period": role.period,
            "renewable": role.renewable,
            "token_explicit_max_ttl": role.explicit_max_ttl,
            "token_no_default_policy": role.no_default_policy,
            "token_period": role.period,
            "token_type": role.token_type,
        }
        if role.bound_cidrs:
            data["bound_cidrs"] = data["token_bound_cidrs"] = list(role.bound_cidrs)
        if role.num_uses:
            data["token_num_uses"] = role.num_uses
        return Response(data=data)

    async def write(self, call: Call, args: RoleArgs) -> Response:
        changes: dict[str, Any] = {}
        for name in RoleArgs.__struct_fields__[1:]:
            value = getattr(args, name)
            if value is UNSET:
                continue
            field = name if name == "token_type" else name.removeprefix("token_")
            if field in changes and not name.startswith("token_"):
                continue
            changes[field] = tuple(value) if isinstance(value, StrList) else _scalar(value)
        if changes.get("token_type", "service") not in _TYPES:
            raise BadRequest("token_type must be one of " + ", ".join(_TYPES))
        suffix = changes.get("path_suffix", "")
        if suffix in (".", "..") or any(c in "/\\*+{}" or c.isspace() or not c.isprintable() for c in suffix):
            raise BadRequest("path_suffix must not hold slashes, wildcards, blanks or control characters")
        if not 0 <= changes.get("num_uses", 0) <= MAX_USES:
            raise BadRequest(f"token_num_uses must be between 0 and {MAX_USES}")
        if "bound_cidrs" in changes:
            changes["bound_cidrs"] = check_cidrs(changes["bound_cidrs"], name="token_bound_cidrs")
        for name in ("allowed_policies", "disallowed_policies"):
            if name in changes:
                changes[name] = normalize_policies(changes[name])
        key = f"roles/{args.role_name}"
        for _ in range(_TRIES):
            stored = await self._storage.get(key)
            old = Role(name=args.role_name) if stored is None else msgspec.json.decode(stored.value, type=Role)
            role = msgspec.structs.replace(old, **changes)
            if role.token_type == "batch" and (role.period or role.num_uses):
                raise BadRequest("batch tokens cannot be periodic or count uses")
            new = Write(key, msgspec.json.encode(role))
            with contextlib.suppress(Conflict):
                await self._storage.commit([new], expect={key: stored.revision if stored else 0})
                return Response()
        raise Conflict("the role changes too quickly")

    async def delete(self, call: Call, args: RoleArgs) -> Response:
        await self._storage.commit([Write(f"roles/{args.role_name}", None)])
        return Response()

    async def list(self, call: Call, args: Any) -> Response:
        names = await self._storage.list("roles/")
        if not names:
            raise NotFound
        return Response(data={"keys": names})


def _scalar(value: Any) -> Any:
    if isinstance(value, Flag):
        return bool(value)
    return int(value) if isinstance(value, int) else str(value)


def check_policies(role: Role, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """The policies a token of ``role`` gets.

    Args:
        role: the role.
        wanted: policies of the request, () = all that the role names.

    Raises:
        BadRequest: a wanted policy is not allowed, or is disallowed.
    """
    if role.allows_by_name:
        allowed = {*role.allowed_policies} | (set() if role.no_default_policy else {"default"})
        for name in wanted:
            if not matches(name, allowed, role.allowed_policies_glob):
                raise BadRequest(
                    f"token policies ({_list(wanted)}) must be subset of the role's allowed policies "
                    f"({_list(role.allowed_policies)}) or glob policies ({_list(role.allowed_policies_glob)})"
                )
        wanted = wanted or role.allowed_policies
    for name in wanted:
        if matches(name, role.disallowed_policies, role.disallowed_policies_glob):
            raise BadRequest(f'token policy "{name}" is disallowed by this role')
    return wanted


def matches(name: str, names: Container[str], globs: Iterable[str]) -> bool:
    """Whether ``name`` is one of ``names`` or fits one of ``globs`` (shell patterns, case counts)."""
    return name in names or any(fnmatchcase(name, glob) for glob in globs)


def _list(names: tuple[str, ...]) -> str:
    return "[" + " ".join(f'"{name}"' for name in names) + "]"
