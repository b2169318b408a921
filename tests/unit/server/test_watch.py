"""Who is found to hang, with a clock in the test's hand."""

import os
from pathlib import Path

import pytest

from strongroom.server.watch import Watch, waits_for_disk

LIMIT = 30.0


class Row:
    """Workers that beat, except those in ``silent``."""

    def __init__(self, *names: str) -> None:
        self.now = 100.0
        self.beats = dict.fromkeys(names, 0)
        self.silent: set[str] = set()
        self.watch: Watch[str] = Watch(lambda: self.now)

    def seconds(self, count: int, limit: float = LIMIT) -> list[tuple[float, str]]:
        """Look once a second; when whom was found, and ended."""
        found = []
        for _ in range(count):
            self.now += 1
            for name in self.beats.keys() - self.silent:
                self.beats[name] += 1
            if (hit := self.watch.look(self.beats, limit)) is not None:
                found.append((self.now, hit[0]))
                self.watch.spare_others(hit[0], limit)
                del self.beats[hit[0]]
        return found


def test_a_silent_worker_is_found_after_the_limit_and_others_are_not() -> None:
    row = Row("a", "b")
    assert row.seconds(100) == []
    row.silent = {"b"}
    assert row.seconds(29) == [] and row.seconds(2) == [(230.0, "b")] and row.seconds(100) == []


def test_a_worker_that_is_late_is_not_found() -> None:
    row = Row("a")
    for _ in range(5):
        row.silent = {"a"}
        assert row.seconds(28) == []
        row.silent = set()
        assert row.seconds(1) == []


def test_no_limit() -> None:
    row = Row("a")
    row.silent = {"a"}
    assert row.seconds(1000, limit=0) == []


@pytest.mark.parametrize("gap", [4.0, 31.0, 100_000.0])
def test_after_time_in_which_the_watcher_did_not_run_everybody_begins_anew(gap: float) -> None:
    row = Row("a", "b")
    row.silent = {"a", "b"}
    assert row.seconds(29) == []
    row.now += gap  # all processes were stopped
    assert row.seconds(29) == [], "they have as long as ever to show themselves"
    row.silent = {"b"}
    assert [name for _, name in row.seconds(40)] == ["b"], "who really hangs is found all the same"


def test_who_waited_for_the_one_that_hangs_has_time_to_go_on() -> None:
    row = Row("a", "b", "c")
    row.silent = {"a"}
    assert row.seconds(1) == []
    row.silent = {"a", "b", "c"}
    ((when, name),) = row.seconds(33)
    assert name == "a"
    row.silent = {"c"}
    found = row.seconds(20)
    assert [name for _, name in found] == ["c"] and found[0][0] >= when + 5


def test_who_was_heard_last() -> None:
    row = Row("a", "b")
    row.silent = {"a"}
    row.seconds(3)
    assert max("ab", key=row.watch.heard) == "b" and row.watch.heard("unknown") < row.watch.heard("a")


def test_how_long_one_was_not_heard() -> None:
    row = Row("a", "b")
    assert row.watch.silence("a") == 0, "not watched yet"
    row.seconds(1)
    row.silent = {"a"}
    row.seconds(3)
    assert (row.watch.silence("a"), row.watch.silence("b")) == (3, 0)


def test_who_waits_for_the_disk(tmp_path: Path) -> None:
    for thread, state in ((7, "S"), (8, "R")):
        folder = tmp_path / "7" / "task" / str(thread)
        folder.mkdir(parents=True)
        (folder / "stat").write_text(f"{thread} (a) D (b) {state} 1 7 7 0\n")
    assert waits_for_disk(7, str(tmp_path)) is False
    (tmp_path / "7" / "task" / "8" / "stat").write_text("8 (a b) D 1 7 7 0\n")
    assert waits_for_disk(7, str(tmp_path)) is True
    assert waits_for_disk(9, str(tmp_path)) is False and waits_for_disk(os.getpid()) is False
