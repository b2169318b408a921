"""Templates: which values there are, what is missing, what is dangerous."""

import pytest

from strongroom.policy.acl import Acl
from strongroom.policy.acl_parse import parse_policy
from strongroom.policy.templating import render

IDENTITY = {
    "entity": {
        "id": "e-1",
        "name": "bob",
        "metadata": {"team": "red", "a.b": "dotted", "none": ""},
        "aliases": {
            "acc_1": {"id": "al-1", "name": "bob@x.org", "metadata": {"ns": "n1"}, "custom_metadata": {"c": "cm"}}
        },
    },
    "groups": {
        "ids": {"g-1": {"name": "ops", "metadata": {"site": "s1"}}},
        "names": {"ops.eu": {"id": "g-2", "metadata": {"site": "s2"}}},
    },
}


def one(template: str, identity: object = IDENTITY, words: str = '"read"') -> object:
    policy = parse_policy("p", f'path "kv/{{{{{template}}}}}/*" {{ capabilities = [{words}] }}')
    assert policy.templated
    done = render(policy, identity)  # type: ignore[arg-type]
    assert not done.templated
    return done.broken or [rule.pattern for rule in done.rules]


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("identity.entity.id", "e-1"),
        (" identity.entity.name ", "bob"),
        ("identity.entity.metadata.team", "red"),
        ("identity.entity.metadata.a.b", "dotted"),
        ("identity.entity.aliases.acc_1.id", "al-1"),
        ("identity.entity.aliases.acc_1.name", "bob@x.org"),
        ("identity.entity.aliases.acc_1.metadata.ns", "n1"),
        ("identity.entity.aliases.acc_1.custom_metadata.c", "cm"),
        ("identity.groups.ids.g-1.name", "ops"),
        ("identity.groups.ids.g-1.metadata.site", "s1"),
        ("identity.groups.names.ops.eu.id", "g-2"),
        ("identity.groups.names.ops.eu.metadata.site", "s2"),
    ],
)
def test_values(template: str, value: str) -> None:
    assert one(template) == [f"kv/{value}/*"]


MISSING = [
    "identity.entity.metadata.nope",
    "identity.entity.metadata.none",
    "identity.entity.aliases.acc_2.name",
    "identity.groups.ids.g-9.name",
]


@pytest.mark.parametrize("template", MISSING)
def test_a_missing_value_takes_a_grant_away_and_breaks_a_deny(template: str) -> None:
    assert one(template) == []
    for words in ('"deny"', ""):
        assert "missing" in str(one(template, words=words))


def test_a_token_without_entity_keeps_the_other_rules() -> None:
    text = 'path "a" { capabilities = ["read"] } path "b/{{identity.entity.id}}" { capabilities = ["read"] }'
    acl = Acl([render(parse_policy("p", text), {})])
    assert acl.capabilities("a") == ["read"] and acl.capabilities("b/") == ["deny"]


def test_several_templates_in_one_path() -> None:
    text = 'path "{{identity.entity.id}}/x{{identity.entity.name}}y" { capabilities = ["read"] }'
    assert render(parse_policy("p", text), IDENTITY).rules[0].pattern == "e-1/xboby"


def test_a_policy_without_templates_comes_back_as_it_is() -> None:
    policy = parse_policy("p", 'path "a" { capabilities = ["read"] }')
    assert render(policy, IDENTITY) is policy


@pytest.mark.parametrize("value", ["ünï", "a b", "bob@example.org", "x" * 512, "CN=bob", "a:b|c"])
def test_ordinary_values_are_taken(value: str) -> None:
    assert one("identity.entity.name", {"entity": {"name": value}}) == [f"kv/{value}/*"]


@pytest.mark.parametrize(
    "value", [7, True, ["a"], {"a": "b"}, "x" * 513, "e\u0301", "\u202ebob", "a\u200bb", ".", ".."]
)
def test_values_that_are_no_plain_segment_break_the_policy(value: object) -> None:
    assert "not fit" in str(one("identity.entity.name", {"entity": {"name": value}}))


@pytest.mark.parametrize(
    "identity", [{}, {"entity": None}, {"entity": "x"}, {"entity": {"metadata": None}}, {"groups": []}]
)
def test_any_shape_of_identity_is_survived(identity: object) -> None:
    assert one("identity.entity.metadata.team", identity) == []
