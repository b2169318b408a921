"""The writer process of a real server: killed, stopped, unable to work, and at the end."""

import asyncio
import contextlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server_fixture import Server, development, environment, free_port
from server_fixture import running as serving
from server_process import running, until
from strongroom import Vault
from strongroom.server import host_writer, supervisor
from strongroom.server.config import ServerConfig
from strongroom.server.host_writer import HostWriter
from strongroom.server.logs import Log

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")
UNKNOWN = "whether the change was stored is not known"
LONG = "x" * 3000


def children(server: Server) -> dict[int, str]:
    """The processes of a server that run, with their module."""
    pid = server.process.pid
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            if b"-m" in words and running(int(child)):
                found[int(child)] = words[words.index(b"-m") + 1].decode()
    return found


def writer_of(server: Server, *besides: int) -> int:
    """The writer's pid, of another one than those ``besides``."""

    def look() -> int | None:
        found = [pid for pid, module in children(server).items() if module == "strongroom.server.writer"]
        return found[0] if found and found[0] not in besides else None

    return int(until(look, 30, "a writer process"))


def log(server: Server) -> str:
    return (server.folder / "server.log").read_text()


@contextmanager
def unsealed(folder: Path, **settings: Any) -> Iterator[Server]:
    storage = {"lmdb": {"path": str(folder / "data"), "map_size": 65536}}  # it has to grow, in every process
    with serving(folder, workers=2, storage=storage, **settings) as server:
        assert server.call("POST", "sys/mounts/secret", {"type": "kv"})[0] == 204
        yield server


def begin(server: Server, path: str) -> socket.socket:
    """Send a write, and do not wait for its answer."""
    host, port = server.address.removeprefix("http://").split(":")
    sock = socket.create_connection((host, int(port)), timeout=30)
    head = f"PUT /v1/secret/{path} HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {server.token}\r\nContent-Length: 7\r\n\r\n"
    sock.sendall(head.encode() + b'{"n":1}')
    return sock


def answers(socks: list[socket.socket]) -> list[bytes]:
    """What was answered, and the end of it."""
    found = []
    for sock in socks:
        with sock:
            found.append(sock.recv(65536))
    return found


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T")
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def all_write_through(server: Server, pid: int) -> bool:
    """No worker answers a write while the writer stands still; all do when it goes on. Workers share connections."""
    with stopped(pid):
        socks = [begin(server, f"probe/{n}") for n in range(12)]
        early = select.select(socks, [], [], 0.4)[0]
        status, _ = server.call("GET", "sys/seal-status")
        assert status == 200, "reads do not care"
    assert all(answer.startswith(b"HTTP/1.1 204") for answer in answers(socks))
    return not early


