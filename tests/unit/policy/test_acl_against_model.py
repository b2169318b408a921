"""The decision against the slow model: every verb on a table of paths, for random sets of policies."""

import os
import random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from strongroom.policy.acl import Acl
from strongroom.policy.acl_parse import parse_policy
from strongroom.policy.below import rebased
from strongroom.sdk.policy import Question
from strongroom.sdk.request import Caller, Op
from unit.policy import acl_model

CALLER = Caller(accessor="acc", policies=())
Written = list[tuple[str, list[str]]]  # a policy: pattern, capabilities
OPS = [op for op in Op if op is not Op.UNKNOWN]
WORDS = ["create", "read", "update", "patch", "delete", "list", "scan", "sudo"]

SEGMENTS = ["a", "b", "ab", "aab", "a.b", "a+b", "a*b"]


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Written], list[str]]:
    """Policies and paths that have to do with each other: each pattern is a path of the table, made more general."""
    path = st.builds(
        lambda parts, slash: "/".join(parts) + ("/" if slash else ""),
        st.lists(st.sampled_from(SEGMENTS[:5] if draw(st.booleans()) else SEGMENTS[:2]), min_size=1, max_size=5),
        st.booleans(),
    )
    asked = draw(st.lists(path, min_size=12, max_size=12))
    wanted = draw(st.lists(path, min_size=1, max_size=3)) + asked[:4]

    def pattern() -> str:
        parts = draw(st.sampled_from(wanted)).split("/")
        text = "/".join("+" if draw(st.integers(0, 3)) == 0 else part for part in parts)
        if draw(st.booleans()):
            text = text[: draw(st.integers(0, len(text)))] + "*"
        return text.replace("+*", "*")

    def rule() -> tuple[str, list[str]]:
        words = st.one_of(st.just(["deny"]), st.lists(st.sampled_from([*WORDS, "deny"]), max_size=4))
        return pattern(), draw(words)

    policies = [[rule() for _ in range(draw(st.integers(0, 6)))] for _ in range(draw(st.integers(1, 3)))]
    return policies, asked


def text_of(rules: Written) -> str:
    words = [
        f'path "{where}" {{ capabilities = [{", ".join(f"{word!r}" for word in granted)}] }}'
        for where, granted in rules
    ]
    return "\n".join(words).replace("'", '"')


def compare(written: list[Written], asked: list[str]) -> int:
    acl = Acl([parse_policy(f"p{number}", text_of(rules)) for number, rules in enumerate(written)])
    flat = [(where, frozenset(words)) for rules in written for where, words in rules]
    cases = 0
    for where in asked:
        for op in OPS:
            folder = where if where.endswith("/") or op not in (Op.LIST, Op.SCAN) else where + "/"
            for sudo in (False, True):
                decision = acl.decide(Question(caller=CALLER, op=op, path=folder, sudo=sudo))
                assert decision.allowed is acl_model.allowed(flat, op.value, folder, sudo), (op, folder, sudo, decision)
                cases += 1
        expected = sorted(acl_model.capabilities(flat, where, folder=True)) or ["deny"]
        assert acl.capabilities(where) == expected, where
        if acl_model.capabilities(flat, where, folder=True):
            assert all(acl.may_any(where[:end]) for end in range(len(where) + 1)), where
    return cases


RESTRICTED = [[("s/metadata/*", ["list"]), ("s/metadata/restricted/*", ["deny"])]]


