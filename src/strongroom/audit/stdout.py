"""Audit lines on standard output, for containers.

Nobody may be reading. So a write never waits longer than ``PATIENCE`` (after a failure not at all) and a vanished
reader is a refusal, not a death: Python ignores SIGPIPE, and the descriptor is opened anew without blocking (our own
description of it, so that the flag does not reach whoever shares standard output with us).
"""

import array
import contextlib
import errno
import fcntl
import os
import select
import stat
import termios
import threading
import time

from strongroom.errors import AuditFailed

PATIENCE = 0.25  # seconds a line may wait for its reader
STDOUT = 1


class StdoutSink:
    """Lines to standard output (or the descriptor ``fd``).

    Up to 4 KiB (PIPE_BUF) a line reaches a pipe whole or not at all, whoever else writes there. Of a longer line the
    first part may arrive alone: then the line counts as failed and the next one begins on a line of its own.
    """

    __slots__ = ("_broken", "_failed", "_fd", "_turn")

    def __init__(self, fd: int = STDOUT) -> None:
        self._fd = _open(fd)
        self._turn = threading.Lock()
        self._failed = False  # the last line was not taken
        self._broken = False  # half a line stands at the end

    def request(self, line: bytes) -> None:
        with self._turn:
            if self._failed and not _drained(self._fd):
                raise AuditFailed("standard output is not being read: no room for the response record")
            self._deliver(line)

    def response(self, line: bytes) -> None:
        with self._turn:
            self._deliver(line)

    def both(self, lines: bytes) -> None:
        self.response(lines)

    def _deliver(self, line: bytes) -> None:
        try:
            self._write(line)
        except AuditFailed:
            self._failed = True
            raise
        self._failed = False

    def _write(self, line: bytes) -> None:
        if self._broken:
            line = b"\n" + line
        rest = memoryview(line)
        deadline = time.monotonic() if self._failed or self._broken else 0.0
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
                if not rest:
                    break
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    self._give_up(len(rest) < len(line), error)
            deadline = deadline or time.monotonic() + PATIENCE
            left = deadline - time.monotonic()
            if left <= 0 or not _writable(self._fd, left):
                self._give_up(len(rest) < len(line), None)
        self._broken = False

    def _give_up(self, begun: bool, cause: OSError | None) -> None:
        self._broken = self._broken or begun
        raise AuditFailed("standard output did not take the audit record") from cause

    def reopen(self) -> None:
        """Standard output has no name to open again."""

    async def sync(self) -> None:
        """Standard output is not a disk."""

    def close(self) -> None:
        os.close(self._fd)
        self._fd = -1


def _open(fd: int) -> int:
    """A non-blocking descriptor for what ``fd`` is: of our own where the system allows it, else a duplicate."""
    mode = os.fstat(fd).st_mode
    if not stat.S_ISSOCK(mode):
        with contextlib.suppress(OSError):
            return os.open(
                f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND | os.O_NOCTTY | os.O_CLOEXEC
            )
    own = os.dup(fd)
    os.set_blocking(own, False)  # shared with the other holders; better than a server that hangs
    return own


def _writable(fd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    events = poll.poll(seconds * 1000)
    return bool(events) and bool(events[0][1] & select.POLLOUT)


def _drained(fd: int) -> bool:
    """Whether nothing waits to be read (pipes), or at least something can be written (all else)."""
    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        waiting = array.array("i", [0])
        with contextlib.suppress(OSError):
            fcntl.ioctl(fd, termios.FIONREAD, waiting)
            return waiting[0] == 0
    return _writable(fd, 0)
