"""The power goes at any moment: what was acknowledged is there, nothing half done shows, and everything opens again.

Controls: the same cuts lose what was written without flushes; and a record replayed whole gives what the program left.
"""

import itertools
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import audit_work, power_cut, shim, storage_work
from faults.disk_model import PAGE, Choice, Tree
from faults.test_migrate_faults import PROGRAM, UNFINISHED, WAYS, entries, prepare
from strongroom.errors import BadRequest
from strongroom.storage.completion import drive
from strongroom.storage.migrate import copy

KINDS = ("lmdb", "file")
TESTS = str(Path(__file__).parents[1])
MEMORY = Path("/dev/shm")  # thousands of stores are opened: none of them needs a disk
_cuts: dict[str, int] = {}


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = power_cut.build(tmp_path_factory.mktemp("recorder"))
    if found is None:
        pytest.skip("needs Linux and a C compiler")
    return found


@pytest.fixture
def spoiler(recorder: Path) -> Path:
    found = shim.build(recorder.parent)
    assert found is not None
    return found


@pytest.fixture
def room() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module", autouse=True)
def summary() -> Iterator[None]:
    yield
    if _cuts:
        print(f"\npower cuts: {sum(_cuts.values())}: " + ", ".join(f"{what} {n}" for what, n in _cuts.items()))


def fresh(room: Path) -> Path:
    """An empty folder to be recorded."""
    prefix = room / "disk"
    shutil.rmtree(prefix, ignore_errors=True)
    prefix.mkdir(mode=0o700)
    return prefix


def commits(kind: str, prefix: Path, until: int, *more: str, first: int = 0) -> list[str]:
    return [sys.executable, storage_work.__file__, kind, str(prefix / "store"), str(until), str(first), "given", *more]


def run(argv: list[str], recorder: Path, prefix: Path) -> power_cut.Run:
    """A run that ends well."""
    done = power_cut.record(argv, recorder, prefix, env={"PYTHONPATH": TESTS})
    assert done.returncode == 0, done.stderr
    return done


def holds(outcome: power_cut.Outcome, what: str, least: int) -> None:
    _cuts[what] = _cuts.get(what, 0) + outcome.cuts
    assert not outcome.wrong, str(outcome)
    assert outcome.cuts >= least


def last_told(told: str) -> int:
    """The number of the last commit whose outcome was told."""
    return max((int(line.split()[1]) for line in told.splitlines() if line.startswith(("ok", "failed"))), default=-1)


# The method -------------------------------------------------------------------------------------------------------

CALLS = """
import mmap, os, sys
os.chdir(sys.argv[1])
os.mkdir("folder")
with open("folder/a", "wb") as file:
    file.write(b"a" * 5000)
    file.flush()
    file.write(b"b" * 10)
    file.flush()
    os.ftruncate(file.fileno(), 5005)
fd = os.open("folder/b", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
os.writev(fd, [b"one", b"two"])
os.pwritev(fd, [b"three", b"four"], 3)
os.posix_fallocate(fd, 0, 9000)
os.close(fd)
os.link("folder/b", "c")
os.rename("folder/a", "d")
os.mkdir("gone")
os.rmdir("gone")
os.unlink("folder/b")
fd = os.open("d", os.O_RDWR | os.O_TRUNC)
os.write(fd, b"again")
os.ftruncate(fd, 4096)
with mmap.mmap(fd, 4096) as shared:
    shared[2000:2004] = b"mine"
    os.unlink("folder/none") if os.path.exists("folder/none") else os.write(1, b"told")
"""


def whole(folder: Path) -> Tree:
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


