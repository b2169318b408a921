"""Runs the command line in this process, with a home folder of its own."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.transcript import Ran, Run, Stub
from strongroom.cli.main import main
from strongroom.client.settings import PREFIXES


@pytest.fixture(scope="session")
def shared_stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.close()


@pytest.fixture
def stub(shared_stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Stub:
    monkeypatch.setenv("VAULT_ADDR", shared_stub.address)
    shared_stub.expected, shared_stub.seen, shared_stub.faults = [], [], []
    return shared_stub


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, no settings from outside, and a working folder of the test's own."""
    import os

    for name in list(os.environ):
        if name.startswith((*PREFIXES, "KUBE")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run(words, stdin)``: one command, as ``strongroom words...``."""

    def go(words: list[str], stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        capsys.readouterr()
        code = main(words)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return go
