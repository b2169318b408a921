"""Which TLS client certificates auth methods go by, for the doors that ask for them.

Doors follow the epoch of the root namespace and know no other, so what a mount in any namespace trusts is noted in one
place beside the namespaces, in the commit that changes it, and moves that epoch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from strongroom.core import layout
from strongroom.core.epoch import commit_with_epoch
from strongroom.errors import Conflict
from strongroom.sdk.engine import Publish, Trust
from strongroom.sdk.request import ROOT_NAMESPACE
from strongroom.sdk.storage import Write

_PAGE = 500  # notes read at a time
_pack = msgspec.msgpack.encode
_unpack = msgspec.msgpack.Decoder(tuple[bytes, ...]).decode


def publisher(storage: Any, namespace: str, uuid: str) -> Publish:
    """The ``Mount.publish`` of the mount ``uuid``; ``storage`` is the barrier."""

    async def publish(writes: Sequence[Write], expect: Mapping[str, int], trust: Trust) -> None:
        data = layout.data_prefix(namespace, uuid)
        wanted = {data + key: revision for key, revision in expect.items()}

        async def before() -> None:
            found = await storage.get_many(list(wanted))
            for entry, revision in zip(found, wanted.values(), strict=True):
                if (entry.revision if entry is not None else 0) != revision:
                    raise Conflict("it was changed by others")

        notes = layout.client_trust(namespace, uuid)
        whole = [Write(data + write.key, write.value) for write in writes]
        whole += [Write(notes + name, _pack(list(ders)) if ders else None) for name, ders in trust.items()]
        await commit_with_epoch(storage, ROOT_NAMESPACE, whole, before=before, expect=wanted)

    return publish


async def client_trust(storage: Any) -> frozenset[bytes]:
    """The certificates (DER) that client certificates may be or lead to, of all mounts that there still are."""
    found: dict[str, set[bytes]] = {}  # key of the mount's entry -> certificates
    after = ""
    while page := await storage.scan(layout.CLIENT_TRUST, after=after, limit=_PAGE):
        for key, entry in page:
            namespace, uuid, _ = key.split("/", 2)
            found.setdefault(layout.mount(namespace, uuid), set()).update(_unpack(entry.value))
        after = page[-1][0]
    living = await storage.get_many(list(found)) if found else []
    return frozenset().union(*(ders for ders, entry in zip(found.values(), living, strict=True) if entry is not None))
