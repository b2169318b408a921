"""The linter: each warning on what deserves it, and none on what does not."""

import pytest

from strongroom.policy.acl_parse import parse_policy
from strongroom.policy.lint import lint

MOUNTS = {"secret/": "kv2", "old/": "kv", "auth/token/": "token", "sys/": "system"}


def codes(pattern: str, words: str = '"read"', mounts: dict[str, str] = MOUNTS) -> list[str]:
    return [one.code for one in lint(parse_policy("p", f'path "{pattern}" {{ capabilities = [{words}] }}'), mounts)]


@pytest.mark.parametrize(
    ("pattern", "words", "code"),
    [
        ("secret/app/*", '"read"', "kv2-data"),
        ("secret/data/app/*", '"read", "list"', "kv2-list"),
        ("secret/metadata/app/*", '"create"', "kv2-metadata"),
        ("old/app*", '"read"', "sibling"),
        ("old/*/x", '"read"', "star"),
        ("old/a+/x", '"read"', "plus"),
        ("nowhere/x", '"read"', "nowhere"),
        ("old/app", '"list"', "list"),
    ],
)
def test_each_surprise_is_found(pattern: str, words: str, code: str) -> None:
    assert code in codes(pattern, words)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("secret/data/app/*", '"read"'),
        ("secret/metadata/app/*", '"list"'),
        ("old/app/*", '"read", "list"'),
        ("sys/health", '"read"'),
        ("auth/token/lookup-self", '"read"'),
        ("old/app*", '"deny"'),
        ("+/data/x", '"read"'),
    ],
)
def test_what_is_well_said_passes(pattern: str, words: str) -> None:
    assert codes(pattern, words) == []


def test_without_mounts_nothing_is_said_about_them() -> None:
    assert codes("secret/app/*", mounts={}) == []


def test_a_pattern_that_stands_twice() -> None:
    text = 'path "a/b" { capabilities = ["read"] }\npath "a/b" { capabilities = ["deny"] }'
    (found,) = lint(parse_policy("p", text), {})
    assert (found.code, found.line) == ("twice", 2)
    assert "a deny there decides both" in found.text
