"""Where ACL and Cedar policies meet: one decision of both, for the audit record and the caller.

A no from either wins: an ACL rule that denies, a ``forbid``, a policy that fails. Else the namespace's mode says
whether one yes is enough (``either``) or both must say it (``both``). Where Cedar has no say, ACL policies decide.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from strongroom.core.cedar_policies import CedarLanguage, CedarStore
from strongroom.core.policies import PolicyStore, granting
from strongroom.core.ttl import bounded_ttl
from strongroom.errors import PermissionDenied
from strongroom.sdk.engine import Call, Match
from strongroom.sdk.policy import Asked, Circumstances, Decision, Principal, Question, Verdict
from strongroom.sdk.request import Caller, Op

_KEPT = 4096  # callers and decisions that are remembered
_WITH_TTL = frozenset({"generate", "renew"})
_EXEMPT: Mapping[str, Any] = {"decision": "exempt", "policy_id": "", "policies": []}


class _Who:
    """A caller and who that is to Cedar. Two of them are the same only if they are one object."""

    __slots__ = ("caller", "principal")

    def __init__(self, caller: Caller, principal: Principal) -> None:
        self.caller, self.principal = caller, principal


class CedarGate:
    """The Cedar policies of one namespace, as the walk of a request and the routes use them."""

    def __init__(self, space: Any, language: CedarLanguage) -> None:
        self._space = space  # a Namespace
        self.store = CedarStore(space.storage, space.id, language, space.parts.offload)
        self._generation = 0  # of what is remembered
        self._callers: dict[str, _Who] = {}
        self._decided: dict[tuple[_Who, Op, str], Mapping[str, Any]] = {}  # what came of both, for plain requests
        self._verdicts: dict[tuple[_Who, Op, str], Verdict] = {}  # what Cedar says, whatever fields are sent

    async def load(self) -> None:
        """The epoch has moved: look for changed policies, and forget what was decided."""
        await self.store.load()
        self.forget()
        self._space.policies.cedar = self if self.store.active else None

    def forget(self) -> None:
        """Forget what was decided; policies that stand as they were stay parsed."""
        self._generation += 1
        self._callers.clear()
        self._decided.clear()
        self._verdicts.clear()

    def exempt(self, results: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the audit record says of a root token, where Cedar policies would have a say about others."""
        return {**results, "cedar": _EXEMPT}

    async def authorize(self, call: Call, caller: Caller, acls: PolicyStore, below: str = "") -> None:
        """Let ``call`` pass or refuse it, and note why.

        Raises:
            PermissionDenied: ACL and Cedar policies do not allow it together.
        """
        request, route = call.request, call.match.route
        here = caller.namespace == self._space.id  # else the caller's policies change under another epoch
        plain = here and not (request.data or request.wrap_ttl or call.facts or route.sudo)
        known = self._callers.get(caller.accessor)
        who = known if known is not None and known.caller is caller else await self._who(caller, acls.path)
        if plain and (results := self._decided.get((who, request.op, request.path))) is not None:
            call.policy_results = results
            return
        acl = await acls.acl(caller, below)
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
        verdict = await self._verdict(call, who)
        results = _results(decision, verdict, allowed=self._together(decision, verdict))
        call.policy_results = results
        if not results["allowed"]:
            raise PermissionDenied(by_policy=True)
        if plain and (verdict is None or verdict.lasting):
            if len(self._decided) >= _KEPT:
                self._decided.clear()
            self._decided[who, request.op, request.path] = results

    def _together(self, decision: Decision, verdict: Verdict | None) -> bool:
        if verdict is None:
            return decision.allowed
        if verdict.effect == "forbid" or decision.denied:
            return False
        permits = verdict.effect == "permit"
        if self._space.settings.authorization.mode == "both":
            return decision.allowed and permits
        return decision.allowed or permits

    async def _who(self, caller: Caller, home: str) -> _Who:
        """Who ``caller``, whose namespace is at ``home``, is to Cedar; looked up once for each token, until something
        changes."""
        service, generation, shown = "", self._generation, caller
        if caller.namespace != self._space.id:
            shown = _stranger(caller, home)
        elif (view := await self._space.identity.view(caller.entity_id)) is not None:
            service = view.metadata.get("service", "")
            shown = self._origin(caller, view)
        who = _Who(caller, self.store.language.principal(shown, service))
        if generation == self._generation:  # else it may be what it was before a change
            if len(self._callers) >= _KEPT:
                self.forget()
            self._callers[caller.accessor] = who
        return who

    def _origin(self, caller: Caller, view: Any) -> Caller:
        """A token that a token made is who its maker is: else a service sheds a ``forbid`` by making a token.

        What its maker logged in by is the only alias of the entity, and what is known of it is what the auth method
        wrote there, not the metadata that the maker chose.
        """
        if caller.auth_type != "token" or len(view.aliases) != 1:
            return caller
        accessor, _, metadata = view.aliases[0]
        mount = self._space.mounts.by_accessor(accessor)
        if mount is None:
            return caller
        return msgspec.structs.replace(caller, auth_type=mount.type, auth_path=mount.path, metadata=metadata)

    async def explain(
        self, caller: Caller, match: Match, op: Op, path: str, decision: Decision
    ) -> dict[str, Any] | None:
        """What Cedar says of ``op`` on ``path``, and what comes of it with the ACL's ``decision``; None: it has no say.

        The address is not known and the TTL is taken to be the most that the mount allows.
        """
        asked, policies = self.store.language.asked(match, op, path), await self.store.policies()
        if asked is None or asked.of_lease or policies is None:
            return None
        who = await self._who(caller, self._space.path)
        mounts = self._space.mounts
        ttl = int(mounts.ttls(mounts.at(match.mount_path))[1]) if asked.action in _WITH_TTL else None
        verdict = policies.decide(who.principal, asked.action, asked.path, self._circumstances("", op, caller, ttl))
        allowed = self._together(decision, verdict)
        principal = f'{who.principal.kind}::"{who.principal.name}"'
        smallest = ""
        if not allowed and verdict.effect == "none":
            action, resource = f'Action::"{asked.action}"', f'Secret::"{asked.path}"'
            smallest = f"permit(principal == {principal}, action == {action}, resource == {resource});"
        return {
            "allowed": allowed,
            "decided_by": "cedar" if verdict.effect == "forbid" or (allowed and not decision.allowed) else "acl",
            "mode": self._space.settings.authorization.mode,
            "decision": verdict.effect,
            "deciding": list(verdict.policies),
            "errors": list(verdict.errors),
            "principal": principal,
            "action": asked.action,
            "resource": asked.path,
            "smallest_policy": smallest,
        }

    async def speaking(self, match: Match, op: Op, path: str) -> dict[str, Any]:
        """The action and resource that ``op`` on ``path`` is to Cedar, whose policies count beside what ACLs grant."""
        asked = self.store.language.asked(match, op, path)
        if asked is None:
            return {}
        return {"action": asked.action, "resource": asked.path, "mode": self._space.settings.authorization.mode}

    async def _verdict(self, call: Call, who: _Who) -> Verdict | None:
        """What Cedar says of ``call``; None where it has no say."""
        request = call.request
        key = who, request.op, request.path
        if (known := self._verdicts.get(key)) is not None:
            return known
        asked = self.store.language.asked(call.match, request.op, request.path)
        if asked is None:
            return None
        policies = await self.store.policies()
        if policies is None:
            self._space.policies.cedar = None  # the last one was deleted
            return None
        ttl: int | None = None
        if asked.of_lease:
            found = await self._lease(call, asked.action)
            if found is None:
                return None
            asked, ttl = found
        elif asked.action in _WITH_TTL:
            ttl = self._ttl(call)
        verdict = policies.decide(who.principal, asked.action, asked.path, self._about(call, who.caller, ttl))
        if ttl is not None:
            return msgspec.structs.replace(verdict, lasting=False)
        if verdict.lasting:
            if len(self._verdicts) >= _KEPT:
                self._verdicts.clear()
            self._verdicts[key] = verdict
        return verdict

    def _about(self, call: Call, caller: Caller, ttl: int | None) -> Circumstances:
        return self._circumstances(call.request.remote, call.request.op, caller, ttl)

    def _circumstances(self, remote: str, op: Op, caller: Caller, ttl: int | None) -> Circumstances:
        return Circumstances(
            now=self._space.parts.now(),
            ip=remote,
            namespace=getattr(self._space, "path", "").strip("/") or "root",
            operation=op.value,
            auth_method=caller.auth_type or "token",
            mfa=bool(caller.mfa),
            ttl=ttl,
        )

    def _ttl(self, call: Call) -> int:
        """Seconds that a lease of this answer would live.

        A route tells by its facts ``ttl`` and ``max_ttl`` what it will wish for. One that does not may wish for
        anything, and is taken to wish for the most that its mount allows.
        """
        mounts = self._space.mounts
        default_ttl, max_ttl = mounts.ttls(mounts.at(call.match.mount_path))
        if "ttl" not in call.facts:
            return int(max_ttl)
        longest = min(int(call.facts.get("max_ttl") or max_ttl), max_ttl)
        return bounded_ttl(asked=int(call.facts["ttl"]), default=default_ttl, maximum=longest)[0]

    async def _lease(self, call: Call, action: str) -> tuple[Asked, int | None] | None:
        """What is asked of the lease that the request names, and the TTL that it would get; None for a token's."""
        args = call.args
        lease_id = str(getattr(args, "lease_id", "") or getattr(args, "url_lease_id", ""))
        found = await self._space.leases.get(lease_id)
        if found is None or found[0].kind == "token":
            return None
        entry, path = found[0], lease_id.rpartition("/")[0]
        match, path = self._space.mounts.router.match(Op.READ, path)
        asked = self.store.language.asked(match, Op.READ, path)
        now = self._space.parts.now()
        ttl, _ = bounded_ttl(
            asked=int(getattr(args, "increment", 0)),
            default=entry.ttl,
            maximum=entry.max_ttl or self._space.parts.limits.max_lease_ttl,
            age=now - entry.issued,
        )
        # A TTL is never left out, or a decision of a revocation would be kept although the lease may be gone.
        return Asked(action, asked.path if asked is not None else path), max(ttl, 0)


