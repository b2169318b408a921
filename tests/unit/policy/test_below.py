"""The rules of a namespace as one below it sees them."""

import pytest

from strongroom.policy.below import rebased
from strongroom.policy.rules import CAPABILITIES, Policy, Rule


def patterns(below: str, *given: str) -> list[str]:
    rules = tuple(Rule(pattern=pattern, capabilities=CAPABILITIES["read"]) for pattern in given)
    return [rule.pattern for rule in rebased(Policy(name="p", rules=rules), below).rules]


@pytest.mark.parametrize(
    ("below", "given", "left"),
    [
        ("ns2/", "ns2/secret/*", ["secret/*"]),
        ("ns2/", "ns2/+/a", ["+/a"]),
        ("ns2/", "ns2/*", ["*"]),
        ("ns2/ns3/", "ns2/ns3/a", ["a"]),
        ("ns2/ns3/", "ns2/*", []),
        ("ns2/", "ns2", []),
        ("ns2/", "ns2/", []),
        ("ns2/", "ns2x/secret/*", []),
        ("ns2/", "ns*", []),
        ("ns2/", "+/secret/*", []),
        ("ns2/", "*", []),
        ("ns2/", "secret/*", []),
    ],
)
def test_only_rules_that_name_the_namespace_count(below: str, given: str, left: list[str]) -> None:
    assert patterns(below, given) == left


def test_what_makes_a_policy_deny_everything_stays() -> None:
    assert rebased(Policy(name="p", broken="why"), "ns2/").broken == "why"
