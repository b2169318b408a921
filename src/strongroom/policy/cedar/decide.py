"""The decision: the statements that can apply go to Cedar's engine, and what it says is put in the house's words."""

import datetime
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

_KEPT = 4096  # parsed entities and policy sets that are remembered
_POLICY = re.compile(r"policy(\d+)")
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
        self._entities: dict[tuple[Principal, str], cedarpy.Entities] = {}
        self._refused = None
        if broken:
            errors = tuple(f"{name}: {why}" for name, why in sorted(broken.items()))
            self._refused = Verdict(effect="forbid", policies=tuple(sorted(broken)), errors=errors, lasting=True)

    def decide(self, principal: Principal, action: str, path: str, context: Circumstances) -> Verdict:
        """May ``principal`` do ``action`` on the secret ``path``? Never raises; whatever fails is an error of it."""
        if self._refused is not None:
            return self._refused
        numbers = self.index.find(principal, action, path)
        if not numbers:
            return _NOTHING
        request = {
            "principal": {"type": principal.kind, "id": principal.name},
            "action": {"type": "Action", "id": action},
            "resource": {"type": SECRET, "id": path},
            "context": _context(context, action),
        }
        statements = [self.index.statements[number] for number in numbers]
        try:
            answer = cedarpy.is_authorized(request, self._set(numbers), self._entities_of(principal, path))
            return _verdict(answer, statements)
        except (ValueError, KeyError, OverflowError) as failed:
            return Verdict(errors=(f"request: {failed}",))

    def _set(self, numbers: tuple[int, ...]) -> cedarpy.PolicySet:
        made = self._sets.get(numbers)
        if made is None:
            if len(self._sets) >= _KEPT:
                self._sets.clear()
            text = "\n".join(self.index.statements[number].text for number in numbers)
            made = self._sets[numbers] = cedarpy.PolicySet.from_str(text)
        return made

    def _entities_of(self, principal: Principal, path: str) -> cedarpy.Entities:
        made = self._entities.get((principal, path))
        if made is None:
            if len(self._entities) >= _KEPT:
                self._entities.clear()
            made = self._entities[principal, path] = entities_of(principal, path)
        return made


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


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return _LOCAL


def _verdict(answer: cedarpy.AuthzResult, statements: list[Statement]) -> Verdict:
    def named(text: str) -> str:
        return _POLICY.sub(lambda found: statements[int(found[1])].id, text)

    diagnostics = answer.diagnostics
    errors = tuple(_named_first(text, statements) for text in diagnostics.errors)
    deciding = tuple(dict.fromkeys(named(reason) for reason in diagnostics.reasons))
    if answer.decision is cedarpy.Decision.NoDecision:
        return Verdict(errors=errors or ("request: no decision",))
    allowed = answer.decision is cedarpy.Decision.Allow
    effect = "permit" if allowed else "forbid" if deciding else "none"
    lasting = all(statement.lasting for statement in statements)
    return Verdict(effect=effect, policies=deciding, errors=errors, lasting=lasting)


def _named_first(text: str, statements: list[Statement]) -> str:
    """``error while evaluating policy `policy3`: why`` -> ``id: why``."""
    found = re.fullmatch(r"error while evaluating policy `policy(\d+)`: (.*)", text, re.DOTALL)
    return text if found is None else f"{statements[int(found[1])].id}: {found[2]}"