def test_a_record_replayed_whole_is_what_the_program_left(recorder: Path, room: Path) -> None:
    programs = [[sys.executable, "-c", CALLS, str(room / "disk")], *(commits(kind, room / "disk", 4) for kind in KINDS)]
    for argv in programs:
        disk = run(argv, recorder, fresh(room)).after()
        assert disk.told
        assert disk.lose_power(Choice(1)) == whole(room / "disk")


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("write('a', b'new'); flush('a')", []),  # the bytes, but no name
        ("write('a', b'new'); flush('.')", [b""]),  # the name, but no bytes
        ("write('a', b'new'); flush('a'); flush('.')", [b"new"]),
        ("write('a', b'new'); flush('.'); write('a', b'more'); flush('a')", [b"more"]),
        ("write('a', b'new', os.O_DSYNC); flush('.')", [b"new"]),
        ("write('a', b'new'); flush('a'); os.rename('a', 'b')", []),
        ("write('b', b'new'); flush('b'); flush('.'); write('a', b'x'); os.rename('a', 'b'); flush('.')", [b""]),
        ("write('a', b'new'); flush('a'); flush('.'); os.unlink('a')", [b"new"]),
        ("os.mkdir('f'); write('f/a', b'new'); flush('f/a'); flush('f')", []),
    ],
)
def test_nothing_is_certain_that_was_not_flushed(program: str, found: list[bytes], recorder: Path, room: Path) -> None:
    words = """
import os, sys
os.chdir(sys.argv[1])
def write(name, data, flags=0):
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | flags, 0o600)
    os.write(fd, data)
    os.close(fd)
def flush(name):
    fd = os.open(name, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
"""
    disk = run([sys.executable, "-c", words + program, str(fresh(room))], recorder, room / "disk").after()
    left = disk.lose_power(Choice(0))
    assert [content for content in left.values() if content is not None] == found


# Stores -----------------------------------------------------------------------------------------------------------


