"""The OIDC keys, roles and settings of one namespace in the store."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from strongroom.core import layout
from strongroom.core.identity.oidc_records import (
    NamedKey,
    OidcConfig,
    OidcKeys,
    OidcRole,
    OldKey,
    PrivateKey,
    PublicKeys,
    config_of,
    due,
    key_of,
    pack,
    role_of,
)
from strongroom.core.leader import NotLeading
from strongroom.errors import Conflict
from strongroom.sdk.storage import Write

_TRIES = 256
_PAGE = 1000
MAX_OLD = 64  # public keys that are kept for one named key, the latest: rotating by hand does not fill the store


class OidcStore:
    """See the module. ``storage`` is the barrier, or the leader's way to it."""

    def __init__(self, storage: Any, namespace: str) -> None:
        self.storage, self.namespace = storage, namespace
        self.keys = OidcKeys(layout.identity_prefix(namespace))

    async def config(self) -> OidcConfig:
        stored = await self.storage.get(self.keys.config)
        return OidcConfig() if stored is None else config_of(stored.value)

    async def key(self, name: str) -> NamedKey | None:
        stored = await self.storage.get(self.keys.key + name)
        return None if stored is None else key_of(stored.value)

    async def role(self, name: str) -> OidcRole | None:
        stored = await self.storage.get(self.keys.role + name)
        return None if stored is None else role_of(stored.value)

    async def names(self, prefix: str) -> list[str]:
        names: list[str] = []
        while page := await self.storage.list(prefix, after=names[-1] if names else "", limit=_PAGE):
            names += page
        return names

    async def roles(self) -> dict[str, OidcRole]:
        """All roles by name."""
        roles: dict[str, OidcRole] = {}
        after = ""
        while rows := await self.storage.scan(self.keys.role, after=after, limit=_PAGE):
            roles |= {name: role_of(stored.value) for name, stored in rows}
            after = rows[-1][0]
        return roles

    async def published(self) -> list[PublicKeys]:
        """The keys that some role signs with."""
        names = sorted({role.key for role in (await self.roles()).values()})
        found = [await self.key(name) for name in names]
        return [key.public() for key in found if key is not None]

    async def revision(self) -> int:
        """What moves with every change of keys, roles and settings."""
        stored = await self.storage.get_sealed(self.keys.guard)
        return 0 if stored is None else int(stored.revision)

    async def change(self, make: Callable[[], Awaitable[Sequence[Write]]]) -> None:
        """Commit what ``make`` makes of what is stored, if nothing of it has changed meanwhile; else ask it again.

        Raises:
            VaultError: what ``make`` raises; nothing was written.
        """
        guard = self.keys.guard
        for _ in range(_TRIES):
            stored = await self.storage.get(guard)
            writes = await make()
            if not writes:
                return
            try:
                await self.storage.commit(
                    [*writes, Write(guard, b"1")], expect={guard: stored.revision if stored else 0}
                )
            except NotLeading:
                raise
            except Conflict:
                continue
            return
        raise Conflict("OIDC keys and roles change too quickly")

    def key_writes(self, new: NamedKey, old: NamedKey | None) -> list[Write]:
        """The key's record, and the note of its next rotation."""
        writes = [Write(self.keys.key + new.name, pack(new)), Write(due(self.namespace, new), b"1")]
        if old is not None and due(self.namespace, old) != due(self.namespace, new):
            writes.append(Write(due(self.namespace, old), None))
        return writes

    def key_gone(self, key: NamedKey) -> list[Write]:
        return [Write(self.keys.key + key.name, None), Write(due(self.namespace, key), None)]


def next_at(now: float, period: int) -> float:
    """When a key that signs from ``now`` on is rotated: a whole second, as the index has it."""
    return float(int(now) + period)


def rotated(key: NamedKey, fresh: PrivateKey, now: float, *, verification_ttl: int | None = None) -> NamedKey:
    """``key`` after a rotation at ``now``: the next key signs, ``fresh`` is next, the old one only checks from here on.

    ``verification_ttl`` (seconds) is for the key that is replaced, in the place of the named key's own.
    """
    kept = key.verification_ttl if verification_ttl is None else verification_ttl
    old = [entry for entry in (*key.old, OldKey(key.signing.jwk, now + kept)) if entry.until > now]
    return msgspec.structs.replace(
        key,
        signing=key.following,
        following=fresh,
        old=tuple(old[-MAX_OLD:]),
        next_rotation=next_at(now, key.rotation_period),
    )
