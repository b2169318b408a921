"""Entities, aliases and groups as answers show them (wire facts A.3, golden answers)."""

from collections.abc import Callable, Sequence
from typing import Any

from strongroom.core.clock import rfc3339
from strongroom.core.identity.records import Alias, Entity, Group, metadata_or_none
from strongroom.core.mount_entry import MountEntry

MountOf = Callable[[str], MountEntry | None]


def mount_fields(accessor: str, mount_of: MountOf) -> dict[str, str]:
    """Where an alias is at home; path and type are "" for a mount that is gone."""
    entry = mount_of(accessor)
    return {
        "mount_accessor": accessor,
        "mount_path": entry.path if entry else "",
        "mount_type": entry.type if entry else "",
    }


def alias_data(alias: Alias, mount_of: MountOf) -> dict[str, Any]:
    """One alias, as inside of its entity."""
    return {
        "canonical_id": alias.owner,
        "creation_time": rfc3339(alias.created),
        "custom_metadata": metadata_or_none(alias.custom_metadata),
        "id": alias.id,
        "last_update_time": rfc3339(alias.updated),
        "local": alias.local,
        "merged_from_canonical_ids": list(alias.merged_from) or None,
        "metadata": metadata_or_none(alias.metadata),
        "name": alias.name,
        **mount_fields(alias.mount_accessor, mount_of),
    }


def alias_info(alias: Alias, mount_of: MountOf) -> dict[str, Any]:
    """One alias in the ``key_info`` of a list."""
    return {
        "canonical_id": alias.owner,
        "custom_metadata": metadata_or_none(alias.custom_metadata),
        "local": alias.local,
        "name": alias.name,
        **mount_fields(alias.mount_accessor, mount_of),
    }


def entity_data(
    entity: Entity, direct: Sequence[Group], inherited: Sequence[Group], *, namespace: str, mount_of: MountOf
) -> dict[str, Any]:
    """One entity with its aliases and the ids of its groups."""
    own, above = sorted(group.id for group in direct), sorted(group.id for group in inherited)
    return {
        "aliases": [alias_data(alias, mount_of) for alias in entity.aliases],
        "creation_time": rfc3339(entity.created),
        "direct_group_ids": own,
        "disabled": entity.disabled,
        "group_ids": sorted([*own, *above]),
        "id": entity.id,
        "inherited_group_ids": above,
        "last_update_time": rfc3339(entity.updated),
        "merged_entity_ids": list(entity.merged) or None,
        "metadata": metadata_or_none(entity.metadata),
        "name": entity.name,
        "namespace_id": namespace,
        "policies": list(entity.policies),
    }


def entity_info(entity: Entity, mount_of: MountOf) -> dict[str, Any]:
    """One entity in the ``key_info`` of a list; ``aliases`` only where it has some."""
    info: dict[str, Any] = {"name": entity.name}
    if entity.aliases:
        info["aliases"] = [
            {"id": alias.id, "name": alias.name, **mount_fields(alias.mount_accessor, mount_of)}
            for alias in entity.aliases
        ]
    return info


def group_data(
    group: Group,
    *,
    entities: Sequence[str],
    groups: Sequence[str],
    parents: Sequence[str],
    namespace: str,
    mount_of: MountOf,
) -> dict[str, Any]:
    """One group with the ids of its members and of the groups it is a member of."""
    alias: dict[str, Any] = {}
    if group.alias is not None:
        alias = alias_data(group.alias, mount_of)
        del alias["custom_metadata"], alias["local"]
    return {
        "alias": alias,
        "creation_time": rfc3339(group.created),
        "id": group.id,
        "last_update_time": rfc3339(group.updated),
        "member_entity_ids": list(entities) or None,
        "member_group_ids": list(groups) or None,
        "metadata": metadata_or_none(group.metadata),
        "modify_index": group.version,
        "name": group.name,
        "namespace_id": namespace,
        "parent_group_ids": list(parents) or None,
        "policies": list(group.policies),
        "type": group.type,
    }
