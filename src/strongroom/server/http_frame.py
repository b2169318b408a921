"""Cuts a byte stream into HTTP/1.1 messages; llhttp judges every byte, this only decides how much it sees at once.

llhttp knows a fixed list of methods, so the method is read here and replaced while no message is in progress. For
that one message must never reach the parser together with the start of the next, hence the framing of chunked bodies.
"""

import re

import httptools

from strongroom.errors import BadRequest, TooLarge, VaultError
from strongroom.server.http_request import Head, meanings
from strongroom.server.http_settings import DoorSettings, Limits

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")  # RFC 9110 section 5.6.2; no real method is longer
# A request line that llhttp takes and that means nothing special: only then may headers be known already.
_PLAIN_LINE = re.compile(rb"(GET|POST|PUT) (/[A-Za-z0-9_\-~.:@!$&'()*+,;=/?%]{0,1024}) HTTP/1\.1\r\n")
_BARE_LF = re.compile(rb"(?:^|[^\r])\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\r\n]*)?\r\n")
_LINE = re.compile(rb"(?:\r\n)?([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}) ([!-~]{1,16384}) HTTP/1\.[01]\r\n")
_PASSED = frozenset({b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"HEAD"})  # llhttp knows them and frames them alike
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
_MAX_LINE = 4096  # of a chunk size line or a trailer
_MAX_TRAILERS = 8192
_SHOWN = 1024  # bytes of the target of a request that is refused for its head


