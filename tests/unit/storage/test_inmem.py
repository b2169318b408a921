"""The inmem store's folder: private, shared memory where there is some, gone at the end or at the next start."""

import gc
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.errors import BadRequest, StorageFailed
from strongroom.sdk.storage import Write
from strongroom.storage import inmem
from strongroom.storage.completion import drive


@pytest.fixture(autouse=True)
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(inmem, "_roots", lambda: [str(tmp_path / "none"), str(tmp_path)])
    return tmp_path


def test_own_folder_goes_with_the_store(tmp_path: Path) -> None:
    store = inmem.open_store({})
    assert store.kind == "inmem"
    drive(store.commit([Write("a", b"1")]))
    (folder,) = tmp_path.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert str(os.getpid()) in folder.name
    drive(store.close())
    del store
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_workers_share_a_folder(tmp_path: Path) -> None:
    path = inmem.private_tmpfs_folder()
    store = inmem.open_store({"path": path})
    drive(store.commit([Write("a", b"1")]))
    drive(store.close())
    again = inmem.open_store({"path": path})
    assert drive(again.get("a")) is not None
    drive(again.close())
    inmem.remove_folder(path)
    inmem.remove_folder(path)
    assert list(tmp_path.iterdir()) == []


def test_only_abandoned_folders_are_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait(30)
    gone = inmem.private_tmpfs_folder(dead.pid)
    Path(gone, "data.mdb").touch()
    kept = [inmem.private_tmpfs_folder(), str(tmp_path / "strongroom-inmem-1-short"), str(tmp_path / "other")]
    for path in kept[1:]:
        os.mkdir(path)
    os.symlink("/etc", tmp_path / f"strongroom-inmem-{dead.pid}-{'0' * 16}")
    assert inmem.remove_abandoned() == [gone]
    assert all(os.path.exists(path) for path in kept)


def test_without_shared_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(inmem, "_SHARED_MEMORY", "/nowhere")
    monkeypatch.setattr(inmem.tempfile, "gettempdir", lambda: str(tmp_path))
    assert os.path.dirname(inmem.private_tmpfs_folder()) == str(tmp_path)
    monkeypatch.setattr(inmem, "_roots", list)
    with pytest.raises(StorageFailed):
        inmem.open_store({})


def test_options() -> None:
    with pytest.raises(BadRequest):
        inmem.open_store({"sync": True})
