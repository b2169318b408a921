"""The vault folder: order, what is skipped, links."""

import os
from pathlib import Path

import pytest

from kubevault_world import vault
from strongroom.errors import BadRequest
from strongroom.kubevault.folder import Folder, read_file


def paths(folder: Path, room: str = "kvstore") -> list[str]:
    return [found.path for found in Folder(folder).files(room)[0]]


def wrong(folder: Path) -> list[tuple[str, str]]:
    found = Folder(folder).files("kvstore")[1]
    return [(problem.where.removeprefix(f"{folder}/kvstore/"), problem.code) for problem in found]


def test_files_come_in_order_of_their_paths_part_by_part(tmp_path: Path) -> None:
    given = ["b", "a/z", "a-b", "a.b/c", "a/b/c", "a/b.c", "B", "é", ".hidden"]
    made = vault(tmp_path, dict.fromkeys(given, ""))
    assert paths(made) == sorted(given, key=lambda path: path.split("/"))


def test_what_belongs_to_git_is_skipped(tmp_path: Path) -> None:
    names = [".gitkeep", ".gitignore", ".gitattributes", ".sops.yaml", "a/.gitkeep", "x"]
    assert paths(vault(tmp_path, dict.fromkeys(names, ""))) == ["x"]


def test_a_file_is_read_when_asked(tmp_path: Path) -> None:
    made = vault(tmp_path, {"a": "k: 1", "large": "x" * 200_000})
    found = {file.path: file for file in Folder(made).files("kvstore")[0]}
    assert found["a"].read() == b"k: 1"
    assert found["large"].read() == b"x" * 200_000
    assert found["a"].where == f"{made}/kvstore/a"
    os.truncate(made / "kvstore/large", 17 << 20)
    with pytest.raises(OSError, match="large"):
        read_file(str(made / "kvstore/large"))


def test_links_inside_are_followed(tmp_path: Path) -> None:
    made = vault(tmp_path, {"a/b": "k: 1"})
    (made / "kvstore/c").symlink_to("a/b")
    (made / "kvstore/d").symlink_to("a")
    (made / "shared").mkdir()
    (made / "shared/s").write_text("k: 2")
    (made / "kvstore/s").symlink_to("../shared/s")
    assert paths(made) == ["a/b", "c", "d/b", "s"]
    assert not wrong(made)
    assert Folder(made).files("kvstore")[0][1].read() == b"k: 1"


def test_links_that_leave_lead_nowhere_or_turn_in_circles(tmp_path: Path) -> None:
    made = vault(tmp_path, {"a/b": "k: 1"})
    (tmp_path / "outside").write_text("k: stolen")
    (tmp_path / "vault-2").mkdir()
    (made / "kvstore/absolute").symlink_to(tmp_path / "outside")
    (made / "kvstore/relative").symlink_to("../../outside")
    (made / "kvstore/sibling").symlink_to(tmp_path / "vault-2")
    (made / "kvstore/nowhere").symlink_to("nothing")
    (made / "kvstore/self").symlink_to("self")
    (made / "kvstore/a/up").symlink_to("..")
    (made / "kvstore/a/here").symlink_to(".")
    assert paths(made) == ["a/b"]
    assert sorted(name for name, code in wrong(made) if code == "link") == [
        "a/here", "a/up", "absolute", "nowhere", "relative", "self", "sibling",
    ]  # fmt: skip


def test_a_room_may_be_a_link_inside_but_not_out(tmp_path: Path) -> None:
    made = vault(tmp_path, {})
    (made / "kvstore").rmdir()
    (made / "store").mkdir()
    (made / "store/x").write_text("k: 1")
    (made / "kvstore").symlink_to("store")
    assert paths(made) == ["x"]
    (made / "kvstore").unlink()
    (tmp_path / "elsewhere").mkdir()
    (made / "kvstore").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadRequest, match="leaves"):
        Folder(made).files("kvstore")


def test_the_vault_itself_may_be_a_link(tmp_path: Path) -> None:
    made = vault(tmp_path, {"x": ""})
    (tmp_path / "link").symlink_to(made)
    assert paths(tmp_path / "link") == ["x"]


def test_what_is_no_file(tmp_path: Path) -> None:
    made = vault(tmp_path, {"x": ""})
    os.mkfifo(made / "kvstore/pipe")
    assert wrong(made) == [("pipe", "special-file")]


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    made = vault(tmp_path, {"x": ""})
    try:
        (made / "kvstore" / os.fsdecode(b"caf\xe9")).write_text("")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    assert wrong(made) == [("caf\\udce9", "file-name")]


def test_a_missing_room(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="does not exist"):
        Folder(tmp_path / "none").files("kvstore")
    (tmp_path / "kvstore").write_text("")
    with pytest.raises(BadRequest, match="is not a folder"):
        Folder(tmp_path).files("kvstore")
