"""Audit on standard output: a reader that is slow, gone, or slow and then back."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.audit_contract import AuditSinkContract
from strongroom.audit import stdout
from strongroom.audit.stdout import StdoutSink
from strongroom.errors import AuditFailed


class PipePlace:
    """A pipe whose reader stops reading to break it."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        os.set_blocking(self.read, False)

    def open(self) -> StdoutSink:
        return StdoutSink(self.write)

    def lines(self) -> list[bytes]:
        out = b""
        while True:
            try:
                out += os.read(self.read, 1 << 16)
            except BlockingIOError:
                return out.splitlines(keepends=True)

    def break_(self) -> None:
        own = os.open(f"/proc/self/fd/{self.write}", os.O_WRONLY | os.O_NONBLOCK)
        try:
            while True:
                os.write(own, b"." * 4095 + b"\n")
        except BlockingIOError:
            os.close(own)

    def mend(self) -> None:
        self.lines()

    def close(self) -> None:
        for fd in (self.read, self.write):
            try:
                os.close(fd)
            except OSError:
                pass


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[PipePlace]:
    monkeypatch.setattr(stdout, "PATIENCE", 0.02)
    found = PipePlace()
    yield found
    found.close()


class TestContract(AuditSinkContract):
    @pytest.fixture
    def place(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[PipePlace]:
        monkeypatch.setattr(stdout, "PATIENCE", 0.02)
        found = PipePlace()
        yield found
        found.close()


def test_a_vanished_reader_is_a_refusal_not_a_death(place: PipePlace) -> None:
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
    sink = place.open()
    sink.request(b"1\n")
    os.close(place.read)
    for _ in range(2):
        with pytest.raises(AuditFailed):
            sink.response(b"2\n")
        with pytest.raises(AuditFailed):
            sink.request(b"3\n")
    sink.close()


def test_a_full_pipe_is_waited_for_once_and_briefly(place: PipePlace) -> None:
    sink = place.open()
    place.break_()
    start = time.monotonic()
    for _ in range(200):
        with pytest.raises(AuditFailed):
            sink.response(b"1\n")
    assert time.monotonic() - start < 1.0, "200 refusals may not each wait"
    sink.close()


def test_after_a_failure_a_request_needs_an_empty_pipe(place: PipePlace) -> None:
    sink = place.open()
    place.break_()
    with pytest.raises(AuditFailed):
        sink.response(b"1\n")
    os.read(place.read, 8192)  # room for this line, but nobody knows about the answer
    with pytest.raises(AuditFailed):
        sink.request(b"2\n")
    place.mend()
    sink.request(b"3\n")
    assert place.lines() == [b"3\n"]
    sink.close()


def test_the_line_after_half_a_line_stands_alone(place: PipePlace) -> None:
    sink = place.open()
    with pytest.raises(AuditFailed):
        sink.request(b"x" * 200_000 + b"\n")  # more than the pipe holds, and nobody reads
    place.lines()
    sink.request(b'{"n":1}\n')
    assert place.lines() == [b"\n", b'{"n":1}\n']
    sink.close()


def test_the_callers_descriptor_stays_blocking(place: PipePlace) -> None:
    sink = place.open()
    assert os.get_blocking(place.write)
    sink.close()


def test_a_file_as_standard_output_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"before\n")
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    sink = StdoutSink(fd)
    sink.request(b"1\n")
    sink.response(b"2\n")
    assert path.read_bytes() == b"before\n1\n2\n"
    sink.close()
    os.close(fd)


def test_a_socket_as_standard_output() -> None:
    import socket

    ours, theirs = socket.socketpair()
    with ours, theirs:
        sink = StdoutSink(ours.fileno())
        sink.request(b"1\n")
        assert theirs.recv(10) == b"1\n"
        theirs.close()
        with pytest.raises(AuditFailed):
            sink.response(b"2\n")
        sink.close()


def test_where_a_descriptor_cannot_be_opened_anew(place: PipePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> int:
        raise OSError("no /proc here")

    monkeypatch.setattr(stdout.os, "open", refuse)
    sink = place.open()
    sink.request(b"1\n")
    assert place.lines() == [b"1\n"]
    assert not os.get_blocking(place.write), "shared with the other holders; documented"
    sink.close()
