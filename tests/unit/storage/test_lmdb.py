"""The LMDB store beyond the contract: files, growth, other processes, failures."""

import asyncio
import gc
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import lmdb as liblmdb
import pytest

from strongroom.errors import BadRequest, StorageFailed
from strongroom.sdk.storage import Write
from strongroom.storage import lmdb
from strongroom.storage.completion import drive
from strongroom.storage.environment import FORMAT_KEY
from unit.storage import processes


def opened(path: Path, **options: object) -> lmdb.LmdbStore:
    store = lmdb.open_store({"path": str(path / "s"), "sync": False, **options})
    assert isinstance(store, lmdb.LmdbStore)
    return store


def records(store: lmdb.LmdbStore) -> list[bytes]:
    with store._file.env.begin() as txn:
        return [bytes(key) for key in txn.cursor().iternext(values=False)]


def test_options(tmp_path: Path) -> None:
    for options in ({}, {"path": ""}, {"path": str(tmp_path), "nope": 1}, {"path": 1}, {"path": "x", "map_size": True}):
        with pytest.raises(BadRequest):
            lmdb.open_store(options)
    store = lmdb.open_store({"path": tmp_path / "s", "map_size": "1048576", "sync": "false"})
    drive(store.close())


def test_same_path_twice_is_told(tmp_path: Path) -> None:
    store = opened(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "s")
    for path in ("s", "link"):
        with pytest.raises(StorageFailed, match="already open in this process"):
            lmdb.open_store({"path": str(tmp_path / path)})
    drive(store.commit([Write("a", b"1")]))
    drive(store.close())
    drive(store.close())
    again = opened(tmp_path)
    assert drive(again.get("a")) is not None
    drive(again.close())


def test_closed(tmp_path: Path) -> None:
    store = opened(tmp_path)
    drive(store.close())
    for work in (store.get("a"), store.get_many(["a"]), store.list(""), store.scan(""), store.commit([])):
        with pytest.raises(StorageFailed, match="closed"):
            drive(work)
    with pytest.raises(StorageFailed, match="closed"):
        store.stamp()


def test_dropped_without_close(tmp_path: Path) -> None:
    store = opened(tmp_path)
    drive(store.commit([Write("a", b"1")]))
    del store
    gc.collect()
    drive(opened(tmp_path).close())


