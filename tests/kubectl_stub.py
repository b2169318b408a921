"""A program that stands for kubectl, and commands of kubevault run in this process."""

import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from strongroom.cli.kubevault import main


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


def runner(capsys: pytest.CaptureFixture[str]) -> Run:
    """``run(*words)``: one command of kubevault."""

    def run(*words: str | Path) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return run


# It stands for kubectl: no cluster is asked. What it is called with goes to a file, its answer comes from another.
_STUB = """#!{python}
import json, pathlib, sys
here = pathlib.Path(__file__).parent
with (here / "asked").open("a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
answers = json.loads((here / "answers").read_text())
namespace = next((word.partition("=")[2] for word in sys.argv if word.startswith("--namespace=")), "")
answer = answers.get(namespace, answers["*"])
sys.stdout.write(answer["out"])
sys.stderr.write(answer["err"])
sys.exit(answer["code"])
"""


class KubectlStub:
    """The program, to be named in KUBECTL."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.program = folder, folder / "kubectl-stub"
        self.program.write_text(_STUB.format(python=sys.executable))
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)
        self._answers: dict[str, Any] = {}
        self.answer({"kind": "List", "items": []})

    def answer(self, out: Any, *, err: str = "", code: int = 0, namespace: str = "*") -> None:
        """What it says from now on, about ``namespace`` or every other: an object (as JSON) or text."""
        text = out if isinstance(out, str) else json.dumps(out)
        self._answers[namespace] = {"out": text, "err": err, "code": code}
        (self.folder / "answers").write_text(json.dumps(self._answers))

    @property
    def asked(self) -> list[list[str]]:
        """The arguments of each call."""
        log = self.folder / "asked"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
