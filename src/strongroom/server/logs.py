"""The server's own log: few lines on stderr, and never a wait for whoever should read them."""

import datetime
import os
import select
import sys
from collections.abc import Callable

import msgspec

LEVELS = {"trace": 0, "debug": 1, "info": 2, "warn": 3, "error": 4, "off": 9}
_MAX_LINE = 4000  # below PIPE_BUF: a line is written whole or not at all


class Log:
    """Writes lines of at least ``level`` to a descriptor; drops and counts those that would have to wait."""

    def __init__(
        self,
        level: str = "warn",
        style: str = "standard",
        *,
        fd: int | None = None,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self.dropped = 0
        self._now, self._fd = now, _own_stderr() if fd is None else fd
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)
        self.configure(level, style)

    def configure(self, level: str, style: str) -> None:
        """Another level or format (``standard`` or ``json``), from now on."""
        self._least, self._json = LEVELS[level], style == "json"

    def debug(self, text: str) -> None:
        self._line("debug", text)

    def info(self, text: str) -> None:
        self._line("info", text)

    def warn(self, text: str) -> None:
        self._line("warn", text)

    def error(self, text: str) -> None:
        self._line("error", text)

    def _line(self, level: str, text: str) -> None:
        if LEVELS[level] < self._least:
            return
        stamp = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = "".join(char if char.isprintable() else " " for char in text)
        if self.dropped:
            text += f" ({self.dropped} lines before this one were dropped)"
        if self._json:
            line = msgspec.json.encode({"@timestamp": stamp, "@level": level, "@message": text[:3000]})
        else:
            line = f"{stamp} [{level.upper()}] {text}".encode()[:_MAX_LINE]
        try:
            ready = self._poll.poll(0)
            if ready and ready[0][1] & select.POLLOUT:
                os.write(self._fd, line + b"\n")
                self.dropped = 0
                return
        except OSError:
            pass
        self.dropped += 1


def _own_stderr() -> int:
    """stderr opened anew without blocking: the flag must not change for those who share the old descriptor."""
    try:
        return os.open("/proc/self/fd/2", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_APPEND)
    except OSError:
        try:
            return sys.stderr.fileno()
        except (AttributeError, OSError, ValueError):
            return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