def test_data_survives_an_end_without_close(tmp_path: Path) -> None:
    program = (
        "import sys; from strongroom.storage.lmdb import open_store; from strongroom.sdk.storage import Write;"
        "from strongroom.storage.completion import drive; s = open_store({'path': sys.argv[1]});"
        "drive(s.commit([Write('a', b'1')]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "s")], capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    store = opened(tmp_path)
    assert drive(store.get("a")) is not None
    drive(store.close())


def test_not_a_store(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir(mode=0o700)
    (tmp_path / "s" / "data.mdb").write_bytes(b"x" * 9000)
    with pytest.raises(StorageFailed):
        opened(tmp_path)
    shutil.rmtree(tmp_path / "s")
    (tmp_path / "s").mkdir(mode=0o700)
    with liblmdb.open(str(tmp_path / "s")) as env, env.begin(write=True) as txn:
        txn.put(b"a", b"b")
    with pytest.raises(StorageFailed, match="something else"):
        opened(tmp_path)
    (tmp_path / "plain").touch()
    with pytest.raises(StorageFailed):
        lmdb.open_store({"path": str(tmp_path / "plain")})


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    drive(opened(tmp_path).close())
    with liblmdb.open(str(tmp_path / "s")) as env, env.begin(write=True) as txn:
        txn.put(FORMAT_KEY, b"2")
    with pytest.raises(StorageFailed, match="format 2.*reads format 1"):
        opened(tmp_path)


def test_the_map_grows(tmp_path: Path) -> None:
    store = opened(tmp_path, map_size=1 << 16)
    before = store._file.env.info()["map_size"]
    for i in range(20):
        drive(store.commit([Write(f"k{i}", bytes([i]) * 200000)]))
    drive(store.commit([Write("big", bytes(2 << 20))]))
    assert store._file.env.info()["map_size"] > before
    assert [e.value for e in drive(store.get_many([f"k{i}" for i in range(20)])) if e] == [
        bytes([i]) * 200000 for i in range(20)
    ]
    drive(store.close())


async def test_a_batch_that_fills_the_map_is_written_whole(tmp_path: Path) -> None:
    store = opened(tmp_path, map_size=1 << 16)
    await asyncio.gather(*(store.commit([Write(f"k{i}", bytes(5000))], expect={f"k{i}": 0}) for i in range(100)))
    assert len(await store.list("")) == 100
    await store.close()


def test_another_process_grew_the_map(tmp_path: Path) -> None:
    store = opened(tmp_path, map_size=1 << 16)
    drive(store.commit([Write("a", b"1")]))
    process = processes.start(processes.FILL, str(tmp_path / "s"))
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert drive(store.get("a")) is not None
    assert len(drive(store.list("fill/"))) == 40
    process = processes.start(processes.FILL, str(tmp_path / "s"))
    process.communicate(timeout=60)
    drive(store.commit([Write("b", b"1")]))
    assert drive(store.get("b")) is not None
    drive(store.close())


def test_readers_while_the_map_grows(tmp_path: Path) -> None:
    """Threads read while the writer resizes and reopens the file under them."""
    import threading

    store = opened(tmp_path, map_size=1 << 16)
    drive(store.commit([Write(f"r/{i}", b"v") for i in range(50)]))
    stop, failures = threading.Event(), []

    def read() -> None:
        try:
            while not stop.is_set():
                assert drive(store.get("r/7")) is not None
                assert len(drive(store.scan("r/"))) == 50
                store.stamp()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(8):
        drive(store.commit([Write(f"w{i}", bytes(300000))]))
        with store._file.gate:
            store._file.reopen()
    stop.set()
    for thread in threads:
        thread.join(30)
    assert failures == []
    drive(store.close())


@pytest.mark.parametrize("kind", ["lmdb", "file"])
def test_four_processes_count(tmp_path: Path, kind: str) -> None:
    times = 100
    started = [processes.start(processes.COUNT, kind, str(tmp_path / "s"), str(times)) for _ in range(4)]
    processes.together(started)
    import importlib

    store = importlib.import_module(f"strongroom.storage.{kind}").open_store({"path": str(tmp_path / "s")})
    assert drive(store.get("n")).value == b"%d" % (4 * times)
    drive(store.close())


def test_a_killed_writer_leaves_the_lock(tmp_path: Path) -> None:
    store = opened(tmp_path)
    process = processes.start(processes.COUNT, "lmdb", str(tmp_path / "s"), "1000000")
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.readline()
    process.stdin.write("go\n")
    process.stdin.flush()
    stamp = store.stamp()
    while store.stamp() == stamp:
        os.sched_yield()
    process.kill()
    process.communicate(timeout=30)
    drive(store.commit([Write("after", b"1")]))
    drive(store.close())
    store = opened(tmp_path)
    assert store._file.env.reader_check() == 0  # open cleared the slots of the dead
    drive(store.close())


def test_revisions_go_on_after_a_compacted_copy(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for _ in range(30):
        drive(store.commit([Write("a", b"1")]))
    before = drive(store.get("a"))
    (tmp_path / "t").mkdir(mode=0o700)
    store._file.env.copy(str(tmp_path / "t"), compact=True)
    drive(store.close())
    copy = lmdb.open_store({"path": str(tmp_path / "t")})
    drive(copy.commit([Write("a", b"2")]))
    after = drive(copy.get("a"))
    assert before is not None
    assert after is not None
    assert after.revision > before.revision
    drive(copy.close())


def test_nothing_is_left_of_long_keys(tmp_path: Path) -> None:
    store = opened(tmp_path)
    keys = ["k" * n for n in (480, 481, 960, 961, 2000, 4096)] + ["k" * 960 + "x" * n for n in (1, 500)]
    empty = records(store)
    drive(store.commit([Write(key, b"1") for key in keys]))
    assert max(map(len, records(store))) <= 511
    assert len(records(store)) > len(empty) + len(keys)
    for key in keys:
        drive(store.commit([Write(key, None)]))
    assert records(store) == empty
    drive(store.close())


def test_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = lmdb.open_store({"path": str(tmp_path / "a" / "s")})
        drive(store.commit([Write("a", b"1")]))
        drive(store.close())
    finally:
        os.umask(before)
    for path in [tmp_path / "a", *(tmp_path / "a").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert sorted(p.name for p in (tmp_path / "a" / "s").iterdir()) == ["data.mdb", "lock.mdb"]
