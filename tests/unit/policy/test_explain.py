"""Explanations: the rule, its place, and a policy text that really changes the decision."""

from hypothesis import given
from hypothesis import strategies as st

from strongroom.policy.acl import Acl
from strongroom.policy.acl_parse import parse_policy
from strongroom.policy.explain import explain
from strongroom.sdk.policy import Question
from strongroom.sdk.request import Caller, Op

NOBODY = Caller(accessor="", policies=())
READ = """
path "secret/data/app/*" {
  capabilities = ["read"]
}
path "secret/data/app/root" {
  capabilities = ["deny"]
}
"""


def ask(path: str, op: Op = Op.READ, *, sudo: bool = False) -> Question:
    return Question(caller=NOBODY, op=op, path=path, sudo=sudo)


def test_the_rule_and_its_line() -> None:
    found = explain([parse_policy("app", READ)], ask("secret/data/app/db"))
    assert found["allowed"]
    assert found["rule"] == "secret/data/app/*"
    assert found["decided_by"] == [{"policy": "app", "line": 2, "capabilities": ["read"]}]
    assert found["smallest_policy"] == ""


def test_the_smallest_policy_allows_it() -> None:
    policies = [parse_policy("app", READ)]
    for question in (
        ask("secret/data/app/db", Op.DELETE),
        ask("sys/raw/x", sudo=True),
        ask("secret/metadata/app/", Op.LIST),
    ):
        found = explain(policies, question)
        assert not found["allowed"]
        added = parse_policy("added", found["smallest_policy"])
        assert Acl([*policies, added]).decide(question).allowed


def test_nothing_that_is_added_helps_against_a_deny_at_the_same_place() -> None:
    found = explain([parse_policy("app", READ)], ask("secret/data/app/root"))
    assert found["smallest_policy"] == ""
    assert "app line 5" in found["remedy"]


def test_the_smallest_policy_beats_a_broader_deny() -> None:
    policies = [parse_policy("no", 'path "secret/*" { capabilities = ["deny"] }')]
    found = explain(policies, ask("secret/data/x"))
    assert Acl([*policies, parse_policy("a", found["smallest_policy"])]).decide(ask("secret/data/x")).allowed


PATTERNS = st.sampled_from(["a", "a/b", "a/*", "a/+", "a/+/c", "*", "a/b*", "+/b"])
WORDS = st.lists(st.sampled_from(["read", "list", "update", "sudo", "deny"]), min_size=1, max_size=3, unique=True)


@given(st.lists(st.tuples(PATTERNS, WORDS), max_size=4), st.sampled_from(["a", "a/b", "a/b/c", "a/x"]), st.booleans())
def test_what_is_proposed_always_works(rules: list[tuple[str, list[str]]], path: str, sudo: bool) -> None:
    text = "".join(
        f'path "{pattern}" {{ capabilities = {["deny"] if "deny" in words else words} }}\n'.replace("'", '"')
        for pattern, words in rules
    )
    policies = [parse_policy("p", text)]
    found = explain(policies, ask(path, sudo=sudo))
    assert found["allowed"] is Acl(policies).decide(ask(path, sudo=sudo)).allowed
    if found["smallest_policy"]:
        assert Acl([*policies, parse_policy("q", found["smallest_policy"])]).decide(ask(path, sudo=sudo)).allowed
    else:
        assert found["allowed"] or found["remedy"]
