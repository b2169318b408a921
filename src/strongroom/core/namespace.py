"""One namespace at work: its tokens, mounts, policies, leases and settings, kept fresh by its epoch."""

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from strongroom.core import layout
from strongroom.core.ending import Ending
from strongroom.core.expiry import Expiry
from strongroom.core.leader import Leader
from strongroom.core.leases import Leases
from strongroom.core.mounts import Kinds, MountLimits, MountTable
from strongroom.core.password_policy import read
from strongroom.core.policies import PolicyLanguage, PolicyStore
from strongroom.core.settings import Settings, load_settings
from strongroom.core.tokens import Tokens, token_keys
from strongroom.errors import BadRequest, Conflict
from strongroom.sdk.databases import Databases, NoDatabases
from strongroom.sdk.storage import Write


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What every namespace is built with."""

    kinds: Kinds
    limits: MountLimits
    language: PolicyLanguage
    mac_key: bytes
    now: Callable[[], float]
    offload: Callable[[Callable[[], Any]], Any]
    leader: Leader
    databases: Databases = NoDatabases()

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
            storage,
            namespace,
            parts.kinds,
            parts.limits,
            parts.mac_key,
            now=parts.now,
            offload=parts.offload,
            databases=parts.databases,
            password=self.password,
        )
        self.policies = PolicyStore(storage, namespace, parts.language)
        self.leases = Leases(storage, layout.lease_prefix(namespace), self.mounts, tokens, parts.now)
        self.ending = Ending(namespace, storage, self.mounts, tokens, self.leases)
        self.expiry = Expiry(namespace, storage, parts.leader, self.mounts, tokens, self.leases, parts.now)
        self.settings = Settings()
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
        self.settings = await load_settings(self.storage, self.id)
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


async def open_namespace(namespace: str, storage: Any, parts: Parts) -> Namespace:
    """A namespace of an unsealed store, loaded."""
    prefix = layout.token_prefix(namespace)
    keys = await token_keys(storage, prefix)
    tokens = Tokens(storage, prefix, layout.lease_prefix(namespace), keys, parts.now)
    space = Namespace(namespace, storage, parts, tokens)
    await space.reload()
    return space
