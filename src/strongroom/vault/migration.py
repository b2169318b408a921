"""Live migration of an embedded vault: the store under it is exchanged while it works (docs/embedding.md).

The copying is ``strongroom.storage.switchable``'s; here is what a vault adds: the right store is named, the target is
opened and closed, and what the vault remembered of the old store's revisions is read again.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec

from strongroom.core.core import Core
from strongroom.errors import BadRequest, Conflict, VaultError
from strongroom.storage.switchable import SwitchableBackend
from strongroom.vault.stores import StoreName, open_backend


class MigrationReport(msgspec.Struct, frozen=True):
    """What a migration did."""

    entries: int  # that the target held when all had been compared
    source: str  # kinds
    target: str


class Ground:
    """The store under one embedded vault: what it is called, and whose it is.

    Attributes:
        store: what the vault is built on; it stays while what is below it changes.
        name: of the store in use; None for the caller's own object.
        own: the store that the vault opened and must close; None for the caller's own object.
        below: the store in use itself.
        moving: whether a migration is under way.
    """

    __slots__ = ("below", "moving", "name", "own", "store")

    def __init__(self, backend: Any) -> None:
        self.name = StoreName(backend) if isinstance(backend, Mapping) else None
        opened = open_backend(backend)
        self.own = opened if self.name is not None else None
        self.below = opened
        self.store = SwitchableBackend(opened)
        self.moving = False

    def __repr__(self) -> str:
        return f"Ground({self.store.kind})"

    async def close(self) -> None:
        """Close the store, if the vault opened it. Raises Conflict while it is being moved."""
        if self.moving:
            raise Conflict("the vault is being moved to another store")
        own, self.own = self.own, None
        if own is not None:
            await own.close()


async def migrate(ground: Ground, core: Core, source: Mapping[str, Any], target: Mapping[str, Any]) -> MigrationReport:
    """Move a running vault from the store ``source`` to the store ``target``.

    Every write that was acknowledged, before or during the move, is in the target when this returns. The source is
    closed (unless it is the caller's own object) and keeps its entries as they were at the switch.

    Raises:
        BadRequest: ``source`` is not the store in use, it is also the target, or the target is not empty.
        Conflict: a migration is under way.
        StorageFailed: a store failed. The source is still in use; the same call again goes on with the copy.
    """
    origin, goal = StoreName(source), StoreName(target)
    if ground.moving:
        raise Conflict("the vault is being moved already")
    if not _in_use(ground, origin):
        raise BadRequest("the source is not the store in use")
    if goal.place() and goal.same_as(origin):
        raise BadRequest("source and target are one store")
    ground.moving = True
    try:
        new = goal.open()
        try:
            report = await ground.store.move(new)
        except BaseException:
            await new.close()
            raise
        old, ground.own, ground.below, ground.name = ground.own, new, new, goal
        await _read_again(core)
        if old is not None:
            await old.close()
    finally:
        ground.moving = False
    return MigrationReport(report.compared, origin.kind, goal.kind)


def _in_use(ground: Ground, origin: StoreName) -> bool:
    if ground.name is not None:
        return origin.same_as(ground.name)
    return origin.kind == ground.store.kind  # an object's own place is not known


async def _read_again(core: Core) -> None:
    """Caches go by revisions, which are others now; what they hold is dropped at once rather than one by one."""
    if not core.sealed:
        with contextlib.suppress(VaultError):  # the next request reads them again, and says what is wrong
            await core.space().reload()
