"""The line that shows how far long work is."""

import io
import sys

import pytest

from strongroom.cli import progress
from strongroom.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_nothing_is_shown_in_a_pipe(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    shown = Progress("files")
    shown(5, 10)
    shown.done()
    assert stream.getvalue() == ""


def test_it_appears_after_a_while_moves_and_goes(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    shown = Progress("files read", after=1.0)
    shown(1, 10)
    clock[0] += 0.9
    shown(2, 10)
    assert stream.getvalue() == ""
    clock[0] += 0.3
    shown(5, 10)
    shown(6, 10)  # too soon
    shown(10, 10)
    assert stream.getvalue() == (f"\r\x1b[K[{'#' * 15}{'.' * 15}] 5/10 files read\r\x1b[K[{'#' * 30}] 10/10 files read")
    shown.done()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_quick_work_shows_nothing(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    shown = Progress("files", after=1.0)
    shown(10, 10)
    shown.done()
    assert stream.getvalue() == ""


def test_without_a_total(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    Progress("keys")(7)
    assert stream.getvalue() == "\r\x1b[K7 keys"
