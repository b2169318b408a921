"""The secrets that entities share with their authenticators. Once made they are used and never shown."""

import contextlib
import os

from strongroom.core import layout
from strongroom.core.identity.mfa_records import Method, MfaKeys, Secret
from strongroom.core.identity.mfa_totp import otpauth_url
from strongroom.core.identity.records import Entity, pack
from strongroom.core.identity.store import IdentityStore
from strongroom.core.sweep import delete_prefix
from strongroom.errors import BadRequest, Conflict
from strongroom.sdk.storage import Write

_TRIES = 64


class MfaSecrets:
    """See the module."""

    def __init__(self, store: IdentityStore) -> None:
        self._store = store
        self._keys = MfaKeys(layout.identity_prefix(store.namespace))

    async def make(self, method: Method, entity: Entity) -> str | None:
        """A new secret, as the ``otpauth://`` address that is shown this once; None if the entity has one already.

        Raises:
            BadRequest: method or entity went away meanwhile.
        """
        key = f"{self._keys.secret}{method.id}/{entity.id}"
        text = os.urandom(method.key_size)
        secret = Secret(
            key=text, period=method.period, algorithm=method.algorithm, digits=method.digits, skew=method.skew
        )
        storage = self._store.storage
        for _ in range(_TRIES):
            known = await storage.get_many([self._keys.method + method.id, self._store.keys.entity + entity.id, key])
            if known[2] is not None:
                return None
            if known[0] is None or known[1] is None:
                raise BadRequest("the MFA method or the entity is gone")
            expect = {
                key: 0,
                self._keys.method + method.id: known[0].revision,
                self._store.keys.entity + entity.id: known[1].revision,
            }
            with contextlib.suppress(Conflict):
                await storage.commit([Write(key, pack(secret))], expect=expect)
                return otpauth_url(
                    text,
                    issuer=method.issuer,
                    account=entity.id,
                    period=method.period,
                    digits=method.digits,
                    algorithm=method.algorithm,
                )
        raise Conflict("the entity changes too quickly")

    async def destroy(self, method_id: str, entity_id: str) -> None:
        """Take an entity's secret for one method away, and what was counted against it."""
        where = f"{method_id}/{entity_id}"
        await self._store.storage.commit(
            [Write(self._keys.secret + where, None), Write(self._keys.state + where, None)]
        )

    async def method_left(self, method_id: str) -> None:
        """Remove the secrets for a method that is gone."""
        for prefix in (self._keys.secret, self._keys.state):
            await delete_prefix(self._store.storage, f"{prefix}{method_id}/")

    async def entity_left(self, entity_id: str) -> None:
        """Remove the secrets of an entity that is gone. What it was merged into takes over those it has none like."""
        heir = await self._store.living(entity_id)
        for method_id in await self._store.names_below(self._keys.method):
            if heir is not None:
                await self._move(method_id, entity_id, heir.id)
            await self.destroy(method_id, entity_id)

    async def _move(self, method_id: str, old: str, new: str) -> None:
        storage = self._store.storage
        mine, theirs = f"{method_id}/{old}", f"{method_id}/{new}"
        for _ in range(_TRIES):
            keys = [self._keys.secret + mine, self._keys.state + mine, self._keys.secret + theirs]
            secret, state, taken = await storage.get_many(keys)
            if secret is None or taken is not None:
                return
            writes = [Write(keys[2], secret.value), Write(keys[0], None), Write(keys[1], None)]
            if state is not None:
                writes.append(Write(self._keys.state + theirs, state.value))
            expect = {keys[0]: secret.revision, keys[1]: state.revision if state else 0, keys[2]: 0}
            with contextlib.suppress(Conflict):
                await storage.commit(writes, expect=expect)
                return
        raise Conflict("the entity's codes change too quickly")
