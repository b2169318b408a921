"""Text that a server-side apply would not take, or would change, goes another way (found with tests/cluster)."""

from base64 import b64decode
from pathlib import Path

import pytest
import yaml

from kubevault_program import generate, kubevault, write_tree

UNSENT = "\x7f\x80\x85\x9f\ufffe\uffff"


@pytest.mark.parametrize("odd", UNSENT)
def test_such_values_stand_in_data_also_with_string_data(tmp_path: Path, odd: str) -> None:
    write_tree(tmp_path, {"a": {"plain": "x", "odd": f"a{odd}b"}}, {})
    (secret,) = yaml.safe_load_all(generate(tmp_path, "--format", "stringData"))
    assert secret["stringData"] == {"plain": "x"}
    assert b64decode(secret["data"]["odd"]).decode() == f"a{odd}b"


def test_such_characters_are_replaced_in_our_own_annotations(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a\x7fb": {"k": "v"}}, {"al": "a\x85*\na\x7f*\n"})
    secret, *_, role, _binding = yaml.safe_load_all(generate(tmp_path))
    assert secret["metadata"]["annotations"] == {"kubevault.chezmoi.sh/source": "a\ufffdb"}
    assert role["metadata"]["annotations"] == {"kubevault.chezmoi.sh/rules": "a\ufffd*\na\ufffd*"}
    assert role["rules"][0]["resourceNames"] == ["a-b"]


@pytest.mark.parametrize("odd", UNSENT)
def test_such_characters_are_refused_in_annotations(tmp_path: Path, odd: str) -> None:
    write_tree(tmp_path, {"a": f'_kubevault: {{annotations: {{note: "a\\u{ord(odd):04x}b"}}}}\n'}, {})
    ran = kubevault(tmp_path, "generate")
    assert (ran.code, ran.out) == (1, "")
    assert "control characters" in ran.err