class Clients:
    """Threads that write what nobody else writes, and remember what they were told."""

    def __init__(self, server: Server, count: int = 6) -> None:
        self.told: dict[str, tuple[int, Any]] = {}
        self._server, self._end = server, threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(n,)) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def _write(self, which: int) -> None:
        host = self._server.address.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=30)
        number = 0
        while not self._end.is_set():
            path = f"{which}/{number}"
            try:
                body = json.dumps({"n": number, "long": LONG})
                connection.request("PUT", f"/v1/secret/{path}", body, {"X-Vault-Token": self._server.token})
                answer = connection.getresponse()
                self.told[path] = answer.status, answer.read().decode()
            except (OSError, http.client.HTTPException) as error:
                self.told[path] = 0, repr(error)
                connection.close()
            number += 1
        connection.close()

    def good(self) -> int:
        return sum(1 for status, _ in list(self.told.values()) if status == 204)

    def goes_on(self, more: int = 60, what: str = "") -> None:
        before = self.good()
        until(lambda: self.good() >= before + more, 60, what or "writes go on")

    def end(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def check(self, found: dict[str, Any]) -> None:
        """What is there, by path, beside what was told."""
        for path, (status, _) in self.told.items():
            data = found.get(path)
            if status == 204:
                assert data is not None, f"{path} was acknowledged and is lost"
            if data is not None:
                assert data == {"n": int(path.split("/")[1]), "long": LONG}


def read_all(folder: Path, server: Server, paths: list[str]) -> dict[str, Any]:
    """From the files, after the server ended."""
    with Vault({"lmdb": {"path": str(folder / "data")}}) as vault:
        for share in server.shares[:2]:
            vault.unseal(share)
        vault.set_token(server.token)
        found = {}
        for path in paths:
            entry = vault.read(f"secret/{path}")
            found[path] = None if entry is None else entry.data
        return found


def test_a_killed_writer_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with unsealed(tmp_path) as server:
        first = writer_of(server)
        until(lambda: all_write_through(server, first), 30, "every worker commits through it")
        clients = Clients(server)
        pids = [first]
        for _ in range(2):
            clients.goes_on()
            os.kill(pids[-1], signal.SIGKILL)
            until(lambda: not running(pids[-1]))
            clients.goes_on(40, "nobody waits for another writer")
            pids.append(writer_of(server, *pids))
        clients.goes_on()
        clients.end()
        until(lambda: all_write_through(server, pids[-1]), 30, "every worker commits through the last one")
        told = log(server)
    for path, (status, text) in clients.told.items():
        assert status == 204 or (status == 500 and UNKNOWN in text), (path, status, text)
    clients.check(read_all(tmp_path, server, list(clients.told)))
    assert told.count("the writer process ended: workers write by themselves") == 2


def test_a_writer_that_hangs_is_ended_and_replaced(tmp_path: Path) -> None:
    with unsealed(tmp_path, worker_timeout="3s") as server:
        first = writer_of(server)
        until(lambda: all_write_through(server, first), 30, "every worker commits through it")
        workers = {pid for pid, module in children(server).items() if module == "strongroom.server.worker"}
        os.kill(first, signal.SIGSTOP)
        socks = [begin(server, f"w/{n}") for n in range(8)]
        heard = answers(socks)
        assert all(answer.startswith(b"HTTP/1.1 500") and UNKNOWN.encode() in answer for answer in heard)
        until(lambda: not running(first), 10, "the writer is gone: its sockets close a moment before")
        assert server.call("PUT", "secret/after", {"n": 1})[0] == 204, "without one"
        second = writer_of(server, first)
        until(lambda: all_write_through(server, second), 30, "every worker commits through the other")
        assert workers <= set(children(server)), "no worker was taken for the one that hangs"
        told = log(server)
    assert f"the writer process {first} does not respond for" in told and "is killed and replaced" in told


def test_a_server_whose_writer_cannot_open_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'strongroom.server.writer' in sys.orig_argv:\n"
        "    from strongroom.errors import StorageFailed\n"
        "    from strongroom.storage import lmdb\n"
        "    def broken(options):\n"
        "        raise StorageFailed('no room for a map')\n"
        "    lmdb.open_store = broken\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with unsealed(tmp_path) as server:
        until(lambda: "the writer process could not open the store (no room for a map)" in log(server), 30)
        for n in range(20):
            assert server.call("PUT", f"secret/{n}", {"n": n})[0] == 204
    assert server.process.returncode == 0 and "Traceback" not in log(server)


def test_the_writer_ends_with_a_killed_supervisor(tmp_path: Path) -> None:
    with unsealed(tmp_path) as server:
        writer = writer_of(server)
        server.process.kill()
        until(lambda: not running(writer), 10, "the writer is gone")
        server.process.wait()


def test_a_graceful_stop_ends_the_writer_last_and_loses_nothing(tmp_path: Path) -> None:
    with unsealed(tmp_path) as server:
        writer = writer_of(server)
        until(lambda: all_write_through(server, writer), 30)
        workers = set(children(server)) - {writer}
        clients = Clients(server)
        clients.goes_on()
        server.process.send_signal(signal.SIGTERM)
        until(lambda: not running(writer), 15, "it ends")
        assert not [pid for pid in workers if running(pid)], "the workers ended before it"
        assert server.process.wait(10) == 0
        clients.end()
    assert not [text for _, text in clients.told.values() if UNKNOWN in text]
    clients.check(read_all(tmp_path, server, list(clients.told)))


def test_a_sealed_worker_does_not_need_it(tmp_path: Path) -> None:
    with serving(tmp_path, unseal=False) as server:
        with stopped(writer_of(server)):
            server.initialize()
        server.unseal()


def test_a_development_server_that_keeps_its_data_has_one(tmp_path: Path) -> None:
    """As ``make serve`` starts it: unsealed by itself, before there is a writer."""
    port = free_port()
    argv = [sys.executable, "-m", "strongroom.server", "--development", "data", "--listen", f"127.0.0.1:{port}"]
    environ = {**environment(), "STRONGROOM_WORKERS": "2"}
    with (tmp_path / "server.log").open("ab") as told:
        process = subprocess.Popen(argv, cwd=tmp_path, env=environ, stdout=told, stderr=told)
    server = Server(process, f"http://127.0.0.1:{port}", tmp_path)
    try:
        until(lambda: server.call("GET", "sys/seal-status")[1]["sealed"] is False, 30, "it unseals itself")
        server.token = json.loads((tmp_path / "data" / "development-keys.json").read_text())["root_token"]
        assert server.call("DELETE", "sys/mounts/secret")[0] == 204
        assert server.call("POST", "sys/mounts/secret", {"type": "kv"})[0] == 204
        writer = writer_of(server)
        until(lambda: all_write_through(server, writer), 30, "every worker commits through it")
    finally:
        server.end()
    assert not running(writer)


def test_a_development_server_has_none(tmp_path: Path) -> None:
    with development(tmp_path) as server:
        assert server.call("PUT", "secret/data/a", {"data": {"n": 1}})[0] == 200
        only = {"strongroom.server.worker"}  # a child that has not got to its exec yet bears its parent's name
        until(lambda: set(children(server).values()) == only, 10, "workers, and no writer")


# -- as the supervisor sees it


async def test_a_process_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(host_writer, "_AGAIN", (0.01, 0.02))
    real, tries = subprocess.Popen, [3]

    def popen(*args: Any, **more: Any) -> Any:
        tries[0] -= 1
        if tries[0] > 0:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return real(*args, **more)

    monkeypatch.setattr(host_writer.subprocess, "Popen", popen)  # type: ignore[attr-defined]
    ready = asyncio.Event()
    told: list[str] = []
    noted = Log("off")
    monkeypatch.setattr(noted, "error", told.append)
    writer = HostWriter({"path": str(tmp_path / "s")}, noted, ready.set)
    writer.start()
    assert writer.link() is None and writer.pid is None
    async with asyncio.timeout(30):
        await ready.wait()
    why = "Resource temporarily unavailable"
    assert told == [f"the writer process cannot be started ({why}): workers write by themselves"] * 2
    end = writer.link()
    assert end is not None
    end.close()
    before = writer.beat
    async with asyncio.timeout(30):
        while writer.beat == before:  # noqa: ASYNC110 - another process counts
            await asyncio.sleep(0.01)
    pid = writer.pid
    writer.stop()
    writer.stop()
    assert pid is not None and not running(pid) and writer.link() is None


async def test_a_writer_that_waits_for_the_disk_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    one: Any = supervisor.Supervisor(ServerConfig())
    killed: list[bool] = []

    class Silent:
        ready, beat, pid = False, 7, os.getpid()

        def kill(self) -> None:
            killed.append(True)

    writer = Silent()
    told: list[str] = []
    monkeypatch.setattr(one.log, "error", told.append)
    one._writer = writer
    assert one._beats() == {}, "one that starts has a limit of its own"
    writer.ready = True
    assert list(one._beats().values()) == [7]
    monkeypatch.setattr(supervisor, "waits_for_disk", lambda pid: pid == writer.pid)
    assert not one._stuck(writer, 31.0) and not one._stuck(writer, 32.0) and killed == []
    silent = f"the writer process {os.getpid()} does not respond for 31 s"
    assert told == [f"{silent}; the disk does not either, so it is left alone"]
    monkeypatch.setattr(supervisor, "waits_for_disk", lambda pid: False)
    assert one._stuck(writer, 33.0) and killed == [True] and "33 s; it is killed and replaced" in told[-1]
