"""What a benchmark gives: figures, each beside something else that was run in turns with it, and how they are shown."""

import argparse
import os
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence

import msgspec


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How much is to be run."""

    small: bool = False  # a smoke run: everything works, the figures mean little
    rounds: int = 5  # turns of each side; the median counts
    seconds: float = 5.0  # of load in each turn
    peer: str = ""  # RustyVault's program; "" = not installed
    wrk: str = ""  # the load generator; "" = not installed
    folder: str = ""  # where stores are made; "" = the temporary folder


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table."""

    what: str
    ours: str
    beside: str = ""  # what it is compared with, and its value
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None
    note: str = ""  # printed below the table: why it misses, where the time goes


Run = Callable[[Options], list[Figure]]

PEER_MISSING = "RustyVault is not installed: `cargo install rusty_vault --root ~/.local`, or give --peer PROGRAM"
WRK_MISSING = "wrk is not installed: `apt-get install wrk`, or give --wrk PROGRAM"


def skipped(what: str, why: str) -> Figure:
    """A line for what could not be run."""
    return Figure(what=what, ours="skipped", note=why)


def turns(rounds: int, *sides: Callable[[], float]) -> list[float]:
    """The median of each side; they take turns (A B A B ...), so that a slow minute of the machine hits all."""
    taken: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for results, side in zip(taken, sides, strict=True):
            results.append(side())
    return [statistics.median(results) for results in taken]


def microseconds(value: float) -> str:
    """Seconds, shown as microseconds, milliseconds or seconds."""
    if value < 1e-3:
        return f"{value * 1e6:.1f} us"
    return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"


def rate(value: float) -> str:
    return f"{value:,.0f}/s"


def mebibytes(value: float) -> str:
    return f"{value / 2**20:.1f} MiB"


def table(figures: Sequence[Figure]) -> str:
    """A table in Markdown, with the notes below."""
    lines = ["| what | ours | beside | ratio | goal | |", "|---|---|---|---|---|---|"]
    for f in figures:
        ratio = "" if f.ratio is None else f"{f.ratio:.2f}"
        verdict = "" if f.met is None else "met" if f.met else "**missed**"
        lines.append(f"| {f.what} | {f.ours} | {f.beside} | {ratio} | {f.goal} | {verdict} |")
    notes = [f"* {f.what}: {f.note}" for f in figures if f.note]
    return "\n".join([*lines, "", *notes] if notes else lines) + "\n"


def parser(description: str) -> argparse.ArgumentParser:
    """The flags that all benchmarks share."""
    made = argparse.ArgumentParser(description=description.splitlines()[0])
    made.add_argument("--small", action="store_true", help="a quick run that only shows that everything works")
    made.add_argument("--rounds", type=int, default=0, help="turns of each side (5)")
    made.add_argument("--seconds", type=float, default=0, help="seconds of load in each turn (5)")
    made.add_argument("--peer", default="", help="RustyVault's program (rvault)")
    made.add_argument("--wrk", default="", help="the load generator (wrk)")
    made.add_argument("--folder", default="", help="where the stores are made")
    return made


def options(args: argparse.Namespace) -> Options:
    """Options from the flags, with what is installed."""
    places = os.pathsep.join([os.environ.get("PATH", ""), *map(os.path.expanduser, ("~/.local/bin", "~/.cargo/bin"))])
    return Options(
        small=args.small,
        rounds=args.rounds or (2 if args.small else 5),
        seconds=args.seconds or (0.5 if args.small else 5.0),
        peer=shutil.which(args.peer or "rvault", path=places) or "",
        wrk=shutil.which(args.wrk or "wrk", path=places) or "",
        folder=args.folder,
    )


def machine() -> str:
    """What the figures were taken on, in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0]
    quiet = "" if load < 0.5 else " (busy: other work distorts the figures)"
    return f"{cores} cores, Python {sys.version.split()[0]}, load average {load:.1f} at the start{quiet}"


def main(run: Run, description: str) -> None:
    """Run one benchmark by itself."""
    args = parser(description).parse_args()
    print(machine())
    print(table(run(options(args))), end="")
