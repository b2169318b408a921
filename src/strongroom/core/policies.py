"""Stored policies of one namespace, the ACLs made of them, and the step that asks them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from strongroom.core import layout
from strongroom.core.epoch import commit_with_epoch
from strongroom.errors import BadRequest, PermissionDenied
from strongroom.sdk.engine import Call
from strongroom.sdk.kept import Kept
from strongroom.sdk.policy import Decision, Question
from strongroom.sdk.request import ROOT_NAMESPACE, Caller, Op, Request, Response
from strongroom.sdk.storage import Storage, Write

_MAX_ACLS = 4096
_MAX_GRANTED = 4096
_BUILT_IN = "response-wrapping"
_MAX_SHOWN = 20  # failed tests that an error names


class Acl(Protocol):
    """The compiled policies of one caller."""

    def decide(self, question: Question) -> Decision: ...

    def capabilities(self, path: str) -> list[str]: ...

    def may_any(self, prefix: str) -> bool: ...

    def resultant(self) -> dict[str, Any]: ...


class PolicyLanguage(Protocol):
    """How policy text becomes an Acl; ``strongroom.policy`` is given by ``vault.assemble``."""

    default_policy: str
    response_wrapping_policy: str
    cedar: Any  # a CedarLanguage, see core/cedar_policies.py

    def parse(self, name: str, text: str) -> Any:
        """A parsed policy. Raises BadRequest with line and column."""

    def parse_stored(self, name: str, text: str) -> Any:
        """A policy that was accepted once; unreadable text gives one that denies everything."""

    def plain(self, text: str, what: str) -> Mapping[str, Any]:
        """HCL or JSON as scalars and, for blocks, lists of maps. Raises BadRequest that begins with ``what``."""

    def compile(self, policies: Sequence[Any], identity: Mapping[str, Any], below: str = "") -> Acl:
        """One Acl of parsed policies, templates filled in from ``identity``; for the namespace at ``below``."""

    def explain(self, policies: Sequence[Any], identity: Mapping[str, Any], question: Question) -> dict[str, Any]:
        """How parsed policies decide: rule, places, and the least that would allow it (``policy/explain.py``)."""

    def check(self, policy: Any, tests: str) -> list[str]:
        """The expectations ``tests`` that ``policy`` alone does not meet, a sentence each. Raises BadRequest."""

    def lint(self, policy: Any, mounts: Mapping[str, str]) -> list[dict[str, Any]]:
        """Warnings about ``policy``."""


async def _nobody(entity_id: str) -> Mapping[str, Any]:
    return {}


class StoredPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    text: str
    modified: float = 0.0
    version: int = 1
    tests: str = ""  # expectations that every later text must meet too


class PolicyStore:
    """Policies by name. Parsed policies and ACLs are kept until ``forget`` (the epoch moved)."""

    def __init__(self, storage: Any, namespace: str, language: PolicyLanguage, path: str = "") -> None:
        self._storage: Storage = storage
        self._ns = namespace
        self.path = path  # of the namespace: "ns1/ns2/"
        self._language = language
        # What templates may name of an entity, by its id; the namespace puts its identity here.
        self.identity: Callable[[str], Awaitable[Mapping[str, Any]]] = _nobody
        self._age = 0
        self._parsed: dict[str, Any] = {}
        self._acls: dict[tuple[tuple[str, ...], str, str], Acl] = {}
        # Requests that their path alone decides, and what was decided: as long as nothing changed.
        self.granted: Kept[tuple[Acl, Op, str], Mapping[str, Any]] = Kept(_MAX_GRANTED)
        self.cedar: Any = None  # the namespace's CedarGate, while there are Cedar policies

    def forget(self) -> None:
        """Drop what was parsed: something changed."""
        self._age += 1
        self._parsed.clear()
        self._acls.clear()
        self.granted.clear()
        if self.cedar is not None:
            self.cedar.forget()

    async def acl(self, caller: Caller, below: str = "") -> Acl:
        """The ACL of all policies of ``caller``. A policy that does not exist grants nothing.

        Args:
            caller: of this namespace.
            below: the path of another namespace from this one ("ns2/"): what the policies say of that one.
        """
        key = (caller.policies, caller.entity_id, below)
        acl = self._acls.get(key)
        if acl is None:
            age = self._age
            acl = await self._build(caller, below)
            if age == self._age:  # else something changed while it was made
                if len(self._acls) >= _MAX_ACLS:
                    self._acls.clear()
                self._acls[key] = acl
        return acl

    async def _build(self, caller: Caller, below: str) -> Acl:
        found, identity = await self._of(caller)
        if caller.entity_id and not identity:  # nothing depends on who it is: all with these policies share one
            return await self.acl(msgspec.structs.replace(caller, entity_id=""), below)
        return self._language.compile(found, identity, below) if below else self._language.compile(found, identity)

    async def _of(self, caller: Caller) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """The caller's policies, and what their templates are filled in from ({} if they have none)."""
        found = [policy for name in caller.policies if (policy := await self.parsed(name)) is not None]
        if caller.entity_id and any(policy.templated for policy in found):
            return found, await self.identity(caller.entity_id)
        return found, {}

    async def explain(self, caller: Caller, question: Question) -> dict[str, Any]:
        """How the caller's ACL policies decide (``PolicyLanguage.explain``)."""
        return self._language.explain(*await self._of(caller), question)

    def explain_one(self, policy: Any, question: Question) -> dict[str, Any]:
        """How one parsed policy alone decides."""
        return self._language.explain([policy], {}, question)

    def lint(self, policy: Any, mounts: Mapping[str, str]) -> list[dict[str, Any]]:
        """Warnings about a parsed policy."""
        return self._language.lint(policy, mounts)

    def parse(self, name: str, text: str) -> Any:
        """A policy that is not stored. Raises BadRequest."""
        return self._language.parse(name, text)

    async def parsed(self, name: str) -> Any:
        """The parsed policy, or None if there is none of that name."""
        if name in self._parsed:
            return self._parsed[name]
        stored = await self.get(name)
        policy = None if stored is None else self._language.parse_stored(name, stored.text)
        if policy is not None:
            self._parsed[name] = policy
        return policy

    async def get(self, name: str) -> StoredPolicy | None:
        """The policy's text, or None."""
        if name == _BUILT_IN:
            return StoredPolicy(text=self._language.response_wrapping_policy)
        stored = await self._storage.get(layout.policy(self._ns, name))
        return None if stored is None else msgspec.json.decode(stored.value, type=StoredPolicy)

    async def names(self) -> list[str]:
        """All names, sorted; ``root`` and ``default`` among them."""
        names: list[str] = []
        prefix = layout.policy_prefix(self._ns)
        while page := await self._storage.list(prefix, after=names[-1] if names else ""):
            names += page
        return sorted({*names, "root"})

    async def put(self, name: str, text: str, now: float, *, tests: str | None = None) -> None:
        """Store a policy that parses and meets its tests.

        Args:
            tests: expectations (``policy/expectations.py``) that replace those stored with the policy; None keeps them.

        Raises:
            BadRequest: the name is reserved, the text is not a policy (the message says where), or it fails a test.
        """
        if name == "root" or name == _BUILT_IN:
            raise BadRequest(f'cannot update "{name}" policy')
        policy = self._language.parse(name, text)
        if tests is None:
            stored = await self.get(name)
            tests = stored.tests if stored is not None else ""
        if tests and (failed := self._language.check(policy, tests)):
            raise BadRequest("the policy fails its tests, nothing was stored", *failed[:_MAX_SHOWN])
        await self._commit(Write(layout.policy(self._ns, name), _encode(text, now, tests)))

    async def delete(self, name: str) -> None:
        """Forget a policy. Raises BadRequest for the reserved ones."""
        if name == "default":
            raise BadRequest("cannot delete default policy")
        if name == "root" or name == _BUILT_IN:
            raise BadRequest(f'cannot delete "{name}" policy')
        await self._commit(Write(layout.policy(self._ns, name), None))

    async def _commit(self, write: Write) -> None:
        await commit_with_epoch(self._storage, self._ns, [write])
        self.forget()


