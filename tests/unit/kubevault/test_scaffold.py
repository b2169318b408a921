"""A new vault folder."""

import shutil
import subprocess
from pathlib import Path

import pytest

from kubevault_world import make
from strongroom.errors import BadRequest
from strongroom.kubevault.scaffold import make_vault


def test_a_new_vault_is_complete_and_empty(tmp_path: Path) -> None:
    folder = tmp_path / "deep/vault"
    made = make_vault(str(folder))
    assert {Path(path).relative_to(folder).as_posix() for path in made} == {
        "kvstore", "access_control", "README.md", ".gitignore", "kvstore/.gitkeep", "access_control/.gitkeep",
    }  # fmt: skip
    assert (folder / "kvstore").stat().st_mode & 0o777 == 0o700
    assert not list(make(folder).objects())
    assert make_vault(str(folder)) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "vault"
    (folder / "kvstore").mkdir(parents=True)
    (folder / "README.md").write_text("mine")
    (folder / "kvstore/x").write_text("a: 1")
    made = make_vault(str(folder))
    assert f"{folder}/README.md" not in made and f"{folder}/.gitignore" in made
    assert (folder / "README.md").read_text() == "mine"
    assert (folder / "kvstore/x").read_text() == "a: 1"


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault/kvstore").write_text("")
    with pytest.raises(BadRequest, match="kvstore"):
        make_vault(str(tmp_path / "vault"))
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequest):
        make_vault(str(tmp_path / "file"))


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_secrets_in_clear_are_not_committed_by_accident(tmp_path: Path) -> None:
    folder = tmp_path / "vault"
    make_vault(str(folder))
    for name in ("kvstore/a/b", "kvstore/c", "keys.txt", "access_control/me", "age.agekey"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, "add", "-A"], check=True)
    listed = subprocess.run(["git", "-C", tmp_path, "ls-files"], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == [
        "vault/.gitignore", "vault/README.md", "vault/access_control/.gitkeep", "vault/access_control/me",
        "vault/kvstore/.gitkeep",
    ]  # fmt: skip