@example((RESTRICTED, ["s/metadata/restricted", "s/metadata/restricted/", "s/metadata/restricted/x/"]))
@example(([[("a/+/c", ["read"]), ("a/b/*", ["deny"]), ("a/*", ["list"])]], ["a/b/c", "a/x/c", "a/x"]))
@example(([[("a/+/*", ["read"]), ("a/+/b*", ["list"]), ("a/+/bc*", ["update"])]], ["a/x/bcd", "a/x/bx", "a/x/"]))
@example(([[("+/+/a", ["read"]), ("+/a/+", ["list"])]], ["x/a/a", "a/a/a"]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(situations())
def test_the_decision_is_the_models(situation: tuple[list[Written], list[str]]) -> None:
    compare(*situation)


@pytest.mark.faults
@settings(max_examples=int(os.environ.get("ACL_EXAMPLES", "2500")), deadline=None)
@given(situations())
def test_the_decision_is_the_models_at_length(situation: tuple[list[Written], list[str]]) -> None:
    compare(*situation)


def drawn(chance: random.Random) -> tuple[list[Written], list[str]]:
    """As ``situations``, without Hypothesis, which is slower than what it feeds."""
    segments = SEGMENTS[: chance.choice((2, 5))]

    def path() -> str:
        return "/".join(chance.choices(segments, k=chance.randint(1, 5))) + chance.choice(("", "/"))

    asked = [path() for _ in range(8)]
    wanted = [path(), *asked[:4]]

    def pattern() -> str:
        text = "/".join("+" if chance.random() < 0.25 else part for part in chance.choice(wanted).split("/"))
        if chance.random() < 0.5:
            text = text[: chance.randint(0, len(text))] + "*"
        return text.replace("+*", "*")

    def rule() -> tuple[str, list[str]]:
        return pattern(), ["deny"] if chance.random() < 0.3 else chance.choices(
            [*WORDS, "deny"], k=chance.randint(0, 4)
        )

    return [[rule() for _ in range(chance.randint(0, 6))] for _ in range(chance.randint(1, 3))], asked


def test_a_hundred_thousand_decisions_are_the_models() -> None:
    chance = random.Random(20_26)
    cases = situations_seen = 0
    while cases < 100_000:
        cases += compare(*drawn(chance))
        situations_seen += 1
    assert cases >= 100_000 and situations_seen > 500, (cases, situations_seen)


def test_what_a_policy_says_of_a_namespace_below_is_what_the_model_says_of_the_whole_path() -> None:
    """Rules that name the namespace count; with all the others in play nothing that was refused may be granted."""
    chance = random.Random(4)
    cases = granted = 0
    while cases < 20_000:
        written, asked = drawn(chance)
        below = chance.choice(("a/", "b/", "a/b/"))
        rules = [
            [(below + where if chance.random() < 0.5 else where, words) for where, words in policy]
            for policy in written
        ]
        acl = Acl([rebased(parse_policy(f"p{number}", text_of(some)), below) for number, some in enumerate(rules)])
        flat = [(where, frozenset(words)) for some in rules for where, words in some]
        naming = [(where, words) for where, words in flat if where.startswith(below) and where != below]
        for where in asked:
            for op in OPS:
                folder = where if where.endswith("/") or op not in (Op.LIST, Op.SCAN) else where + "/"
                decision = acl.decide(Question(caller=CALLER, op=op, path=folder)).allowed
                assert decision is acl_model.allowed(naming, op.value, below + folder), (below, op, folder, rules)
                assert not decision or acl_model.allowed(flat, op.value, below + folder), (below, op, folder, rules)
                granted += decision
                cases += 1
    assert cases >= 20_000 and granted > 1_000, (cases, granted)


def test_a_namespace_taken_off_too_loosely_is_caught() -> None:
    """The control of the test above: with a wildcard counted as the namespace's name the model disagrees."""
    loose = parse_policy("p", text_of([("secret/x", ["read"])]))  # what +/secret/x would become
    question = Question(caller=CALLER, op=Op.READ, path="secret/x")
    strict = rebased(parse_policy("p", text_of([("+/secret/x", ["read"])])), "a/")
    assert Acl([loose]).decide(question).allowed and not Acl([strict]).decide(question).allowed


def test_the_model_itself_says_no_and_yes() -> None:
    rules = [("a/*", frozenset({"read"})), ("a/b", frozenset({"deny"}))]
    assert acl_model.allowed(rules, "read", "a/c") and not acl_model.allowed(rules, "read", "a/b")
