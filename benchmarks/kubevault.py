"""``kubevault generate`` and ``can-read``: time and memory, beside the original program where it is installed.

    python -m benchmarks.kubevault [--small]

10,000 secrets and 100 users with five rules each, then ten times as many secrets; each run is a process of its own.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

from benchmarks.figures import Figure, Options, main, mebibytes, microseconds, turns

USERS, RULES = 100, 5
GENERATE, MEMORY, READ, START, LINEAR = 1.0, 150 << 20, 0.4, 0.15, 12.0
ORIGINAL_MISSING = "the original is not installed: `cargo install kubevault --locked`, or KUBEVAULT_ORIGINAL=PROGRAM"
_TEAMS = ("billing", "platform", "search", "mail", "identity", "web", "data", "mobile", "support", "legal")


class Taken(NamedTuple):
    seconds: float
    memory: float  # bytes


def original() -> str:
    """The original's program, or the empty string. On PATH the name may be ours."""
    places = os.path.expanduser("~/.cargo/bin")
    return os.environ.get("KUBEVAULT_ORIGINAL") or shutil.which("kubevault", path=places) or ""


def ours() -> list[str]:
    """This environment's program."""
    return [os.path.join(os.path.dirname(sys.executable), "kubevault")]


def make_vault(folder: str, secrets: int) -> str:
    """A vault of ``secrets`` files, three to five values each, in folders as teams have them."""
    pick = random.Random(5)
    for number in range(secrets):
        team = _TEAMS[number % len(_TEAMS)]
        place = os.path.join(
            folder, "kvstore", "prod" if number % 3 else "staging", team, f"service{number // 100:04d}"
        )
        os.makedirs(place, exist_ok=True)
        lines = [f"key{key}: {pick.getrandbits(96):024x}\n" for key in range(pick.randint(3, 5))]
        with open(os.path.join(place, f"secret{number % 100:02d}"), "w") as file:
            file.write("".join(lines))
    os.makedirs(os.path.join(folder, "access_control"))
    for number in range(USERS):
        team = _TEAMS[number % len(_TEAMS)]
        service = f"service{pick.randrange(max(1, secrets // 100)):04d}"
        rules = [
            f"prod/{team}/**",
            f"!prod/{team}/*/secret0[0-4]",
            f"*/*/{service}/*",
            "!**/secret99",
            f"staging/{team}/*/secret1?",
        ]
        with open(os.path.join(folder, "access_control", f"user{number:03d}"), "w") as file:
            file.write("\n".join(rules[:RULES]) + "\n")
    return folder


# A process of its own starts the program: the kernel counts the memory of who starts it as the program's.
_STARTER = """
import os, subprocess, sys, time
begun = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - begun, usage.ru_maxrss * 1024, os.waitstatus_to_exitcode(status))
"""


def taken(command: Sequence[str], vault: str) -> Taken:
    """Run a command once: how long it took, and the most memory it had."""
    environment = {**os.environ, "KUBEVAULT_DIR": vault, "NO_COLOR": "1"}
    starter = [sys.executable, "-c", _STARTER, *command]
    told = subprocess.run(starter, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout.split()
    if int(told[2]):
        raise RuntimeError(f"{command[0]} {command[1]} ended with {told[2]}")
    return Taken(float(told[0]), float(told[1]))


class _Side:
    """One program, with what each of its runs took."""

    def __init__(self, program: list[str], words: Sequence[str], vault: str, *, folder: str = "") -> None:
        self.command, self.vault, self.folder = [*program, *words], vault, folder
        self.memory: list[float] = []

    def __call__(self) -> float:
        if not self.folder:
            run = taken(self.command, self.vault)
        else:
            with tempfile.TemporaryDirectory(dir=self.folder) as place:
                run = taken([*self.command, "--output-dir", place], self.vault)
        self.memory.append(run.memory)
        return run.seconds

    @property
    def most(self) -> float:
        return max(self.memory)


def run(options: Options) -> list[Figure]:
    """All figures. A program's start is measured beside a bare interpreter's."""
    few, many = (200, 2000) if options.small else (10_000, 100_000)
    with tempfile.TemporaryDirectory(dir=options.folder or None) as folder:
        small = make_vault(os.path.join(folder, "small"), few)
        large = make_vault(os.path.join(folder, "large"), many)
        figures = _beside(options.rounds, small, few, folder)
        figures += _linear(min(options.rounds, 3), small, large, few, many)
    return figures + _starts(options.rounds)


def _beside(rounds: int, vault: str, count: int, folder: str) -> list[Figure]:
    other = original()
    figures = []
    kinds: list[tuple[str, list[str], str]] = [
        ("generate", ["generate"], ""),
        ("generate into an empty folder", ["generate"], folder),
        ("can-read", ["can-read", "user000"], ""),
    ]
    for what, words, place in kinds:
        sides = [_Side(ours(), words, vault, folder=place)]
        if other:
            sides.append(_Side([other], words, vault, folder=place))
        own, *theirs = turns(rounds, *sides)
        ratio = own / theirs[0] if theirs else None
        beside = f"the original: {microseconds(theirs[0])}, {mebibytes(sides[1].most)}" if theirs else ""
        met, goal = (own <= READ, "under 0.4 s") if words[0] == "can-read" else (None, "at most 1.0")
        if met is None and ratio is not None:
            met = ratio <= GENERATE
        if place:  # mostly the file system's time, and ours puts each file there in one step
            met, goal = None, ""
        figures.append(
            Figure(what=f"kubevault {what}, {count:,} secrets, {USERS} users", ours=microseconds(own), beside=beside,
                   ratio=ratio, goal=goal, met=met, note="" if theirs else ORIGINAL_MISSING)
        )  # fmt: skip
        if words[0] == "generate" and not place:
            most = sides[0].most
            figures.append(
                Figure(what=f"memory of kubevault generate, {count:,} secrets", ours=mebibytes(most),
                       ratio=most / sides[1].most if theirs else None, goal="at most 150 MiB", met=most <= MEMORY,
                       beside=f"the original: {mebibytes(sides[1].most)}" if theirs else "")
            )  # fmt: skip
    return figures


def _linear(rounds: int, small: str, large: str, few: int, many: int) -> list[Figure]:
    figures = []
    for what, words in (("generate", ["generate"]), ("can-read", ["can-read", "user000"])):
        low, high = (_Side(ours(), words, vault) for vault in (small, large))
        short, long = turns(rounds, low, high)
        figures.append(
            Figure(what=f"kubevault {what}, {many:,} secrets", ours=f"{microseconds(long)}, {mebibytes(high.most)}",
                   beside=f"with {few:,}: {microseconds(short)}", ratio=long / short,
                   goal=f"linear: at most {LINEAR:g}", met=long / short <= LINEAR)
        )  # fmt: skip
    return figures


def _starts(rounds: int) -> list[Figure]:
    sides: list[Callable[[], float]] = [
        lambda: taken([*ours(), "--version"], "").seconds,
        lambda: taken([*ours(), "--help"], "").seconds,
        lambda: taken([sys.executable, "-c", ""], "").seconds,
    ]
    version, help_, bare = turns(rounds * 2, *sides)
    return [
        Figure(what=f"kubevault {flag}", ours=microseconds(own), beside=f"a Python interpreter: {microseconds(bare)}",
               ratio=own / bare, goal="under 0.15 s", met=own < START)
        for flag, own in (("--version", version), ("--help", help_))
    ]  # fmt: skip


if __name__ == "__main__":
    main(run, __doc__ or "")
