"""Starts a real server on a free loopback port and talks to it; ends what it started by its process id."""

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ending import with_us

STUB = "server_stub_node:open_node"
TESTS = str(Path(__file__).parent)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until(condition: Any, seconds: float = 15, what: str = "") -> Any:
    """Poll until ``condition`` gives something true."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if found := condition():
                return found
        if time.monotonic() > end:
            raise AssertionError(f"did not happen: {what or condition}")
        time.sleep(0.01)


class ServerProcess:
    """One supervisor with its workers."""

    def __init__(self, code: str, *args: str, cwd: Path, port: int, env: dict[str, str] | None = None) -> None:
        self.port = port
        self.scheme: ssl.SSLContext | None = None
        environ = {**os.environ, "PYTHONPATH": TESTS, **(env or {})}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *args],
            cwd=cwd,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=with_us(),
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def children(self) -> list[int]:
        try:
            return [int(p) for p in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        except OSError:
            return []

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        status, _, data = self.ask_all(method, path, body, headers)
        return status, data

    def ask_all(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, Any]:
        if self.scheme is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        else:
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=self.scheme)
        try:
            sent = None if body is None else json.dumps(body, separators=(",", ":"))
            connection.request(method, "/v1/" + path, sent, headers or {})
            answer = connection.getresponse()
            raw = answer.read()
            shown = raw.decode()
            with contextlib.suppress(ValueError):
                shown = json.loads(raw) if raw else None
            return answer.status, answer.headers, shown
        finally:
            connection.close()

    def status(self) -> Any:
        return self.ask("GET", "sys/seal-status")[1]

    def up(self) -> "ServerProcess":
        until(self.status, what="the server answers")
        return self

    def unsealed(self) -> "ServerProcess":
        self.up()
        if self.ask("GET", "sys/seal-status")[1]["sealed"]:
            self.ask("PUT", "sys/init")
            assert self.ask("PUT", "sys/unseal", {"key": "k"})[0] == 200
        return self

    def pids(self, tries: int = 24) -> set[int]:
        """Who answers."""
        return {self.ask("GET", "who")[1]["data"]["pid"] for _ in range(tries)}

    def stop(self, signum: int = signal.SIGTERM) -> tuple[int, str, str]:
        """End it; exit code, stdout, stderr."""
        if self.process.poll() is None:
            self.process.send_signal(signum)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except OSError:
        return False
