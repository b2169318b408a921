"""A disk that is really full: no half line, no unanswered effect beyond the first, and then service again."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.audit.file import open_sink
from strongroom.errors import AuditFailed

pytestmark = pytest.mark.faults


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own: 256 KiB of memory, or 2 MiB of ext4 in a file."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    where = tmp_path / "disk"
    where.mkdir()
    if request.param == "tmpfs":
        mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(where)]
    else:
        image = tmp_path / "image"
        image.write_bytes(bytes(2 * 1024 * 1024))
        made = subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", "-m", "0", str(image)], capture_output=True)
        if made.returncode:
            pytest.skip("no ext4 here")
        mount = ["mount", "-o", "loop", str(image), str(where)]
    done = subprocess.run(mount, capture_output=True)
    if done.returncode:
        pytest.skip(f"no permission to mount {request.param}")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)  # lazily: a failed test may hold a file open


def _fill(disk: Path, leave: int) -> Path:
    """A file that takes all room but about ``leave`` bytes."""
    filler = disk / "filler"
    fd = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(fd, bytes(4096))
    except OSError:
        pass
    os.ftruncate(fd, max(0, os.fstat(fd).st_size - leave))
    os.close(fd)
    return filler


def _whole_lines(path: Path) -> list[dict[str, int]]:
    raw = path.read_bytes()
    assert raw.endswith(b"\n")
    return [json.loads(line) for line in raw.splitlines() if line.strip()]


@pytest.mark.parametrize("in_flight", [1, 8])
def test_at_most_one_effect_stands_unanswered(disk: Path, in_flight: int) -> None:
    chance = random.Random(in_flight)
    sink = open_sink({"file_path": "audit.log"}, audit_dir=str(disk))
    filler = _fill(disk, 40_000)
    for _episode in range(3):
        effects = answers = 0
        open_calls: list[int] = []
        for number in range(600):
            size = chance.randrange(50, 1500)
            try:
                sink.request(b'{"n":%d,"x":"%b"}\n' % (number, b"r" * size))
                effects += 1
                open_calls.append(size)
            except AuditFailed:
                pass
            while open_calls and (len(open_calls) >= in_flight or chance.random() < 0.3):
                try:
                    sink.response(b'{"n":%d,"x":"%b"}\n' % (number, b"a" * open_calls.pop(0)))
                    answers += 1
                except AuditFailed:
                    pass
        assert effects > 5
        assert effects - answers - len(open_calls) <= 1
        for size in open_calls:
            sink.response(b'{"x":"%b"}\n' % (b"a" * size))
        with pytest.raises(AuditFailed):
            sink.request(b'{"x":"%b"}\n' % (b"r" * 1000))
        _whole_lines(disk / "audit.log")
        os.truncate(filler, max(0, filler.stat().st_size - 24_000))
    filler.unlink()
    sink.request(b'{"end":1}\n')
    sink.response(b'{"end":2}\n')
    assert _whole_lines(disk / "audit.log")[-1] == {"end": 2}


_WRITER = """
import sys
from strongroom.audit.file import open_sink
from strongroom.errors import AuditFailed
folder, name = sys.argv[1:]
sink = open_sink({"file_path": "audit.log"}, audit_dir=folder)
taken = lost = 0
for n in range(3000):
    try:
        sink.request(b'{"time":0,"%b":%d,"x":"%b"}\\n' % (name.encode(), n, b"r" * (n % 900)))
    except AuditFailed:
        continue
    taken += 1
    try:
        sink.response(b'{"time":0,"%b":%d,"x":"%b"}\\n' % (name.encode(), n, b"a" * (n % 900)))
        taken += 1
    except AuditFailed:
        lost += 1
print(taken, lost)
"""


def test_two_processes_on_a_full_disk_lose_no_line(disk: Path) -> None:
    (disk / "audit.log").touch(0o600)
    _fill(disk, 60_000)
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(disk), name], stdout=subprocess.PIPE, text=True)
        for name in ("a", "b")
    ]
    results = {name: writer.communicate(timeout=120)[0].split() for name, writer in zip("ab", writers, strict=True)}
    lines = _whole_lines(disk / "audit.log")
    for name, (taken, lost) in results.items():
        assert sum(name in line for line in lines) == int(taken) > 0
        assert int(lost) <= 1
