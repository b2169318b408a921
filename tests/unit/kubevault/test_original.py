"""Ours beside the original kubevault 1.1.0: one vault gives the same objects and lines but for what GENERAL and the
cases' ``differs`` name, and docs/kubevault/differs.md has a row for each of these.

Where the original is on PATH (or KUBEVAULT_ORIGINAL names it) it is asked anew, and must say what is recorded.
"""

import importlib.util
import json
import os
import re
import shutil
from base64 import b64decode
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from kubevault_cases import CASES, LINES, Case, Line, Paths, Refused, write_vault
from strongroom.cli.kubevault import main

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parent.parent / "vectors" / "kubevault"
RECORDED_LINES: dict[str, dict[str, Any]] = json.loads((VECTORS / "lines.json").read_text(encoding="utf-8"))
PAGE = HERE.parent.parent.parent / "docs" / "kubevault" / "differs.md"
RECORDED: dict[str, dict[str, dict[str, Any]]] = json.loads((VECTORS / "recorded.json").read_text(encoding="utf-8"))

# Differences of every manifest: row of the page -> what the original's object becomes.


def _values_in_data(thing: dict[str, Any]) -> None:
    if "stringData" in thing:
        thing["data"] = thing.pop("stringData")


def _token_name(thing: dict[str, Any]) -> None:
    if thing.get("type") == "kubernetes.io/service-account-token":
        thing["metadata"]["name"] += "-token"


def _no_access_review(thing: dict[str, Any]) -> None:
    if thing["kind"] == "Role":
        thing["rules"] = [rule for rule in thing["rules"] if rule["apiGroups"] != ["authorization.k8s.io"]]


def _empty_grant(thing: dict[str, Any]) -> None:
    if thing["kind"] == "Role":
        thing["rules"] = [rule for rule in thing["rules"] if rule.get("resourceNames") != []]


def _no_automount(thing: dict[str, Any]) -> None:
    if thing["kind"] == "ServiceAccount":
        thing["automountServiceAccountToken"] = "false"


def _namespace(thing: dict[str, Any]) -> None:
    for place in (thing["metadata"], *thing.get("subjects", ())):
        if place["namespace"] == "kubevault-kvstore":
            place["namespace"] = "vault-kvstore"


GENERAL = {
    "namespace": _namespace,
    "data": _values_in_data,
    "token-names": _token_name,
    "access-review": _no_access_review,
    "empty-grant": _empty_grant,
    "automount": _no_automount,
}


def as_ours(objects: list[dict[str, Any]], *, but: str = "") -> list[dict[str, Any]]:
    """The original's objects with the differences of GENERAL applied, all or all ``but`` one."""
    for thing in objects:
        for name, change in GENERAL.items():
            if name != but:
                change(thing)
    return objects


def objects(text: str) -> list[dict[str, Any]]:
    """Documents with every scalar as its text: what the original means, not what YAML 1.1 makes of it."""
    return [thing for thing in yaml.load_all(text, Loader=yaml.CBaseLoader) if thing]


