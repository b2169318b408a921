"""Framing does not depend on how the bytes arrive, and no bytes do worse than being refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.server.http_frame import Framer, Malformed
from strongroom.server.http_settings import DoorSettings, Limits

REQUESTS = [
    b"GET /v1/a HTTP/1.1\r\nHost: x\r\n\r\n",
    b"LIST /v1/b/ HTTP/1.1\r\nHost: x\r\nX-Vault-Token: t\r\n\r\n",
    b"SCAN /v1/c HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /v1/d HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /v1/dd HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /",
    b"PUT /v1/ddd HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n\r\n\r\n0",
    b"GET /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /v1/d HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PUT /v1/e HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    b"BREW /v1/f HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1f;e=1\r\n" + b"z" * 31
    + b"\r\n0\r\nTrailer: x\r\n\r\n",
    b"POST /v1/g HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}",
]  # fmt: skip

Parsed = list[tuple[bytes, bytes, bytes]]


def read(pieces: list[bytes]) -> tuple[Parsed, str]:
    """All messages in ``pieces``, and how it ended: "" or the reason of the refusal."""
    framer, found, buffer = Framer(Limits(), DoorSettings()), [], b""
    for piece in pieces:
        buffer += piece
        try:
            while buffer:
                buffer = framer.feed(buffer)
                if not framer.complete:
                    break
                assert framer.head is not None
                found.append((framer.head.method, framer.head.target, framer.body()))
                framer.reset(DoorSettings())
        except Malformed as error:
            return found, error.reason
    return found, ""


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=5), st.lists(st.integers(0, 2000), max_size=12))
def test_messages_do_not_depend_on_packets(requests: list[bytes], cuts: list[int]) -> None:
    data = b"".join(requests)
    whole = [read([request])[0][0] for request in requests]
    assert read([data]) == (whole, "")
    assert read(pieces_of(data, cuts)) == (whole, "")


@settings(max_examples=300)
@given(st.data())
def test_damaged_messages_are_refused_or_whole(data: st.DataObject) -> None:
    """One byte changed anywhere: never an exception but Malformed, and never a message out of nothing."""
    raw = bytearray(b"".join(data.draw(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=3))))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    found, _ = read([bytes(raw)])
    again, _ = read(pieces_of(bytes(raw), data.draw(st.lists(st.integers(0, 2000), max_size=6))))
    assert found == again or len(again) <= len(found)


@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    found, _ = read([raw])
    assert found == [] or b"HTTP/1." in raw


HEADERS = b"Host: h\r\nX-Vault-Token: hvs.one\r\nX-Vault-Namespace: root\r\n\r\n"


def heads(*messages: bytes) -> list[tuple[bytes, bytes | None, str]]:
    """(target, token, version) of each message of one connection, fed one after the other."""
    settings = DoorSettings()
    framer, out = Framer(Limits(), settings), []
    for message in messages:
        assert framer.feed(message) == b""
        assert framer.complete and framer.head is not None
        out.append((framer.head.target, framer.head.token, framer.version))
        framer.reset(settings)
    return out


def test_headers_that_come_again_mean_the_same_with_each_target() -> None:
    first, other = b"GET /v1/a HTTP/1.1\r\n" + HEADERS, b"GET /v1/b?x=%20y HTTP/1.1\r\n" + HEADERS
    assert heads(first, other, first) == [
        (b"/v1/a", b"hvs.one", "1.1"),
        (b"/v1/b?x=%20y", b"hvs.one", "1.1"),
        (b"/v1/a", b"hvs.one", "1.1"),
    ]


def test_headers_that_changed_in_one_byte_are_read_anew() -> None:
    changed = HEADERS.replace(b"one", b"two")
    got = heads(b"GET /v1/a HTTP/1.1\r\n" + HEADERS, b"GET /v1/a HTTP/1.1\r\n" + changed)
    assert [token for _, token, _ in got] == [b"hvs.one", b"hvs.two"]


@pytest.mark.parametrize(
    "line",
    [
        b"GET /v1/a HTTP/1.1\n",
        b"GET /v1/a HTTP/1.1 \r\n",
        b"GET http://h/v1/a HTTP/1.1\r\n",
        b"GET /v1/\x80 HTTP/1.1\r\n",
        b"GET /v1/a HTTP/1.1\r\nHost: again\r\n",
        b"GET /v1/a HTTP/9.9\r\n",
    ],
)
def test_known_headers_excuse_no_other_request_line(line: bytes) -> None:
    framer = Framer(Limits(), DoorSettings())
    framer.feed(b"GET /v1/a HTTP/1.1\r\n" + HEADERS)
    assert framer.complete
    framer.reset(DoorSettings())
    with pytest.raises(Malformed):
        framer.feed(line + HEADERS)


def test_other_settings_make_headers_be_read_anew() -> None:
    framer = Framer(Limits(), DoorSettings())
    message = b"GET /v1/a HTTP/1.1\r\nX-Mine: 1\r\n" + HEADERS
    framer.feed(message)
    assert framer.head is not None and framer.head.kept is None
    framer.reset(DoorSettings(kept_headers=frozenset({"x-mine"})))
    framer.feed(message)
    assert framer.head is not None and framer.head.kept == {"x-mine": "1"}


def test_a_body_behind_known_headers_is_not_judged_and_not_overrun() -> None:
    """What looks like a request belongs to the body as long as its length says so; the next message is seen whole."""
    framer = Framer(Limits(), DoorSettings())
    head = b"POST /v1/%b HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n"
    bodies = [b"a" * 20, b"GET /v1/evil HTTP/1.", b"\x00" * 20]
    buffer = b"".join(head % b"%d" % number + body for number, body in enumerate(bodies))
    seen = []
    while buffer:
        buffer = framer.feed(buffer)
        if framer.complete:
            assert framer.head is not None and framer.keep_alive
            seen.append((framer.head.target, framer.body(), framer.remaining))
            framer.reset(DoorSettings())
    assert seen == [(b"/v1/%d" % number, body, 0) for number, body in enumerate(bodies)]
    assert framer._known is not None, "the positive control: they were known"


@pytest.mark.parametrize(
    "extra",
    [b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\nContent-Length: 1\r\n", b"Connection: close\r\n"],
)
def test_what_needs_llhttp_each_time_is_never_known(extra: bytes) -> None:
    framer = Framer(Limits(), DoorSettings())
    framer.feed(b"POST /v1/a HTTP/1.1\r\nHost: x\r\n" + extra + b"\r\n")
    assert framer.headers_done
    assert framer._known is None


def test_a_body_over_the_limit_is_refused_each_time() -> None:
    framer = Framer(Limits(max_request_size=4), DoorSettings())
    for _ in range(2):
        framer.feed(b"POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
        assert framer.fault is not None
        framer = Framer(Limits(max_request_size=4), DoorSettings())
