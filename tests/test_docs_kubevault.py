"""The commands in docs/kubevault run, and print what the pages say.

A block ``tree`` makes the vault that the next commands run on: one file a line, an ACL file's rules indented below it.
A block ``sh`` is run; a block ``text`` behind it is part of what it printed. Blocks ``sh cluster`` and ``sh server``
need what is not here; tests/cluster runs the former's commands, test_docs_bridge.py the latter's.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).resolve().parent.parent / "docs" / "kubevault").glob("*.md"))
_BLOCK = re.compile(r"^```([a-z ]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDED = {"gitops.md": ("git", "sops", "age-keygen")}  # programs a page's commands call


def plant(folder: Path, text: str) -> None:
    """Make the vault that a ``tree`` block shows, in place of the one there was."""
    shutil.rmtree(folder, ignore_errors=True)
    for room in ("kvstore", "access_control"):
        (folder / room).mkdir(parents=True)
    file = None
    for line in text.splitlines():
        if line.startswith("    "):
            assert file is not None
            file.write_text(f"{file.read_text()}{line[4:]}\n")
        else:
            file = folder / line
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("")


def run(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the lines of a block in the folder and with the variables that the block before left."""
    state = folder / ".state"
    keep = f'code=$?\n{{ export -p; printf "cd %q\\n" "$PWD"; }} > "{state}"\nexit $code\n'
    script = f'[ ! -e "{state}" ] || . "{state}"\n{text}\n{keep}'
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = {"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8", "GIT_CONFIG_GLOBAL": os.devnull}
    given |= {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=given, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_the_page(page: Path, tmp_path: Path) -> None:
    lacking = [name for name in NEEDED.get(page.name, ()) if shutil.which(name) is None]
    if lacking:
        pytest.skip(f"the page's commands need {', '.join(lacking)}")
    printed: str | None = ""
    ran = 0
    for kind, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "tree":
            plant(tmp_path / "vault", text)
        elif kind == "sh":
            done = run(text, tmp_path)
            assert done.returncode in (0, 3), f"{text}\n{done.stdout}{done.stderr}"
            assert not any(word in done.stderr for word in ("error:", "Traceback")), f"{text}\n{done.stderr}"
            printed = done.stdout
            ran += 1
        elif kind == "text":
            assert printed is None or text in printed
        elif kind in ("sh cluster", "sh server"):
            printed = None
        elif kind not in ("", "yaml", "json", "ini"):
            pytest.fail(f"unknown kind of block: {kind}")
    assert ran or page.name in ("README.md", "differs.md", "globs.md", "bridge.md", "external-secrets.md")
