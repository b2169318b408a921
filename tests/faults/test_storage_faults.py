"""Stores that are killed, run out of space or whose disk fails, at each of their write-like calls."""

import shutil
import sys
from pathlib import Path

import pytest

from faults import shim, storage_work

KINDS = ("lmdb", "file")
COMMITS = {"lmdb": 12, "file": 4}
Case = tuple[str, int, str, int]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = shim.build(tmp_path_factory.mktemp("shim"))
    if found is None:
        pytest.skip("needs Linux and a C compiler")
    return found


def argv(kind: str, path: Path, commits: int) -> list[str]:
    return [sys.executable, storage_work.__file__, kind, str(path), str(commits)]


def one(kind: str, library: Path, folder: Path, at: int, what: str, times: int, commits: int) -> shim.Outcome:
    """One run with a fault, and the check of what it left."""
    path = folder / "store"
    done = shim.run(argv(kind, path, commits), library, path, at=at, what=what, times=times)
    if what != "KILL":
        assert done.returncode == 0, done.stderr
    storage_work.check(kind, str(path), done.stdout, commits, unsure=times != 1)
    shutil.rmtree(path, ignore_errors=True)
    return done


@pytest.mark.parametrize("kind", KINDS)
def test_the_shim_counts(kind: str, library: Path, tmp_path: Path) -> None:
    done = shim.run(argv(kind, tmp_path / "store", 3), library, tmp_path, log=True)
    assert done.stdout == "ok 0\nok 1\nok 2\n"
    names = {line.split()[1] for line in done.log}
    assert done.calls == len(done.log) >= 12
    assert names & {"fdatasync", "fsync"}
    assert names & {"pwrite", "pwrite64", "pwritev", "pwritev64", "writev", "write"}
    # The control: a fault is a fault.
    killed = shim.run(argv(kind, tmp_path / "other", 3), library, tmp_path, at=done.calls // 2, what="KILL")
    assert killed.returncode == -9
    assert killed.stdout != done.stdout
    storage_work.check(kind, str(tmp_path / "other"), killed.stdout, 3)
    with pytest.raises(AssertionError):
        storage_work.check(kind, str(tmp_path / "other"), done.stdout, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_smoke(kind: str, library: Path, tmp_path: Path) -> None:
    commits = 3
    total = shim.run(argv(kind, tmp_path / "store", commits), library, tmp_path).calls
    shutil.rmtree(tmp_path / "store")
    step = max(1, total // 6)
    for number, at in enumerate(range(2, total, step)):
        one(kind, library, tmp_path, at, ("KILL", "EIO", "ENOSPC", "KILL", "SHORT", "KILL")[number % 6], 1, commits)


@pytest.mark.faults
@pytest.mark.parametrize("times", [1, 3, 0])
@pytest.mark.parametrize("what", shim.WHATS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_call(kind: str, what: str, times: int, library: Path, tmp_path: Path) -> None:
    if what == "KILL" and times != 1:
        pytest.skip("one kill is enough")
    commits = COMMITS[kind]
    total = shim.run(argv(kind, tmp_path / "store", commits), library, tmp_path).calls
    shutil.rmtree(tmp_path / "store")
    served = 0
    for at in range(1, total + 1, 1 if times == 1 else 3):
        done = one(kind, library, tmp_path, at, what, times, commits)
        served += done.stdout.splitlines()[-1:] == [f"ok {commits - 1}"]
    if what != "KILL" and times == 1:
        # A single fault is over at once: the service goes on without a restart.
        assert served >= total // 2, f"{served} of {total}"
