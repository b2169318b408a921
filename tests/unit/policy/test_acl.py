"""The decision, case by case: what the model does not cover (fields, wrapping, merging, what is said about it)."""

import tracemalloc

import pytest

from contracts.authorizer_contract import AuthorizerContract
from strongroom.policy.acl import Acl
from strongroom.policy.acl_parse import parse_policy
from strongroom.sdk.policy import Authorizer, Decision, Question
from strongroom.sdk.request import Caller, Op

CALLER = Caller(accessor="acc", policies=("p0",))


def acl(*texts: str) -> Acl:
    return Acl([parse_policy(f"p{number}", text) for number, text in enumerate(texts)])


def ask(authorizer: Acl, op: Op, path: str, **more: object) -> Decision:
    return authorizer.decide(Question(caller=CALLER, op=op, path=path, **more))


class TestAclKeepsTheContract(AuthorizerContract):
    def nothing(self) -> Authorizer:
        return Acl([])

    def reader(self, path: str) -> Authorizer:
        return Acl([parse_policy("readers", f'path "{path}" {{ capabilities = ["read"] }}')])


def test_the_decision_names_rule_and_policies() -> None:
    both = acl('path "a/*" { capabilities = ["read"] }', 'path "a/*" { capabilities = ["read", "list"] }')
    assert ask(both, Op.READ, "a/b") == Decision(allowed=True, granting=("p0", "p1"), rule="a/*", reason="granted")
    assert ask(both, Op.LIST, "a/b/").granting == ("p1",)
    assert ask(both, Op.DELETE, "a/b").rule == "a/*"


def test_a_list_without_its_slash_is_taken_as_a_folder() -> None:
    rules = acl('path "s/*" { capabilities = ["list"] } path "s/r/*" { capabilities = ["deny"] }')
    assert not ask(rules, Op.LIST, "s/r").allowed and not ask(rules, Op.SCAN, "s/r").allowed
    assert ask(rules, Op.LIST, "s/x").allowed


def test_a_rule_without_capabilities_grants_nothing_and_hides_wider_ones() -> None:
    rules = acl('path "a/*" { capabilities = ["read"] } path "a/b" { }')
    assert ask(rules, Op.READ, "a/c").allowed and not ask(rules, Op.READ, "a/b").allowed


def test_patterns_are_text_and_not_regular_expressions() -> None:
    rules = acl('path "a.c/+/(x)*" { capabilities = ["read"] }')
    assert ask(rules, Op.READ, "a.c/q/(x)y").allowed
    assert not ask(rules, Op.READ, "abc/q/(x)y").allowed and not ask(rules, Op.READ, "a.c/q/xy").allowed


PARAMETERS = [
    ('allowed_parameters = { "a" = [] }', {"a": 1}, True),
    ('allowed_parameters = { "a" = [] }', {"A": 1}, True),
    ('allowed_parameters = { "a" = [] }', {}, True),
    ('allowed_parameters = { "a" = [] }', {"a": 1, "b": 1}, False),
    ('allowed_parameters = { "a" = ["x", "y*"] }', {"a": "yes"}, True),
    ('allowed_parameters = { "a" = ["x", "y*"] }', {"a": "z"}, False),
    ('allowed_parameters = { "a" = ["x"], "*" = [] }', {"b": "z"}, True),
    ('allowed_parameters = { "a" = ["x"], "*" = [] }', {"a": "z"}, False),
    ('allowed_parameters = { "*" = [] }', {"q": None}, True),
    ('denied_parameters = { "a" = [] }', {"A": "x"}, False),
    ('denied_parameters = { "a" = [] }', {"b": "x"}, True),
    ('denied_parameters = { "a" = ["x"] }', {"a": "y"}, True),
    ('denied_parameters = { "a" = ["x"] }', {"a": "x"}, False),
    ('denied_parameters = { "*" = [] }', {"b": 1}, False),
    ('denied_parameters = { "*" = [] }', {}, True),
    ('allowed_parameters = { "a" = [] } denied_parameters = { "a" = ["x"] }', {"a": "x"}, False),
    ('allowed_parameters = { "a" = [] } denied_parameters = { "a" = ["x"] }', {"a": "y"}, True),
    ('required_parameters = ["A"]', {"a": ""}, True),
    ('required_parameters = ["a"]', {"b": ""}, False),
    ('required_parameters = ["a"]', {}, False),
]


@pytest.mark.parametrize(("limits", "data", "allowed"), PARAMETERS)
def test_parameters(limits: str, data: dict[str, object], allowed: bool) -> None:
    rules = acl(f'path "a" {{ capabilities = ["create", "update", "patch", "read", "delete", "list"] {limits} }}')
    for op in (Op.CREATE, Op.UPDATE, Op.PATCH, Op.READ):
        assert ask(rules, op, "a", data=data).allowed is allowed
    for op in (Op.DELETE, Op.LIST):
        assert ask(rules, op, "a", data=data).allowed


WRAPPING = [
    ('min_wrapping_ttl = "1m"', {0: False, 59: False, 60: True, 99999: True}),
    ("max_wrapping_ttl = 60", {0: False, 60: True, 61: False}),
    ('min_wrapping_ttl = "10s" max_wrapping_ttl = "1m"', {9: False, 10: True, 60: True, 61: False}),
    ("min_wrapping_ttl = 0", {0: True, 5: True}),
]


