"""Supervisor and workers as real processes, with a stub in the vault's place."""

import contextlib
import json
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server_process import STUB, ServerProcess, free_port, running, until

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")

SERVE = "import sys; from strongroom.server.run import serve; sys.exit(serve([sys.argv[1]], node=sys.argv[2]))"


@contextmanager
def server(
    tmp_path: Path, extra: str = "", *, workers: int = 2, tls: str = "", node: str = STUB, **env: str
) -> Iterator[ServerProcess]:
    port = free_port()
    (tmp_path / "c.hcl").write_text(
        f'storage "lmdb" {{ path = "{tmp_path}/data" }}\nworkers = {workers}\ndrain_timeout = 2\n'
        f'listener "tcp" {{ address = "127.0.0.1:{port}" {tls or "tls_disable = true"} }}\n{extra}'
    )
    process = ServerProcess(SERVE, str(tmp_path / "c.hcl"), node, cwd=tmp_path, port=port, env=env)
    try:
        yield process
    finally:
        process.stop()
        assert not [pid for pid in process.children() if running(pid)]


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One unsealed server with two workers, for tests that leave it so."""
    secret = {"VAULT_TOKEN": "c1", "VAULT_DEV_ROOT_TOKEN_ID": "c2", "MY_SECRET": "c3", "BAO_TOKEN": "c4", "KEPT": "yes"}
    folder = tmp_path_factory.mktemp("living")
    with server(folder, **secret) as s:
        yield s.unsealed()


def test_from_init_to_seal(tmp_path: Path) -> None:
    with server(tmp_path) as s:
        s.up()
        first = s.status()["pid"]
        status, headers, _ = s.ask_all("PUT", "sys/init")
        assert (status, headers["connection"]) == (200, "close")
        second = s.status()["pid"]
        assert first != second and s.status()["sealed"], "init replaces the sealed worker"
        status, headers, _ = s.ask_all("PUT", "sys/unseal", {"key": "k"})
        assert (status, headers["connection"]) == (200, "close")
        assert s.status()["sealed"] is False
        serving = s.pids()
        assert len(serving) == 2 and not serving & {first, second}, "the kernel spreads connections over fresh workers"
        until(lambda: not running(first) and not running(second), what="those who saw secrets are gone")
        status, headers, _ = s.ask_all("PUT", "sys/seal")
        assert (status, headers["connection"]) == (204, "close")
        assert s.status()["sealed"] is True, "at once"
        assert s.ask("GET", "who") == (503, {"errors": ["Vault is sealed"]})
        until(lambda: not any(running(pid) for pid in serving), what="every process that had the key is gone")
        assert s.ask("PUT", "sys/unseal", {"key": "k"})[0] == 200
        assert len(s.pids()) == 2


HELD = "server_stub_node:open_held"


def test_a_change_that_comes_while_the_supervisor_still_starts(tmp_path: Path) -> None:
    """The first worker serves before a slow supervisor has read that it is ready: init is init all the same."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "hold").touch()
    with server(tmp_path, node=HELD) as s:
        until(lambda: list(data.glob("opening-*")), what="the first worker opens its node")
        os.kill(s.pid, signal.SIGSTOP)
        got: list[Any] = []
        init = threading.Thread(target=lambda: got.append(s.ask("PUT", "sys/init")))
        try:
            (data / "hold").unlink()
            until(s.status, what="the worker answers, and its message that it is ready lies unread")
            init.start()
            until((data / "initialized").exists, what="the next message lies behind it")
        finally:
            os.kill(s.pid, signal.SIGCONT)
        init.join()
        assert got == [(200, {"keys": ["k"]})]
        assert s.ask("PUT", "sys/unseal", {"key": "k"})[0] == 200 and s.status()["sealed"] is False


def test_a_dead_worker_is_replaced_with_the_key_of_a_living_one(living: ServerProcess) -> None:
    s = living
    before = s.unsealed().pids()
    victim = max(before)
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(now := s.pids()) == 2 and victim not in now, what="two workers serve again")
    assert s.status()["sealed"] is False


def test_workers_that_hang_are_replaced_with_the_key_of_one_that_turns(tmp_path: Path) -> None:
    with server(tmp_path, "worker_timeout = 3", workers=3) as s:
        before = s.unsealed().pids(60)
        caught = socket.create_connection(("127.0.0.1", s.port), timeout=20)
        caught.sendall(b"GET /v1/hang HTTP/1.1\r\nHost: x\r\n\r\n")
        (mark,) = until(lambda: list((tmp_path / "data").glob("hanging-*")), what="one hangs in a request")
        hanging = int(mark.name.rpartition("-")[2])
        stopped, turning = sorted(before - {hanging})
        os.kill(stopped, signal.SIGSTOP)
        until(lambda: not running(hanging) and not running(stopped), seconds=30, what="both are ended")
        with contextlib.suppress(ConnectionError), caught:
            assert caught.recv(100) == b"", "who waited there is told"
        until(lambda: len(now := s.pids(40)) == 3 and turning in now, what="three serve again")
        assert s.status()["sealed"] is False
        err = s.stop()[2]
    for pid in (hanging, stopped):
        assert f"worker {pid} (serving) does not respond for" in err
    assert f"worker {turning} " not in err


