"""What the policies of a namespace say of one below it: their rules as that one's paths are written.

A rule grants something below only where it names the namespace in plain text: ``ns2/secret/*`` does, ``+/secret/*``,
``ns*`` and ``*`` do not, so that no rule grants what is in a namespace that somebody makes later (threats
CVE-2020-10661, CVE-2020-35453, CVE-2023-3775). A rule that denies is taken with all its wildcards.
"""

import msgspec

from strongroom.policy.rules import DENY, Policy, Rule


def rebased(policy: Policy, below: str) -> Policy:
    """``policy`` for the namespace at ``below`` ("ns2/", "ns2/ns3/"), with paths relative to that."""
    rules: list[Rule] = []
    for rule in policy.rules:
        pattern = _rest(rule, below)
        if pattern:
            rules.append(msgspec.structs.replace(rule, pattern=pattern))
    return msgspec.structs.replace(policy, rules=tuple(rules))


def _rest(rule: Rule, below: str) -> str:
    if rule.pattern.startswith(below):
        return rule.pattern[len(below) :]
    if rule.capabilities in (0, DENY):  # a rule without capabilities denies too
        return _denied_rest(rule.pattern, below)
    return ""


def _denied_rest(pattern: str, below: str) -> str:
    """What is left of ``pattern`` behind its segments that match all of ``below``; "" if they do not."""
    segments = pattern.split("/")
    names = below.rstrip("/").split("/")
    for index, name in enumerate(names):
        if index >= len(segments):
            return ""
        segment = segments[index]
        last = index == len(segments) - 1
        if last and segment.endswith("*") and (segment == "+*" or name.startswith(segment[:-1])):
            return "*"
        if segment not in ("+", name):
            return ""
    return "/".join(segments[len(names) :])