def decoded(things: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Our objects with the values of ``data`` as text, where they are text."""
    for thing in things:
        if thing["kind"] == "Secret" and "data" in thing:
            thing["data"] = {key: b64decode(value, validate=True).decode() for key, value in thing["data"].items()}
    return things


def _record() -> ModuleType:
    """What made the vectors, a program beside them."""
    spec = importlib.util.spec_from_file_location("kubevault_record", VECTORS / "record.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


record = _record()


def test_the_recording_is_of_these_cases() -> None:
    assert sorted(RECORDED) == sorted(case.name for case in CASES)
    assert sorted(RECORDED_LINES) == sorted(line.name for line in LINES)
    assert len(CASES) > 350


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("KUBEVAULT_DIR", "KUBEVAULT_NAMESPACE", "KUBEVAULT_OUTPUT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name[:60])
def test_ours_says_what_the_original_says(case: Case, vault: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_vault(vault, case)
    differs = False
    for asked, theirs in RECORDED[case.name].items():
        code = main(record.commands(case)[asked])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        if isinstance(case.ours, Refused):
            assert (code, said.out) == (1, ""), said.err
            assert case.ours.words in said.err
            differs |= theirs["code"] == 0
            continue
        assert code == 0, said.err
        if case.ours is None:
            assert theirs["code"] == 0
            assert compared(asked, said.out, case) == compared(asked, theirs["out"], case, theirs=True)
            continue
        check(case.ours, said.out)
        differs |= compared(asked, said.out, case) != compared(asked, theirs["out"], case, theirs=True)
    assert differs is bool(case.differs)


def check(ours: Paths | dict[str, str | bytes], text: str) -> None:
    """Whether ``generate`` or ``can-read`` printed what a case expects."""
    if isinstance(ours, dict):
        (secret,) = objects(text)
        assert {key: b64decode(value) for key, value in secret["data"].items()} == ours
    elif text.startswith("List of"):
        allowed = [line.partition("(")[2][1:-2] for line in text.splitlines() if line.startswith("\u25cf")]
        assert sorted(allowed) == sorted(ours.allowed)
    else:
        notes = [thing["metadata"].get("annotations", {}) for thing in objects(text)]
        made = [note["kubevault.chezmoi.sh/source"] for note in notes if "kubevault.chezmoi.sh/source" in note]
        assert tuple(sorted(made)) == ours.made


def compared(asked: str, text: str, case: Case, *, theirs: bool = False) -> Any:
    if not asked.startswith("generate"):
        return text
    return as_ours(objects(text)) if theirs else decoded(objects(text))


OURS = {".kubevault-made", "README.md", ".gitignore", ".gitkeep"}  # of --output-dir and new


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_a_command_line_ends_as_the_originals(
    line: Line, vault: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_vault(vault, line.case)
    (vault / "out").mkdir()
    for name, value in line.environment.items():
        monkeypatch.setenv(name, value)
    theirs = RECORDED_LINES[line.name]
    code = main(list(line.words))
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert (code != theirs["code"]) is (line.code is not None) is bool(line.differs)
    if line.code is None:
        assert (said.out != "") == (theirs["prints"] and code == 0), said
        assert [path for path in record.files_of(vault) if Path(path).name not in OURS] == theirs["files"]
    else:
        assert (code, said.out) == (line.code, "")
    assert (said.err != "") == (code != 0) or line.words[0] in ("new", "generate", "can-read"), said.err


# Differences of commands, files and checks that the page describes too, and that no case above shows.
ELSEWHERE = {
    "at-once", "warnings", "reserved-key", "size", "output-folder", "new",
    "external-secret-store", "special-files", "file-names", "role-size", "colours", "version",
}  # fmt: skip


def rows() -> list[str]:
    """The names in the first column of the page's tables."""
    return re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_page_and_this_table_name_the_same_differences() -> None:
    named = {case.differs for case in [*CASES, *LINES] if case.differs} | set(GENERAL) | ELSEWHERE
    assert len(rows()) == len(set(rows()))
    assert set(rows()) == named


@pytest.mark.parametrize("name", GENERAL)
def test_each_difference_of_the_manifests_shows(name: str, vault: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without it the comparison of some tree fails: the table names nothing that is not there."""
    for case in CASES:
        text = RECORDED[case.name].get("generate", {}).get("out", "")
        if case.ours is None and case.name.startswith("tree") and text:
            if as_ours(objects(text)) != as_ours(objects(text), but=name):
                return
    pytest.fail("no tree shows it")


CARGO = os.path.expanduser("~/.cargo/bin")  # on PATH "kubevault" may be ours
PROGRAM = os.environ.get("KUBEVAULT_ORIGINAL") or shutil.which("kubevault", path=CARGO)


@pytest.mark.skipif(not PROGRAM, reason="KUBEVAULT_ORIGINAL names no program: cargo install kubevault --locked")
def test_the_original_still_says_what_is_recorded() -> None:
    assert PROGRAM
    assert {case.name: record.ask(PROGRAM, case) for case in CASES} == RECORDED
    assert {line.name: record.ask_line(PROGRAM, line) for line in LINES} == RECORDED_LINES
