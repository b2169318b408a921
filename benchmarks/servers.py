"""Servers to measure: ours with its defaults, and the peer; on free ports of the loopback, ended by their pids."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import msgspec

from benchmarks.vaults import POLICY, SECRET, folder

_START = 30.0  # seconds a start may take
_STRONGROOM = """
storage "lmdb" {{
  path = "{folder}/data"
}}
listener "tcp" {{
  address     = "127.0.0.1:{port}"
  tls_disable = true
}}
audit_dir = "{folder}"
{audit}
"""
CHAINED = 'audit "file" "file" { file_path = "audit.log" }'
UNCHAINED = 'audit "file" "file" { file_path = "audit.log" chain = "false" }'
_RUSTY = """
storage "file" {{
  path = "{folder}/data"
}}
listener "tcp" {{
  address     = "127.0.0.1:{port}"
  tls_disable = true
}}
api_addr = "http://127.0.0.1:{port}"
work_dir = "{folder}"
"""


class Server(msgspec.Struct, kw_only=True):
    """A running server. ``token`` may read and write ``path``; it is not root where the server has policies."""

    process: subprocess.Popen[bytes]
    address: str
    started: float  # seconds from exec to the first HTTP answer
    share: str = ""
    root: str = ""
    token: str = ""
    read_path: str = ""
    write_path: str = ""  # a number is put behind it
    write_body: str = ""

    def call(self, method: str, path: str, data: Any = None, *, token: str | None = None) -> Any:
        """The decoded answer of ``/v1/<path>``. Raises HTTPError."""
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(f"{self.address}/v1/{path}", method=method, data=body)
        request.add_header("Content-Type", "application/json")
        if used := self.root if token is None else token:
            request.add_header("X-Vault-Token", used)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def workers(self) -> list[int]:
        """The processes that serve: the children, or the process itself where there are none."""
        return children(self.process.pid) or [self.process.pid]

    def processor_time(self) -> float:
        """Seconds of processor time of the whole tree so far."""
        return sum(_ticks(pid) for pid in [self.process.pid, *children(self.process.pid)])


def children(parent: int) -> list[int]:
    """The direct children of a process (Linux)."""
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(name)
            if int(_stat(pid)[1]) == parent:
                found.append(pid)
    return found


def _stat(pid: int) -> list[str]:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()


def _ticks(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = _stat(pid)
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def anonymous(pid: int) -> int:
    """Anonymous memory of a process in bytes (``RssAnon``); none when it has ended, as workers do that saw shares."""
    try:
        with open(f"/proc/{pid}/status") as file:
            match = re.search(r"RssAnon:\s+(\d+)", file.read())
    except OSError:
        return 0
    return int(match[1]) * 1024 if match else 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def process(command: list[str], port: int, place: str, *, environ: dict[str, str] | None = None) -> Iterator[Server]:
    """``command`` until the end of the block; entered when it answers on ``port``."""
    with open(os.path.join(place, "output"), "wb") as output:
        begun = time.perf_counter()
        running = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=place, env=environ
        )
        address = f"http://127.0.0.1:{port}"
        try:
            _await_answer(running, f"{address}/v1/sys/seal-status", output.name)
            yield Server(process=running, address=address, started=time.perf_counter() - begun)
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(15)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def _await_answer(running: subprocess.Popen[bytes], address: str, output: str) -> None:
    end = time.perf_counter() + _START
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            if running.poll() is not None or time.perf_counter() > end:
                with open(output) as file:
                    raise RuntimeError(f"the server did not start: {file.read()[-2000:]}") from None
            time.sleep(0.002)


@contextlib.contextmanager
def strongroom(parent: str = "", *, place: str = "", audit: str = CHAINED) -> Iterator[Server]:
    """Ours, not initialised yet unless ``place`` holds a store. ``audit``: its audit devices, as configured."""
    with folder(parent) if not place else contextlib.nullcontext(place) as here:
        port = free_port()
        config = os.path.join(here, "server.hcl")
        with open(config, "w") as file:
            file.write(_STRONGROOM.format(folder=here, port=port, audit=audit))
        command = [sys.executable, "-m", "strongroom", "server", f"-config={config}"]
        with process(command, port, here) as server:
            yield server


@contextlib.contextmanager
def rusty(program: str, parent: str = "") -> Iterator[Server]:
    """The peer, not initialised yet."""
    with folder(parent) as here:
        port = free_port()
        config = os.path.join(here, "server.hcl")
        with open(config, "w") as file:
            file.write(_RUSTY.format(folder=here, port=port))
        with process([program, "server", "--config", config], port, here) as server:
            yield server


def unseal(server: Server) -> None:
    """Initialise with one share and unseal."""
    keys = server.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
    server.share, server.root = keys["keys"][0], keys["root_token"]
    server.call("PUT", "sys/unseal", {"key": server.share})


def fill_strongroom(server: Server) -> None:
    """kv version 2, a policy and a token that is not root."""
    unseal(server)
    server.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    server.call("PUT", "sys/policies/acl/app", {"policy": POLICY})
    server.call("POST", "secret/data/app/db", {"data": SECRET})
    made = server.call("POST", "auth/token/create", {"policies": ["app"], "ttl": "24h"})
    server.token = made["auth"]["client_token"]
    server.read_path, server.write_path = "secret/data/app/db", "secret/data/app/w"
    server.write_body = json.dumps({"data": SECRET})


def fill_rusty(server: Server) -> None:
    """Its kv, and a token; this release has no policies over HTTP, no versions and no audit."""
    unseal(server)
    server.call("POST", "sys/mounts/kv", {"type": "kv"})
    server.call("PUT", "kv/app/db", SECRET)
    made = server.call("POST", "auth/token/create", {"policies": ["app"], "ttl": "24h"})
    server.token = made["auth"]["client_token"]
    server.read_path, server.write_path = "kv/app/db", "kv/app/w"
    server.write_body = json.dumps(SECRET)
