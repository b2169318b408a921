"""Cuts the power of a recorded program: at every moment, in several ways, and has somebody look at what is left.

    recorder = build(folder)                              compile once; None where that cannot be done
    run = record(argv, recorder, prefix)                  the program runs once, to its end
    outcome = look(cuts(run, ways=4), folder, check)      ``check(folder, told)`` after each cut

The program is run once; what a power cut leaves is built from its record by ``disk_model``, without a device, a mount
or root. ``prefix`` has to exist: what lies there beforehand is taken to be on disk.
"""

import copy
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faults import shim
from faults.disk_model import PAGE, SECTOR, Choice, Disk, Record, Tree, read_log, write_to

SOURCE = Path(__file__).with_name("recorder.c")
Check = Callable[[Path, str], None]  # the folder found, what was told; raises whatever it likes


def build(folder: Path) -> Path | None:
    """Compile the recorder into ``folder``; its path, or None without Linux and a C compiler."""
    return shim.build(folder, SOURCE)


@dataclass(frozen=True)
class Run:
    """A program that ran. ``before``: the disk before its first call."""

    before: Disk
    records: list[Record]
    returncode: int
    stderr: str

    def after(self) -> Disk:
        """The disk after its last call."""
        disk = copy.deepcopy(self.before)
        for record in self.records:
            disk.do(record)
        return disk


@dataclass(frozen=True)
class Cut:
    """One state that may be found. ``calls`` were made before the power went; ``seed`` decided what was left."""

    calls: int
    seed: int
    told: str
    tree: Tree


@dataclass
class Outcome:
    """How many cuts were looked at, and those after which something was wrong, with what."""

    cuts: int = 0
    wrong: list[tuple[Cut, Exception]] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{cut.calls} calls, seed {cut.seed}: {error!r}"[:400] for cut, error in self.wrong[:5]]
        return f"{len(self.wrong)} of {self.cuts} cuts\n" + "\n".join(lines)


def record(
    argv: Sequence[str],
    recorder: Path,
    prefix: Path,
    *,
    env: Mapping[str, str] | None = None,
    spoiler: Path | None = None,
    at: int = 0,
    what: str = "KILL",
    earlier: Run | None = None,
) -> Run:
    """Run ``argv`` and record what it does below ``prefix``.

    ``spoiler``: shim.c as well, to kill the program or fail its call ``at``. ``earlier``: a program that ran before and
    left the prefix as it is; nothing that it did not flush itself has reached the disk since.
    """
    with tempfile.TemporaryDirectory() as folder:
        log, counter = Path(folder, "log"), Path(folder, "counter")
        log.touch()
        variables = {**(os.environ if env is None else env)}
        if spoiler is not None:
            variables |= shim.environment(spoiler, prefix, counter, at=at, what=what)
        libraries = " ".join(str(library) for library in (recorder, spoiler) if library is not None)
        variables |= {"LD_PRELOAD": libraries, "PC_PREFIX": str(prefix), "PC_LOG": str(log)}
        before = Disk(prefix) if earlier is None else earlier.before
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=variables, check=False)
        records = [*([] if earlier is None else earlier.records), *read_log(log)]
        return Run(before, records, done.returncode, done.stderr)


def cuts(
    run: Run, *, ways: int, step: int = 1, first: int = 0, grains: Sequence[int] = (SECTOR, PAGE)
) -> Iterator[Cut]:
    """A cut before every ``step``-th call and after the last one, each in ``ways`` ways.

    The first two ways are that nothing of the uncertain is there and that all of it is; the others are mixtures
    of blocks of one of the ``grains``.
    """
    disk = copy.deepcopy(run.before)
    for calls, under_way in enumerate([*run.records, None]):
        if calls >= first and ((calls - first) % step == 0 or under_way is None):
            for way in range(ways):
                seed = way if way < 2 else 2 + calls * ways + way
                yield Cut(calls, seed, disk.told, disk.lose_power(Choice(seed, grains), under_way))
        if under_way is not None:
            disk.do(under_way)


def look(found: Iterable[Cut], folder: Path, check: Check) -> Outcome:
    """Lay out each cut below ``folder`` and check it. A check that raises has found something wrong."""
    outcome = Outcome()
    place = folder / "found"
    for cut in found:
        write_to(place, cut.tree)
        try:
            check(place, cut.told)
        except Exception as error:
            outcome.wrong.append((cut, error))
        outcome.cuts += 1
        shutil.rmtree(place)
    return outcome
