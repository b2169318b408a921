"""`generate` on generated vaults. The long run is part of make test-faults."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from kubevault_fuzz import FLAGS, GOOD, STORES, USERS, Tree, check, run, temporary, write
from strongroom.kubevault import manifests

_SETTINGS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}


@settings(max_examples=150, **_SETTINGS)
@given(store=STORES, users=USERS, flags=FLAGS)
def test_a_refusal_or_manifests_that_say_what_the_files_say(store: Tree, users: Tree, flags: list[str]) -> None:
    check(store, users, flags)


@settings(max_examples=60, **_SETTINGS)
@given(content=GOOD, flags=FLAGS)
def test_one_file_of_values(content: bytes, flags: list[str]) -> None:
    check({"a": content}, {"al": b"**"}, [flag for flag in flags if "folder" not in flag])


@pytest.mark.faults
@settings(max_examples=5000, **_SETTINGS)
@given(store=STORES, users=USERS, flags=FLAGS)
def test_the_same_for_long(store: Tree, users: Tree, flags: list[str]) -> None:
    check(store, users, flags)


@pytest.mark.parametrize(
    ("fault", "change"),
    [
        ("strongroom.kubevault.yaml_text.scalar", lambda text: text),
        ("strongroom.kubevault.manifests.base64", lambda value: "eA=="),
        ("strongroom.kubevault.manifests._parts", lambda names: [[]]),
        ("strongroom.kubevault.manifests._parts", lambda names: [["another"]]),
    ],
    ids=["unquoted", "another value", "empty", "another name"],
)
def test_the_control_faults_are_seen(monkeypatch: pytest.MonkeyPatch, fault: str, change: Any) -> None:
    store, users = {"a": b"k: v\nl: 1_000\n", "b": b"{}"}, {"al": b"a"}
    assert check(store, users, [])
    monkeypatch.setattr(fault, change)
    if "_parts" in fault:
        role = manifests.role
        monkeypatch.setattr(manifests, "role", lambda *words: role(*words) | {"rules": [_rule(words[2])]})
    with pytest.raises((AssertionError, AttributeError, TypeError)):
        check(store, users, ["--format=stringData"] if "scalar" in fault else [])


def _rule(names: list[str]) -> dict[str, list[str]]:
    return {"apiGroups": [""], "resourceNames": names, "resources": ["secrets"], "verbs": ["get", "list"]}


def test_the_fuzz_makes_manifests_often_enough() -> None:
    """Otherwise it would show refusals only."""
    made = []

    @settings(max_examples=80, derandomize=True, database=None, **_SETTINGS)
    @given(store=STORES, users=USERS, flags=FLAGS)
    def ask(store: Tree, users: Tree, flags: list[str]) -> None:
        with temporary() as folder:
            write(folder, store, users)
            made.append(run(folder, flags)[1].count("kind: Secret"))

    ask()
    assert sum(1 for count in made if count) > len(made) / 20, made
