"""The transcripts of tests/scripts, played against a stub that also checks what is asked of it."""

from pathlib import Path

import pytest

from scripts.transcript import Ran, Run, Stub, differences, matches, play, scripts, steps


@pytest.mark.parametrize("path", scripts("stub"), ids=lambda path: path.stem)
def test_transcript(path: Path, run: Run, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    play(path, run, monkeypatch.setenv, stub)


def test_the_player_sees_differences(tmp_path: Path) -> None:
    script = tmp_path / "x.txt"
    script.write_text("$ strongroom x\nversion    <n>\n[2]\n")
    step = steps(script)[0]
    assert differences(step, Ran(2, "version    7\n", ""), {}) == []
    for ran in (Ran(1, "version    7", ""), Ran(2, "versio    7", ""), Ran(2, "version    7\nmore", "")):
        assert differences(step, ran, {})
    assert differences(step, Ran(2, "version    7", "error: x"), {})


def test_holes_are_remembered() -> None:
    known: dict[str, str] = {}
    assert matches("a <t> b", "a 1 b", known) and known == {"t": "1"}
    assert not matches("<t>", "2", known)
