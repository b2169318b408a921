"""Audit into a real PostgreSQL: whole, in order, and while it is away."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import postgres
from contracts.audit_contract import AuditSinkContract
from contracts.audit_harness import Clock, Store, call, caller
from strongroom.audit.database import DatabaseSink, open_sink
from strongroom.core.audit import Audit
from strongroom.errors import AuditFailed, BadRequest
from strongroom.sdk.request import Response


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Postgres]:
    with postgres.running() as found:
        yield found


def until(condition: Callable[[], bool], what: str = "", seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)  # another process: there is nothing to wait on


def whole(text: str) -> bytes:
    return text.encode() + b"\n"


class TablePlace:
    count = 0

    def __init__(self, server: postgres.Postgres, folder: Path) -> None:
        TablePlace.count += 1
        self.server, self.folder, self.table = server, folder, f"audit_{TablePlace.count}"
        self.sinks: list[DatabaseSink] = []
        self.limits: list[int] = []
        self.seen = 0

    def options(self, **more: str) -> dict[str, str]:
        return {"dsn": self.server.dsn, "table": self.table, **more}

    def open(self, **more: str) -> Any:
        sink = open_sink(self.options(**more), audit_dir=str(self.folder))
        assert isinstance(sink, DatabaseSink)
        self.sinks.append(sink)
        return sink

    def lines(self) -> list[bytes]:
        until(lambda: not any(sink.spool.waiting for sink in self.sinks), "carried over")
        found = [whole(line) for line in self.server.sql(f"SELECT line FROM {self.table} ORDER BY id")]
        new, self.seen = found[self.seen :], len(found)
        return new

    def break_(self) -> None:
        """The spool is full: that is when this sink takes nothing."""
        self.limits = [sink.spool.limit for sink in self.sinks]
        for sink in self.sinks:
            sink.spool.limit = 0

    def mend(self) -> None:
        for sink, limit in zip(self.sinks, self.limits, strict=True):
            sink.spool.limit = limit


@pytest.fixture
def place(server: postgres.Postgres, tmp_path: Path) -> Iterator[TablePlace]:
    place = TablePlace(server, tmp_path)
    yield place
    for sink in place.sinks:
        sink.close()
        sink._thread.join(10)


class JsonPlace:
    """The contract's lines are no objects; a row holds one."""

    def __init__(self, place: TablePlace) -> None:
        self._place = place

    def __getattr__(self, name: str) -> Any:
        return getattr(self._place, name)

    def open(self) -> Any:
        return Wrapped(self._place.open())

    def lines(self) -> list[bytes]:
        return [json.loads(line)["x"].encode() + b"\n" for line in self._place.lines()]


class Wrapped:
    def __init__(self, sink: Any) -> None:
        self._sink = sink

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)

    def request(self, line: bytes) -> None:
        self._sink.request(_object(line))

    def response(self, line: bytes) -> None:
        self._sink.response(_object(line))

    def both(self, lines: bytes) -> None:
        self._sink.both(_object(lines))


def _object(lines: bytes) -> bytes:
    return b"".join(json.dumps({"x": line.decode()}).encode() + b"\n" for line in lines.splitlines())


class TestDatabase(AuditSinkContract):
    @pytest.fixture
    def place(self, place: TablePlace) -> Any:
        return JsonPlace(place)

    def test_two_sinks_on_one_target(self, place: Any) -> None:
        """Each has a spool of its own: only each one's order is certain."""
        one, two = place.open(), place.open()
        one.request(b"1\n")
        two.request(b"2\n")
        one.response(b"3\n")
        two.response(b"4\n")
        assert sorted(place.lines()) == [b"1\n", b"2\n", b"3\n", b"4\n"]


def test_the_database_is_away_and_comes_back(server: postgres.Postgres, place: TablePlace) -> None:
    sink = place.open()
    sink.request(b'{"n":0}\n')
    assert place.lines() == [b'{"n":0}\n']
    server.stop()
    begun = time.monotonic()
    for n in range(1, 2000):
        sink.response(b'{"n":%d}\n' % n)
    assert time.monotonic() - begun < 5, "nobody waits for it"
    assert sink.spool.waiting
    server.start()
    assert place.lines() == [b'{"n":%d}\n' % n for n in range(1, 2000)], "in order, nothing lost, nothing twice"
    assert os.listdir(place.folder) == [sink.spool.file] and not os.stat(place.folder / sink.spool.file).st_size


