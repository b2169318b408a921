"""One namespace at work: its tokens, mounts, policies, leases and settings, kept fresh by its epoch."""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from strongroom.core import layout
from strongroom.core.lease_count import LeaseCounter
from strongroom.core.lease_tallies import Tallies
from strongroom.core.leases import Leases
from strongroom.core.mounts import Kinds, MountLimits, MountTable
from strongroom.core.policies import PolicyLanguage, PolicyStore
from strongroom.core.quota_entry import LeaseQuota, QuotaTable, RateQuota
from strongroom.core.settings import Settings, load_settings
from strongroom.core.sweep import delete_prefix, keys_below
from strongroom.core.tokens import Tokens, token_keys
from strongroom.errors import Conflict, VaultError
from strongroom.sdk.storage import Write


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What every namespace is built with."""

    kinds: Kinds
    limits: MountLimits
    language: PolicyLanguage
    mac_key: bytes
    now: Callable[[], float]
    offload: Callable[[Callable[[], Any]], Any]
    tallies: Tallies  # of lease-count quotas
    limited: Callable[[str, bool, bool], None] = lambda *_: None  # told whether a namespace has rates, and lease counts

    def __repr__(self) -> str:
        return "Parts()"


class Namespace:
    """See the module. ``storage`` is the barrier."""

    def __init__(self, namespace: str, storage: Any, parts: Parts, tokens: Tokens) -> None:
        self.id = namespace
        self.storage = storage
        self.parts = parts
        self.tokens = tokens
        self.mounts = MountTable(
            storage, namespace, parts.kinds, parts.limits, parts.mac_key, now=parts.now, offload=parts.offload
        )
        self.policies = PolicyStore(storage, namespace, parts.language)
        self.leases = Leases(storage, layout.lease_prefix(namespace), self.mounts, tokens, parts.now)
        self.settings = Settings()
        self.rates: QuotaTable[RateQuota] = QuotaTable(())
        self.lease_quotas: QuotaTable[LeaseQuota] = QuotaTable(())
        self.lease_counter = LeaseCounter(self, parts.tallies, parts.now)
        self.on_change: list[Callable[[], Any]] = []  # told (awaited) after each reload
        self.stamp: int | None = None  # the store's stamp under which the tables were last found fresh
        self._epoch_key = layout.epoch(namespace)
        self._epoch = -1
        self._forced = 0.0

    async def refresh(self) -> None:
        """Reload tables if another process changed something. One store read when nothing did."""
        stored = await self.storage.get_sealed(self._epoch_key)
        revision = stored.revision if stored is not None else 0
        if revision != self._epoch:
            await self.reload(revision)

    async def reload(self, revision: int | None = None) -> None:
        """Read mounts, policies and settings again."""
        if revision is None:
            stored = await self.storage.get_sealed(self._epoch_key)
            revision = stored.revision if stored is not None else 0
        await self.mounts.load()
        self.policies.forget()
        quotas = self.settings.quotas
        self.settings = await load_settings(self.storage, self.id)
        if self.settings.quotas != quotas:
            self.rates = QuotaTable(self.settings.quotas.rates.values())
            self.lease_quotas = QuotaTable(self.settings.quotas.leases.values())
            self.parts.limited(self.id, bool(self.rates), bool(self.lease_quotas))
        for told in self.on_change:
            await told()
        self._epoch = revision

    async def end_token(self, token_id: str) -> None:
        """Revoke a token: its subtree, their leases and cubbyholes."""
        gone = await self.tokens.revoke(token_id)
        await self.clean_up(gone)

    async def clean_up(self, token_ids: list[str]) -> None:
        """Remove what hung on dead tokens, then the notes about them. Safe to repeat."""
        cubby = self.mounts.entries.get("cubbyhole/")
        for token_id in token_ids:
            await self.leases.revoke_of_token(token_id)
            if cubby is not None:
                await delete_prefix(self.storage, f"{layout.data_prefix(self.id, cubby.uuid)}{token_id}/")
        await self.tokens.forget(token_ids)

    async def revoke_prefix(self, prefix: str, *, force: bool = False) -> int:
        """Revoke every lease whose id starts with ``prefix`` (ends in "/"), tokens among them; how many.

        Raises:
            VaultError: an engine could not undo a lease (not with ``force``).
        """
        done = 0
        while ids := await keys_below(self.storage, self.leases.keys.id + prefix, 50):
            for key in ids:
                lease_id = key[len(self.leases.keys.id) :]
                found = await self.leases.get(lease_id)
                if found is not None and found[0].kind == "token":
                    await self.end_token(found[0].token)
                    await self.leases.forget(lease_id, found[0])
                else:
                    await self.leases.revoke(lease_id, force=force)
                done += 1
        return done

    async def remember_migration(self, name: str, done: dict[str, str], *, keep: int) -> None:
        """Keep how a mount move went, for the ``keep`` latest moves."""
        key = layout.config(self.id, "moves")
        for _ in range(16):
            stored = await self.storage.get(key)
            known: list[Any] = msgspec.json.decode(stored.value) if stored is not None else []
            known = [*known[-keep + 1 :], [name, done]]
            with contextlib.suppress(Conflict):
                await self.storage.commit(
                    [Write(key, msgspec.json.encode(known))], expect={key: stored.revision if stored else 0}
                )
                return

    async def migration(self, name: str) -> dict[str, str] | None:
        """How the move ``name`` went, or None."""
        stored = await self.storage.get(layout.config(self.id, "moves"))
        known: list[Any] = msgspec.json.decode(stored.value) if stored is not None else []
        return next((done for known_name, done in known if known_name == name), None)

    async def tidy(self, *, limit: int = 500) -> int:
        """Finish what was begun and end what has expired. How many things were done; call again while > 0."""
        done = 0
        for token_id in await self.tokens.revoking(limit):
            await self.clean_up(await self.tokens.resume(token_id))
            done += 1
        for entry in list(self.mounts.removing):
            with contextlib.suppress(VaultError):  # a lease that cannot be undone keeps its engine's data
                await self.revoke_prefix(entry.path)
                await self.mounts.finish_removal(entry)
                done += 1
        for lease_id, lease in await self.leases.expired(limit):
            if lease.kind == "token":
                await self.end_token(lease.token)
                await self.leases.forget(lease_id, lease)
            else:
                with contextlib.suppress(VaultError):  # counted and put off; the others must not wait for it
                    await self.leases.revoke(lease_id)
            done += 1
        return done


async def open_namespace(namespace: str, storage: Any, parts: Parts) -> Namespace:
    """A namespace of an unsealed store, loaded."""
    prefix = layout.token_prefix(namespace)
    keys = await token_keys(storage, prefix)
    tokens = Tokens(storage, prefix, layout.lease_prefix(namespace), keys, parts.now)
    space = Namespace(namespace, storage, parts, tokens)
    await space.reload()
    return space
