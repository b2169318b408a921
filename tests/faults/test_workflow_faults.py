"""A vault that is killed at each write-like call of what it does: nothing told is lost, nothing half done shows."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import shim, workflow_check, workflow_work

KINDS = ("lmdb", "file")
MOST = 110  # points for one workflow on one store: the smaller ones are tried at every call
_points: dict[str, int] = {}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = shim.build(tmp_path_factory.mktemp("shim"))
    if found is None:
        pytest.skip("needs Linux and a C compiler")
    return found


@pytest.fixture(scope="module", autouse=True)
def summary() -> Iterator[None]:
    yield
    if _points:
        print(f"\nworkflow faults: {sum(_points.values())} kills: " + ", ".join(f"{k} {n}" for k, n in _points.items()))


class Case:
    """A workflow on a prepared store, of which each run takes a copy."""

    def __init__(self, workflow: str, kind: str, library: Path, folder: Path) -> None:
        self.workflow, self.kind, self.library = workflow, kind, library
        self.base, self.work = folder / "base", folder / "work"
        self.base.mkdir()
        self.facts = workflow_work.prepare(workflow, kind, self.base)
        (self.base / "facts.json").write_text(json.dumps(self.facts))

    def run(self, at: int = 0) -> shim.Outcome:
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.base, self.work)
        argv = [sys.executable, workflow_work.__file__, self.workflow, self.kind, str(self.work)]
        return shim.run(argv, self.library, self.work, at=at)

    def kill(self, at: int) -> shim.Outcome:
        """Killed at a call, what is left is right. (A run with threads may end before its call comes.)"""
        outcome = self.run(at)
        assert outcome.returncode in (-9, 0), outcome.stderr
        try:
            workflow_check.check(self.workflow, self.kind, self.work, self.facts, outcome.stdout)
        except BaseException as error:
            error.add_note(f"{self.workflow} on {self.kind}, killed at call {at}")
            raise
        if outcome.returncode == -9:
            key = f"{self.workflow}/{self.kind}"
            _points[key] = _points.get(key, 0) + 1
        return outcome


@pytest.mark.parametrize("kind", KINDS)
def test_smoke(kind: str, library: Path, tmp_path: Path) -> None:
    """One kill in the middle of most workflows."""
    names = [name for name in workflow_work.WORKFLOWS if name not in ("unseal", "put", "create", "unmount")]
    for number, name in enumerate(names):
        folder = tmp_path / name
        folder.mkdir()
        case = Case(name, kind, library, folder)
        case.kill(5 + 3 * number)


def test_the_checks_notice(library: Path, tmp_path: Path) -> None:
    """The control: an acknowledgement of what did not happen is found out."""
    case = Case("put", "file", library, tmp_path)
    killed = case.kill(60)
    assert killed.returncode == -9
    claimed = killed.stdout + json.dumps({"done": "secret/data/0", "value": 10**6}) + "\n"
    with pytest.raises(AssertionError):
        workflow_check.check("put", "file", case.work, case.facts, claimed)


@pytest.mark.faults
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workflow", workflow_work.WORKFLOWS)
def test_every_call(workflow: str, kind: str, library: Path, tmp_path: Path) -> None:
    case = Case(workflow, kind, library, tmp_path)
    total = case.run().calls
    assert total > 10
    step = max(1, -(-total // MOST))
    for at in range(1, total + 1, step):
        case.kill(at)
