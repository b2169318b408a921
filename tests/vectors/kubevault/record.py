"""Record what the original kubevault says to every case: ``python record.py PROGRAM`` rewrites both files."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from kubevault_cases import CASES, LINES, Case, Line, write_vault  # noqa: E402

RECORDED, RECORDED_LINES = HERE / "recorded.json", HERE / "lines.json"


def commands(case: Case) -> dict[str, list[str]]:
    """The command lines that a case is about, by what they are called in the recording."""
    made = {}
    for asked in case.asked:
        command, *flags = asked.split()
        if command == "generate":
            made[asked] = [command, *case.args]
        else:
            made |= {f"{asked} of {user}": [command, user, *flags] for user in case.users}
    return made


def environment(given: dict[str, str] | None = None) -> dict[str, str]:
    """What a command of a case finds in its environment."""
    return {"PATH": os.environ.get("PATH", ""), "NO_COLOR": "1", "LC_ALL": "C.UTF-8", **(given or {})}


def ask(program: str, case: Case) -> dict[str, dict[str, Any]]:
    """What ``program`` says: exit code, standard output, and the errors' first words."""
    said = {}
    with tempfile.TemporaryDirectory() as folder:
        write_vault(Path(folder), case)
        for name, words in commands(case).items():
            done = subprocess.run([program, *words], cwd=folder, env=environment(), capture_output=True, check=False)
            said[name] = {"code": done.returncode, "out": done.stdout.decode(), "err": done.stderr.decode()[:200]}
    return said


def files_of(folder: Path) -> list[str]:
    """Files and folders that lie there, but for the vault's own."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.relative_to(folder).parts[0] != "vault"
    )


def ask_line(program: str, line: Line) -> dict[str, Any]:
    """What ``program`` makes of a command line: exit code, files, and whether it prints anything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_vault(folder, line.case)
        (folder / "out").mkdir()
        given = environment(line.environment)
        done = subprocess.run([program, *line.words], cwd=name, env=given, capture_output=True, check=False)
        return {"code": done.returncode, "files": files_of(folder), "prints": done.stdout != b""}


def main() -> None:
    program = os.path.abspath(sys.argv[1])
    recorded = {case.name: ask(program, case) for case in CASES}
    lines = {line.name: ask_line(program, line) for line in LINES}
    assert (len(recorded), len(lines)) == (len(CASES), len(LINES)), "two of one name"
    for path, value in ((RECORDED, recorded), (RECORDED_LINES, lines)):
        path.write_text(json.dumps(value, indent=0, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
