"""The reserved key."""

import pytest

from strongroom.kubevault.settings import Settings, missing_keys, read_settings


def test_nothing_given() -> None:
    assert read_settings("") == (Settings(), [])
    assert read_settings({}) == (Settings(), [])
    assert Settings().type == "Opaque"


def test_everything_given() -> None:
    given = {
        "type": "example.com/x",
        "labels": {"app": "db", "team": ""},
        "annotations": {"a.example/b": "any\ntext"},
        "immutable": "false",
        "b64": "true",
    }
    made, wrong = read_settings(given)
    assert not wrong
    assert made == Settings("example.com/x", given["labels"], given["annotations"], False, True)


@pytest.mark.parametrize(
    "given",
    [
        "text",
        ["a"],
        {"unknown": "x"},
        {"type": ""},
        {"type": {"a": "b"}},
        {"type": "kubernetes.io/service-account-token"},
        {"labels": "x"},
        {"labels": {"-x": "y"}},
        {"labels": {"x": "not a label"}},
        {"labels": {"x": {"y": "z"}}},
        {"annotations": {"a b": "c"}},
        {"annotations": {"kubevault.chezmoi.sh/source": "forged"}},
        {"annotations": {"a": "x" * 262_144}},
        {"immutable": "yes"},
        {"immutable": None},
    ],
)
def test_what_is_refused(given: object) -> None:
    made, wrong = read_settings(given)
    assert len(wrong) == 1
    assert made == Settings()


def test_keys_that_a_type_needs() -> None:
    assert missing_keys(Settings("kubernetes.io/tls"), {"tls.crt": ""}) == ["tls.key"]
    assert missing_keys(Settings("kubernetes.io/basic-auth"), {}) == ["username or password"]
    assert not missing_keys(Settings("kubernetes.io/basic-auth"), {"password": ""})
    assert missing_keys(Settings("kubernetes.io/ssh-auth"), {}) == ["ssh-privatekey"]
    assert missing_keys(Settings("kubernetes.io/dockerconfigjson"), {}) == [".dockerconfigjson"]
    assert not missing_keys(Settings("kubernetes.io/tls"), {"tls.crt": "", "tls.key": ""})
    assert not missing_keys(Settings(), {})
