"""Roles: which tokens may log in, and what they get. Shapes, rules and routes."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from strongroom.auth.jwt.redirect import check_redirects
from strongroom.errors import BadRequest, Conflict, NotFound
from strongroom.sdk.engine import Call, Mount, NoArgs, Route
from strongroom.sdk.fields import UNSET, AnyMap, Duration, Flag, SignedDuration, StrList, StrMap, Text, UnsetType
from strongroom.sdk.listing import Page, answer_names
from strongroom.sdk.request import Op, Response
from strongroom.sdk.storage import Write
from strongroom.sdk.token_fields import AliasedTokenArgs, TokenParams

FOLD = ("name",)
_ATTEMPTS = 16  # of a change that meets other writers
_MODES = ("", "client", "direct", "device")
_MAX_NAME = 512  # characters
_MAX_ITEMS = 1024  # of one field
_DAY = 86400  # seconds: no clock is further off


class RoleArgs(AliasedTokenArgs, frozen=True, kw_only=True):
    """The fields as a client may send them."""

    role_type: Text | UnsetType = UNSET
    bound_audiences: StrList | UnsetType = UNSET
    bound_subject: Text | UnsetType = UNSET
    bound_claims: AnyMap | UnsetType = UNSET
    bound_claims_type: Text | UnsetType = UNSET
    user_claim: Text | UnsetType = UNSET
    user_claim_json_pointer: Flag | UnsetType = UNSET
    groups_claim: Text | UnsetType = UNSET
    claim_mappings: StrMap | UnsetType = UNSET
    expiration_leeway: SignedDuration | UnsetType = UNSET
    not_before_leeway: SignedDuration | UnsetType = UNSET
    clock_skew_leeway: SignedDuration | UnsetType = UNSET
    oidc_scopes: StrList | UnsetType = UNSET
    allowed_redirect_uris: StrList | UnsetType = UNSET
    max_age: Duration | UnsetType = UNSET
    callback_mode: Text | UnsetType = UNSET
    poll_interval: Duration | UnsetType = UNSET
    verbose_oidc_logging: Flag | UnsetType = UNSET


class Role(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A role as stored. ``uid`` tells a role from a later one of the same name. Times in seconds."""

    uid: str
    role_type: str = "oidc"  # | "jwt"
    bound_audiences: tuple[str, ...] = ()
    bound_subject: str = ""
    bound_claims: dict[str, Any] = {}
    bound_claims_type: str = "string"  # | "glob"
    user_claim: str = ""
    user_claim_json_pointer: bool = False
    groups_claim: str = ""
    claim_mappings: dict[str, str] = {}
    expiration_leeway: int = 0  # 0 = the default, negative = none; likewise the next two
    not_before_leeway: int = 0
    clock_skew_leeway: int = 0
    oidc_scopes: tuple[str, ...] = ()
    allowed_redirect_uris: tuple[str, ...] = ()
    max_age: int = 0
    callback_mode: str = "client"  # | "direct" | "device"
    poll_interval: int = 5
    verbose_oidc_logging: bool = False
    token: TokenParams = TokenParams()

    def __repr__(self) -> str:
        return f"Role(uid={self.uid!r}, {self.role_type})"

    def updated(self, args: RoleArgs) -> "Role":
        """This role with the fields that ``args`` has set, checked.

        Raises:
            BadRequest: a field is wrong, or the role would let everybody in.
        """
        changes: dict[str, Any] = {}
        for name in _FIELDS:
            value = getattr(args, name)
            if value is not UNSET:
                changes[name] = _plain(value)
        changes["callback_mode"] = changes.get("callback_mode", self.callback_mode) or "client"
        changes["bound_claims_type"] = changes.get("bound_claims_type", self.bound_claims_type) or "string"
        role = msgspec.structs.replace(self, **changes, token=self.token.updated(args))
        _check(role)
        return role

    def answer(self) -> dict[str, Any]:
        """The fields as a read shows them: empty lists and maps are null, as in Vault."""
        shown = {name: getattr(self, name) for name in _FIELDS}
        for name, value in shown.items():
            if isinstance(value, tuple):
                shown[name] = list(value) or None
            elif isinstance(value, dict):
                shown[name] = value or None
        shown["allowed_redirect_uris"] = list(self.allowed_redirect_uris)
        return {**shown, **self.token.answer()}


_FIELDS = tuple(name for name in Role.__struct_fields__ if name not in ("uid", "token"))


def _plain(value: Any) -> Any:
    """A field in a plain type, so that stored roles do not depend on the input classes."""
    if isinstance(value, Flag):
        return bool(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, tuple):
        return tuple(str(one) for one in value)
    return dict(value)