def stores(kind: str, recorder: Path, room: Path, until: int, **how: int) -> power_cut.Outcome:
    done = run(commits(kind, fresh(room), until), recorder, room / "disk")
    assert done.after().told.endswith(f"ok {until - 1}\n")
    return power_cut.look(
        power_cut.cuts(done, **how),
        room,
        lambda found, told: storage_work.check(kind, str(found / "store"), told, until),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_smoke(kind: str, recorder: Path, room: Path) -> None:
    holds(stores(kind, recorder, room, 4, ways=3, step={"lmdb": 1, "file": 4}[kind]), kind, 100)


@pytest.mark.faults
@pytest.mark.parametrize("kind", KINDS)
def test_every_call(kind: str, recorder: Path, room: Path) -> None:
    until = {"lmdb": 12, "file": 6}[kind]
    holds(stores(kind, recorder, room, until, ways=12), kind, 1000)


@pytest.mark.parametrize("kind", KINDS)
def test_without_flushes_commits_are_lost(kind: str, recorder: Path, room: Path) -> None:
    done = run(commits(kind, fresh(room), 3, "unsafe"), recorder, room / "disk")
    outcome = power_cut.look(
        power_cut.cuts(done, ways=1), room, lambda found, told: storage_work.check(kind, str(found / "store"), told, 3)
    )
    assert any("lost [0" in str(error) for _, error in outcome.wrong), str(outcome)


def after_a_kill(kind: str, recorder: Path, spoiler: Path, room: Path, at: int) -> power_cut.Outcome | None:
    """Killed before call ``at``, opened again, and then the power goes; None where nothing was left to kill."""
    prefix = fresh(room)
    first = power_cut.record(commits(kind, prefix, 3), recorder, prefix, spoiler=spoiler, at=at)
    if first.returncode == 0:
        return None
    start = last_told(first.after().told) + 2
    second = power_cut.record(commits(kind, prefix, start + 2, first=start), recorder, prefix, earlier=first)
    assert second.returncode == 0, second.stderr

    def check(found: Path, told: str) -> None:
        storage_work.check(kind, str(found / "store"), told, start + 2, under_way=(start - 1, start))

    return power_cut.look(power_cut.cuts(second, ways=3, step=5, first=len(first.records)), room, check)


@pytest.mark.parametrize(
    ("kind", "call", "end"),
    [
        ("lmdb", "mkdir", "/store"),
        ("lmdb", "rename", "/data.mdb"),
        ("file", "mkdir", "/store"),
        ("file", "unlink", "/x/0/deep.entry"),
    ],
)
def test_what_a_killed_process_left_unflushed(
    kind: str, call: str, end: str, recorder: Path, spoiler: Path, room: Path
) -> None:
    """Killed right after a folder or a file got its name, or an entry was deleted: whoever comes next flushes that."""
    prefix = fresh(room)
    log = shim.run(commits(kind, prefix, 3), spoiler, prefix, log=True).log
    at, *_ = [int(line.split()[0]) for line in log if line.split()[1].startswith(call) and line.endswith(end)]
    outcome = after_a_kill(kind, recorder, spoiler, room, at + 1)
    assert outcome is not None
    holds(outcome, f"{kind} after a kill", 10)


@pytest.mark.faults
@pytest.mark.parametrize("kind", KINDS)
def test_after_a_kill_at_every_call(kind: str, recorder: Path, spoiler: Path, room: Path) -> None:
    for at in itertools.count(1):
        outcome = after_a_kill(kind, recorder, spoiler, room, at)
        if outcome is None:
            break
        holds(outcome, f"{kind} after a kill", 1)
    assert at > 20


@pytest.mark.faults
@pytest.mark.parametrize("what", ["EIO", "SHORT"])
@pytest.mark.parametrize("kind", KINDS)
def test_after_a_failed_call(kind: str, what: str, recorder: Path, spoiler: Path, room: Path) -> None:
    """A flush that fails may drop what it was to flush: nothing acknowledged later may rely on that."""

    def check(found: Path, told: str) -> None:
        storage_work.check(kind, str(found / "store"), told, 3, unsure=True)

    prefix = fresh(room)
    calls = shim.run(commits(kind, prefix, 3), spoiler, prefix).calls
    for at in range(2, calls, 2):
        done = power_cut.record(commits(kind, fresh(room), 3), recorder, prefix, spoiler=spoiler, at=at, what=what)
        assert done.returncode == 0, done.stderr
        holds(power_cut.look(power_cut.cuts(done, ways=3, step=7), room, check), f"{kind} after {what}", 1)


TWO_PROCESSES = """
import sys
from strongroom.sdk.storage import Write
from strongroom.storage.completion import drive
from strongroom.storage.file import FileStore
one, other = FileStore(sys.argv[1]), FileStore(sys.argv[1])
drive(one.commit([Write("deep/folder/a", b"1")]))
drive(other.commit([Write("deep/folder/a", None)]))
drive(one.commit([Write("deep/folder/b", b"2")]))
print("ok", flush=True)
drive(one.close())
drive(other.close())
"""


def test_a_folder_that_another_process_removed_is_made_for_good(recorder: Path, room: Path) -> None:
    def check(found: Path, told: str) -> None:
        if told:
            assert list(entries("file", found / "store").items()) == [("deep/folder/b", b"2")]

    done = run([sys.executable, "-c", TWO_PROCESSES, str(fresh(room) / "store")], recorder, room / "disk")
    assert done.after().told == "ok\n"
    holds(power_cut.look(power_cut.cuts(done, ways=6), room, check), "file", 300)


REMADE = """
import sys
from strongroom.sdk.storage import Write
from strongroom.storage.completion import drive
from strongroom.storage.file import FileStore
store = FileStore(sys.argv[1])
if not drive(store.scan("")):
    drive(store.commit([Write("folder/a", b"1")]))
    drive(store.commit([Write("folder/a", None), Write("folder/b", b"2")]))
print(*dict(drive(store.scan(""))), flush=True)
drive(store.close())
"""


def test_a_folder_that_a_killed_process_made_again_stays(recorder: Path, spoiler: Path, room: Path) -> None:
    argv = [sys.executable, "-c", REMADE, str(fresh(room) / "store")]
    log = shim.run(argv, spoiler, room / "disk", log=True).log
    (at,) = [int(line.split()[0]) for line in log if line.endswith("/folder/b.entry")]
    killed = power_cut.record(argv, recorder, fresh(room), spoiler=spoiler, at=at + 1)
    assert killed.returncode == -9
    again = power_cut.record(argv, recorder, room / "disk", earlier=killed)
    assert again.after().told == "folder/b\n", again.stderr

    def check(found: Path, told: str) -> None:
        assert entries("file", found / "store") == {"folder/b": b"2"}

    outcome = power_cut.look(power_cut.cuts(again, ways=6, first=len(killed.records)), room, check)
    holds(outcome, "file after a kill", 50)


# Migration --------------------------------------------------------------------------------------------------------


def copies(way: tuple[str, str], recorder: Path, room: Path, program: str, **how: int) -> power_cut.Outcome:
    """Cuts of a copy into a target below the prefix: it is gone on with, and is whole once that was told."""
    count = prepare(way[0], room / "a")
    wanted = entries(way[0], room / "a")
    argv = [sys.executable, "-c", program, way[0], str(room / "a"), way[1], str(fresh(room) / "b")]
    done = run(argv, recorder, room / "disk")
    assert done.after().told == f"{count}\n"

    def check(found: Path, told: str) -> None:
        if told:
            assert entries(way[1], found / "b") == wanted
            return
        source = storage_work.open_store(way[0], str(room / "a"))
        target = storage_work.open_store(way[1], str(found / "b"))
        try:
            drive(copy(source, target))
        except BadRequest as refused:  # it had ended, and only nobody was told
            assert "not empty" in str(refused)
        finally:
            drive(source.close())
            drive(target.close())
        found_there = entries(way[1], found / "b")
        assert UNFINISHED not in found_there and found_there == wanted

    return power_cut.look(power_cut.cuts(done, **how), room, check)


@pytest.mark.parametrize("way", WAYS)
def test_smoke_of_a_copy(way: tuple[str, str], recorder: Path, room: Path) -> None:
    holds(copies(way, recorder, room, PROGRAM, ways=2, step={"lmdb": 20, "file": 80}[way[1]]), f"copy to {way[1]}", 8)


@pytest.mark.faults
@pytest.mark.parametrize("way", WAYS)
def test_every_call_of_a_copy(way: tuple[str, str], recorder: Path, room: Path) -> None:
    holds(copies(way, recorder, room, PROGRAM, ways=8, step={"lmdb": 1, "file": 8}[way[1]]), f"copy to {way[1]}", 300)


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_without_flushes_is_lost(way: tuple[str, str], recorder: Path, room: Path) -> None:
    unsafe = PROGRAM.replace("open_store(*sys.argv[3:5])", "open_store(*sys.argv[3:5], sync=False)")
    assert unsafe != PROGRAM
    assert copies(way, recorder, room, unsafe, ways=1, step=1000).wrong


# Audit ------------------------------------------------------------------------------------------------------------


def records(fsync: str, recorder: Path, room: Path, requests: int, **how: int) -> power_cut.Outcome:
    argv = [sys.executable, audit_work.__file__, str(fresh(room)), fsync, str(requests)]
    done = run(argv, recorder, room / "disk")
    assert done.after().told.endswith(f"ok {requests - 1}\n")
    # Of a line that lengthens the file in one write, whole pages are missing: a torn sector is not in the file yet.
    return power_cut.look(power_cut.cuts(done, grains=[PAGE], **how), room, audit_work.check)


def test_an_answered_request_has_its_records(recorder: Path, room: Path) -> None:
    holds(records("true", recorder, room, 12, ways=8), "audit", 400)


def test_records_without_fsync_are_lost(recorder: Path, room: Path) -> None:
    assert any("lost" in str(error) for _, error in records("false", recorder, room, 3, ways=2).wrong)
