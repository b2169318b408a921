"""The transcripts again, against servers started with ``strongroom server``."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.transcript import Run, play, scripts

FRESH = """
storage "inmem" {}
listener "tcp" {
  address     = "%s"
  tls_disable = true
}
"""


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@contextlib.contextmanager
def serving(folder: Path, *flags: str) -> Iterator[list[str]]:
    """A server in ``folder``; what it printed until it was ready."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("VAULT_", "BAO_", "STRONGROOM_"))}
    env["HOME"] = str(folder)
    with open(folder / "stderr", "wb") as errors:
        server = subprocess.Popen(
            [sys.executable, "-m", "strongroom", "server", *flags],
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert server.stdout is not None
    lines: list[str] = []
    try:
        for line in server.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith("Strongroom server started"):
                break
        else:
            raise AssertionError(f"no server: {lines} {(folder / 'stderr').read_text()}")
        yield lines
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(15) == 0
        server.stdout.close()


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    address, folder = free_address(), tmp_path_factory.mktemp("dev")
    flags = ["-dev", "-dev-root-token-id=root", f"-dev-listen-address={address}", "-dev-no-store-token"]
    with serving(folder, *flags) as lines:
        assert "Root Token: root" in lines
        assert not (folder / ".vault-token").exists()
        yield f"http://{address}"


@pytest.mark.parametrize("path", scripts("real"), ids=lambda path: path.stem)
def test_transcript(path: Path, dev: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", dev)
    play(path, run, monkeypatch.setenv)


@pytest.mark.parametrize("path", scripts("fresh"), ids=lambda path: path.stem)
def test_fresh_transcript(path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    address = free_address()
    (tmp_path / "c.hcl").write_text(FRESH % address)
    monkeypatch.setenv("VAULT_ADDR", f"http://{address}")
    with serving(tmp_path, "-config=c.hcl"):
        play(path, run, monkeypatch.setenv)


def test_dev_keeps_its_token_like_a_login(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    address = free_address()
    monkeypatch.setenv("VAULT_ADDR", f"http://{address}")
    with serving(tmp_path, "-dev", "-dev-listen-address", address) as lines:
        token = next(line.removeprefix("Root Token: ") for line in lines if line.startswith("Root Token: "))
        assert token.startswith("hvs.") and len(token) == 28
        monkeypatch.setenv("HOME", str(tmp_path))
        assert run(["print", "token"]).out.strip() == token
        assert run(["token", "lookup", "-field=policies"]).out == "[root]"


def test_check_config(run: Run, tmp_path: Path) -> None:
    (tmp_path / "good.hcl").write_text(FRESH % "127.0.0.1:8200")
    (tmp_path / "odd.hcl").write_text(FRESH % "127.0.0.1:8200" + "\nfrob = 1\n")
    (tmp_path / "bad.hcl").write_text('storage "nothing" {}')
    assert run(["server", "--check-config", "-config=good.hcl"]).code == 0
    odd = run(["server", "-check-config", "-config=odd.hcl"])
    assert odd.code == 0 and "frob" in odd.err
    bad = run(["server", "-check-config", "-config=bad.hcl"])
    assert bad.code == 1 and bad.err.startswith("error: ")