def _encode(text: str, now: float, tests: str = "") -> bytes:
    return msgspec.json.encode(StoredPolicy(text=text, modified=now, tests=tests))


def default_policies(namespace: str, now: float, text: str) -> list[Write]:
    """What a new namespace starts with."""
    return [Write(layout.policy(namespace, "default"), _encode(text, now))]


class Policies:
    """The step that asks every authorizer. ``store`` gives the namespace's policies."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def pre_route(self, call: Call) -> Response | None:
        route = call.match.route
        caller = call.caller
        if route.login or call.request.op is Op.HELP:
            return None
        if caller is None:
            raise PermissionDenied
        request = call.request
        store = self._store(caller.namespace)
        cedar = store.cedar if caller.namespace == request.namespace else self._store(request.namespace).cedar
        if caller.root:
            results = granted(("root",), caller.namespace)
            call.policy_results = results if cedar is None else cedar.exempt(results)
            return None
        if cedar is not None:
            await cedar.authorize(call, caller, store, below(store, request, caller))
            return None
        acl: Acl = await store.acl(caller, below(store, request, caller))
        plain = not (request.data or request.wrap_ttl or call.facts or route.sudo)
        if plain and (known := store.granted.get((acl, request.op, request.path))) is not None:
            call.policy_results = known
            return None
        decision: Decision = acl.decide(
            Question(
                caller=caller,
                op=request.op,
                path=request.path,
                data=request.data,
                wrap_ttl=request.wrap_ttl,
                sudo=route.sudo,
                facts=call.facts,
            )
        )
        if not decision.allowed:
            call.policy_results = {"allowed": False, "reason": decision.reason, "rule": decision.rule}
            raise PermissionDenied(by_policy=True)
        call.policy_results = results = granted(decision.granting, caller.namespace)
        if plain:
            store.granted.put((acl, request.op, request.path), results)
        return None


@lru_cache(maxsize=4096)
def granted(names: tuple[str, ...], namespace: str = ROOT_NAMESPACE) -> Mapping[str, Any]:
    """What an audit record says of a call that the policies ``names`` allow. Shared: not to be changed."""
    return {"allowed": True, "granting_policies": [granting(name, namespace) for name in names]}


def granting(name: str, namespace: str = ROOT_NAMESPACE) -> dict[str, str]:
    """A granting policy as the audit record shows it; ``namespace`` is the id of the one it lives in."""
    return {"name": name, "namespace_id": namespace, "type": "acl"}


def below(store: PolicyStore, request: Request, caller: Caller) -> str:
    """The path from the namespace of ``caller``, whose policies are in ``store``, to that of ``request``; "" = same."""
    if caller.namespace == request.namespace:
        return ""
    return request.namespace_path.removeprefix(store.path)
