"""Names by the rules of Kubernetes."""

import pytest

from strongroom.kubevault.names import (
    BadName,
    check_key,
    check_label_value,
    check_namespace,
    check_qualified,
    check_user,
    secret_name,
)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("production/applicationB/postgresql", "production-applicationb-postgresql"),
        ("db.yaml", "db-yaml"),
        ("a/.env", "a--env"),
        ("a/1x", "a-1x"),
        ("fooBAR", "foobar"),
        ("a_b c/d", "a-b-c-d"),
        ("a/é/b", "a---b"),
        ("x", "x"),
        ("a\nb", "a-b"),
        ("a" * 253, "a" * 253),
    ],
)
def test_a_path_becomes_the_name_of_a_secret(path: str, name: str) -> None:
    assert secret_name(path) == name


@pytest.mark.parametrize("path", ["foo_", "1x", "_x", ".gitkeep", "café", "a/b-", "", "a" * 254, "é", "a\n"])
def test_a_path_that_makes_no_name(path: str) -> None:
    with pytest.raises(BadName):
        secret_name(path)


@pytest.mark.parametrize("name", ["alice", "a", "1", "a-b.c-d", "a.1", "a" * 247])
def test_users(name: str) -> None:
    check_user(name)


@pytest.mark.parametrize(
    "name", ["Alice", "a_b", "-a", "a-", "a..b", ".a", "a.", "", "a b", "default", "é", "a" * 248, "a\n", "a:b"]
)
def test_what_is_no_user(name: str) -> None:
    with pytest.raises(BadName):
        check_user(name)


def test_namespaces() -> None:
    for name in ("vault-kvstore", "a", "1a", "a" * 63):
        check_namespace(name)
    for name in ("", "A", "a.b", "-a", "a-", "a" * 64, "a/b", "a\n"):
        with pytest.raises(BadName):
            check_namespace(name)


def test_keys() -> None:
    for key in ("a", "A.b-c_d", ".env", "1", "a" * 253, "...x"[2:]):
        check_key(key)
    for key in ("", ".", "..", "..a", "a/b", "a b", "é", "a" * 254, "a\n"):
        with pytest.raises(BadName):
            check_key(key)


def test_the_text_about_a_key_shows_no_more_than_its_start() -> None:
    with pytest.raises(BadName) as caught:
        check_key("s3cret " * 20)
    assert len(str(caught.value)) < 120


def test_labels_and_annotations() -> None:
    for name in ("app", "example.com/app", "a.b_c-D", "a/" + "b" * 63):
        check_qualified(name)
    for name in ("", "/a", "a/", "A.com/x", "a/b/c", "-a", "a/" + "b" * 64, "é"):
        with pytest.raises(BadName):
            check_qualified(name)
    for value in ("", "a", "A_b.c", "a" * 63):
        check_label_value(value)
    for value in ("-a", "a b", "a" * 64, "é"):
        with pytest.raises(BadName):
            check_label_value(value)
