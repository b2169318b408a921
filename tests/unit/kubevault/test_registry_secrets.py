"""Secrets for image registries hold a JSON object; the API server refuses others (found with tests/cluster)."""

from pathlib import Path

import pytest

from kubevault_program import kubevault, write_tree

KINDS = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("value", "taken"),
    [('{"auths": {}}', True), ("{}", True), ("null", True), ("{", False), ("[]", False), ("", False), ("NaN", False)],
)
def test_its_value_is_a_json_object(tmp_path: Path, kind: str, value: str, taken: bool) -> None:
    write_tree(tmp_path, {"a": f"{KINDS[kind]}: '{value}'\n_kubevault: {{type: {kind}}}\n"}, {})
    ran = kubevault(tmp_path, "generate")
    assert (ran.code == 0) is taken
    assert taken or "must be a JSON object" in ran.err


def test_other_types_are_not_looked_into(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a": ".dockercfg: '{'\n"}, {})
    assert kubevault(tmp_path, "generate").code == 0