def _results(decision: Decision, verdict: Verdict | None, *, allowed: bool) -> dict[str, Any]:
    """What the audit record says of a decision: the deciding policies, a ``forbid`` before all, and what failed."""
    results: dict[str, Any] = {"allowed": allowed}
    permits: tuple[str, ...] = ()
    if verdict is not None and verdict.effect == "permit":
        permits = verdict.policies
    if allowed:
        names = [granting(name) for name in decision.granting]
        results["granting_policies"] = [*names, *({**granting(name), "type": "cedar"} for name in permits)]
    else:
        results |= {"reason": _reason(decision, verdict), "rule": decision.rule}
    if verdict is not None:
        results["cedar"] = {"decision": verdict.effect, "policy_id": "", "policies": list(verdict.policies)}
        if verdict.policies:
            results["cedar"]["policy_id"] = verdict.policies[0]
        if verdict.errors:
            results["cedar"]["errors"] = list(verdict.errors)
    return results


def _reason(decision: Decision, verdict: Verdict | None) -> str:
    if verdict is not None and verdict.errors:
        return "a Cedar policy failed"
    if verdict is not None and verdict.effect == "forbid":
        return "forbidden by a Cedar policy"
    return "no Cedar policy permits it" if decision.allowed else decision.reason


def _stranger(caller: Caller, home: str) -> Caller:
    """A caller of another namespace under names that nobody here can have: ``/ns1/ann`` is not ``ann``."""
    return msgspec.structs.replace(
        caller,
        entity_name=f"/{home}{caller.entity_name}" if caller.entity_name else "",
        groups=tuple(f"/{home}{group}" for group in caller.groups),
        auth_type="",
        auth_path="",
    )
