"""Changing what a namespace's epoch stands for: mounts, policies, settings. One commit moves it along."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from strongroom.core import layout
from strongroom.errors import Conflict
from strongroom.sdk.storage import Write

_TRIES = 256  # each failed one means that somebody else got through


async def commit_with_epoch(
    storage: Any,
    namespace: str,
    writes: Sequence[Write],
    *,
    before: Callable[[], Awaitable[None]] | None = None,
    expect: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Commit ``writes`` and move the epoch, if nobody else moved it meanwhile; else try again.

    Args:
        storage: the barrier.
        namespace: its id.
        writes: the change.
        before: reads what the change depends on, once the epoch is known, and raises if it may not be made.
        expect: revisions that must hold besides, of keys that also change without the epoch; ``before`` fills it.

    Raises:
        Conflict: others kept changing the namespace.
    """
    key = layout.epoch(namespace)
    for _ in range(_TRIES):
        stored = await storage.get_sealed(key)
        if before is not None:
            await before()
        with contextlib.suppress(Conflict):
            await storage.commit([*writes, Write(key, b"1")], expect={**expect, key: stored.revision if stored else 0})
            return
    raise Conflict("mounts, policies or settings change too quickly")
