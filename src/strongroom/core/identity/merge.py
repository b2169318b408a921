"""identity/entity/merge: several entities become one.

What does not fit one commit is done in several, each of which leaves aliases whole and gives nobody more than the
entity that is kept; a merge that was cut short is finished by asking for it again.
"""

from collections.abc import Sequence

import msgspec

from strongroom.core.identity.names import index_of
from strongroom.core.identity.parts import Parts
from strongroom.core.identity.records import Alias, Entity
from strongroom.core.identity.store import MAX_WRITES
from strongroom.errors import BadRequest
from strongroom.sdk.engine import Call, Route
from strongroom.sdk.fields import Flag, StrList, Text
from strongroom.sdk.request import Op, Response
from strongroom.sdk.storage import Write

_FIXED = 7  # writes of the last commit besides aliases and memberships: both entities, the merge, the note


class MergeArgs(msgspec.Struct, frozen=True, kw_only=True):
    """``force`` is about MFA secrets in Vault. Here the entity that stays keeps its own, so it changes nothing."""

    from_entity_ids: StrList = StrList()
    to_entity_id: Text = Text("")
    conflicting_alias_ids_to_keep: StrList = StrList()
    force: Flag = Flag(0)


class MergeRoutes(Parts):
    """See the module."""

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                pattern="entity/merge",
                args=MergeArgs,
                ops={Op.UPDATE: self.merge},
                help="Make several entities one: aliases and memberships move, policies and metadata do not.",
            ),
        )

    async def merge(self, call: Call, args: MergeArgs) -> Response:
        """Tokens of an entity that was merged go on as tokens of the one it became."""
        sources = list(dict.fromkeys(args.from_entity_ids))
        target = str(args.to_entity_id)
        if not sources:
            raise BadRequest("missing from_entity_ids")
        if not target:
            raise BadRequest("missing to_entity_id")
        if target in sources:
            raise BadRequest("to_entity_id should not be present in from_entity_ids")
        keep = frozenset(args.conflicting_alias_ids_to_keep)
        await self._check(sources, target, keep)
        for source in sources:
            await self._one(source, target, keep)
        return Response()

    async def _check(self, sources: Sequence[str], target: str, keep: frozenset[str]) -> None:
        """Refuse before anything was changed. Raises BadRequest."""
        to = await self._store.entity(target)
        if to is None:
            raise BadRequest("entity id to merge to is invalid")
        taken = {alias.mount_accessor for alias in to.aliases}
        seen: set[str] = set()
        clash = False
        for source in sources:
            found = await self._store.entity(source)
            if found is None:
                if (await self._store.living(source)) == to:
                    continue  # done by a request like this one that was cut short
                raise BadRequest("entity id to merge from is invalid")
            accessors = {alias.mount_accessor for alias in found.aliases}
            if accessors & seen:
                raise BadRequest("several of from_entity_ids have aliases with the same mount accessor")
            seen |= accessors
            clash = clash or bool(accessors & taken)
            _changes(found, to, keep)
        if clash and len(sources) > 1:
            raise BadRequest(
                "toEntity and at least one fromEntity have aliases with the same mount accessor, repeat the merge "
                "request specifying exactly one fromEntity"
            )

    async def _one(self, source: str, target: str, keep: frozenset[str]) -> None:
        done = False

        async def make(_expect: dict[str, int]) -> list[Write]:
            nonlocal done
            old, to = await self._store.entity(source), await self._store.entity(target)
            if to is None:
                raise BadRequest("entity id to merge to is invalid")
            if old is None:
                done = True
                return []
            writes, done = await self._step(old, to, keep)
            return writes

        while not done:
            await self._store.change(make)
        await self._removal.entity_remains(source)

    async def _step(self, old: Entity, to: Entity, keep: frozenset[str]) -> tuple[list[Write], bool]:
        """The next writes that bring ``old`` into ``to``, and whether they are the last."""
        store = self._store
        held = set(await store.names_below(f"{store.keys.member_in}{to.id}/"))
        joining = sorted(set(await store.names_below(f"{store.keys.member_in}{old.id}/")) - held)
        changes = _changes(old, to, keep)
        room = MAX_WRITES - _FIXED
        cost = 2 * len(joining) + 4 * len(changes)
        if cost > room and joining:
            part = joining[: room // 2]
            return [w for group in part for w in store.member_writes(group, to.id, here=True)], False
        last = cost <= room
        writes = [w for group in joining for w in store.member_writes(group, to.id, here=True)]
        old, to, changed = self._move(old, to, changes[: room // 4])
        writes += changed
        if not last:
            return [*writes, *store.entity_writes(old), *store.entity_writes(to)], False
        to = msgspec.structs.replace(to, merged=(*to.merged, *(i for i in (*old.merged, old.id) if i not in to.merged)))
        writes += [
            Write(store.keys.entity + old.id, None),
            Write(store.keys.entity_name + index_of(old.name), None),
            Write(store.keys.merged + old.id, to.id.encode()),
            *store.leaves(f"entity-{old.id}", msgspec.msgpack.encode(old)),
            *store.entity_writes(to),
        ]
        return writes, True

    def _move(self, old: Entity, to: Entity, changes: Sequence["_Change"]) -> tuple[Entity, Entity, list[Write]]:
        store, now = self._store, self._store.now()
        moving = [move for move, _ in changes if move is not None]
        dropped = [drop for _, drop in changes if drop is not None]
        gone = {alias.id for alias in (*moving, *dropped)}
        moved = [
            msgspec.structs.replace(alias, owner=to.id, merged_from=(*alias.merged_from, old.id), updated=now)
            for alias in moving
        ]
        writes = [w for alias in dropped for w in store.alias_gone(alias)]
        writes += [w for alias in moved for w in store.alias_writes(alias)]
        old = msgspec.structs.replace(old, aliases=tuple(a for a in old.aliases if a.id not in gone), updated=now)
        rest = tuple(a for a in to.aliases if a.id not in gone)
        return old, msgspec.structs.replace(to, aliases=(*rest, *moved), updated=now), writes


_Change = tuple[Alias | None, Alias | None]  # what moves, what goes for good


def _changes(old: Entity, to: Entity, keep: frozenset[str]) -> list[_Change]:
    """What becomes of each alias of ``old``, and of one of ``to`` at the same mount.

    Raises:
        BadRequest: both have an alias at one mount, and which to keep is not said, or said of both.
    """
    changes: list[_Change] = []
    at = {alias.mount_accessor: alias for alias in to.aliases}
    for alias in old.aliases:
        other = at.get(alias.mount_accessor)
        if other is None:
            changes.append((alias, None))
        elif alias.id in keep and other.id in keep:
            raise BadRequest("conflicting_alias_ids_to_keep names two aliases at one mount accessor")
        elif alias.id in keep:
            changes.append((alias, other))
        elif other.id in keep:
            changes.append((None, alias))
        else:
            raise BadRequest(
                "conflicting mount accessors in following alias IDs and neither were present in "
                f"conflicting_alias_ids_to_keep: {alias.id}, {other.id}"
            )
    return changes
