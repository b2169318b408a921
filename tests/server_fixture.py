"""Real servers for tests: a process with a configuration of its own, on a free port, ended by its own pid.

with running(folder) as server:          # initialised and unsealed; LMDB under ``folder``
    requests.get(server.address + "/v1/sys/health")
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ending import with_us

START = 20.0  # seconds a start may take on a busy machine
STOP = 10.0  # seconds in which a server must have ended


@dataclass
class Server:
    """A running server. ``shares`` (hex) and ``token`` are empty until it was initialised."""

    process: subprocess.Popen[bytes]
    address: str
    folder: Path
    token: str = ""
    shares: list[str] = field(default_factory=list)
    shares_base64: list[str] = field(default_factory=list)

    def call(self, method: str, path: str, data: Any = None, *, token: str | None = None) -> tuple[int, Any]:
        """Status and decoded body of ``/v1/<path>``."""
        request = urllib.request.Request(f"{self.address}/v1/{path}", method=method)
        if data is not None:
            request.data = json.dumps(data).encode()
            request.add_header("Content-Type", "application/json")
        if used := self.token if token is None else token:
            request.add_header("X-Vault-Token", used)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, body = error.code, error.read()
        return status, json.loads(body) if body.strip() else None

    def initialize(self, shares: int = 3, threshold: int = 2) -> None:
        status, made = self.call("PUT", "sys/init", {"secret_shares": shares, "secret_threshold": threshold})
        assert status == 200, made
        self.token, self.shares, self.shares_base64 = made["root_token"], made["keys"], made["keys_base64"]

    def unseal(self) -> None:
        for share in self.shares:
            status, answer = self.call("PUT", "sys/unseal", {"key": share}, token="")
            assert status == 200, answer
            if not answer["sealed"]:
                return
        raise AssertionError("still sealed")

    def end(self) -> int:
        """SIGTERM, and its exit code. A server that does not end in time is killed and fails the test."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not end within {STOP:g} s") from None


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def configuration(folder: Path, port: int, extra: Mapping[str, Any]) -> Path:
    """A configuration as hvac's own suite writes it: JSON, Vault's names."""
    settings = {
        "storage": {"lmdb": {"path": str(folder / "data")}},
        "listener": {"tcp": {"address": f"127.0.0.1:{port}", "tls_disable": True}},
        "disable_mlock": True,
        "default_lease_ttl": "768h",
        "max_lease_ttl": "768h",
        "audit_dir": str(folder),
        **extra,
    }
    path = folder / "config.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def environment() -> dict[str, str]:
    """The caller's, without what would change a server or a client."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("VAULT_", "BAO_", "STRONGROOM_"))}


def wait_until_it_answers(server: Server) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise AssertionError(f"the server ended with {server.process.returncode}")
        with contextlib.suppress(OSError):
            server.call("GET", "sys/seal-status")
            return
        time.sleep(0.02)  # the other side is a process: there is nothing to wait on
    raise AssertionError(f"the server did not answer within {START:g} s")


@contextlib.contextmanager
def running_with_tls(folder: Path, *, workers: int = 2) -> Iterator[Server]:
    """As ``running``, over TLS with a certificate that the processes started meanwhile trust."""
    import pytest

    from strongroom.server.tls import development_files

    port, tls = free_port(), development_files(str(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(folder / "vault-ca.pem"))
        listener = {
            "tcp": {"address": f"127.0.0.1:{port}", "tls_cert_file": tls.cert_file, "tls_key_file": tls.key_file}
        }
        config = configuration(folder, port, {"workers": workers, "listener": listener})
        server = start(folder, ["server", f"-config={config}"], f"https://127.0.0.1:{port}")
        try:
            server.initialize()
            server.unseal()
            yield server
        finally:
            server.end()


def start(folder: Path, argv: list[str], address: str) -> Server:
    """Start ``strongroom <argv>``; its output goes to ``folder``/server.log."""
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "strongroom", *argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment(),
            start_new_session=True,
            preexec_fn=with_us(),
        )
    server = Server(process, address, folder)
    try:
        wait_until_it_answers(server)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return server


@contextlib.contextmanager
def running(folder: Path, *, unseal: bool = True, **settings: Any) -> Iterator[Server]:
    """A server over LMDB in ``folder``; ``settings`` are added to its configuration."""
    port = free_port()
    config = configuration(folder, port, {"workers": 1, **settings})
    server = start(folder, ["server", f"-config={config}"], f"http://127.0.0.1:{port}")
    try:
        if unseal:
            server.initialize()
            server.unseal()
        yield server
    finally:
        server.end()


@contextlib.contextmanager
def development(folder: Path, token: str = "root") -> Iterator[Server]:
    """``strongroom server -dev``: in memory, unsealed, kv version 2 at secret/."""
    port = free_port()
    argv = ["server", "-dev", f"-dev-root-token-id={token}", f"-dev-listen-address=127.0.0.1:{port}"]
    server = start(folder, [*argv, "-dev-no-store-token"], f"http://127.0.0.1:{port}")
    server.token = token
    try:
        yield server
    finally:
        server.end()
