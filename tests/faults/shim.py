"""Runs a program under the storage shim (shim.c): count its write-like calls, kill it or fail it at one of them.

    shim.build(folder)                                  compile once; None where that cannot be done
    shim.run(argv, library, prefix)                     how many calls are there?
    shim.run(argv, library, prefix, at=7, what="KILL")  SIGKILL before the seventh

The counter is shared by all processes of the program, so a server with its workers is one program.
"""

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
WHATS = ("KILL", "EIO", "ENOSPC", "SHORT")


@dataclass(frozen=True)
class Outcome:
    """How a run ended. ``calls`` is the number of write-like calls it made under the prefix."""

    returncode: int
    stdout: str
    stderr: str
    calls: int
    log: list[str]


def build(folder: Path, source: Path = SOURCE) -> Path | None:
    """Compile the shim (or another preloaded ``source``) into ``folder``; its path, or None without Linux and a C
    compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = folder / f"{source.stem}.so"
    if not library.exists():
        command = [compiler, "-O1", "-Wall", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
    return library


def environment(
    library: Path, prefix: Path | str, counter: Path, *, at: int = 0, what: str = "KILL", times: int = 1
) -> dict[str, str]:
    """The variables that put a program under the shim (for programs that are started in another way)."""
    return {
        "LD_PRELOAD": str(library),
        "FI_PREFIX": str(prefix),
        "FI_COUNTER": str(counter),
        "FI_AT": str(at),
        "FI_WHAT": what,
        "FI_TIMES": str(times),
    }


def calls(counter: Path) -> int:
    """What a counter file says."""
    return int(struct.unpack("@l", counter.read_bytes())[0])


def run(
    argv: Sequence[str],
    library: Path,
    prefix: Path | str,
    *,
    at: int = 0,
    what: str = "KILL",
    times: int = 1,
    timeout: float = 60,
    env: Mapping[str, str] | None = None,
    log: bool = False,
) -> Outcome:
    """Run ``argv`` to its end with calls ``at`` to ``at + times - 1`` spoiled (``times=0``: all from ``at``)."""
    with tempfile.TemporaryDirectory() as folder:
        counter, lines = Path(folder, "counter"), Path(folder, "log")
        variables = {**(os.environ if env is None else env)}
        variables |= environment(library, prefix, counter, at=at, what=what, times=times)
        if log:
            variables["FI_LOG"] = str(lines)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, env=variables, check=False)
        found = lines.read_text().splitlines() if log else []
        return Outcome(done.returncode, done.stdout, done.stderr, calls(counter), found)
