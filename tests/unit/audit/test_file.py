"""The file sink: whole lines or none, room for responses, rotation, fsync."""

import asyncio
import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.audit_contract import AuditSinkContract
from strongroom.audit import file
from strongroom.audit.file import FileSink, open_sink, target_of
from strongroom.audit.room import IDLE, PAGE, Room
from strongroom.audit.stdout import StdoutSink
from strongroom.errors import AuditFailed, BadRequest


class FilePlace:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, monkeypatch
        self.target = folder / "audit.log"

    def open(self) -> FileSink:
        sink = open_sink({"file_path": str(self.target)}, audit_dir=str(self.folder))
        assert isinstance(sink, FileSink)
        return sink

    def lines(self) -> list[bytes]:
        return self.target.read_bytes().splitlines(keepends=True)

    def break_(self) -> None:
        self.patch.setattr(file.os, "write", _full)

    def mend(self) -> None:
        self.patch.undo()


def _full(fd: int, data: bytes) -> int:
    raise OSError(errno.ENOSPC, "full")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FilePlace:
    return FilePlace(tmp_path, monkeypatch)


class TestContract(AuditSinkContract):
    @pytest.fixture
    def place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FilePlace:
        return FilePlace(tmp_path, monkeypatch)


@pytest.fixture
def short_writes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Each number in the list is how many bytes the next write takes (-1: the disk is full); then all."""
    plan: list[int] = []
    real = os.write

    def write(fd: int, data: bytes) -> int:
        if not plan:
            return real(fd, data)
        size = plan.pop(0)
        if size < 0:
            raise OSError(errno.ENOSPC, "full")
        return real(fd, data[:size])

    monkeypatch.setattr(file.os, "write", write)
    return plan  # type: ignore[return-value]


def test_a_short_write_is_cut_back(place: FilePlace, short_writes: list[int]) -> None:
    sink = place.open()
    sink.request(b"whole\n")
    short_writes.append(3)
    with pytest.raises(AuditFailed):
        sink.response(b"half a line\n")
    assert place.target.read_bytes() == b"whole\n"


def test_half_a_line_before_a_line_of_others_is_blanked(place: FilePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    sink, other = place.open(), place.open()
    real = os.write

    def write(fd: int, data: bytes) -> int:
        monkeypatch.setattr(file.os, "write", real)
        taken = real(fd, data[:5])
        other.request(b"other\n")  # between our short write and our repair
        return taken

    sink.request(b"first\n")
    monkeypatch.setattr(file.os, "write", write)
    with pytest.raises(AuditFailed):
        sink.response(b"secret half\n")
    assert place.lines() == [b"first\n", b"    \n", b"other\n"]
    sink.request(b"next\n")
    assert place.lines()[-1] == b"next\n", "the sink must append again after the repair"


def test_a_strangers_lock_is_not_waited_for(place: FilePlace, short_writes: list[int]) -> None:
    import fcntl

    sink = place.open()
    with open(place.target) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        short_writes.append(4)
        with pytest.raises(AuditFailed):
            sink.request(b"half a line\n")
    assert place.target.read_bytes() == b"   \n"


def test_after_a_failed_response_no_request_without_room(place: FilePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = place.open()
    sink.request(b"1\n")
    place.break_()
    with pytest.raises(AuditFailed):
        sink.response(b"2\n")
    monkeypatch.undo()
    asked: list[int] = []

    def no_room(self: Room, size: int) -> None:
        asked.append(size)
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Room, "hold", no_room)
    for _ in range(3):  # the disk would take this line, but not the answer's
        with pytest.raises(AuditFailed):
            sink.request(b"x" * 3000 + b"\n")
    assert place.lines() == [b"1\n"]
    assert asked == [6002] * 3, "twice the request record"
    with pytest.raises(AuditFailed):
        sink.request(b"x\n")
    monkeypatch.undo()
    sink.request(b"3\n")
    sink.response(b"4\n")
    assert place.lines() == [b"1\n", b"3\n", b"4\n"]


def test_the_good_path_is_one_system_call(place: FilePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = place.open()
    monkeypatch.setattr(Room, "hold", lambda self, size: pytest.fail("no room is held for one call at a time"))
    for _ in range(3):
        sink.request(b"1\n")
        sink.response(b"2\n")
    assert len(place.lines()) == 6


def test_room_for_every_call_in_flight(place: FilePlace) -> None:
    sink = place.open()
    held = []
    for _ in range(4):
        sink.request(b"x" * 3000 + b"\n")
        held.append(sink._room.held)
    assert held[0] == 0
    assert held[3] >= 4 * 6002
    for _ in range(4):
        sink.response(b"2\n")
    assert 0 < sink._room.held <= IDLE, "kept for the next busy moment"


def test_held_room_is_given_for_the_responses_owed(place: FilePlace, short_writes: list[int]) -> None:
    sink = place.open()
    sink.request(b"1\n")
    sink.request(b"2\n")
    before = sink._room.held
    assert before == 2 * PAGE
    short_writes += [-1, 2]  # full, then short, then fine: two pieces of the room are given
    sink.response(b"answer\n")
    assert place.lines() == [b"1\n", b"2\n", b"answer\n"]
    assert sink._room.held == 0
    short_writes.append(-1)
    with pytest.raises(AuditFailed):
        sink.response(b"no room left to give\n")


def test_several_records_at_once_take_the_room_that_is_held_for_them(place: FilePlace, short_writes: list[int]) -> None:
    sink = place.open()
    for n in range(4):
        sink.request(b"%d\n" % n)
    assert sink._room.held == 4 * PAGE
    short_writes += [-1, 9]  # full, then short, then fine: the room of all three is given at once
    sink.several(b"read\nread\n" + b"answer\n" * 3, 3)
    assert place.lines()[4:] == [b"read\n"] * 2 + [b"answer\n"] * 3
    assert sink._open == 1 and sink._room.held == 0
    short_writes += [-1]
    with pytest.raises(AuditFailed):
        sink.several(b"answer\n", 1)
    assert sink._open == 1, "it is still owed: each record is handed over by itself now"
    sink.response(b"answer\n")
    assert sink._open == 0


_LIMITED = """
import resource, sys
from strongroom.audit.file import open_sink
from strongroom.errors import AuditFailed
sink = open_sink({"file_path": "a.log"}, audit_dir=sys.argv[1])
sink.request(b"1\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
for record, line in ((sink.response, b"y" * 100), (sink.request, b"2"), (sink.request, b"3")):
    try:
        record(line + b"\\n")
        print("taken")
    except AuditFailed:
        print("refused")
"""


def test_a_file_size_limit_counts_as_no_room(tmp_path: Path) -> None:
    """In a process of its own, because limits are a process's."""
    done = subprocess.run([sys.executable, "-c", _LIMITED, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["refused"] * 3, done.stderr
    assert (tmp_path / "a.log").read_bytes() == b"1\n"


_APPENDING = """
import sys
from strongroom.audit.file import open_sink
folder, name = sys.argv[1:]
sink = open_sink({"file_path": "shared.log"}, audit_dir=folder)
line = lambda n: b'{"time":%b %d ' % (name.encode(), n) + b"x" * (n % 700) + b"\\n"
for n in range(0, 1000, 2):
    sink.request(line(n))
    sink.response(line(n + 1))
"""


def test_two_processes_tear_no_line(tmp_path: Path) -> None:
    children = [subprocess.Popen([sys.executable, "-c", _APPENDING, str(tmp_path), name]) for name in ("a", "b")]
    for child in children:
        assert child.wait(60) == 0
    # An opener that saw the other's line half-way begins on a line of its own: an empty line, which readers skip.
    lines = [line for line in (tmp_path / "shared.log").read_bytes().splitlines() if line]
    assert len(lines) == 2000
    for name in (b"a", b"b"):
        mine = [line for line in lines if line.startswith(b'{"time":' + name)]
        assert mine == [b'{"time":%b %d ' % (name, n) + b"x" * (n % 700) for n in range(1000)]


def test_half_a_line_of_a_killed_writer_ends_where_ours_begins(place: FilePlace) -> None:
    place.target.write_bytes(b'{"time":1}\n{"ha')
    place.target.chmod(0o600)
    sink = place.open()
    sink.request(b'{"ours":1}\n')
    assert place.lines() == [b'{"time":1}\n', b'{"ha\n', b'{"ours":1}\n']


def test_rotation(place: FilePlace) -> None:
    sink = place.open()
    sink.request(b"1\n")
    old = place.folder / "audit.log.1"
    place.target.rename(old)
    sink.response(b"2\n")
    sink.reopen()
    sink.request(b"3\n")
    assert old.read_bytes() == b"1\n2\n"
    assert place.lines() == [b"3\n"]
    assert stat.S_IMODE(place.target.stat().st_mode) == 0o600


def test_a_failed_reopen_keeps_the_old_file(place: FilePlace) -> None:
    sink = place.open()
    place.target.rename(place.folder / "old")
    place.target.symlink_to(place.folder / "elsewhere")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(AuditFailed):
        sink.reopen()
    assert len(os.listdir("/proc/self/fd")) == before
    sink.request(b"1\n")
    assert (place.folder / "old").read_bytes() == b"1\n"
    assert not (place.folder / "elsewhere").exists()


def test_close_gives_every_descriptor_back(place: FilePlace) -> None:
    before = len(os.listdir("/proc/self/fd"))
    sink = place.open()
    sink.request(b"1\n")
    sink.request(b"2\n")
    sink.close()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_waiters_share_an_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    go = threading.Event()

    def fdatasync(fd: int) -> None:
        go.wait(10)
        calls.append(fd)

    monkeypatch.setattr(file.os, "fdatasync", fdatasync)
    sink = open_sink({"file_path": "a", "fsync": "true"}, audit_dir=str(tmp_path), offload=asyncio.to_thread)
    waiters = []
    for n in range(8):
        sink.request(b"%d\n" % n)
        waiters.append(asyncio.ensure_future(sink.sync()))
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*waiters)
    assert 1 <= len(calls) <= 2


async def test_a_failed_fsync_is_a_refusal_for_everybody_it_covered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = open_sink({"file_path": "a", "fsync": "1"}, audit_dir=str(tmp_path))

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "disk")

    sink.request(b"1\n")
    monkeypatch.setattr(file.os, "fdatasync", broken)
    with pytest.raises(AuditFailed):
        await sink.sync()
    monkeypatch.undo()
    with pytest.raises(AuditFailed):
        await sink.sync()  # a later success says nothing about the pages that were lost
    sink.response(b"2\n")
    await sink.sync()


async def test_without_fsync_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file.os, "fdatasync", lambda fd: pytest.fail("not asked for"))
    sink = open_sink({"file_path": "a"}, audit_dir=str(tmp_path))
    sink.request(b"1\n")
    await sink.sync()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"file_path": ""},
        {"file_path": "a", "prefix": "#!/bin/sh"},
        {"file_path": "a", "format": "jsonx"},
        {"file_path": "a", "mode": "rwx"},
        {"file_path": "a", "mode": "0o600"},
        {"file_path": "a", "mode": "0899"},
        {"file_path": "a", "fsync": "perhaps"},
        {"file_path": "a", "path": "b"},
        {"file_path": "a", "nonsense": "1"},
    ],
)
def test_bad_options(options: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        target_of(options)


def test_good_options() -> None:
    assert (
        target_of({"path": "a"}) == target_of({"file_path": "a"}) == target_of({"file_path": "a", "path": "a"}) == "a"
    )
    assert target_of({"file_path": "a", "mode": "0777", "format": "json", "prefix": "", "log_raw": "false"}) == "a"


def test_stdout_is_a_sink_of_its_own(tmp_path: Path) -> None:
    sink = open_sink({"file_path": "stdout"}, audit_dir=str(tmp_path))
    assert isinstance(sink, StdoutSink)
    sink.close()


def test_room_without_unnamed_files_and_without_fallocate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    folder = os.open(tmp_path, os.O_RDONLY)
    room = Room(folder)
    room.hold(5000)
    assert room.held == 2 * PAGE
    assert os.fstat(room._fd).st_size == 2 * PAGE
    assert list(tmp_path.iterdir()) == []
    room.give(1)
    assert room.held == PAGE
    room.close()
    os.close(folder)