def test_what_is_under_way_in_all_workers(tmp_path: Path) -> None:
    with server(tmp_path, workers=3) as s:
        every = s.unsealed().pids(60)
        assert len(every) == 3

        def told() -> tuple[int, set[int]]:
            data = s.ask("GET", "flights")[1]["data"]
            return data["pid"], {int(name.removeprefix("of-")) for name in data["others"]}

        for _ in range(12):
            until(lambda: (found := told())[1] == every - {found[0]}, what="all the others are listed")
        stopped = max(every)
        client = socket.create_connection(("127.0.0.1", s.port), timeout=10)
        asker = next_of(client, "who")
        while asker == stopped:
            client.close()
            client = socket.create_connection(("127.0.0.1", s.port), timeout=10)
            asker = next_of(client, "who")
        os.kill(stopped, signal.SIGSTOP)
        try:
            for _ in range(3):
                client.sendall(b"GET /v1/flights HTTP/1.1\r\nHost: x\r\n\r\n")
                body = client.recv(65536)
                assert f"of-{stopped}".encode() not in body and body.count(b"of-") == 1, "a partial list, in time"
        finally:
            os.kill(stopped, signal.SIGCONT)
            client.close()
        until(lambda: all((told := s.ask("GET", "flights")[1]["data"]) and len(told["others"]) == 2 for _ in range(9)))


