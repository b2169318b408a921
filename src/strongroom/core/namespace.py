"""One namespace at work: its tokens, mounts, policies, leases and settings, kept fresh by its epoch."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from strongroom.core import layout
from strongroom.core.cedar_gate import CedarGate
from strongroom.core.denials import Denials
from strongroom.core.ending import Ending
from strongroom.core.expiry import Expiry
from strongroom.core.identity import Identity
from strongroom.core.leader import Fenced, Leader
from strongroom.core.lease_count import LeaseCounter
from strongroom.core.lease_tallies import Tallies
from strongroom.core.leases import Leases
from strongroom.core.mounts import Kinds, MountLimits, MountTable
from strongroom.core.password_policy import read
from strongroom.core.policies import PolicyLanguage, PolicyStore
from strongroom.core.quota_entry import LeaseQuota, QuotaTable, RateQuota
from strongroom.core.settings import Settings, load_settings
from strongroom.core.tokens import Tokens, token_keys
from strongroom.errors import BadRequest, Conflict
from strongroom.sdk.databases import Databases, NoDatabases
from strongroom.sdk.outside import Fetch, nowhere
from strongroom.sdk.storage import Write


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a namespace is; kept under ``core/namespace/<id>`` and never changed."""

    path: str  # "ns1/ns2/"
    ancestors: tuple[str, ...]  # ids from the root namespace down to its parent


_REMOVALS = 500  # steps of identity's removals at a time


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What every namespace is built with."""

    kinds: Kinds
    limits: MountLimits
    language: PolicyLanguage
    mac_key: bytes
    now: Callable[[], float]
    offload: Callable[[Callable[[], Any]], Any]
    leader: Leader
    tallies: Tallies  # of lease-count quotas
    databases: Databases = NoDatabases()
    fetch: Fetch = nowhere
    limited: Callable[[str, bool, bool], None] = lambda *_: None  # told whether a namespace has rates, and lease counts

    def __repr__(self) -> str:
        return "Parts()"


Reach = Callable[[str], Awaitable["Namespace | None"]]  # id -> that namespace, open; None if there is none


async def _nowhere(namespace: str) -> "Namespace | None":
    return None


class Namespace:
    """See the module. ``storage`` is the barrier."""

    def __init__(
        self, namespace: str, storage: Any, parts: Parts, tokens: Tokens, place: Place | None = None, revision: int = 0
    ) -> None:
        self.id = namespace
        self.path = place.path if place is not None else ""  # "ns1/ns2/"; "" for the root namespace
        self.ancestors = place.ancestors if place is not None else ()  # ids, the root namespace's first
        self.reach: Reach = _nowhere
        self.has_children = False
        self.storage = storage
        self.parts = parts
        self.tokens = tokens
        self.mounts = MountTable(
            storage,
            namespace,
            parts.kinds,
            parts.limits,
            parts.mac_key,
            now=parts.now,
            offload=parts.offload,
            fetch=parts.fetch,
            databases=parts.databases,
            password=self.password,
        )
        if place is not None:
            self.mounts.ground = tokens.ground = {layout.place(namespace): revision}
        self.policies = PolicyStore(storage, namespace, parts.language, self.path)
        self.cedar = CedarGate(self, parts.language.cedar)
        self.leases = Leases(storage, layout.lease_prefix(namespace), self.mounts, tokens, parts.now)
        self.denials = Denials(tokens.derived_key(b"denial"), parts.now)
        self.identity = Identity(
            storage, namespace, hash_text=tokens.hash, mount_of=self.mounts.by_accessor, now=parts.now
        )
        self.mounts.before_end = self.identity.removal.mount
        self.policies.identity = self.identity.template
        self.ending = Ending(self, storage, tokens, self.leases, side="ending")
        fenced = Fenced(storage, parts.leader)  # what the leader writes
        self.bound = Ending(self, fenced, tokens.over(fenced), self.leases.over(fenced), side="bound")
        self.expiry = Expiry(self, fenced)
        self.settings = Settings()
        self.rates: QuotaTable[RateQuota] = QuotaTable(())
        self.lease_quotas: QuotaTable[LeaseQuota] = QuotaTable(())
        self.lease_counter = LeaseCounter(self, parts.tallies, parts.now)
        # Told (awaited) after each reload, in this order: Cedar asks who a caller is.
        self.on_change: list[Callable[[], Any]] = [self.identity.forget, self.cedar.load]
        self.stamp: int | None = None  # the store's stamp under which the tables were last found fresh
        self._epoch_key = layout.epoch(namespace)
        self._epoch = -1
        self._forced = 0.0

    def serves(self, path: str) -> bool:
        """Whether a mount of this namespace serves ``path``."""
        return self.mounts.router.mount_of(path) is not None

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
        self.has_children = bool(await self.storage.list(layout.child_prefix(self.id), limit=1))
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

    async def password(self, policy: str) -> str:
        """A password by the password policy of that name. Raises BadRequest if there is none."""
        stored = await self.storage.get(layout.config(self.id, f"password-policy/{policy}"))
        if stored is None:
            raise BadRequest("password policy not found")
        return read(self.parts.language.plain(stored.value.decode(), "password policy")).generate()

    async def end_token(self, token_id: str) -> None:
        """Revoke a token: its subtree, their leases and cubbyholes."""
        await self.ending.end_tokens([token_id])

    async def abroad(self, token_id: str) -> list[tuple[str, "Namespace | None"]]:
        """The namespaces below in which children or leases hang on a token of this one; None where one is gone."""
        found = []
        after = ""
        while names := await self.storage.list(layout.abroad(self.id, token_id), after=after):
            found += [(name, await self.reach(name)) for name in names]
            after = names[-1]
        return found

    async def orphan_children(self, token_id: str) -> None:
        """Cut the children of a token loose, wherever they are."""
        await self.tokens.orphan_children(token_id)
        for _, space in await self.abroad(token_id):
            if space is not None:
                await space.tokens.orphan_children(token_id)

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

    async def tidy(self) -> int:
        """Finish removals that were begun in this namespace; how many things were done."""
        return await self.identity.removal.tidy(_REMOVALS) + await self.ending.remove_mounts()


async def open_namespace(
    namespace: str, storage: Any, parts: Parts, place: Place | None = None, revision: int = 0
) -> Namespace:
    """A namespace of an unsealed store, loaded. ``place``, stored at ``revision``, is None for the root namespace.

    Raises:
        NotFound: there is none with that id.
    """
    prefix = layout.token_prefix(namespace)
    keys = await token_keys(storage, prefix)
    tokens = Tokens(storage, prefix, layout.lease_prefix(namespace), keys, parts.now, namespace)
    space = Namespace(namespace, storage, parts, tokens, place, revision)
    await space.reload()
    return space
