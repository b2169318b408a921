"""Expectations of a policy: their lines, and what they find."""

import pytest

from strongroom.errors import BadRequest
from strongroom.policy.acl_parse import parse_policy
from strongroom.policy.expectations import failures, parse_expectations

POLICY = parse_policy("p", 'path "secret/data/app/*" { capabilities = ["read", "list"] }')


def test_what_is_met_says_nothing() -> None:
    tests = "allow read,list secret/data/app/db  # why\n\ndeny update secret/data/app/db\ndeny read secret/data/ap"
    assert failures([POLICY], parse_expectations(tests)) == []


def test_what_is_not_met_is_named() -> None:
    found = failures([POLICY], parse_expectations("allow update secret/data/app/db\ndeny read /v1/secret/data/app/x"))
    assert found[0].startswith("tests line 1: update secret/data/app/db is denied by secret/data/app/*")
    assert found[1].startswith("tests line 2: read secret/data/app/x is allowed by secret/data/app/*")


@pytest.mark.parametrize("line", ["allow read", "permit read a", "allow fly a", "allow read a//b", "allow read a b"])
def test_a_line_that_is_none_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(BadRequest, match="tests line 2"):
        parse_expectations("deny read a\n" + line)


def test_there_is_a_limit() -> None:
    with pytest.raises(BadRequest, match="at most"):
        parse_expectations("deny read a\n" * 1001)
