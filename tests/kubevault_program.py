"""The installed program ``kubevault``, run as its users run it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import yaml

PROGRAM = Path(sys.executable).with_name("kubevault")

# What a first user types, up to the last line, which needs a cluster.
START = """\
kubevault new vault
cat <<EOS > vault/kvstore/my-first-secret
# a database
username: "myusername"
password: "mysecretpassword"
EOS
cat <<EOU > vault/access_control/me
# everything
**
EOU
"""


class Ran(NamedTuple):
    code: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    """Without settings of whoever runs the tests; this ``kubevault`` is the first on PATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KUBE")}
    return {**kept, "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ.get('PATH', '')}", **more}


def kubevault(folder: Path, *words: str, stdin: str = "", **more: str) -> Ran:
    """Run a command in ``folder``."""
    done = subprocess.run(
        [PROGRAM, *words], cwd=folder, input=stdin, env=environment(**more), capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def generate(folder: Path, *words: str) -> str:
    """The manifests of ``folder``/vault."""
    ran = kubevault(folder, "generate", *words)
    assert ran.code == 0, ran.err
    return ran.out


def shell(folder: Path, script: str, **more: str) -> Ran:
    """Run a script as a user's shell does, but ended by the first failure."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


def write_tree(folder: Path, kvstore: dict[str, dict[str, str] | str | bytes], access: dict[str, str]) -> Path:
    """A vault in ``folder``; a map of values is written as YAML with every text in quotes."""
    for room, files in (("kvstore", kvstore), ("access_control", access)):
        (folder / "vault" / room).mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            place = folder / "vault" / room / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, dict):
                content = yaml.safe_dump(content, default_style='"')
            place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / "vault"
