"""What the policies of a namespace say of one below it: their rules as that one's paths are written.

Only rules that name the namespace in plain text count there: ``ns2/secret/*`` does, ``+/secret/*``, ``ns*`` and ``*``
do not, so that no rule grants what is in a namespace that somebody makes later (threats CVE-2020-10661,
CVE-2020-35453, CVE-2023-3775). That loses no denial: a rule that names the namespace has its first wildcard behind the
name, so it beats one with a wildcard before that, and where no rule names the namespace nothing is granted.
"""

import msgspec

from strongroom.policy.rules import Policy


def rebased(policy: Policy, below: str) -> Policy:
    """``policy`` for the namespace at ``below`` ("ns2/", "ns2/ns3/"), with paths relative to that."""
    rules = tuple(
        msgspec.structs.replace(rule, pattern=rule.pattern[len(below) :])
        for rule in policy.rules
        if rule.pattern.startswith(below) and rule.pattern != below
    )
    return msgspec.structs.replace(policy, rules=rules)
