"""Failed logins, counted by all workers together (``core.lockout.Counters``) in the board's shared memory.

Layout of a slot (512 bytes): HMAC of mount and name (16 bytes; zero = free), two doubles (last failure, locked until),
failures (u32), lengths of accessor and name (u16 each), both texts. A key may lie in any of the ``WAYS`` slots of its
bucket. The HMAC key is fresh with each start, so nobody can choose names that crowd a bucket.
"""

import fcntl
import hmac
import struct
from collections.abc import Iterator

from strongroom.core.lockout import Count, Key, LockoutConfig, after_failure
from strongroom.server.board import ROW, Board

SLOT = 512
WAYS = 16
SLOTS = 8192
SIZE = SLOT * SLOTS
_HEAD = struct.Struct("<16sddIHH")
_TEXT = SLOT - _HEAD.size
_FREE = bytes(16)


class SharedCounters:
    """Each call takes a lock on the file; the work under it is microseconds and never waits for anything else."""

    def __init__(self, board: Board, secret: bytes) -> None:
        self._board, self._secret = board, secret
        start = board.rows * ROW
        self._start = start
        self._memory = memoryview(board.map)[start : start + SIZE]

    def get(self, key: Key) -> Count | None:
        """The count of ``key``."""
        with _Lock(self._board.fd, self._start):
            _, count = self._find(self._name(key))
            return count

    def add(self, key: Key, now: float, config: LockoutConfig) -> Count:
        """Count a failure."""
        name = self._name(key)
        with _Lock(self._board.fd, self._start):
            at, old = self._find(name)
            count = after_failure(old, now, config)
            self._write(at if at >= 0 else self._victim(name, now), name, key, count)
            return count

    def drop(self, key: Key) -> bool:
        """Forget ``key``."""
        with _Lock(self._board.fd, self._start):
            at, count = self._find(self._name(key))
            if at >= 0:
                self._memory[at : at + SLOT] = bytes(SLOT)
            return count is not None

    def items(self) -> Iterator[tuple[Key, Count]]:
        """All counts, as they were at one moment."""
        with _Lock(self._board.fd, self._start):
            return iter([self._read(at) for at in range(0, SIZE, SLOT) if self._memory[at : at + 16] != _FREE])

    def _name(self, key: Key) -> bytes:
        return hmac.digest(self._secret, f"{key.accessor}\0{key.alias}".encode("utf-8", "surrogatepass"), "sha256")[:16]

    def _bucket(self, name: bytes) -> range:
        first = int.from_bytes(name[:4], "little") % (SLOTS // WAYS) * WAYS * SLOT
        return range(first, first + WAYS * SLOT, SLOT)

    def _find(self, name: bytes) -> tuple[int, Count | None]:
        for at in self._bucket(name):
            if self._memory[at : at + 16] == name:
                return at, self._read(at)[1]
        return -1, None

    def _read(self, at: int) -> tuple[Key, Count]:
        _, last, until, failures, one, two = _HEAD.unpack_from(self._memory, at)
        text = bytes(self._memory[at + _HEAD.size : at + _HEAD.size + one + two])
        key = Key(text[:one].decode("utf-8", "replace"), text[one:].decode("utf-8", "replace"))
        return key, Count(failures, last, until)

    def _victim(self, name: bytes, now: float) -> int:
        """A free slot of the bucket, else the one whose loss unlocks nobody, else the oldest."""

        def worth(at: int) -> tuple[bool, bool, float]:
            head, last, until, *_ = _HEAD.unpack_from(self._memory, at)
            return head != _FREE, until > now, last

        return min(self._bucket(name), key=worth)

    def _write(self, at: int, name: bytes, key: Key, count: Count) -> None:
        accessor = key.accessor.encode()[:64]
        alias = key.alias.encode("utf-8", "replace")[: _TEXT - 64]
        self._memory[at : at + 16] = _FREE  # a writer that dies midway leaves a free slot
        head = _HEAD.pack(_FREE, count.last, count.locked_until, count.failures, len(accessor), len(alias))
        slot = (head + accessor + alias).ljust(SLOT, b"\0")
        self._memory[at + 16 : at + SLOT] = slot[16:]
        self._memory[at : at + 16] = name


class _Lock:
    """An exclusive record lock (fcntl: it belongs to the process and ends with it)."""

    __slots__ = ("_fd", "_start")

    def __init__(self, fd: int, start: int) -> None:
        self._fd, self._start = fd, start

    def __enter__(self) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_EX, SIZE, self._start)

    def __exit__(self, *_: object) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN, SIZE, self._start)
