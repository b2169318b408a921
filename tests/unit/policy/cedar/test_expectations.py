"""Files of expectations: what they may hold, and what becomes of them."""

import json
from typing import Any

import pytest

from strongroom.errors import BadRequest
from strongroom.policy.cedar.decide import build
from strongroom.policy.cedar.expectations import read_expectations, run
from unit.policy.cedar.cedar_world import EXAMPLES

BOB = {"user": "bob", "groups": ["developers"], "action": "read", "secret": "database/dev/app"}
CI = {"service": "github-actions", "action": "generate", "secret": "database/dynamic/x", "context": {"ttl": "1h"}}


def outcomes(*tests: dict[str, Any], text: str = EXAMPLES) -> list[str]:
    found = read_expectations(json.dumps({"tests": tests}), "t.json")
    return [outcome.wrong for outcome in run(build({"p": text}), found)]


def test_the_published_examples_meet_what_is_expected_of_them():
    prod = {**BOB, "secret": "database/prod/app", "expect": "deny", "by": "p#2"}
    late = {**CI, "context": {"ttl": "61m"}, "expect": "deny"}
    assert outcomes(BOB, {**BOB, "by": "p#1"}, prod, CI, late) == [""] * 5


def test_what_is_not_met_is_told_with_what_decided():
    assert outcomes(
        {**BOB, "expect": "deny"}, {**BOB, "by": "p#9"}, {**BOB, "secret": "database/prod/x"},
        {**BOB, "user": "x", "groups": []}
    ) == [
        "expected deny, but it is allowed by p#1",
        "expected p#9 to decide, but it is allowed by p#1",
        "expected allow, but it is denied by p#2",
        "expected allow, but it is denied, because no policy permits it",
    ]  # fmt: skip


def test_a_policy_that_fails_denies_here_too():
    text = "permit(principal, action, resource); forbid(principal, action, resource) when { context.none };"
    (wrong,) = outcomes(BOB, text=text)
    assert wrong.startswith("expected allow, but it is denied, because a policy failed: p#2: ")


def test_circumstances_can_be_given():
    text = 'permit(principal, action, resource) when { context.mfa && context.now < datetime("2031-01-01") };'
    with_mfa = {**BOB, "context": {"mfa": True}}
    later = {**BOB, "context": {"mfa": True, "now": "2031-01-01T00:00:00Z"}, "expect": "deny"}
    assert outcomes(with_mfa, {**BOB, "expect": "deny"}, later, text=text) == ["", "", ""]


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ({**BOB, "expect": "permit"}, "expect"),
        ({**BOB, "service": "x"}, "one of user and service"),
        ({**BOB, "user": ""}, "one of user and service"),
        ({**BOB, "action": "fly"}, "the action must be"),
        ({**BOB, "secret": "database/dev/"}, "slash"),
        ({**BOB, "context": {"ttl": "1h"}}, "read has no ttl"),
        ({**CI, "context": {}}, "generate needs a ttl"),
        ({**CI, "context": {"ttl": "soon"}}, "ttl"),
        ({**BOB, "context": {"now": "today"}}, "now must be a time"),
        ({**BOB, "group": ["developers"]}, "group"),
        ({"user": "bob"}, "action"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_number(test: dict[str, Any], why: str):
    with pytest.raises(BadRequest, match=why) as caught:
        outcomes(test)
    assert str(caught.value).startswith("t.json: ")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"tests": []}', '{"tests": 1}'])
def test_a_file_without_tests_is_refused(text: str):
    with pytest.raises(BadRequest, match="t.json: "):
        read_expectations(text, "t.json")
