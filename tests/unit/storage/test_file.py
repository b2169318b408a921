"""The file store beyond the contract: names a person recognises, journals that dead writers left, files of others."""

import os
import shutil
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import BadRequest, StorageFailed
from strongroom.sdk.storage import Write
from strongroom.storage import file, file_names
from strongroom.storage.completion import drive
from strongroom.storage.file_tree import GENERATION


def opened(path: Path, *, sync: bool = False) -> file.FileStore:
    store = file.open_store({"path": str(path / "s"), "sync": sync})
    assert isinstance(store, file.FileStore)
    return store


def tree(path: Path) -> list[str]:
    return sorted(str(p.relative_to(path / "s")) for p in (path / "s").rglob("*") if p.is_file())


def test_names() -> None:
    path = file_names.entry_path
    assert path(b"core/seal-config") == "data/core/seal-config.entry"
    assert path(b"Team A/x") == "data/%54eam%20%41/x.entry"
    assert path(b"../..") == "data/%2e./%2e..entry"
    assert path(b"x.entry/y.entry") == "data/x%2eentry/y%2eentry.entry"
    assert path(b"a//b") == "data/a/%00/b.entry"
    assert path(b"x" * 201) == "data/" + "x" * 200 + "~/x.entry"
    assert path(b"x" * 4000).startswith("long/")
    assert len(path(b"x" * 4000)) < 80


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_names_are_safe_and_lead_back(component: str) -> None:
    raw = component.replace("/", ".").encode()
    found = file_names.pieces(raw)
    assert b"".join(file_names.text(p.removesuffix("~")) for p in found) == raw
    for name in found:
        assert name.isascii()
        assert name.lower() == name
        assert 0 < len(name) <= 203
        assert not name.startswith(".")
        assert not name.endswith(".entry")
        assert not set(name) & set("/\\ \n\0")


def test_a_person_finds_the_entry(tmp_path: Path) -> None:
    store = opened(tmp_path)
    drive(store.commit([Write("core/format", b"payload"), Write("ns/root/policy/dev", b"x")]))
    drive(store.close())
    assert {"data/core/format.entry", "data/ns/root/policy/dev.entry"} <= set(tree(tmp_path))
    assert (tmp_path / "s/data/core/format.entry").read_bytes().endswith(b"core/formatpayload")
    assert (tmp_path / "s/format").read_text() == "strongroom file store, format 1\n"
    assert "journal" not in tree(tmp_path)


def test_empty_folders_go(tmp_path: Path) -> None:
    store = opened(tmp_path)
    drive(store.commit([Write("a/b/c", b"1"), Write("a/d", b"1")]))
    drive(store.commit([Write("a/b/c", None)]))
    assert not (tmp_path / "s/data/a/b").exists()
    drive(store.commit([Write("a/d", None)]))
    assert list((tmp_path / "s/data").iterdir()) == []
    os.makedirs(tmp_path / "s/data/left/by/a/crash")
    assert drive(store.list("")) == []
    drive(store.close())


def test_files_of_others_are_passed_over(tmp_path: Path) -> None:
    store = opened(tmp_path)
    drive(store.commit([Write("a/b", b"1")]))
    for name in ("README", "%zz.entry", "ä.entry", ".DS_Store"):
        (tmp_path / "s/data/a" / name).write_bytes(b"x")
    (tmp_path / "s/data/link").symlink_to("/etc")
    assert drive(store.list("")) == ["a/"]
    assert [k for k, _ in drive(store.scan(""))] == ["a/b"]
    drive(store.close())


def test_a_moved_or_cut_file_is_told(tmp_path: Path) -> None:
    store = opened(tmp_path)
    drive(store.commit([Write("a", b"1"), Write("b", b"2")]))
    shutil.copy(tmp_path / "s/data/a.entry", tmp_path / "s/data/b.entry")
    with pytest.raises(StorageFailed, match="another key"):
        drive(store.get("b"))
    for content in (b"", b"SRE1", b"nonsense that is long enough"):
        (tmp_path / "s/data/b.entry").write_bytes(content)
        with pytest.raises(StorageFailed):
            drive(store.get("b"))
    assert drive(store.get("a")) is not None
    drive(store.close())


