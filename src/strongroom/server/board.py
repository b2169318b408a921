"""Numbers that all workers share, in a mapped file without a name.

One row of 64-bit numbers per worker, written by that worker alone, so no lock is needed; a reader may see a sum that is
a few requests old. A row outlives its worker: the next one counts on where it ended. Behind the rows lies the table of
failed logins (``lockouts``).
"""

import contextlib
import mmap
import os
import tempfile
import zlib
from collections.abc import Iterable, Sequence

from strongroom.sdk.request import Op

OPS: tuple[Op, ...] = tuple(Op)
CLASSES = (1, 2, 3, 4, 5)  # hundreds of the status
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0)  # seconds, upper ends

_REQUESTS = 0  # len(OPS) * len(CLASSES) counters
_LATENCY = _REQUESTS + len(OPS) * len(CLASSES)  # len(BUCKETS) + 1 counters, not cumulative
_LATENCY_SUM = _LATENCY + len(BUCKETS) + 1  # nanoseconds
BAD_BYTES = _LATENCY_SUM + 1
AUDIT_FAILURES = BAD_BYTES + 1
DEVICE_FAILURES = AUDIT_FAILURES + 1  # DEVICES counters, one for each audit device (``device_slots``)
DEVICES = 32
CONNECTIONS = DEVICE_FAILURES + DEVICES  # from here on: gauges, cleared when a worker takes the row
IN_FLIGHT = CONNECTIONS + 1
PID = IN_FLIGHT + 1
RESIDENT = PID + 1  # bytes of anonymous memory
STARTED = RESIDENT + 1  # seconds since the Unix epoch
UNSEALED = STARTED + 1
BEAT = UNSEALED + 1  # moves while the loop of the worker turns (``watch``)
WIDTH = 128  # numbers per row
ROW = WIDTH * 8  # bytes

_OP_AT = {op: _REQUESTS + n * len(CLASSES) - 1 for n, op in enumerate(OPS)}  # + hundreds


class Board:
    """The mapped file. The supervisor makes it, workers map the descriptor they inherit."""

    def __init__(self, fd: int, rows: int, extra: int = 0) -> None:
        self.fd, self.rows = fd, rows
        self.map = mmap.mmap(fd, rows * ROW + extra)
        self._numbers = memoryview(self.map)[: rows * ROW].cast("Q")

    @classmethod
    def make(cls, rows: int, extra: int = 0) -> "Board":
        """A new one, all zero."""
        size = rows * ROW + extra
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("strongroom-board")
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, size)
        return cls(fd, rows, extra)

    def row(self, index: int) -> "Row":
        """A worker's own row."""
        return Row(self._numbers[index * WIDTH : (index + 1) * WIDTH])

    def numbers(self, index: int) -> Sequence[int]:
        """A row to read."""
        return self._numbers[index * WIDTH : (index + 1) * WIDTH]

    def total(self, at: int, count: int = 1) -> list[int]:
        """``count`` numbers from ``at``, each summed over the rows."""
        return [sum(self._numbers[row * WIDTH + n] for row in range(self.rows)) for n in range(at, at + count)]

    def close(self) -> None:
        self._numbers.release()
        with contextlib.suppress(BufferError):  # rows that are still held go with the process
            self.map.close()
        os.close(self.fd)


class Row:
    """What one worker counts (``http.Meter``)."""

    __slots__ = ("_at",)

    def __init__(self, numbers: memoryview) -> None:
        self._at = numbers

    def take(self, pid: int, now: float) -> None:
        """Make the row this process's: gauges begin anew, counters go on."""
        self.leave()
        self._at[PID], self._at[STARTED] = pid, int(now)

    def leave(self) -> None:
        """Clear the gauges."""
        for n in range(CONNECTIONS, BEAT + 1):
            self._at[n] = 0

    def request(self, op: Op, status: int, seconds: float) -> None:
        """Count an answer."""
        at = self._at
        at[_OP_AT[op] + (status // 100 if 100 <= status < 600 else 5)] += 1
        n = _LATENCY
        for end in BUCKETS:
            if seconds <= end:
                break
            n += 1
        at[n] += 1
        at[_LATENCY_SUM] += int(seconds * 1e9)

    def bad_bytes(self) -> None:
        self._at[BAD_BYTES] += 1

    def audit_failed(self, records: int) -> None:
        self._at[AUDIT_FAILURES] += max(0, records)

    def device_failed(self, slot: int, records: int) -> None:
        """Count records that the audit device in ``slot`` did not take."""
        self._at[DEVICE_FAILURES + slot] += max(0, records)

    def connections(self, change: int) -> None:
        self._at[CONNECTIONS] = max(0, self._at[CONNECTIONS] + change)

    def in_flight(self, change: int) -> None:
        self._at[IN_FLIGHT] = max(0, self._at[IN_FLIGHT] + change)

    def beat(self) -> None:
        """The loop turns."""
        self._at[BEAT] += 1

    def gauge(self, at: int, value: int) -> None:
        self._at[at] = value


def resident() -> int:
    """Anonymous memory of this process in bytes (``RssAnon``; 0 where that cannot be told)."""
    try:
        with open("/proc/self/status", "rb") as status:
            for line in status:
                if line.startswith(b"RssAnon:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def device_slots(paths: Iterable[str]) -> dict[str, int]:
    """Where each audit device is counted: the same in every worker that has the same devices; with more than DEVICES
    of them some share a place."""
    slots: dict[str, int] = {}
    for path in sorted(paths):
        slot = zlib.crc32(path.encode()) % DEVICES
        while slot in slots.values() and len(slots) < DEVICES:
            slot = (slot + 1) % DEVICES
        slots[path] = slot
    return slots


def requests_at(op: Op, hundreds: int) -> int:
    """Where the answers of ``op`` with that class are counted."""
    return _OP_AT[op] + hundreds


LATENCY, LATENCY_SUM = _LATENCY, _LATENCY_SUM
