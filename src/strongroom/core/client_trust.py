"""Which TLS client certificates auth methods go by, for the doors that ask for them.

Doors follow the epoch of the root namespace, so what changes the trust of any namespace moves that one.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from strongroom.core.epoch import commit_with_epoch
from strongroom.errors import Conflict
from strongroom.sdk.engine import Publish
from strongroom.sdk.request import ROOT_NAMESPACE
from strongroom.sdk.storage import Write

if TYPE_CHECKING:
    from strongroom.core.namespace import Namespace


def publisher(storage: Any, prefix: str) -> Publish:
    """The ``Mount.publish`` of a mount that keeps its things under ``prefix`` of the barrier ``storage``."""

    async def publish(writes: Sequence[Write], expect: Mapping[str, int]) -> None:
        """Raises Conflict as ``Storage.commit``; nothing was written then."""
        wanted = {prefix + key: revision for key, revision in expect.items()}

        async def before() -> None:
            found = await storage.get_many(list(wanted))
            for entry, revision in zip(found, wanted.values(), strict=True):
                if (entry.revision if entry is not None else 0) != revision:
                    raise Conflict("it was changed by others")

        whole = [Write(prefix + write.key, write.value) for write in writes]
        await commit_with_epoch(storage, ROOT_NAMESPACE, whole, before=before, expect=wanted)

    return publish


async def client_trust(spaces: Iterable["Namespace"]) -> frozenset[bytes]:
    """The certificates (DER) that client certificates may be or lead to, of all auth mounts of ``spaces``."""
    found: set[bytes] = set()
    for space in spaces:
        for entry in space.mounts.entries.values():
            trust = getattr(space.mounts.engine(entry.uuid), "client_trust", None)
            if trust is not None:
                found.update(await trust())
    return frozenset(found)
