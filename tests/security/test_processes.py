"""Threat section D with the real vault: after seal no process of the server holds a share, a token or a secret."""

import base64
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from server_process import ServerProcess, free_port, running, until

SERVE = "import sys; from strongroom.server.run import serve; sys.exit(serve([sys.argv[1]]))"
VALUE = "canary-" + os.urandom(12).hex()


@pytest.fixture(params=["inmem", "lmdb"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    port = free_port()
    path = f'path = "{tmp_path}/data"' if request.param == "lmdb" else ""
    (tmp_path / "c.hcl").write_text(
        f'storage "{request.param}" {{ {path} }}\nworkers = 2\n'
        f'audit_dir = "{tmp_path}"\naudit "file" "a" {{ file_path = "audit.log" }}\n'
        f'listener "tcp" {{ address = "127.0.0.1:{port}" tls_disable = true }}\n'
    )
    process = ServerProcess(SERVE, str(tmp_path / "c.hcl"), cwd=tmp_path, port=port)
    yield process.up()
    process.stop()


def held(pid: int, needles: dict[str, bytes]) -> set[str]:
    """Which needles lie in writable memory of ``pid``; nothing if the process has ended."""
    found: set[str] = set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/maps") as maps:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for line in maps:
                place, mode = line.split()[:2]
                if "w" not in mode:
                    continue
                low, high = (int(x, 16) for x in place.split("-"))
                try:
                    memory.seek(low)
                    chunk = memory.read(high - low)
                except (OSError, ValueError, OverflowError):
                    continue
                found |= {name for name, needle in needles.items() if needle in chunk}
    return found


def writer(server: ServerProcess) -> int | None:
    """The process that commits for the workers, if the store has one."""
    for pid in server.children():
        with contextlib.suppress(OSError):
            if b"strongroom.server.writer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    return None


def writes(pid: int) -> int:
    """System calls with which a process has written to files."""
    return int(Path(f"/proc/{pid}/io").read_text().partition("syscw: ")[2].split()[0])


def tree(server: ServerProcess) -> list[int]:
    return [server.pid, *server.children()]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may read undumpable processes")
def test_sec_d_nothing_is_left_in_memory_after_seal(server: ServerProcess, tmp_path: Path) -> None:
    status, made = server.ask("PUT", "sys/init", {"secret_shares": 3, "secret_threshold": 2})
    assert status == 200
    root = {"X-Vault-Token": made["root_token"]}
    needles = {"root token": made["root_token"].encode(), "secret": VALUE.encode()}
    for n, share in enumerate(made["keys"]):
        raw = bytes.fromhex(share)
        needles |= {f"share {n}": raw, f"hex {n}": share.encode(), f"base64 {n}": base64.b64encode(raw)}
    for share in made["keys"][:2]:
        assert server.ask("PUT", "sys/unseal", {"key": share})[0] == 200
    assert server.ask("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}}, root)[0] == 204

    def put() -> bool:
        return bool(server.ask("POST", "kv/data/x", {"data": {"v": VALUE}}, root)[0] == 200)

    assert put()
    one = None
    if (tmp_path / "data").exists():
        one = until(lambda: writer(server), what="a writer process")
        so_far = writes(one)
        until(lambda: put() and writes(one) > so_far + 5, what="it commits what the workers write")
    for _ in range(10):
        assert server.ask("GET", "kv/data/x", None, root)[1]["data"]["data"] == {"v": VALUE}
    before = {name for pid in tree(server) for name in held(pid, needles)}
    assert {"root token", "secret"} <= before, "the positive control"
    for pid in (server.pid, *([one] if one else [])):
        assert held(pid, needles) == set(), "the supervisor and the writer never saw any of it"
    serving = set(server.children()) - {one}
    assert server.ask("PUT", "sys/seal", None, root)[0] == 204
    assert server.status()["sealed"] is True
    until(lambda: sum(running(pid) for pid in serving) <= 1, what="all but the one spare have ended")
    assert {name for pid in tree(server) for name in held(pid, needles)} == set()
    for share in made["keys"][1:]:
        assert server.ask("PUT", "sys/unseal", {"key": share})[0] == 200
    assert server.ask("GET", "kv/data/x", None, root)[1]["data"]["data"] == {"v": VALUE}


def test_sec_d_no_worker_outlives_a_killed_supervisor(server: ServerProcess, tmp_path: Path) -> None:
    children = until(lambda: len(server.children()) >= 2 and server.children())
    server.stop(signal.SIGKILL)
    until(lambda: not any(running(pid) for pid in children), seconds=5)


@pytest.mark.parametrize("count", [4])
def test_sec_a6_attempts_are_one_for_all_workers(server: ServerProcess, count: int) -> None:
    """A rekey that was begun at one worker goes on at any other."""
    made = server.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})[1]
    root = {"X-Vault-Token": made["root_token"]}
    assert server.ask("PUT", "sys/unseal", {"key": made["keys"][0]})[0] == 200
    status, begun = server.ask("PUT", "sys/rekey/init", {"secret_shares": 2, "secret_threshold": 2}, root)
    assert status == 200, begun
    for _ in range(count * 3):
        shown = server.ask("GET", "sys/rekey/init", None, root)[1]
        assert shown["started"] is True and shown["nonce"] == begun["nonce"]
    status, done = server.ask("PUT", "sys/rekey/update", {"key": made["keys"][0], "nonce": begun["nonce"]}, root)
    assert status == 200 and done["complete"] is True and len(done["keys"]) == 2
    assert server.ask("PUT", "sys/seal", None, root)[0] == 204
    for share in done["keys"]:
        assert server.ask("PUT", "sys/unseal", {"key": share})[0] == 200
    assert server.status()["sealed"] is False