async def test_a_full_spool_is_a_failure_and_leaves_a_marker_row(server: postgres.Postgres, place: TablePlace) -> None:
    """With a file beside it requests go on; alone they are refused."""
    made: list[Any] = []

    def opened(kind: str, options: Any) -> Any:
        made.append(place.open(**options))
        return made[-1]

    audit = Audit(Store(), open_sink=opened, now=Clock())
    await audit.enable("db", "database", options={"spool_size": "65536"})
    (device,) = audit.devices
    server.stop()
    taken = refused = 0
    while refused < 3:
        of = call(who=caller())
        try:
            await audit.request(of, None)
        except AuditFailed:
            refused += 1
        else:
            await audit.response(of, Response())
            taken += 1
    assert device.failures == 3 and taken > 10
    server.start()
    until(lambda: not made[0].spool.waiting)
    of = call(who=caller())
    await audit.request(of, None)
    await audit.response(of, Response())
    rows = [json.loads(line) for line in place.lines()]
    kinds = [row["type"] for row in rows]
    assert kinds == ["request", "response"] * taken + ["gap", "request", "response"]
    assert rows[2 * taken]["gap"] == {"missed": 3}


_DYING = """
import os, signal, sys, json
from strongroom.audit.database import open_sink
options, folder = json.loads(sys.argv[1]), sys.argv[2]
sink = open_sink({**options, "dsn": "postgresql://tests@127.0.0.1:1/none"}, audit_dir=folder)
for n in range(500):
    sink.response(b'{"n":%d}\\n' % n)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_carried_over_once(server: postgres.Postgres, place: TablePlace) -> None:
    argv = [sys.executable, "-c", _DYING, json.dumps(place.options()), str(place.folder)]
    assert subprocess.run(argv, timeout=60).returncode == -signal.SIGKILL
    (left,) = os.listdir(place.folder)
    saved = (place.folder / left).read_bytes()
    assert saved.count(b"\n") == 500
    sink = place.open()
    until(lambda: left not in os.listdir(place.folder), "taken over")
    assert place.lines() == [b'{"n":%d}\n' % n for n in range(500)]
    (place.folder / left).write_bytes(saved + b'501 {"n":')  # it died between the commit and its note of it, in a line
    other = place.open()
    until(lambda: left not in os.listdir(place.folder), "taken over again")
    assert place.lines() == []
    sink.request(b'{"n":"x"}\n')
    other.request(b'{"n":"y"}\n')
    assert sorted(place.lines()) == [b'{"n":"x"}\n', b'{"n":"y"}\n']


def test_the_spool_is_made_anew_while_lines_keep_coming(server: postgres.Postgres, place: TablePlace) -> None:
    sink = place.open()
    line = b'{"x":"' + b"x" * 20_000 + b'"}\n'
    for _ in range(400):
        sink.response(line)
    until(lambda: os.stat(place.folder / sink.spool.file).st_size < 2_000_000)
    assert len(place.lines()) == 400


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dsn": "mysql://h/d"},
        {"dsn": "postgresql://u:needle@h/d"},
        {"dsn": "postgresql://u@h/d?password=needle"},
        {"dsn": "postgresql://h/d", "table": "a;drop"},
        {"dsn": "postgresql://h/d", "table": 'a"b'},
        {"dsn": "postgresql://h/d", "spool_size": "10"},
        {"dsn": "postgresql://h/d", "spool": "../outside"},
        {"dsn": "postgresql://h/d", "file_path": "x"},
        {"dsn": "postgresql://[h/d"},
    ],
)
def test_refused(options: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(BadRequest) as caught:
        open_sink(options, audit_dir=str(tmp_path))
    assert "needle" not in str(caught.value)
    assert os.listdir(tmp_path) == []
