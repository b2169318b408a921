"""Stores that earlier releases wrote open, read and take commits."""

import importlib
import importlib.util
import shutil
from pathlib import Path

import pytest

from strongroom.sdk.storage import Write
from strongroom.storage.completion import drive

VECTORS = Path(__file__).parents[2] / "vectors" / "stores"
_spec = importlib.util.spec_from_file_location("make_stores", VECTORS / "make.py")
assert _spec is not None
assert _spec.loader is not None
make = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make)


@pytest.mark.parametrize("name", ["lmdb-1", "file-1"])
def test_golden_store(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    shutil.copytree(VECTORS / name, path)
    for folder in (path, *(p for p in path.rglob("*") if p.is_dir())):
        folder.chmod(0o700)  # a checkout has the modes of whoever made it
    kind = name.split("-")[0]
    store = importlib.import_module(f"strongroom.storage.{kind}").open_store({"path": path})
    found = drive(store.scan(""))
    assert {key: entry.value for key, entry in found} == make.CONTENT
    assert [key for key, _ in found] == sorted(make.CONTENT)
    assert len({entry.revision for _, entry in found}) == len(found)
    top = max(entry.revision for _, entry in found)
    assert top >= make.REVISIONS
    drive(store.commit([Write("deleted", b"2"), Write("a/b", None)], expect={"deleted": 0}))
    again = drive(store.get("deleted"))
    assert again.revision > top
    assert drive(store.list("a/")) == ["/"]
    drive(store.close())
