"""Windows of rate limits that all workers share (``core.rate_windows.Windows``), in the board's shared memory.

Layout of a slot (40 bytes): HMAC of the group (16 bytes; zero = free), two doubles (end of the window, blocked until),
requests (u64). A group may lie in any of the ``WAYS`` slots of its bucket, so memory stays the same whatever number of
addresses asks. The HMAC key is fresh with each start, so nobody can choose addresses that crowd a bucket.
"""

import fcntl
import hmac
import struct

from strongroom.core.rate_windows import Limit, Taken, Window, after_request
from strongroom.server import lockouts
from strongroom.server.board import ROW, Board

_SLOT = struct.Struct("<16sddQ")
SLOT = _SLOT.size
WAYS = 16
SLOTS = 65536
SIZE = SLOT * SLOTS
SHARED = lockouts.SIZE + SIZE  # bytes behind the board's rows: the failed logins, then the windows
_FREE = bytes(16)
_BUCKET = WAYS * SLOT


class SharedWindows:
    """A request takes a lock on the bucket of its group; the work under it is microseconds and waits for nothing."""

    def __init__(self, board: Board, secret: bytes) -> None:
        self._fd = board.fd
        self._secret = hmac.digest(secret, b"rate windows", "sha256")  # the failed logins use it too
        self._start = board.rows * ROW + lockouts.SIZE
        self._memory = memoryview(board.map)[self._start : self._start + SIZE]

    def take(self, group: str, now: float, limit: Limit) -> Taken:
        name = hmac.digest(self._secret, group.encode("utf-8", "surrogatepass"), "sha256")[:16]
        bucket = int.from_bytes(name[:4], "little") % (SLOTS // WAYS) * _BUCKET
        fcntl.lockf(self._fd, fcntl.LOCK_EX, _BUCKET, self._start + bucket)
        try:
            return self._take(name, bucket, now, limit)
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, _BUCKET, self._start + bucket)

    def _take(self, name: bytes, bucket: int, now: float, limit: Limit) -> Taken:
        slots = bytes(self._memory[bucket : bucket + _BUCKET])
        found = slots.find(name)
        if found >= 0 and not found % SLOT:
            at = bucket + found
            _, end, until, used = _SLOT.unpack_from(slots, found)
            window, taken = after_request(Window(end, used, until), now, limit)
        else:
            at = bucket + _victim(slots, now) * SLOT
            window, taken = after_request(None, now, limit)
        self._memory[at : at + 16] = _FREE  # a writer that dies midway leaves a free slot
        slot = _SLOT.pack(name, window.end, window.blocked_until, window.used)
        self._memory[at + 16 : at + SLOT] = slot[16:]
        self._memory[at : at + 16] = name
        return taken


def _victim(slots: bytes, now: float) -> int:
    """The slot of a bucket whose loss matters least."""
    worth = [_worth(key, end, until, used, now) for key, end, until, used in _SLOT.iter_unpack(slots)]
    return worth.index(min(worth))


def _worth(key: bytes, end: float, until: float, used: int, now: float) -> tuple[float, float]:
    """What is lost with a slot: nothing if it is free or over, else requests counted, and last who is blocked."""
    if key == _FREE or max(end, until) <= now:
        return 0.0, 0.0
    return (2.0, until) if until > now else (1.0, float(used))
