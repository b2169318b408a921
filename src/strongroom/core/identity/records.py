"""What is stored of entities, aliases and groups, and the keys it is stored under (docs/formats/identity.md)."""

from typing import Any

import msgspec


class Alias(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One login name of an entity, or the name of an external group, at one auth mount. Times in Unix seconds."""

    id: str
    owner: str  # id of the entity or group
    name: str
    mount_accessor: str
    metadata: dict[str, str] | None = None  # as the last login gave it
    custom_metadata: dict[str, str] | None = None  # as an operator gave it
    merged_from: tuple[str, ...] = ()  # entities that had it before a merge
    created: float = 0.0
    updated: float = 0.0
    local: bool = False


class Entity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One person or program."""

    id: str
    name: str  # as it was written; looked up folded
    metadata: dict[str, str] | None = None
    policies: tuple[str, ...] = ()
    disabled: bool = False
    aliases: tuple[Alias, ...] = ()
    merged: tuple[str, ...] = ()  # ids of entities that became this one
    created: float = 0.0
    updated: float = 0.0


class Group(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A group. Its members are pairs of keys of their own."""

    id: str
    name: str
    type: str = "internal"  # "internal" | "external": members come from logins
    metadata: dict[str, str] | None = None
    policies: tuple[str, ...] = ()
    alias: Alias | None = None  # of an external group
    version: int = 1
    created: float = 0.0
    updated: float = 0.0


class IdentityView(msgspec.Struct, frozen=True):
    """All that an entity is, put together once per epoch."""

    id: str
    name: str
    metadata: dict[str, str]
    disabled: bool
    groups: tuple[tuple[str, str, dict[str, str]], ...]  # (id, name, metadata), direct and inherited, by name
    policies: tuple[str, ...]  # its own and its groups', sorted, never root
    aliases: tuple[tuple[str, str, dict[str, str]], ...]  # (mount accessor, name, metadata)


class Keys:
    """The store keys of one namespace's identity; ``prefix`` is ``ns/<nsid>/identity/``."""

    __slots__ = (
        "alias",
        "alias_at",
        "entity",
        "entity_name",
        "group",
        "group_alias",
        "group_alias_at",
        "group_name",
        "leaving",
        "member_in",
        "member_of",
        "merged",
        "parent_down",
        "parent_up",
    )

    def __init__(self, prefix: str) -> None:
        self.entity = prefix + "entity/"  # <id>: Entity
        self.entity_name = prefix + "entity-name/"  # <quoted folded name>: [id, name]
        self.alias = prefix + "alias/"  # <id>: Alias
        self.alias_at = prefix + "alias-at/"  # <accessor>/<hash of name>: [entity id, alias id]
        self.group = prefix + "group/"  # <id>: Group
        self.group_name = prefix + "group-name/"  # <quoted folded name>: [id, name]
        self.group_alias = prefix + "group-alias/"  # <id>: Alias
        self.group_alias_at = prefix + "group-alias-at/"  # <accessor>/<hash of name>: [group id, alias id]
        self.member_in = prefix + "member-in/"  # <entity id>/<group id>: it is a member
        self.member_of = prefix + "member-of/"  # <group id>/<entity id>: the same, from the other side
        self.parent_up = prefix + "parent-up/"  # <group id>/<parent's id>: it is a member group
        self.parent_down = prefix + "parent-down/"  # <parent's id>/<group id>
        self.merged = prefix + "merged/"  # <id of an entity that was>: id of the one it became
        self.leaving = prefix + "leaving/"  # <kind>-<id>: memberships and aliases still to be removed


pack = msgspec.msgpack.Encoder().encode
entity_of = msgspec.msgpack.Decoder(Entity).decode
alias_of = msgspec.msgpack.Decoder(Alias).decode
group_of = msgspec.msgpack.Decoder(Group).decode
pair_of = msgspec.msgpack.Decoder(tuple[str, str]).decode


def metadata_or_none(data: dict[str, str] | None) -> dict[str, Any] | None:
    """Metadata as answers show it: null when there is none."""
    return dict(data) if data else None
