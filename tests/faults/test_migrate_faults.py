"""A copy that is killed or failed at each of its write-like calls is gone on with and ends whole."""

import shutil
import sys
from pathlib import Path

import pytest

from faults import shim, storage_work
from strongroom.errors import BadRequest
from strongroom.sdk.storage import Write
from strongroom.storage.completion import drive
from strongroom.storage.migrate import UNFINISHED, copy

WAYS = [("file", "lmdb"), ("lmdb", "file")]
PROGRAM = """
import sys
from faults.storage_work import open_store
from strongroom.storage.completion import drive
from strongroom.storage.migrate import copy
source, target = open_store(*sys.argv[1:3]), open_store(*sys.argv[3:5])
print(drive(copy(source, target)).compared, flush=True)
drive(source.close())
drive(target.close())
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = shim.build(tmp_path_factory.mktemp("shim"))
    if found is None:
        pytest.skip("needs Linux and a C compiler")
    return found


def entries(kind: str, path: Path) -> dict[str, bytes]:
    store = storage_work.open_store(kind, str(path))
    try:
        return {key: entry.value for key, entry in drive(store.scan("", limit=10**6))}
    finally:
        drive(store.close())


def prepare(kind: str, path: Path) -> int:
    store = storage_work.open_store(kind, str(path))
    for start in range(0, 90, 30):
        drive(store.commit([Write(f"k/{i}", b"%d" % i * 50) for i in range(start, start + 30)]))
    drive(store.commit([Write("long/" + "k" * 900, bytes(300_000))]))
    drive(store.close())
    return 91


def go(library: Path, folder: Path, way: tuple[str, str], at: int, what: str) -> shim.Outcome:
    argv = [sys.executable, "-c", PROGRAM, way[0], str(folder / "a"), way[1], str(folder / "b")]
    env = {"PYTHONPATH": str(Path(__file__).parents[1])}
    return shim.run(argv, library, folder / "b", at=at, what=what, env=env)


def one(library: Path, folder: Path, way: tuple[str, str], at: int, what: str, count: int) -> None:
    done = go(library, folder, way, at, what)
    if done.stdout == f"{count}\n":
        assert UNFINISHED not in entries(way[1], folder / "b")
    source = storage_work.open_store(way[0], str(folder / "a"))
    target = storage_work.open_store(way[1], str(folder / "b"))
    try:
        drive(copy(source, target))
    except BadRequest as refused:  # only the last acknowledgement was lost: the copy had ended
        assert "not empty" in str(refused)
    drive(source.close())
    drive(target.close())
    assert entries(way[1], folder / "b") == entries(way[0], folder / "a")
    shutil.rmtree(folder / "b")


@pytest.mark.parametrize("way", WAYS)
def test_smoke(way: tuple[str, str], library: Path, tmp_path: Path) -> None:
    count = prepare(way[0], tmp_path / "a")
    whole = go(library, tmp_path, way, 0, "KILL")
    assert whole.stdout == f"{count}\n", whole.stderr
    shutil.rmtree(tmp_path / "b")
    for number in range(1, 4):
        one(library, tmp_path, way, whole.calls * number // 4, "KILL", count)


@pytest.mark.faults
@pytest.mark.parametrize("what", ["KILL", "ENOSPC"])
@pytest.mark.parametrize("way", WAYS)
def test_every_call(way: tuple[str, str], what: str, library: Path, tmp_path: Path) -> None:
    count = prepare(way[0], tmp_path / "a")
    total = go(library, tmp_path, way, 0, what).calls
    shutil.rmtree(tmp_path / "b")
    step = max(1, total // 150)
    for at in range(1, total + 1, step):
        one(library, tmp_path, way, at, what, count)