def _check(role: Role) -> None:
    if role.role_type not in ("jwt", "oidc"):
        raise BadRequest("role_type must be jwt or oidc")
    if not role.user_claim:
        raise BadRequest("a user claim must be defined on the role")
    bound = role.bound_audiences or role.bound_subject or role.bound_claims or role.token.token_bound_cidrs
    if role.role_type == "jwt" and not bound:
        raise BadRequest("must have at least one bound constraint when creating/updating a role")
    if role.bound_claims_type not in ("string", "glob"):
        raise BadRequest("bound_claims_type must be string or glob")
    if role.callback_mode not in _MODES:
        raise BadRequest("callback_mode must be client, direct or device")
    if not 1 <= role.poll_interval <= 300:
        raise BadRequest("poll_interval must be between 1 and 300 seconds")
    if max(role.expiration_leeway, role.not_before_leeway, role.clock_skew_leeway) > _DAY:
        raise BadRequest("a leeway must not be longer than a day")
    for name in _FIELDS:
        value = getattr(role, name)
        if isinstance(value, tuple | dict) and len(value) > _MAX_ITEMS:
            raise BadRequest(f"{name} has more than {_MAX_ITEMS} items")
    _check_bound_claims(role)
    _check_mappings(role.claim_mappings)
    if role.role_type == "oidc" and role.callback_mode != "device" and not role.allowed_redirect_uris:
        raise BadRequest("allowed_redirect_uris must be set if role_type is oidc and the callback_mode is not device")
    check_redirects(role.allowed_redirect_uris)


def _check_bound_claims(role: Role) -> None:
    for wanted in role.bound_claims.values():
        values = wanted if isinstance(wanted, list) else [wanted]
        kinds = (str,) if role.bound_claims_type == "glob" else (str, int, float, bool)
        if not values or not all(isinstance(value, kinds) for value in values):
            raise BadRequest("bound_claims takes a value or a list of values for each claim; globs are text")


def _check_mappings(mappings: Mapping[str, str]) -> None:
    keys = list(mappings.values())
    if "role" in keys:
        raise BadRequest('metadata key "role" is reserved and may not be a mapping destination')
    if len(set(keys)) < len(keys) or "" in keys:
        raise BadRequest("claim_mappings maps two claims to one metadata key, or one to none")


class Roles:
    """The roles of one mount: ``role/<name>`` each. Their routes."""

    __slots__ = ("_mount",)

    def __init__(self, mount: Mount) -> None:
        self._mount = mount

    def routes(self) -> Sequence[Route]:
        """The list and the role."""
        return (
            Route(pattern="role/", args=Page, ops={Op.LIST: self._list}, help="The names of all roles."),
            Route(
                pattern="role/{name}",
                args=RoleArgs,
                ops={
                    Op.READ: self._read,
                    Op.CREATE: self._write,
                    Op.UPDATE: self._write,
                    Op.DELETE: self._delete,
                },
                fold=FOLD,
                exists=self._exists,
                help="A role: which tokens may log in, and what they get.",
            ),
        )

    async def find(self, name: str) -> tuple[Role, int] | None:
        """The role ``name``, and its revision."""
        if not _is_name(name):
            return None
        entry = await self._mount.storage.get(f"role/{name}")
        return None if entry is None else (msgspec.json.decode(entry.value, type=Role), entry.revision)

    async def _exists(self, call: Call) -> bool:
        return await self.find(call.match.params["name"]) is not None

    async def _list(self, call: Call, args: Page) -> Response:
        return await answer_names(self._mount.storage, "role/", args)

    async def _read(self, call: Call, args: NoArgs) -> Response:
        found = await self.find(call.match.params["name"])
        if found is None:
            raise NotFound
        return Response(data=found[0].answer())

    async def _write(self, call: Call, args: RoleArgs) -> Response:
        name = call.match.params["name"]
        if not _is_name(name):
            raise BadRequest("a role's name is at most 512 characters without blanks, slashes and control characters")
        for _ in range(_ATTEMPTS):
            found = await self.find(name)
            before, revision = found or (Role(uid=os.urandom(8).hex()), 0)
            role = before.updated(args)
            key = f"role/{name}"
            try:
                await self._mount.storage.commit([Write(key, msgspec.json.encode(role))], expect={key: revision})
            except Conflict:
                continue
            return Response(warnings=role.token.warnings(self._mount.max_lease_ttl))
        raise Conflict("the role is being changed by others; try again")

    async def _delete(self, call: Call, args: NoArgs) -> Response:
        await self._mount.storage.commit([Write(f"role/{call.match.params['name']}", None)])
        return Response()


def _is_name(name: str) -> bool:
    return 0 < len(name) <= _MAX_NAME and name.isprintable() and not any(c in "/\\ " for c in name)