def stop_before_apply(store: file.FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next commit dies when its journal is durable and nothing is renamed yet."""
    real = type(store._journal)._keep

    def keep(journal: object, plan: object) -> None:
        real(journal, plan)  # type: ignore[arg-type]
        store._tree.shared[GENERATION] |= 1
        raise OSError(5, "died here")

    monkeypatch.setattr(type(store._journal), "_keep", keep)


def test_a_reader_finishes_what_a_dead_writer_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    drive(store.commit([Write("a/old", b"1"), Write("b", b"1")]))
    with monkeypatch.context() as patch:
        stop_before_apply(store, patch)
        with pytest.raises(StorageFailed):
            drive(store.commit([Write("a/old", None), Write("a/new", b"2"), Write("b", b"2")]))
    assert "journal" in tree(tmp_path)
    assert [(k, e.value) for k, e in drive(store.scan(""))] == [("a/new", b"2"), ("b", b"2")]
    assert not [name for name in tree(tmp_path) if name == "journal" or name.startswith("new.")]
    drive(store.close())


def test_opening_finishes_or_drops_a_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for whole in (True, False):
        store = opened(tmp_path)
        drive(store.commit([Write("a", b"old"), Write("b", b"old")]))
        with monkeypatch.context() as patch:
            stop_before_apply(store, patch)
            with pytest.raises(StorageFailed):
                drive(store.commit([Write("a", b"new"), Write("b", None)]))
        drive(store.close())
        (tmp_path / "s/lock").unlink()  # as after a power cut: what was in memory is gone
        if not whole:
            (new,) = (tmp_path / "s").glob("new.*")
            new.unlink()  # never reached the disk, so the commit was never acknowledged
        store = opened(tmp_path)
        values = {k: e.value for k, e in drive(store.scan(""))}
        assert values == ({"a": b"new"} if whole else {"a": b"old", "b": b"old"})
        drive(store.close())
        shutil.rmtree(tmp_path / "s")


def test_a_journal_that_comes_back_takes_nothing_from_a_later_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)
    with monkeypatch.context() as patch:
        stop_before_apply(store, patch)
        with pytest.raises(StorageFailed):
            drive(store.commit([Write("a", b"kept")]))
    journal = (tmp_path / "s/journal").read_bytes()
    assert drive(store.get("a")) is not None
    with monkeypatch.context() as patch:
        stop_before_apply(store, patch)
        with pytest.raises(StorageFailed):
            drive(store.commit([Write("b", b"half")]))
    drive(store.close())
    (tmp_path / "s/journal").write_bytes(journal)  # its removal had not reached the disk, and the later one not either
    store = opened(tmp_path)
    assert {key: entry.value for key, entry in drive(store.scan(""))} == {"a": b"kept"}
    drive(store.close())


def test_opening_finishes_deletes_that_empty_a_folder_and_then_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path, sync=True)
    drive(store.commit([Write("a/b/c", b"1"), Write("a/x", b"1"), Write("z", b"1")]))
    with monkeypatch.context() as patch:
        stop_before_apply(store, patch)
        patch.setattr(type(store._journal), "_recover", lambda self: None)  # killed: it does not even try
        with pytest.raises(StorageFailed):
            drive(store.commit([Write("a/b/c", None), Write("a/x", None)]))
    drive(store.close())
    store = opened(tmp_path, sync=True)
    assert [k for k, _ in drive(store.scan(""))] == ["z"]
    drive(store.close())


def test_a_damaged_journal_is_told(tmp_path: Path) -> None:
    drive(opened(tmp_path).close())
    (tmp_path / "s/journal").write_bytes(b"[]\nnot its digest\n")
    with pytest.raises(StorageFailed, match="journal"):
        opened(tmp_path)


def test_revisions_grow_without_the_lock_file(tmp_path: Path) -> None:
    store = opened(tmp_path)
    drive(store.commit([Write("a", b"1")]))
    before = drive(store.get("a"))
    drive(store.commit([Write("a", None)]))
    drive(store.close())
    (tmp_path / "s/lock").unlink()
    store = opened(tmp_path)
    drive(store.commit([Write("a", b"1")]))
    after = drive(store.get("a"))
    assert before is not None
    assert after is not None
    assert after.revision > before.revision
    drive(store.close())


def test_same_path_twice_works(tmp_path: Path) -> None:
    one, two = opened(tmp_path), opened(tmp_path)
    drive(one.commit([Write("a", b"1")]))
    stamp = two.stamp()
    assert drive(two.get("a")) is not None
    drive(two.commit([Write("a", b"2")]))
    found = drive(one.get("a"))
    assert found is not None
    assert found.value == b"2"
    assert one.stamp() != stamp
    drive(one.close())
    drive(two.close())
    with pytest.raises(StorageFailed, match="closed"):
        drive(one.get("a"))
    with pytest.raises(StorageFailed, match="closed"):
        drive(one.commit([Write("a", b"2")]))


def test_other_folders_and_formats_are_refused(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir(mode=0o700)
    (tmp_path / "s/thesis.txt").touch()
    with pytest.raises(StorageFailed, match="something else"):
        opened(tmp_path)
    shutil.rmtree(tmp_path / "s")
    drive(opened(tmp_path).close())
    (tmp_path / "s/format").write_text("strongroom file store, format 2\n")
    with pytest.raises(StorageFailed, match="format 2.*reads format 1"):
        opened(tmp_path)
    with pytest.raises(BadRequest):
        file.open_store({"path": str(tmp_path / "s"), "map_size": 1})


def test_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = opened(tmp_path)
        drive(store.commit([Write("a/b", b"1"), Write("k" * 4000, b"1")]))
        drive(store.close())
    finally:
        os.umask(before)
    for path in [tmp_path / "s", *(tmp_path / "s").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
