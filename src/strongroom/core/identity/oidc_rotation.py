"""The leader's part: keys whose time has come are rotated, in whatever namespace. An index in one place tells which."""

from collections.abc import Awaitable, Callable
from typing import Any

from strongroom.core.identity.oidc_records import DUE, NamedKey, due
from strongroom.core.identity.oidc_signing import generate
from strongroom.core.identity.oidc_store import OidcStore, rotated
from strongroom.core.lease_entry import second
from strongroom.sdk.storage import Write

_SLICE = 5  # keys of one round; one of RSA takes a good part of a second


class OidcRotation:
    """See the module.

    Args:
        storage: what the leader writes to.
        now: seconds since the Unix epoch.
        offload: runs the making of keys where it holds up nobody.
        exists: whether there is a namespace with that id.
    """

    def __init__(
        self,
        storage: Any,
        now: Callable[[], float],
        offload: Callable[[Callable[[], Any]], Any],
        exists: Callable[[str], Awaitable[bool]],
    ) -> None:
        self._storage, self._now, self._offload, self._exists = storage, now, offload, exists

    async def any(self) -> bool:
        """Whether some key is due."""
        return bool(await self._storage.scan(DUE, until=second(self._now() + 1), limit=1))

    async def rotate(self) -> int:
        """Rotate some of the keys that are due; how many notes were dealt with."""
        rows = await self._storage.scan(DUE, until=second(self._now() + 1), limit=_SLICE)
        for note, _ in rows:
            _, namespace, name = note.split(".", 2)
            oidc = OidcStore(self._storage, namespace)
            key = await oidc.key(name) if await self._exists(namespace) else None
            if key is not None:
                await self._one(oidc, key, DUE + note)
            else:
                await self._storage.commit([Write(DUE + note, None)])
        return len(rows)

    async def _one(self, oidc: OidcStore, key: NamedKey, note: str) -> None:
        stale = due(oidc.namespace, key) != note
        fresh = key.following if stale else await self._offload(lambda: generate(key.algorithm))

        async def make() -> list[Write]:
            old = await oidc.key(key.name)
            if stale or old is None or old.signing.kid != key.signing.kid or due(oidc.namespace, old) != note:
                gone = old is None or due(oidc.namespace, old) != note
                return [Write(note, None)] if gone else []  # somebody rotated, changed or removed it meanwhile
            return oidc.key_writes(rotated(old, fresh, self._now()), old)

        await oidc.change(make)
