"""Manifests in a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.errors import BadRequest
from strongroom.kubevault.output_folder import RECORD, file_name, replace_file, write_folder


def test_files_are_private_and_left_alone_when_right(tmp_path: Path) -> None:
    first = write_folder(str(tmp_path), [("a.yaml", "1"), ("b.yaml", "2")], prune=False)
    assert first.written == ["a.yaml", "b.yaml"]
    assert (tmp_path / "a.yaml").read_text() == "1"
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    before = (tmp_path / "a.yaml").stat().st_ino
    second = write_folder(str(tmp_path), [("a.yaml", "1"), ("b.yaml", "3")], prune=False)
    assert second.written == ["b.yaml"]
    assert (tmp_path / "a.yaml").stat().st_ino == before
    assert sorted(os.listdir(tmp_path)) == [RECORD, "a.yaml", "b.yaml"]


def test_a_file_that_others_could_read_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("1")
    (tmp_path / "a.yaml").chmod(0o644)
    write_folder(str(tmp_path), [("a.yaml", "1")], prune=False)
    assert (tmp_path / "a.yaml").stat().st_mode & 0o777 == 0o600


def test_only_what_was_made_here_and_not_changed_is_pruned(tmp_path: Path) -> None:
    (tmp_path / "foreign.yaml").write_text("mine")
    made = [(f"{name}.yaml", name) for name in "abc"]
    write_folder(str(tmp_path), made, prune=False)
    (tmp_path / "b.yaml").write_text("edited")
    kept = write_folder(str(tmp_path), made[2:], prune=False)
    assert kept.stale == ["a.yaml", "b.yaml"] and not kept.removed
    pruned = write_folder(str(tmp_path), made[2:], prune=True)
    assert pruned.removed == ["a.yaml"] and pruned.changed == ["b.yaml"]
    assert sorted(os.listdir(tmp_path)) == [RECORD, "b.yaml", "c.yaml", "foreign.yaml"]
    assert not write_folder(str(tmp_path), made[2:], prune=True).removed


def test_a_forged_record_removes_nothing_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (tmp_path / "victim.yaml").write_text("x")
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    (folder / RECORD).write_text(f"{digest}  ../victim.yaml\n{digest}  {tmp_path}/victim.yaml\n{digest}  notes.txt\n")
    (folder / "notes.txt").write_text("x")
    (folder / "notes.txt").chmod(0o600)
    assert not write_folder(str(folder), [], prune=True).removed
    assert (tmp_path / "victim.yaml").exists() and (folder / "notes.txt").exists()


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (tmp_path / "victim").write_text("x")
    (folder / "a.yaml").symlink_to(tmp_path / "victim")
    (folder / ".b.yaml.new").symlink_to(tmp_path / "victim")
    write_folder(str(folder), [("a.yaml", "1")], prune=False)
    assert (tmp_path / "victim").read_text() == "x"
    assert (folder / "a.yaml").read_text() == "1" and not (folder / "a.yaml").is_symlink()
    with pytest.raises(BadRequest):
        write_folder(str(folder), [("b.yaml", "1")], prune=False)
    assert (tmp_path / "victim").read_text() == "x"


def test_what_a_broken_run_made_is_known_to_the_next(tmp_path: Path) -> None:
    def files() -> Iterator[tuple[str, str]]:
        yield "a.yaml", "1"
        raise BadRequest("no")

    with pytest.raises(BadRequest):
        write_folder(str(tmp_path), files(), prune=False)
    assert write_folder(str(tmp_path), [("b.yaml", "1")], prune=True).removed == ["a.yaml"]


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="mkdir"):
        write_folder(str(tmp_path / "none"), [], prune=False)


def test_long_names_are_shortened_and_stay_apart(tmp_path: Path) -> None:
    names = {file_name(f"secret-{'a' * 250}{end}") for end in ("x", "y", "")}
    assert len(names) == 3 and max(map(len, names)) <= 245
    for name in names:
        replace_file(str(tmp_path), name, b"")
    assert file_name("secret-a") == "secret-a.yaml"
