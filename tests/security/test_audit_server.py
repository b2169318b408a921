"""The audit of a whole server: several workers, one of them killed, a rotation, a seal; and its log verified."""

import base64
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import server_fixture
from server_fixture import Server, running
from strongroom.audit.verify import Report, Verifier


def until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)  # other processes: there is nothing to wait on


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def workers(server: Server) -> list[int]:
    pid = server.process.pid
    found = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [p for p in found if b"server.worker" in Path(f"/proc/{p}/cmdline").read_bytes()]


def ask(server: Server, times: int) -> None:
    """Requests over connections of their own, so that every worker gets some."""
    for n in range(times):
        status, _ = server.call("PUT", f"secret/data/app{n}", {"data": {"x": "y"}})
        assert status in (200, 204)
        assert server.call("GET", f"secret/data/app{n}")[0] == 200


def verify(public: bytes, *files: list[bytes]) -> Report:
    return Verifier(public).files(files)


def test_the_log_of_a_new_server_is_proved_from_its_first_line(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    with running(tmp_path, workers=2, audit={"file": {"main": {"file_path": "audit.log"}}}) as server:
        status, answer = server.call("GET", "sys/audit-proof/main")
        assert status == 200
        until(lambda: log.read_bytes().count(b'"type":"checkpoint"') >= 2, "a checkpoint a second")
    report = verify(base64.b64decode(answer["data"]["public_key"]), lines(log))
    assert b'"path":"sys/init"' in lines(log)[0] + lines(log)[1] + lines(log)[2]
    assert (report.bad, report.strange, report.from_start) == (None, 0, True)


def test_a_server_log_is_proved_over_a_killed_worker_a_rotation_and_a_seal(tmp_path: Path) -> None:
    log, old = tmp_path / "audit.log", tmp_path / "audit.log.1"
    audit = {"file": {"main": {"file_path": "audit.log"}}}
    with running(tmp_path, workers=2, audit=audit) as server:
        assert server.call("PUT", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})[0] == 204
        ask(server, 20)
        status, answer = server.call("GET", "sys/audit-proof/main")
        assert status == 200
        public = base64.b64decode(answer["data"]["public_key"])
        until(lambda: log.read_bytes().count(b'"type":"checkpoint"') >= 2, "a checkpoint a second")
        writing = {line[line.rindex(b'"w":"') + 5 :][:16] for line in lines(log)}
        assert len(writing) >= 3, "the sealed worker and both that serve"
        victim = workers(server)[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in workers(server), "it is gone, and a spare one takes its place")
        ask(server, 20)
        log.rename(old)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: log.exists() and log.read_bytes().count(b'"opened":true') >= 2, "both workers open it anew")
        ask(server, 20)
        assert server.call("PUT", "sys/seal")[0] == 204
        server_fixture.wait_until_it_answers(server)
    first, second = lines(old), lines(log)
    whole = verify(public, first, second)
    assert whole.bad is None, (whole.bad, whole.why)
    assert whole.from_start and whole.proved > 180
    alone = verify(public, second)
    assert alone.bad is None and not alone.from_start, alone.why
    covered = [at for at, line in enumerate(first) if b'"path":"secret/data/app' in line][:20]
    for at in covered:
        assert verify(public, [*first[:at], *first[at + 1 :]], second).bad is not None, "control: a line taken out"
