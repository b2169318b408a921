"""Stored Cedar policies of one namespace, and the set made of them, kept until one of them changes.

The key ``ns/<ns>/cedar-epoch`` moves with every change of one, beside the namespace's epoch: a namespace without
Cedar policies has no such key and is asked for nothing else, and a change of mounts reads no policy again.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from strongroom.core import layout
from strongroom.core.epoch import commit_with_epoch
from strongroom.core.policies import StoredPolicy
from strongroom.errors import BadRequest
from strongroom.sdk.engine import Match
from strongroom.sdk.policy import Asked, Circumstances, Principal, Verdict
from strongroom.sdk.request import Caller, Op
from strongroom.sdk.storage import Storage, Write

_LONG = 8192  # characters of a policy whose check takes milliseconds
_MAX_SHOWN = 20  # failed tests that an error names


class CedarSet(Protocol):
    """All Cedar policies of a namespace."""

    def decide(self, principal: Principal, action: str, path: str, context: Circumstances) -> Verdict: ...


class CedarLanguage(Protocol):
    """What ``strongroom.policy.cedar`` does for the core; given by ``vault.assemble``."""

    def check(self, name: str, text: str) -> None:
        """Raises BadRequest with ``<policy>#<n>`` and line if ``text`` is no policy that fits the schema."""

    def unmet(self, name: str, text: str, tests: str) -> list[str]:
        """The expectations ``tests`` that the policy alone does not meet, a sentence each. Raises BadRequest."""

    def build(self, texts: Mapping[str, str], before: Any) -> CedarSet:
        """The set of stored policies; unreadable ones deny. ``before`` is the set that it replaces, or None."""

    def principal(self, caller: Caller, service: str) -> Principal:
        """Who ``caller`` is; ``service`` is what its entity's metadata say."""

    def asked(self, match: Match, op: Op, path: str) -> Asked | None:
        """What is asked; None where Cedar has no say."""


class CedarStore:
    """Cedar policies by name."""

    def __init__(
        self,
        storage: Any,
        namespace: str,
        language: CedarLanguage,
        offload: Callable[[Callable[[], Any]], Awaitable[Any]],
    ) -> None:
        self._storage: Storage = storage
        self._sealed = storage
        self._ns = namespace
        self.language = language
        self._offload = offload
        self._revision = 0
        self._set: CedarSet | None = None
        self._stale = False

    @property
    def active(self) -> bool:
        """Whether there are any policies."""
        return self._set is not None or self._stale

    async def load(self) -> None:
        """Look whether policies changed; one read where there are none, and they are parsed only when asked."""
        stored = await self._sealed.get_sealed(layout.cedar_epoch(self._ns))
        revision = stored.revision if stored is not None else 0
        if revision != self._revision:
            self._stale = True
            self._revision = revision

    async def policies(self) -> CedarSet | None:
        """The set of all policies, or None when there are none."""
        if self._stale:
            revision = self._revision
            texts = {name: stored.text for name, stored in (await self.all()).items()}
            self._set = self.language.build(texts, self._set) if texts else None
            self._stale = self._revision != revision  # changed again while they were read
        return self._set

    async def all(self) -> dict[str, StoredPolicy]:
        """Every policy by name."""
        found: dict[str, StoredPolicy] = {}
        prefix, after = layout.cedar_prefix(self._ns), ""
        while rows := await self._storage.scan(prefix, after=after, limit=500):
            for name, stored in rows:
                found[name] = msgspec.json.decode(stored.value, type=StoredPolicy)
            after = rows[-1][0]
        return found

    async def get(self, name: str) -> StoredPolicy | None:
        """The policy, or None."""
        stored = await self._storage.get(layout.cedar(self._ns, name))
        return None if stored is None else msgspec.json.decode(stored.value, type=StoredPolicy)

    async def names(self) -> list[str]:
        """All names, sorted."""
        names: list[str] = []
        prefix = layout.cedar_prefix(self._ns)
        while page := await self._storage.list(prefix, after=names[-1] if names else ""):
            names += page
        return names

    async def put(self, name: str, text: str, now: float, *, tests: str | None = None) -> None:
        """Store a policy that fits the schema and meets its tests.

        Args:
            tests: expectations (``policy/cedar/expectations.py``) that replace those stored with the policy, and that
                every later text must meet too; None keeps them.

        Raises:
            BadRequest: it does not fit (``<policy>#<n>`` and the line are named), or an expectation is not met.
        """
        if len(text) > _LONG:  # other requests do not wait for it
            await self._offload(lambda: self.language.check(name, text))
        else:
            self.language.check(name, text)
        stored = await self.get(name)
        if tests is None:
            tests = stored.tests if stored is not None else ""
        if tests and (failed := self.language.unmet(name, text, tests)):
            raise BadRequest("the policy fails its tests, nothing was stored", *failed[:_MAX_SHOWN])
        version = stored.version + 1 if stored is not None else 1
        value = msgspec.json.encode(StoredPolicy(text=text, modified=now, version=version, tests=tests))
        await self._commit(Write(layout.cedar(self._ns, name), value))

    async def delete(self, name: str) -> None:
        """Forget a policy; also one that is not there."""
        await self._commit(Write(layout.cedar(self._ns, name), None))

    async def _commit(self, write: Write) -> None:
        await commit_with_epoch(self._storage, self._ns, [write, Write(layout.cedar_epoch(self._ns), b"1")])
