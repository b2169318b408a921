"""The writer process is killed, or its disk fails, at each write-like call while two processes commit through it."""

import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults import shim, writer_work
from strongroom.server.board import Board
from strongroom.server.control import Channel

WORKERS = 2


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = shim.build(tmp_path_factory.mktemp("shim"))
    if found is None:
        pytest.skip("needs Linux and a C compiler")
    return found


@dataclass
class Run:
    writer: int  # its exit code
    told: list[str]
    calls: int


def ready(channel: Channel) -> bool:
    """Wait until the writer has the store open, or has ended."""
    channel.sock.setblocking(True)
    channel.sock.settimeout(30)
    try:
        return any(message["t"] == "ready" for message, _ in channel.receive())
    except EOFError:
        return False


def run(library: Path, folder: Path, commits: int, at: int = 0, what: str = "KILL", times: int = 1) -> Run:
    path, counter = folder / "store", folder / "counter"
    counter.unlink(missing_ok=True)
    ours, theirs = socket.socketpair()
    board = Board.make(1)
    argv = [sys.executable, "-m", "strongroom.server.writer", "--parent", str(os.getpid())]
    writer = subprocess.Popen(
        [*argv, "--control", str(theirs.fileno()), "--board", str(board.fd)],
        pass_fds=(theirs.fileno(), board.fd),
        env={**os.environ, **shim.environment(library, path, counter, at=at, what=what, times=times)},
        stderr=subprocess.DEVNULL,
    )
    theirs.close()
    channel = Channel(ours)
    channel.send("open", options={"path": str(path), "map_size": 1 << 16})
    opened = ready(channel)
    programs = []
    for which in range(WORKERS):
        link, end = socket.socketpair()
        if opened:
            channel.send("link", [end.fileno()])
        argv = [sys.executable, writer_work.__file__, str(path), str(link.fileno()), str(which), str(commits)]
        programs.append(
            subprocess.Popen(argv, pass_fds=[link.fileno()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        link.close()
        end.close()
    told = []
    for program in programs:
        out, err = program.communicate(timeout=60)
        assert program.returncode == 0, err
        told.append(out)
    channel.close()
    done = Run(writer.wait(30), told, shim.calls(counter))
    board.close()
    return done


def one(library: Path, folder: Path, commits: int, at: int, what: str, times: int = 1) -> Run:
    """One run with a fault, and the check of what it left."""
    done = run(library, folder, commits, at, what, times)
    try:
        writer_work.check(str(folder / "store"), done.told, commits, unsure=what == "KILL" or times != 1)
    except AssertionError as error:
        error.add_note(f"{what} at call {at} of the writer")
        raise
    shutil.rmtree(folder / "store")
    return done


def test_smoke(library: Path, tmp_path: Path) -> None:
    commits = 6
    opening = run(library, tmp_path, 0).calls
    shutil.rmtree(tmp_path / "store")
    whole = run(library, tmp_path, commits)
    assert whole.writer == 0 and whole.calls >= opening + 10, "it is the writer that writes"
    writer_work.check(str(tmp_path / "store"), whole.told, commits, unsure=False)
    shutil.rmtree(tmp_path / "store")
    places = (opening // 2, opening + 3, opening + 8)  # how the rest falls into batches differs from run to run
    outcomes = [one(library, tmp_path, commits, at, "KILL").writer for at in places]
    assert outcomes == [-9, -9, -9], "a fault is a fault"
    assert one(library, tmp_path, commits, opening // 2, "EIO").writer == 1, "it cannot open the store"
    assert one(library, tmp_path, commits, opening + 5, "EIO").writer == 0, "it goes on"


def test_the_check_notices(library: Path, tmp_path: Path) -> None:
    """The control: an acknowledgement of what is not there is found out."""
    commits = 3
    whole = run(library, tmp_path, commits)
    path = str(tmp_path / "store")
    writer_work.check(path, whole.told, commits, unsure=False)
    with pytest.raises(AssertionError, match="lost 0/3"):
        writer_work.check(path, [text + "ok 3\n" for text in whole.told], commits + 1, unsure=True)
    with pytest.raises(AssertionError, match="counted"):
        writer_work.check(path, [text + "counted\n" for text in whole.told], commits, unsure=True)
    with pytest.raises(AssertionError, match="which failed"):
        writer_work.check(path, [text.replace("ok 1", "failed 1") for text in whole.told], commits, unsure=False)


@pytest.mark.faults
@pytest.mark.parametrize("what", ["KILL", "EIO", "ENOSPC"])
def test_every_call(what: str, library: Path, tmp_path: Path) -> None:
    commits = 9
    total = run(library, tmp_path, commits).calls
    shutil.rmtree(tmp_path / "store")
    ended = [one(library, tmp_path, commits, at, what).writer for at in range(1, total + 1)]
    if what == "KILL":
        assert ended.count(-9) >= total // 2
