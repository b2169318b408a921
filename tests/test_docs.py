"""What the pages say is so: links lead somewhere, commands exist, the tour runs, the threat model names real tests."""

import fnmatch
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from server_fixture import development, environment

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
ROWS = 138  # kinds of failure that the threat model answers for


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for target in LINK.findall(FENCE.sub("", text_of(page))):
        place, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = (page.parent / place).resolve() if place else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            lost.append(target)
    assert not lost


def anchors(page: Path) -> set[str]:
    """Headings as they are linked to."""
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_quoted_make_targets_exist() -> None:
    made = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    asked = {name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z-]+)", text_of(page), re.MULTILINE)}
    assert {"serve", "test", "lint", "bench", "test-faults", "conformance"} <= asked <= made


def test_quoted_commands_exist() -> None:
    from strongroom.cli.root import ROOT as commands

    text = "\n".join("\n".join(blocks(page, "sh")) for page in PAGES)
    asked = {tuple(words.split()) for words in re.findall(r"strongroom((?: [a-z]+(?:-[a-z]+)*)+)", text)}
    assert {("status",), ("kv", "put", "secret")} <= asked
    assert not [f"strongroom {' '.join(words)}" for words in asked if not known(commands, words)]
    assert not known(commands, ("kv", "nonsense")) and not known(commands, ("nonsense",))


def known(group: click.Command, words: tuple[str, ...]) -> bool:
    """Whether ``words`` begins with a command; what follows a command are its arguments."""
    if not isinstance(group, click.Group):
        return True
    found = group.get_command(click.Context(group), words[0]) if words else group
    return found is not None and (found is group or known(found, words[1:]))


def tour() -> list[str]:
    """The lines of the README's tour."""
    (block,) = (one for one in blocks(ROOT / "README.md", "sh") if "VAULT_TOKEN=the-root-token" in one)
    return block.strip().splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="the server is for Linux")
def test_the_tour_of_the_readme_runs(tmp_path: Path) -> None:
    lines = tour()
    assert len(lines) == 10
    with development(tmp_path) as server:
        script = "\n".join(["set -euo pipefail", *lines])
        script = script.replace("http://127.0.0.1:8200", server.address).replace("the-root-token", server.token)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        env = environment() | {"HOME": str(tmp_path), "PATH": path}
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert any(line.startswith("open-sesame") for line in said)  # kv get -field, which ends no line
    assert said[-2] == "read" and '"password":"open-sesame"' in said[-1].replace(" ", "")


def test_the_embedded_example_of_the_readme_runs(tmp_path: Path) -> None:
    (example,) = blocks(ROOT / "README.md", "python")
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "open-sesame\n"), done.stderr


def named(page: str) -> set[str]:
    """Names of tests, `*` standing for the rest of one."""
    return set(re.findall(r"`(sec_\w+\*?)`", page))


def written() -> set[str]:
    """Every security test of the tree."""
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    return {name for path in files for name in re.findall(r"def test_(sec_\w+)", text_of(path))}


def test_the_threat_model_and_the_tests_agree() -> None:
    page = text_of(ROOT / "docs" / "threat-model.md")
    rows = [line for line in page[page.index("## Rows") :].splitlines() if line.startswith("| ")]
    rows = [line for line in rows if not line.startswith("| row |")]
    assert len(rows) == ROWS
    assert not [line for line in rows if not re.search(r"`sec_|comes with|\*\*open\*\*|rules of the house", line)]
    patterns, tests = named(page), written()
    idle = [pattern for pattern in patterns if not fnmatch.filter(tests, pattern)]
    assert not idle, "named in docs/threat-model.md, and nowhere a test"
    unnamed = [name for name in tests if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    assert not unnamed, "tests that docs/threat-model.md does not name"


def test_the_house_page_shows_the_rooms_that_there_are() -> None:
    page = text_of(ROOT / "docs" / "house.md")
    tree = page[page.index("src/strongroom/\n") : page.index("## The walk")]
    rooms = {path.name for path in (ROOT / "src" / "strongroom").iterdir() if (path / "__init__.py").exists()}
    assert rooms and set(re.findall(r"^  (\w+)/ ", tree, re.MULTILINE)) == rooms
    shown = re.findall(r"[\w/]+\.py", tree)
    assert not [name for name in shown if not list((ROOT / "src" / "strongroom").rglob(name.rpartition("/")[2]))]


def test_the_changelog_has_a_place_for_what_is_not_released() -> None:
    page = text_of(ROOT / "CHANGELOG.md")
    assert re.search(r"^## \[Unreleased\]\n\n### (Added|Changed|Fixed|Removed|Security)\n\n- ", page, re.MULTILINE)