def next_of(client: socket.socket, path: str) -> int:
    """The process behind a connection."""
    client.sendall(f"GET /v1/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return int(json.loads(client.recv(65536).rpartition(b"\r\n\r\n")[2])["data"]["pid"])


def test_when_no_worker_lives_the_node_is_sealed(tmp_path: Path) -> None:
    with server(tmp_path) as s:
        for pid in s.unsealed().pids():
            os.kill(pid, signal.SIGKILL)
        until(lambda: s.status()["sealed"], what="sealed")
        os.kill(s.status()["pid"], signal.SIGKILL)
        until(s.status, what="a sealed worker is replaced too")
        assert s.ask("PUT", "sys/unseal", {"key": "k"})[0] == 200
        assert s.status()["sealed"] is False


def test_workers_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    with server(tmp_path) as s:
        s.unsealed()
        children = until(lambda: len(s.children()) >= 3 and s.children())
        s.stop(signal.SIGKILL)
        until(lambda: not any(running(pid) for pid in children), seconds=5, what="all gone")


def test_graceful_stop(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    extra = f'listener "unix" {{ address = "{path}" socket_mode = "0660" }}\npid_file = "{tmp_path}/pid"'
    with server(tmp_path, extra) as s:
        s.unsealed()
        assert (tmp_path / "pid").read_text() == f"{s.pid}\n" and path.stat().st_mode & 0o777 == 0o660
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(b"GET /v1/sys/seal-status HTTP/1.1\r\nHost: x\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.1 200")
        got: list[Any] = []
        slow = threading.Thread(target=lambda: got.append(s.ask("GET", "slow")))
        slow.start()
        time.sleep(0.2)
        children = s.children()
        started = time.monotonic()
        code, _, _ = s.stop()
        slow.join()
        assert code == 0 and time.monotonic() - started < 5
        assert got[0][0] == 200, "what was under way is answered"
        assert not any(running(pid) for pid in children)
        assert not path.exists() and not (tmp_path / "pid").exists()


def test_owner_answers_for_all(tmp_path: Path) -> None:
    with server(tmp_path, workers=3) as s:
        s.unsealed()
        until(lambda: sum(s.ask("GET", "state")[1]["data"]["jobs"] for _ in range(20)), what="an owner")
        answers = [s.ask("PUT", "sys/rekey/init", {"a": 1}, {"X-Vault-Token": "t"})[1] for _ in range(20)]
        assert len({a["data"]["pid"] for a in answers}) == 1, "whoever was asked"
        assert [a["data"]["n"] for a in answers] == list(range(1, 21)) and len(s.pids()) == 3
        assert answers[0]["data"]["body"] == '{"a":1}' and answers[0]["auth"]["client_token"] == "t"
        for _ in range(9):
            status, headers, body = s.ask_all("PUT", "sys/rekey/refused")
            assert (status, headers["retry-after"], body) == (429, "9", {"errors": ["slow down"]})
            assert s.ask("PUT", "sys/rekey/denied")[1] == {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
        owner = answers[0]["data"]["pid"]
        os.kill(owner, signal.SIGKILL)

        def again() -> bool:
            found = [s.ask("PUT", "sys/rekey/init") for _ in range(12)]
            return len({a["data"]["pid"] for code, a in found if code == 200}) == 1 and all(c == 200 for c, _ in found)

        until(lambda: owner not in s.pids() and again(), what="another worker owns")


def test_no_request_is_lost_while_workers_change(living: ServerProcess) -> None:
    s = living
    s.unsealed()
    failures: list[str] = []
    count, end = [0], threading.Event()

    def hammer() -> None:
        while not end.is_set():
            try:
                status = s.ask("GET", "sys/seal-status")[0]
                if status != 200:
                    failures.append(str(status))
            except Exception as error:
                failures.append(repr(error))
            count[0] += 1
            time.sleep(0.005)

    threads = [threading.Thread(target=hammer) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        s.ask("PUT", "sys/seal")
        s.ask("PUT", "sys/unseal", {"key": "k"})
    until(lambda: count[0] > 10, what="enough requests, however fast the changes were")
    end.set()
    for thread in threads:
        thread.join()
    assert failures == []


def test_environment_of_workers_is_clean(living: ServerProcess) -> None:
    environ = living.ask("GET", "environ")[1]["data"]
    assert environ["KEPT"] == "yes" and not {"c1", "c2", "c3", "c4"} & set(environ.values())


def test_sec_d_the_supervisor_never_holds_the_key(living: ServerProcess) -> None:
    """Threat section D: the key passes from worker to worker through a socket the supervisor only carries."""
    from server_stub_node import KEY

    s = living
    worker = min(s.unsealed().pids())
    try:
        assert holds(worker, KEY), "the positive control"
    except PermissionError:
        pytest.skip("may not read memory")
    assert not holds(s.pid, KEY)


def holds(pid: int, needle: bytes) -> bool:
    with contextlib.ExitStack() as stack:
        try:
            maps = stack.enter_context(open(f"/proc/{pid}/maps"))
            memory = stack.enter_context(open(f"/proc/{pid}/mem", "rb", buffering=0))
        except FileNotFoundError:
            return False  # it has ended
        for line in maps:
            place, mode = line.split()[:2]
            if "rw" not in mode:
                continue
            low, high = (int(x, 16) for x in place.split("-"))
            try:
                memory.seek(low)
                if needle in memory.read(high - low):
                    return True
            except (OSError, ValueError, OverflowError):
                continue
    return False


def test_a_second_server_on_the_same_port_is_refused(living: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "c.hcl").write_text(
        f'storage "inmem" {{}}\nlistener "tcp" {{ address = "127.0.0.1:{living.port}" tls_disable = true }}'
    )
    second = ServerProcess(SERVE, str(tmp_path / "c.hcl"), STUB, cwd=tmp_path, port=living.port)
    _, err = second.process.communicate(timeout=20)
    assert second.process.returncode == 1 and "cannot listen on 127.0.0.1" in err and "Traceback" not in err
    assert living.status()["sealed"] is False


def test_a_store_that_cannot_be_opened_ends_the_start(tmp_path: Path) -> None:
    config = tmp_path / "c.hcl"
    config.write_text(
        f'storage "lmdb" {{ path = "{tmp_path}/broken" }}\nlistener "tcp" {{ address="127.0.0.1:0" tls_disable=1 }}'
    )
    process = ServerProcess(SERVE, str(config), STUB, cwd=tmp_path, port=0)
    out, err = process.process.communicate(timeout=20)
    assert process.process.returncode == 1 and "the store is broken" in err and "Traceback" not in err + out


def test_hangup_reloads_certificate_and_audit(tmp_path: Path) -> None:
    from strongroom.server.tls import development_files

    files = development_files(str(tmp_path))
    with server(tmp_path, tls=f'tls_cert_file = "{files.cert_file}" tls_key_file = "{files.key_file}"') as s:
        s.scheme = ssl.create_default_context(cafile=str(tmp_path / "vault-ca.pem"))
        s.unsealed()
        assert {s.ask("GET", "state")[1]["data"]["reloads"] for _ in range(9)} == {0}
        development_files(str(tmp_path))  # another CA
        s.process.send_signal(signal.SIGHUP)
        until(lambda: all(s_reloaded(s, tmp_path) for _ in range(6)), what="the new certificate everywhere")
        (tmp_path / "vault-key.pem").write_text("nonsense")
        s.process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        assert s.status()["sealed"] is False, "a broken file leaves the old certificate in place"


def s_reloaded(s: ServerProcess, folder: Path) -> bool:
    s.scheme = ssl.create_default_context(cafile=str(folder / "vault-ca.pem"))
    return bool(s.ask("GET", "state")[1]["data"]["reloads"] == 1)


DEV = (
    "import sys; from strongroom.server.run import run_dev; "
    "sys.exit(run_dev(root_token_id='root', listen_address=sys.argv[1], node=sys.argv[2]))"
)
KEEP = (
    "import sys; from strongroom.server.run import serve_development; "
    "sys.exit(serve_development('data', sys.argv[1], node=sys.argv[2]))"
)


def test_dev(tmp_path: Path) -> None:
    port = free_port()
    s = ServerProcess(DEV, f"127.0.0.1:{port}", STUB, cwd=tmp_path, port=port, env={"STRONGROOM_WORKERS": "2"})
    try:
        until(lambda: s.ask("GET", "who")[0] == 200)
        assert s.status()["sealed"] is False and len(s.pids()) == 2
    finally:
        code, out, _ = s.stop(signal.SIGINT)
    assert code == 0 and out.splitlines()[:2] == ["Unseal Key: c2hhcmU=", "Root Token: root"]


def test_development_server_unseals_itself_again(tmp_path: Path) -> None:
    shown = []
    for _ in range(2):
        port = free_port()
        s = ServerProcess(KEEP, f"127.0.0.1:{port}", STUB, cwd=tmp_path, port=port, env={"STRONGROOM_WORKERS": "1"})
        try:
            until(lambda: s.ask("GET", "who")[0] == 200)
        finally:
            shown.append(s.stop()[1])
    keep = tmp_path / "data" / "development-keys.json"
    assert keep.stat().st_mode & 0o777 == 0o600
    for out in shown:
        assert "Unseal Key: c2hhcmU=\nRoot Token: hvs.stub\n" in out and "WARNING" in out
        assert "VAULT_TOKEN=hvs.stub" in out and "Address: http://127.0.0.1:" in out
    (tmp_path / "data" / "store" / "rekeyed").touch()
    port = free_port()
    s = ServerProcess(KEEP, f"127.0.0.1:{port}", STUB, cwd=tmp_path, port=port, env={"STRONGROOM_WORKERS": "1"})
    try:
        assert s.up().status()["sealed"] is True
    finally:
        assert "does not unseal" in s.stop()[1]
    keep.unlink()
    s = ServerProcess(KEEP, f"127.0.0.1:{free_port()}", STUB, cwd=tmp_path, port=0)
    _, err = s.process.communicate(timeout=20)
    assert s.process.returncode == 1 and "its share is not in" in err


def test_metrics_of_all_workers(living: ServerProcess) -> None:
    s = living
    s.unsealed().pids(20)
    with socket.create_connection(("127.0.0.1", s.port)) as sock:
        sock.sendall(b"\x16\x03\x01nonsense")
        assert sock.recv(10).startswith(b"HTTP/1.1")
    text = s.ask("GET", "metrics")[1]
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert int(lines['strongroom_requests_total{operation="read",status="2xx"}']) >= 20
    assert lines["strongroom_workers"] == "2" and lines["vault_core_unsealed"] == "1"
    assert int(lines["strongroom_bad_bytes_total"]) == 1
    assert float(lines["strongroom_request_seconds_sum"]) > 0
    s.ask("PUT", "sys/seal")
    s.ask("PUT", "sys/unseal", {"key": "k"})
    again = s.ask("GET", "metrics")[1]
    lines = dict(line.rsplit(" ", 1) for line in again.splitlines() if not line.startswith("#"))
    assert int(lines['strongroom_requests_total{operation="read",status="2xx"}']) >= 21, "counters outlive workers"


def test_audit_trouble_is_logged_once(tmp_path: Path) -> None:
    with server(tmp_path) as s:
        s.unsealed()
        for number in (1, 2, 3):
            (tmp_path / "data" / f"audit-failed-{number}").touch()

            def counted(wanted: int = 2 * number) -> bool:
                return f"strongroom_audit_failures_total {wanted}\n" in s.ask("GET", "metrics")[1]

            until(counted, what="both workers have counted")
            of_device = f'strongroom_audit_device_failures_total{{device="file"}} {2 * number}\n'
            assert of_device in s.ask("GET", "metrics")[1]
        err = s.stop()[2]
    assert err.count("an audit device takes no records") == 2, "one line of each worker"


def test_two_who_seal_at_once_both_succeed(tmp_path: Path) -> None:
    with server(tmp_path, workers=1) as s:
        s.unsealed()
        clients = [socket.create_connection(("127.0.0.1", s.port), timeout=10) for _ in range(2)]
        for client in clients:
            client.sendall(b"GET /v1/who HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        for client in clients:
            client.sendall(b"PUT /v1/sys/seal HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert [client.recv(12) for client in clients] == [b"HTTP/1.1 204"] * 2
        for client in clients:
            client.close()
