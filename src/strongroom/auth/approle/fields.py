"""The paths of single role fields: ``role/<name>/token-ttl`` and its like, made from one table."""

from collections.abc import Sequence
from typing import Any

import msgspec

from strongroom.auth.approle.entries import Role, RoleArgs
from strongroom.sdk.fields import UNSET

_ROLE_DEFAULTS: dict[str, Any] = {
    "bind_secret_id": True,
    "secret_id_bound_cidrs": (),
    "secret_id_num_uses": 0,
    "secret_id_ttl": 0,
}
# A read shows a deprecated name only if the role was last written with it; these are always shown under their own name.
_SAME_AS = {"bound_cidr_list": "secret_id_bound_cidrs"}


class RoleField:
    """One path: the fields it takes and shows, the field it resets."""

    __slots__ = ("args", "field", "names", "path")

    def __init__(self, path: str, names: Sequence[str]) -> None:
        self.path, self.names = path, tuple(names)
        self.field = _SAME_AS.get(names[0], names[0])
        kinds = msgspec.structs.fields(RoleArgs)
        self.args: type[msgspec.Struct] = msgspec.defstruct(
            "RoleFieldArgs", [(f.name, f.type, UNSET) for f in kinds if f.name in names], frozen=True, kw_only=True
        )

    def given(self, args: msgspec.Struct) -> bool:
        """Whether ``args`` has any of the fields."""
        return any(getattr(args, name) is not UNSET for name in self.names)

    def answer(self, role: Role) -> dict[str, Any]:
        """What a read of the path shows."""
        data = role.answer()
        return {name: data[_SAME_AS.get(name, name)] for name in self.names if _SAME_AS.get(name, name) in data}

    def reset(self, role: Role) -> Role:
        """``role`` with the field as a new role has it. Raises BadRequest if nothing would guard the role any more."""
        if self.field in _ROLE_DEFAULTS:
            return msgspec.structs.replace(role, **{self.field: _ROLE_DEFAULTS[self.field]}).guarded()
        return msgspec.structs.replace(role, token=role.token.reset(self.field)).guarded()


ROLE_FIELDS = (
    RoleField("policies", ("token_policies", "policies")),
    RoleField("secret-id-num-uses", ("secret_id_num_uses",)),
    RoleField("secret-id-ttl", ("secret_id_ttl",)),
    RoleField("token-ttl", ("token_ttl",)),
    RoleField("token-max-ttl", ("token_max_ttl",)),
    RoleField("token-num-uses", ("token_num_uses",)),
    RoleField("token-period", ("token_period",)),
    RoleField("period", ("token_period", "period")),
    RoleField("bind-secret-id", ("bind_secret_id",)),
    RoleField("secret-id-bound-cidrs", ("secret_id_bound_cidrs",)),
    RoleField("bound-cidr-list", ("bound_cidr_list",)),
    RoleField("token-bound-cidrs", ("token_bound_cidrs",)),
)
