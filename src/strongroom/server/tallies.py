"""Tallies of lease-count quotas that all workers share (``core.lease_tallies.Tallies``), in the board's shared memory.

Layout of a slot (56 bytes): HMAC of the quota's id (16 bytes; zero = free), leases (i64; -1 = not known), ever added,
under way, counts (u64 each), time of the last addition (double). A quota may lie in any of the ``WAYS`` slots of its
bucket; one that finds none takes another's, which is then counted anew.
"""

import fcntl
import hmac
import struct
from collections.abc import Callable

import msgspec

from strongroom.core.lease_tallies import Room, Tally
from strongroom.server import windows
from strongroom.server.board import ROW, Board

_SLOT = struct.Struct("<16sqQQQd")
WAYS = 16
SLOTS = 4096
SIZE = _SLOT.size * SLOTS
EXTRA = windows.SHARED + SIZE  # bytes behind the board's rows: failed logins, windows, tallies
_FREE = bytes(16)
_BUCKET = WAYS * _SLOT.size


class SharedTallies:
    """Each step takes a lock on the bucket of its quota."""

    def __init__(self, board: Board, secret: bytes) -> None:
        self._fd = board.fd
        self._secret = hmac.digest(secret, b"lease tallies", "sha256")
        self._start = board.rows * ROW + windows.SHARED
        self._memory = memoryview(board.map)[self._start : self._start + SIZE]

    def get(self, quota: str) -> Tally:
        return self._change(quota, lambda tally: None)

    def take(self, quota: str, most: int, now: float) -> Room:
        found: list[Room] = []

        def change(tally: Tally) -> None:
            found.append(tally.room(most))
            if found[0] is Room.FREE:
                tally.add(now)

        self._change(quota, change)
        return found[0]

    def add(self, quota: str, now: float) -> None:
        self._change(quota, lambda tally: tally.add(now))

    def end(self, quota: str, *, made: bool) -> None:
        self._change(quota, lambda tally: tally.end(made=made))

    def settle(self, quota: str, counted: int, begun: Tally, now: float) -> None:
        self._change(quota, lambda tally: tally.settle(counted, begun, now))

    def _change(self, quota: str, change: Callable[[Tally], None]) -> Tally:
        name = hmac.digest(self._secret, quota.encode(), "sha256")[:16]
        bucket = int.from_bytes(name[:4], "little") % (SLOTS // WAYS) * _BUCKET
        fcntl.lockf(self._fd, fcntl.LOCK_EX, _BUCKET, self._start + bucket)
        try:
            at = bucket + self._find(name, bucket) * _SLOT.size
            key, *numbers = _SLOT.unpack_from(self._memory, at)
            tally = Tally(*numbers) if key == name else Tally()
            change(tally)
            self._memory[at : at + 16] = _FREE  # a writer that dies midway leaves a tally that is not known
            slot = _SLOT.pack(name, *msgspec.structs.astuple(tally))
            self._memory[at + 16 : at + _SLOT.size] = slot[16:]
            self._memory[at : at + 16] = name
            return tally
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, _BUCKET, self._start + bucket)

    def _find(self, name: bytes, bucket: int) -> int:
        """The slot of ``name`` in its bucket, else a free one, else one that goes by the name."""
        keys = [key for key, *_ in _SLOT.iter_unpack(self._memory[bucket : bucket + _BUCKET])]
        if name in keys:
            return keys.index(name)
        return keys.index(_FREE) if _FREE in keys else name[4] % WAYS
