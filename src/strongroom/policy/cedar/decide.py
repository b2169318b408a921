"""The decision: the statements that can apply go to Cedar's engine, and what it says is put in the house's words."""

import datetime
import functools
import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

import cedarpy
import msgspec

from strongroom.errors import BadRequest
from strongroom.policy.cedar.entities import SECRET, entities_of
from strongroom.policy.cedar.index import Index
from strongroom.policy.cedar.policy import Statement, read
from strongroom.policy.cedar.schema import WITH_TTL
from strongroom.sdk.policy import Circumstances, Principal, Verdict

_KEPT = 4096  # cases and policy sets that are remembered
_LOCAL = "127.0.0.1"  # of callers without an address: inside the process, or by a socket of this host
_NOTHING = Verdict(lasting=True)


class CedarSet:
    """All Cedar policies of a namespace at one moment. Policies, entities and schema are parsed once and kept."""

    def __init__(self, statements: Iterable[Statement], broken: Mapping[str, str] = {}) -> None:
        """
        Args:
            statements: of all policies.
            broken: name -> why a stored policy cannot be read; one that cannot may have been one that forbids.
        """
        self.index = Index(statements)
        self.read: dict[str, tuple[str, tuple[Statement, ...]]] = {}  # name -> text and statements; see ``build``
        self._sets: dict[tuple[int, ...], cedarpy.PolicySet] = {}
        self._cases: dict[tuple[Principal, str, str], _Case] = {}
        self._refused = None
        if broken:
            errors = tuple(f"{name}: {why}" for name, why in sorted(broken.items()))
            self._refused = Verdict(effect="forbid", policies=tuple(sorted(broken)), errors=errors, lasting=True)

    def decide(self, principal: Principal, action: str, path: str, context: Circumstances) -> Verdict:
        """May ``principal`` do ``action`` on the secret ``path``? Never raises; whatever fails is an error of it."""
        if self._refused is not None:
            return self._refused
        case = self._cases.get((principal, action, path))
        if case is None:
            if len(self._cases) >= _KEPT:
                self._cases.clear()
            case = self._cases[principal, action, path] = self._case(principal, action, path)
        if not case.statements:
            return _NOTHING
        request = {
            "principal": {"type": principal.kind, "id": principal.name},
            "action": {"type": "Action", "id": action},
            "resource": {"type": SECRET, "id": path},
            "context": _context(context, action),
        }
        try:
            return _verdict(cedarpy.is_authorized(request, case.policies, case.entities), case)
        except (ValueError, KeyError, OverflowError) as failed:
            return Verdict(effect="forbid", errors=(f"request: {failed}",))

    def _case(self, principal: Principal, action: str, path: str) -> "_Case":
        numbers = self.index.find(principal, action, path)
        statements = tuple(self.index.statements[number] for number in numbers)
        if not statements:
            return _NO_CASE
        policies = self._sets.get(numbers)
        if policies is None:
            if len(self._sets) >= _KEPT:
                self._sets.clear()
            text = "\n".join(statement.text for statement in statements)
            policies = self._sets[numbers] = cedarpy.PolicySet.from_str(text)
        lasting = all(statement.lasting for statement in statements)
        return _Case(statements, policies, entities_of(principal, path), lasting)


class _Case(msgspec.Struct, frozen=True):
    """Who asks for what: the statements that can apply and what the engine needs, parsed."""

    statements: tuple[Statement, ...]
    policies: Any
    entities: Any
    lasting: bool


_NO_CASE = _Case((), None, None, True)


def build(texts: Mapping[str, str], before: CedarSet | None = None) -> CedarSet:
    """The set of stored policies. One that cannot be read denies everything that Cedar governs.

    Args:
        texts: name -> Cedar.
        before: the set that this one replaces; a text that it has is not parsed again.
    """
    known = before.read if before is not None else {}
    done: dict[str, tuple[str, tuple[Statement, ...]]] = {}
    broken: dict[str, str] = {}
    for name, text in sorted(texts.items()):
        old = known.get(name)
        try:
            done[name] = old if old is not None and old[0] == text else (text, read(name, text))
        except BadRequest as error:
            broken[name] = str(error)
    made = CedarSet([statement for _, statements in done.values() for statement in statements], broken)
    made.read = done
    return made


def _context(context: Circumstances, action: str) -> str:
    """The context as Cedar's JSON; the forms of its extension types are its own."""
    when = datetime.datetime.fromtimestamp(context.now, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    values: dict[str, Any] = {
        "now": _typed("datetime", when + "Z"),
        "ip": _typed("ip", _address(context.ip)),
        "namespace": context.namespace,
        "mfa": context.mfa,
        "auth_method": context.auth_method,
        "operation": context.operation,
    }
    if action in WITH_TTL and context.ttl is not None:
        values["ttl"] = _typed("duration", f"{int(context.ttl)}s")
    return msgspec.json.encode(values).decode()


def _typed(function: str, text: str) -> dict[str, dict[str, str]]:
    return {"__extn": {"fn": function, "arg": text}}


@functools.lru_cache(maxsize=4096)
def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return _LOCAL


def _verdict(answer: cedarpy.AuthzResult, case: _Case) -> Verdict:
    statements, diagnostics = case.statements, answer.diagnostics
    allowed = answer.decision is cedarpy.Decision.Allow
    deciding = tuple(dict.fromkeys(statements[int(reason.removeprefix("policy"))].id for reason in diagnostics.reasons))
    failed = [_failure(text, statements) for text in diagnostics.errors]
    if answer.decision is cedarpy.Decision.NoDecision and not failed:
        failed = [("", "request: no decision")]
    if failed:  # the engine leaves out what fails; here it denies, beside what forbids
        forbidding = () if allowed else deciding
        policies = tuple(dict.fromkeys([*forbidding, *(name for name, _ in failed if name)]))
        errors = tuple(f"{name}: {why}" if name else why for name, why in failed)
        return Verdict(effect="forbid", policies=policies, errors=errors, lasting=case.lasting)
    effect = "permit" if allowed else "forbid" if deciding else "none"
    return Verdict(effect=effect, policies=deciding, lasting=case.lasting)


def _failure(text: str, statements: tuple[Statement, ...]) -> tuple[str, str]:
    """``error while evaluating policy `policy3`: why`` -> (id, why); the id is "" if no policy is named."""
    found = re.fullmatch(r"error while evaluating policy `policy(\d+)`: (.*)", text, re.DOTALL)
    return ("", text) if found is None else (statements[int(found[1])].id, found[2])
