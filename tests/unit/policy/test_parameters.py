"""Allowed and denied values: text, numbers, flags, lists."""

import pytest

from strongroom.policy.parameters import refusal

MATCHES = [
    ("x", "x", True),
    ("x", "X", False),
    ("*", "*", True),
    ("*", "x", False),  # a lone star is a star, as in Vault
    ("ab*", "abc", True),
    ("*bc", "abc", True),
    ("*b*", "abc", True),
    ("a*c", "abc", False),
    ("a*c", "a*c", True),
    (8, 8, True),
    (8, 8.0, True),
    (8, "8", True),
    ("8", 8, True),
    (8, "08", False),
    (True, True, True),
    (True, 1, False),
    (1, True, False),
    (True, "true", True),
    ("true", True, True),
    (True, "1", False),
    (None, None, True),
    ("", None, False),
    (["a", 1], ["a", 1], True),
    (["a"], ["a", "b"], False),
    ({"k": [1]}, {"k": [1]}, True),
    ({"k": [1]}, {"k": [True]}, False),
    ("a", ["a"], False),
]


@pytest.mark.parametrize(("rule", "given", "matches"), MATCHES)
def test_an_allowed_value(rule: object, given: object, matches: bool) -> None:
    assert (refusal({"f": given}, {"f": ("never", rule)}, None) == "") is matches


@pytest.mark.parametrize(("rule", "given", "matches"), [case for case in MATCHES if case[2]])
def test_what_matches_is_denied_too(rule: object, given: object, matches: bool) -> None:
    assert refusal({"f": given}, None, {"f": ("never", rule)})


@pytest.mark.parametrize(
    ("rule", "given"),
    [
        (8, "08"),
        (8, " 8 "),
        (8, "8.0"),
        ("8", 8.0),
        (True, "1"),
        (True, 1),
        ("true", "t"),
        (False, "F"),
        (False, 0),
        ("root", ["a", "root"]),
        ("root", "a, root"),
        ("root", [["root"]]),
        ("adm*", ["x", "admin"]),
        ("*", "anything"),
        ("*", 7),
    ],
)
def test_a_denied_value_is_denied_in_every_spelling_an_engine_reads_as_it(rule: object, given: object) -> None:
    assert refusal({"f": given}, None, {"f": (rule,)}) == "a parameter is denied"


@pytest.mark.parametrize(
    ("rule", "given"), [(8, 9), (True, "0"), ("root", "rooted"), ("a", []), (1, "x"), ("nan", "x")]
)
def test_another_value_is_not_denied(rule: object, given: object) -> None:
    assert refusal({"f": given}, None, {"f": (rule,)}) == ""


def test_no_reason_quotes_a_value() -> None:
    for reason in (
        refusal({"f": "hunter2"}, {"f": ("x",)}, None),
        refusal({"f": "hunter2"}, {"g": ()}, None),
        refusal({"f": "hunter2"}, None, {"f": ("hunter2",)}),
    ):
        assert reason and "hunter2" not in reason
