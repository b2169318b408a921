"""What every audit sink must do. A sink's tests inherit ``AuditSinkContract`` and give the fixture ``place``."""

from typing import Any, Protocol

import pytest

from strongroom.errors import AuditFailed
from strongroom.sdk.audit import AuditSink


class Place(Protocol):
    """A target under test."""

    def open(self) -> AuditSink:
        """A new sink on the target."""

    def lines(self) -> list[bytes]:
        """What has arrived there so far, since the last call or since the beginning; newlines kept."""

    def break_(self) -> None:
        """From now on the target takes nothing."""

    def mend(self) -> None:
        """The target takes lines again."""


class AuditSinkContract:
    @pytest.fixture
    def place(self) -> Any:
        raise NotImplementedError

    def test_lines_arrive_whole_and_in_order(self, place: Place) -> None:
        sink = place.open()
        sink.request(b'{"n":1}\n')
        sink.response(b'{"n":2}\n')
        sink.request(b'{"n":3}\n')
        assert place.lines() == [b'{"n":1}\n', b'{"n":2}\n', b'{"n":3}\n']
        sink.close()

    def test_two_lines_at_once(self, place: Place) -> None:
        sink = place.open()
        sink.both(b"1\n" + b"2\n")
        assert place.lines() == [b"1\n", b"2\n"]
        sink.close()

    def test_a_failure_of_both_leaves_the_sink_usable(self, place: Place) -> None:
        sink = place.open()
        place.break_()
        with pytest.raises(AuditFailed):
            sink.both(b"1\n2\n")
        place.mend()
        sink.both(b"3\n4\n")
        sink.request(b"5\n")
        sink.response(b"6\n")
        assert [line for line in place.lines() if line.strip()][-4:] == [b"3\n", b"4\n", b"5\n", b"6\n"]
        sink.close()

    def test_a_long_line_arrives_whole(self, place: Place) -> None:
        sink = place.open()
        line = b'"' + b"x" * 30_000 + b'"\n'
        sink.request(line)
        sink.response(line)
        assert place.lines() == [line, line]
        sink.close()

    def test_two_sinks_on_one_target(self, place: Place) -> None:
        one, two = place.open(), place.open()
        one.request(b"1\n")
        two.request(b"2\n")
        one.response(b"3\n")
        two.response(b"4\n")
        assert place.lines() == [b"1\n", b"2\n", b"3\n", b"4\n"]
        one.close()
        two.close()

    def test_a_target_that_takes_nothing_is_a_refusal(self, place: Place) -> None:
        sink = place.open()
        sink.request(b"1\n")
        place.break_()
        with pytest.raises(AuditFailed):
            sink.response(b"2\n")
        with pytest.raises(AuditFailed):
            sink.request(b"3\n")
        sink.close()

    def test_after_the_trouble_lines_are_taken_again(self, place: Place) -> None:
        sink = place.open()
        place.break_()
        with pytest.raises(AuditFailed):
            sink.request(b"1\n")
        place.mend()
        sink.request(b"2\n")
        sink.response(b"3\n")
        assert [line for line in place.lines() if line.strip()][-2:] == [b"2\n", b"3\n"]
        sink.close()

    def test_reopen_loses_nothing(self, place: Place) -> None:
        sink = place.open()
        sink.request(b"1\n")
        sink.reopen()
        sink.response(b"2\n")
        assert place.lines() == [b"1\n", b"2\n"]
        sink.close()

    async def test_sync_passes(self, place: Place) -> None:
        sink = place.open()
        sink.request(b"1\n")
        await sink.sync()
        sink.close()


class NetworkSinkContract(AuditSinkContract):
    def test_two_sinks_on_one_target(self, place: Place) -> None:
        """Two connections: only each one's order is certain."""
        one, two = place.open(), place.open()
        one.request(b"1\n")
        two.request(b"2\n")
        one.response(b"3\n")
        two.response(b"4\n")
        assert sorted(place.lines()) == [b"1\n", b"2\n", b"3\n", b"4\n"]
        one.close()
        two.close()