@pytest.mark.parametrize(("limits", "answers"), WRAPPING)
def test_wrapping_limits(limits: str, answers: dict[int, bool]) -> None:
    rules = acl(f'path "a" {{ capabilities = ["read", "delete"] {limits} }}')
    for ttl, allowed in answers.items():
        assert ask(rules, Op.READ, "a", wrap_ttl=ttl).allowed is allowed
        assert ask(rules, Op.DELETE, "a", wrap_ttl=ttl).allowed is allowed


def test_several_policies_unite_their_limits() -> None:
    rules = acl(
        'path "a" { capabilities = ["update"] allowed_parameters = { "x" = ["1"], "y" = [] } min_wrapping_ttl = 20 }',
        'path "a" { capabilities = ["update"] allowed_parameters = { "x" = ["2"], "y" = ["3"] } min_wrapping_ttl = 10}',
        'path "a" { capabilities = ["update"] required_parameters = ["x"] denied_parameters = { "z" = [] } }',
    )
    for data, allowed in [
        ({"x": "1"}, True),
        ({"x": "2"}, True),
        ({"x": "3"}, False),
        ({"x": "1", "y": "9"}, True),
        ({"y": "9"}, False),
        ({"x": "1", "z": "1"}, False),
    ]:
        assert ask(rules, Op.UPDATE, "a", data=data, wrap_ttl=10).allowed is allowed, data
    assert not ask(rules, Op.UPDATE, "a", data={"x": "1"}, wrap_ttl=9).allowed


def test_limits_of_policies_that_exclude_each_other_refuse_all() -> None:
    rules = acl(
        'path "a" { capabilities = ["read"] min_wrapping_ttl = 100 }',
        'path "a" { capabilities = ["read"] max_wrapping_ttl = 50 }',
    )
    assert not any(ask(rules, Op.READ, "a", wrap_ttl=ttl).allowed for ttl in (0, 50, 75, 100))


def test_capabilities_are_listed_in_order() -> None:
    rules = acl(
        'path "a/*" { capabilities = ["update", "sudo", "read"] } path "a/x/*" { capabilities = ["deny", "read"] }'
    )
    assert rules.capabilities("a/b") == ["read", "sudo", "update"]
    assert rules.capabilities("a/x/y") == rules.capabilities("b") == ["deny"]
    assert Acl([], root=True).capabilities("b") == ["root"] and Acl([], root=True).may_any("b")


def test_all_patterns_are_listed() -> None:
    rules = acl(
        'path "a/b" { capabilities = ["read"] } path "a/*" { capabilities = ["list", "deny"] }',
        'path "a/b" { capabilities = ["list"] } path "+/c/*" { capabilities = ["sudo"] } path "d" { }',
    )
    assert rules.resultant() == {
        "exact_paths": {"a/b": ["list", "read"], "d": ["deny"]},
        "glob_paths": {"a/": ["deny"], "+/c/*": ["sudo"]},
    }
    assert Acl([]).resultant() == {"exact_paths": {}, "glob_paths": {}}


def test_capabilities_of_a_path_with_its_slash() -> None:
    assert acl('path "a/*" { capabilities = ["read"] }').capabilities("/a/b") == ["read"]


@pytest.mark.parametrize(
    ("pattern", "shown", "hidden"),
    [
        ("secret/data/a", ["secret/", "secret/data/", ""], ["sec/", "kv/", "secret/data/b/"]),
        ("secret", ["secret/"], ["secrets/", "kv/"]),
        ("secret/*", ["secret/", "secret/a/b/"], ["kv/"]),
        ("sec*", ["secret/", "sec/"], ["kv/"]),
        ("+/data/x", ["secret/", "kv/", "kv/data/"], ["kv/metadata/", "kv/data/x/y/"]),
        ("secret/+/x*", ["secret/", "secret/a/", "secret/a/xy/"], ["kv/", "secret/a/y/"]),
        ("auth/+/login/+", ["auth/", "auth/userpass/"], ["secret/"]),
    ],
)
def test_a_mount_is_shown_when_anything_below_it_is_granted(pattern: str, shown: list[str], hidden: list[str]) -> None:
    granting = acl(f'path "{pattern}" {{ capabilities = ["read"] }}')
    denying = acl(f'path "{pattern}" {{ capabilities = ["deny"] }}')
    assert all(granting.may_any(prefix) for prefix in shown)
    assert not any(granting.may_any(prefix) for prefix in hidden)
    assert not any(denying.may_any(prefix) for prefix in shown + hidden)


def test_memory_does_not_grow_with_the_paths_asked() -> None:
    rules = acl('path "a/*" { capabilities = ["read"] } path "b/+/c" { capabilities = ["read"] }')
    ask(rules, Op.READ, "a/warm")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(5_000):
            ask(rules, Op.READ, f"a/{number}")
            ask(rules, Op.LIST, f"b/{number}/c/")
        assert tracemalloc.get_traced_memory()[0] - before < 50_000
    finally:
        tracemalloc.stop()


def test_many_rules_cost_little_more_than_few() -> None:
    text = "".join(f'path "m{number}/data/*" {{ capabilities = ["read"] }}' for number in range(3_000))
    rules = acl(text)
    assert ask(rules, Op.READ, "m2999/data/x").allowed and not ask(rules, Op.READ, "m3000/data/x").allowed
