"""From text to rules: what is taken, what is refused and with which words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.errors import BadRequest
from strongroom.policy.acl import Acl
from strongroom.policy.acl_parse import parse_policy, parse_stored, policy_name
from strongroom.policy.rules import CAPABILITIES, DENY, pattern_kind


def words(bits: int) -> list[str]:
    return [word for word, bit in CAPABILITIES.items() if bits & bit]


def test_a_rule_in_full() -> None:
    policy = parse_policy(
        "App",
        """
        name = "ignored"
        path "/secret/+/x*" {
          comment             = "why"
          capabilities        = ["read", "update", "sudo"]
          allowed_parameters  = { "Foo" = ["a", 1, true], "*" = [] }
          denied_parameters   = { "bar" = [] }
          required_parameters = ["Foo", "foo"]
          min_wrapping_ttl    = "1m"
          max_wrapping_ttl    = 90
        }""",
    )
    (rule,) = policy.rules
    assert policy.name == "app" and not policy.templated and not policy.warnings
    assert rule.pattern == "secret/+/x*" and words(rule.capabilities) == ["read", "update", "sudo"]
    assert rule.allowed == {"foo": ("a", 1, True), "*": ()} and rule.denied == {"bar": ()}
    assert rule.required == ("foo",) and (rule.min_wrapping_ttl, rule.max_wrapping_ttl, rule.line) == (60, 90, 3)


@pytest.mark.parametrize(
    "text",
    [
        'path "a" { capabilities = ["read"] }',
        'path = { "a" = { capabilities = ["read"] } }',
        '{"path":{"a":{"capabilities":["read"]}}}',
        '{"path":[{"a":{"capabilities":["read"]}}]}',
        '{"path":{"a":[{"capabilities":["read"],"allowed_parameters":null}]}}',
        '\ufeff\n{"path": {"/a": {"capabilities": ["read"]}}, "name": "x"}',
    ],
)
def test_hcl_and_json_are_the_same(text: str) -> None:
    (rule,) = parse_policy("p", text).rules
    assert rule.pattern == "a" and words(rule.capabilities) == ["read"]


@pytest.mark.parametrize(
    ("legacy", "meaning"),
    [
        ("deny", ["deny"]),
        ("read", ["read", "list"]),
        ("write", ["create", "read", "update", "delete", "list"]),
        ("sudo", ["create", "read", "update", "delete", "list", "sudo"]),
    ],
)
def test_the_old_form(legacy: str, meaning: list[str]) -> None:
    assert words(parse_policy("p", f'path "x" {{ policy = "{legacy}" }}').rules[0].capabilities) == meaning


def test_deny_stands_alone() -> None:
    assert parse_policy("p", 'path "x" { capabilities = ["read", "deny", "sudo"] }').rules[0].capabilities == DENY


def test_one_path_may_stand_twice_and_is_united() -> None:
    policy = parse_policy("p", 'path "x" { capabilities = ["read"] } path "x" { capabilities = ["list"] }')
    assert Acl([policy]).capabilities("x") == ["list", "read"]


def test_empty_text_grants_nothing() -> None:
    assert parse_policy("p", "").rules == parse_policy("p", "# nothing").rules == parse_policy("p", "{}").rules == ()


REFUSED = [
    ("not hcl {{", "line 1, column 10"),
    ('path "x" {capabilities=["nope"]}', 'path "x": invalid capability "nope" (line 1)'),
    ('path "x" {capabilities=["READ"]}', 'invalid capability "READ"'),
    ('path "x" {\ncapabilities="read"}', "capabilities must be a list of texts (line 2)"),
    ('path "x" {capabilities=[1]}', "capabilities must be a list of texts"),
    ('path "x" {capabilities=["read"]\ncapabilities=["list"]}', "line 2: 'capabilities' is set twice"),
    ('path "x" {policy="all"}', "policy must be read, write, deny or sudo"),
    ('path "x" {capabilites=["read"]}', 'unknown key "capabilites"'),
    ('\npth "x" {}', 'line 2: unknown key "pth"'),
    ('path "x" "y" {}', "label"),
    ('path = ["x"]', "label"),
    ('path { capabilities = ["read"] }', "label"),
    ('path "x" {control_group = { factor "a" {} }}', "control groups are not supported"),
    ('path "x" {expiration = "2026-01-01T00:00:00Z"}', "rules that expire are not supported"),
    ('path "x" {pagination_limit = 5}', "a limit on list pages is not supported"),
    ('path "x" {list_scan_response_keys_filter_path = "y"}', "filtered lists are not supported"),
    ('path "x" {mfa_methods = ["m"]}', "MFA on a path is not supported"),
    ('path "x" {min_wrapping_ttl = "2m" max_wrapping_ttl = "1m"}', "max_wrapping_ttl is less than min_wrapping_ttl"),
    ('path "x" {min_wrapping_ttl = "soon"}', "min_wrapping_ttl is not a duration"),
    ('path "x" {min_wrapping_ttl = -1}', "min_wrapping_ttl must not be negative"),
    ('path "x" {allowed_parameters = ["a"]}', "must be a block"),
    ('path "x" {allowed_parameters = { "a" = "b" }}', "each of allowed_parameters needs a list of values"),
    ('path "x" {denied_parameters = { "a" = [] "A" = [] }}', "one of denied_parameters is given twice"),
    ('path "x" {required_parameters = "a"}', "required_parameters must be a list of texts"),
    ('path "a/+*" {}', "'+*' is not a wildcard"),
    ('path "a\\n" {}', "control character"),
    ('path "a/{{identity.entity.id" {}', "braces of a template do not pair"),
    ('path "a/{{identity.entity.nope}}" {}', "a template names nothing that exists"),
    ('{"path":{"x":{"capabilities":["nope"]}}}', 'path "x": invalid capability "nope"'),
]


@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_what_could_be_misread_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_policy("p", text)
    assert str(caught.value).startswith("failed to parse policy: ") and said in str(caught.value)


def test_values_of_parameters_are_not_quoted() -> None:
    with pytest.raises(BadRequest) as caught:
        parse_policy("p", 'path "x" { allowed_parameters = { "a" = "hunter2" } }')
    assert "hunter2" not in str(caught.value)


def test_a_pattern_is_spelled_as_requests_are() -> None:
    assert parse_policy("p", 'path "/cafe\u0301" { capabilities = ["deny"] }').rules[0].pattern == "caf\u00e9"


@pytest.mark.parametrize("path", ["a/*/b", "a//b", "a/../b", "./a/*"])
def test_a_path_that_no_request_has_is_taken_with_a_warning(path: str) -> None:
    assert len(parse_policy("p", f'path "{path}" {{ capabilities = ["deny"] }}').warnings) == 1


def test_events_are_ignored_with_a_warning() -> None:
    policy = parse_policy("p", 'path "a" { capabilities = ["read"] subscribe_event_types = ["*"] }')
    assert "no effect" in policy.warnings[0]


@pytest.mark.parametrize(
    ("pattern", "kind"),
    [
        ("a/b", "exact"),
        ("a/b*", "prefix"),
        ("*", "prefix"),
        ("+", "segments"),
        ("+/a", "segments"),
        ("a/+/*", "segments"),
    ]
    + [("a+b", "exact"), ("a/+b", "exact"), ("a/+b*", "prefix"), ("a*b", "exact")],
)
def test_kinds_of_pattern(pattern: str, kind: str) -> None:
    assert pattern_kind(pattern) == kind


@pytest.mark.parametrize("name", ["default", "tf-test_1.2", "team/app-ro", "kv:read@prod", "a+b=c~d", "x" * 256])
def test_ordinary_names(name: str) -> None:
    assert policy_name(name) == name and policy_name(name.upper()) == name


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", " a", "a\t", "a\n", "a,b", "a\0", "/a", "a/", "a//b", "..", "a/../b", "a/.", "a%2fb", "a\\b", "*"]
    + ["r\u043e\u043et", "a\u200b", "\u212a", "x" * 257, "{{a}}", 'a"'],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(BadRequest):
        policy_name(name)


def test_root_is_no_policy_to_write() -> None:
    for name in ("root", "ROOT"):
        with pytest.raises(BadRequest, match='cannot update "root" policy'):
            parse_policy(name, "")


def test_stored_text_that_cannot_be_read_denies_its_holders() -> None:
    broken = parse_stored("old", "path {")
    assert broken.broken.startswith("policy old: failed to parse policy: line 1")
    fine = parse_stored("p", 'path "x" { capabilities = ["read"] }')
    assert Acl([fine]).capabilities("x") == ["read"] and Acl([fine, broken]).capabilities("x") == ["deny"]


PIECES = [
    "path",
    ' "a/*" ',
    "{",
    "}",
    "capabilities",
    "=",
    '["read"]',
    "[",
    "]",
    '"+/x"',
    "\n",
    '{"path":',
    "policy",
    '"deny"',
    ",",
]


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=15).map("".join)))
def test_any_text_is_a_policy_or_a_bad_request(text: str) -> None:
    try:
        policy = parse_policy("p", text)
    except BadRequest as refusal:
        assert str(refusal).startswith("failed to parse policy: ")
    else:
        Acl([policy]).capabilities("a/b")