class Malformed(Exception):
    """These bytes are no HTTP message. ``head`` holds the request line if there was one."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Framer:
    """Feeds one connection's messages to llhttp, one after the other.

    ``feed(buffer)`` returns the bytes left over; then ``complete`` tells whether a message is whole
    (``head``, ``body()``), ``fault`` whether it must be refused without reading the rest of its body.
    """

    __slots__ = (
        "_block",
        "_chunk",
        "_direct",
        "_known",
        "_limits",
        "_names",
        "_parser",
        "_parts",
        "_trailers",
        "complete",
        "fault",
        "head",
        "headers_done",
        "keep_alive",
        "received",
        "remaining",
        "version",
    )

    def __init__(self, limits: Limits, settings: DoorSettings) -> None:
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._parts: list[bytes] = []
        self._block = b""  # the headers of the last plain message of this connection...
        # ...what llhttp made of them, the names that counted, and how many bytes of body they announced
        self._known: tuple[Head, object, int] | None = None
        self.reset(settings)

    def reset(self, settings: DoorSettings) -> None:
        """Make ready for the next message."""
        self._names = meanings(settings.kept_headers)
        self._parts.clear()
        self._chunk = self._trailers = 0
        self.head: Head | None = None
        self.fault: VaultError | None = None
        self.headers_done = self.complete = self._direct = False
        self.keep_alive = False
        self.received = 0  # bytes of body kept
        self.remaining = 0  # bytes of body (or of a chunk with its CRLF) still to come
        self.version = ""

    # What llhttp calls. They must not raise: httptools would hide what.

    def on_url(self, url: bytes) -> None:
        assert self.head is not None
        self.head.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        head = self.head
        if self.headers_done or head is None:
            return  # a trailer, which says nothing to us
        head.count += 1
        meaning = self._names.get(name) or self._names.get(name.lower())
        if meaning is not None:
            head.add(meaning, value)

    def on_headers_complete(self) -> None:
        self.headers_done = True
        self.keep_alive = self._parser.should_keep_alive()  # later, llhttp speaks of the next message
        self.version = self._parser.get_http_version()

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)
        self.received += len(body)

    def on_message_complete(self) -> None:
        self.complete = True

    # What the connection calls.

    def body(self) -> bytes:
        """The body so far."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def feed(self, buffer: bytes) -> bytes:
        """Take what belongs to the message in progress. Raises Malformed."""
        if not self.headers_done:
            buffer = self._feed_head(buffer)
            if not self.headers_done or self.complete or self.fault is not None:
                return buffer
        if not buffer:
            return buffer
        if self._chunk:
            return self._feed_chunks(buffer)
        if self._direct:
            return self._take_body(buffer)
        part, rest = (
            (buffer, b"") if len(buffer) <= self.remaining else (buffer[: self.remaining], buffer[self.remaining :])
        )
        self._parse(part)
        self.remaining -= len(part)
        if self.complete is not (self.remaining == 0):
            raise Malformed("body and content-length disagree")
        return rest

    def _feed_head(self, buffer: bytes) -> bytes:
        if buffer[:2] == b"\r\n":
            buffer = buffer[2:]  # RFC 9112 section 2.2: one empty line before a request line is forgiven
        end = buffer.find(b"\r\n\r\n") + 4
        space = buffer.find(b" ", 0, 34)
        if end < 4 or space < 1:
            self._check_incomplete(buffer, space)
            return buffer
        if end > self._limits.max_head:
            self._too_long(buffer, space)
        line = _PLAIN_LINE.match(buffer)
        if line is not None and self._known is not None and buffer[line.end() : end] == self._block:
            known, names, length = self._known
            if names is self._names and known.method == line[1]:
                # llhttp judged these very bytes before, after a line as plain as this one. The request they were
                # read for is answered: one at a time.
                known.target = line[2]
                self.head = known
                self.headers_done = self.keep_alive = True
                self.version = "1.1"
                self.remaining = length
                self.complete, self._direct = not length, bool(length)
                return buffer[end:]
        method = buffer[:space]
        if not _TOKEN.fullmatch(method):
            raise Malformed("no request line")
        self.head = Head(method)
        head = buffer[:end] if end < len(buffer) else buffer
        if method not in _PASSED:
            head = b"GET" + head[space:]
        try:
            self._parse(head)
        except httptools.HttpParserUpgrade:
            # We stay with HTTP/1.1 (RFC 9110 section 7.8); httptools would take a body for the other protocol.
            self._parser = httptools.HttpRequestParser(self)
            self.head, self.headers_done, self.complete = Head(method), False, False
            self._parse(_UPGRADE.sub(b"\r\nX-Ignored:", head))
        if not self.headers_done:
            raise Malformed("headers are incomplete")
        self._judge()
        plain = self.complete or not (self._chunk or self.head.expect)
        if line is not None and plain and self.keep_alive and self.head.fault is None and self.fault is None:
            self._block, self._known = buffer[line.end() : end], (self.head, self._names, self.remaining)
        return buffer[end:]

    def _take_body(self, buffer: bytes) -> bytes:
        """A body of known length behind a known head: nothing in it is llhttp's to judge (RFC 9112 section 6.2)."""
        part = buffer[: self.remaining]
        self._parts.append(part)
        self.received += len(part)
        self.remaining -= len(part)
        self.complete = not self.remaining
        return buffer[len(part) :]

    def _check_incomplete(self, buffer: bytes, space: int) -> None:
        """Refuse at once what can become no request, instead of waiting for its end."""
        start = buffer[:32] if space < 0 else buffer[:space]
        hopeless = space == 0 or not _TOKEN.fullmatch(start) or (space < 0 and len(buffer) > 32)
        if hopeless and buffer not in (b"", b"\r"):
            raise Malformed("no request line")
        if _BARE_LF.search(buffer) or b"\0" in buffer:
            raise Malformed("bare line feed or NUL")
        if len(buffer) > self._limits.max_head:
            self._too_long(buffer, space)

    def _too_long(self, buffer: bytes, space: int) -> None:
        line = buffer[: buffer.find(b"\r\n")]
        if _TOKEN.fullmatch(buffer[:space]):
            self.head = Head(buffer[:space])
            self.head.target = line[space + 1 :].partition(b" ")[0][:_SHOWN]
        raise Malformed("headers are too long")

    def begun(self, buffer: bytes) -> bool:
        """Whether what came so far asks for something. Of half a head the request line becomes ``head``."""
        head = self.head
        line = _LINE.match(buffer) if head is None or not head.target else None
        if line is not None:
            head = self.head = Head(line[1])
            head.target = line[2][:_SHOWN]
        return head is not None and bool(head.target)

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise
        except httptools.HttpParserError as error:
            raise Malformed(type(error).__name__) from None
        except ValueError:
            raise Malformed("not HTTP") from None

    def _judge(self) -> None:
        """The rules llhttp leaves to its user."""
        head = self.head
        assert head is not None
        if self.version not in ("1.1", "1.0"):
            raise Malformed("HTTP version")
        if head.hosts != 1 and (head.hosts > 1 or self.version == "1.1"):
            raise Malformed("one Host header is needed")
        if not head.target.startswith(b"/"):
            raise Malformed("the target is not in origin form")
        if len(head.target) > self._limits.max_target or head.count > self._limits.max_headers:
            raise Malformed("headers are too long")
        if head.transfer is not None:
            if head.length is not None or self.version == "1.0" or head.transfer.strip().lower() != b"chunked":
                raise Malformed("transfer coding")
            self._chunk = 1
        if head.expect is not None and head.expect.strip().lower() != b"100-continue":
            raise Malformed("expectation")
        if self.complete or self._chunk:
            return
        if head.length is None or not head.length.strip().isdigit():
            raise Malformed("content-length")
        self.remaining = int(head.length)
        if self.remaining > self._limits.max_request_size:
            self.fault = TooLarge("http: request body too large")

    def _feed_chunks(self, buffer: bytes) -> bytes:
        """Feed whole size lines, chunk data and trailers (RFC 9112 section 7.1), never past the end of the message."""
        at = 0
        while at < len(buffer) and not self.complete and self.fault is None:
            if self.remaining:
                part = buffer[at : at + self.remaining]
                self.remaining -= len(part)
            else:
                end = buffer.find(b"\n", at, at + _MAX_LINE) + 1
                if not end:
                    if len(buffer) - at >= _MAX_LINE:
                        raise Malformed("chunk line")
                    break
                part = buffer[at:end]
                self._chunk_line(part)
            at += len(part)
            if self.fault is None:
                self._parse(part)
        return buffer[at:] if at else buffer

    def _chunk_line(self, line: bytes) -> None:
        if self._trailers:
            self._trailers += len(line)
            if self._trailers > _MAX_TRAILERS:
                raise Malformed("trailers")
            return
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise Malformed("chunk size")
        size = int(match[1], 16)
        if size == 0:
            self._trailers = 1
            return
        if self.received + size > self._limits.max_request_size:
            self.fault = TooLarge("http: request body too large")
            return
        self.remaining = size + 2


def refused(error: Malformed) -> VaultError:
    """What the client of a malformed message is told."""
    return BadRequest(f"malformed HTTP request: {error.reason}")
