"""Why a decision came out as it did: the rule, where it stands, and the least that would change it."""

from collections.abc import Mapping, Sequence
from typing import Any

from strongroom.policy.acl import Acl
from strongroom.policy.rules import CAPABILITIES, DENY, Policy, Rule
from strongroom.sdk.policy import Decision, Question
from strongroom.sdk.request import Op

_WORDS = {op: op.value for op in (Op.CREATE, Op.READ, Op.UPDATE, Op.PATCH, Op.DELETE, Op.LIST, Op.SCAN)}


def explain(policies: Sequence[Policy], question: Question) -> dict[str, Any]:
    """How ACL policies decide ``question``.

    Args:
        policies: as ``templating.render`` leaves them, those of the caller.
        question: the caller's ``root`` counts.

    Returns:
        ``allowed``, ``reason``, ``rule`` (the pattern that decided, or ""), ``decided_by`` (``policy``, ``line`` and
        ``capabilities`` of each policy that speaks about that pattern) and ``smallest_policy``: a policy text that
        allows it when added, "" if it is allowed already or nothing that is added can (``remedy`` then says what).
    """
    decision = Acl(policies).decide(question)
    found = {
        "allowed": decision.allowed,
        "reason": decision.reason,
        "rule": decision.rule,
        "decided_by": [_shown(policy.name, rule) for policy, rule in _speakers(policies, decision.rule)],
        "smallest_policy": "",
        "remedy": "",
    }
    if not decision.allowed:
        found.update(_remedy(policies, question, decision))
    return found


def _speakers(policies: Sequence[Policy], pattern: str) -> list[tuple[Policy, Rule]]:
    return [(policy, rule) for policy in policies for rule in policy.rules if pattern and rule.pattern == pattern]


def _shown(name: str, rule: Rule) -> dict[str, Any]:
    words = sorted(word for word, bit in CAPABILITIES.items() if rule.capabilities & bit)
    return {"policy": name, "line": rule.line, "capabilities": words}


def _remedy(policies: Sequence[Policy], question: Question, decision: Decision) -> Mapping[str, str]:
    broken = next((policy.broken for policy in policies if policy.broken), "")
    if broken:
        return {"remedy": f"mend the policy that cannot be used: {broken}"}
    word = _WORDS.get(question.op)
    if word is None:
        return {"remedy": "no capability is for this operation"}
    capabilities = CAPABILITIES[word] | (CAPABILITIES["sudo"] if question.sudo else 0)
    pattern = question.path
    added = Policy(name="smallest", rules=(Rule(pattern=pattern, capabilities=capabilities),))
    if Acl([*policies, added]).decide(question).allowed:
        words = [word, *(["sudo"] if question.sudo else [])]
        listed = ", ".join(f'"{name}"' for name in words)
        return {"smallest_policy": f'path "{pattern}" {{\n  capabilities = [{listed}]\n}}\n'}
    denying = [(policy, rule) for policy, rule in _speakers(policies, decision.rule) if rule.capabilities & DENY]
    if denying:
        places = ", ".join(f"{policy.name} line {rule.line}" for policy, rule in denying)
        return {"remedy": f"nothing that is added helps: take away the deny of {places}"}
    return {"remedy": f"nothing that is added helps: {decision.reason}"}
