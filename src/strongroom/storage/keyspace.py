"""Keys of any length in a store that takes short ones, with their order kept exactly.

LMDB takes 511 bytes. A key of at most ``CHUNK`` bytes stands for itself. A longer one is cut into chunks of ``CHUNK``
bytes and a rest of 1 to ``CHUNK``; its entry lies in the *bucket* of what comes before the rest:

    bucket(head) = 00 'b' BLAKE2b-192(head)          head: all chunks before the rest
    entry        = bucket(head) rest
    pointer      = bucket(head without its last chunk) last chunk 00        for each chunk; no value

A stored key holds no NUL, so a pointer sorts right after the entry of the chunk itself and before everything else,
which is where the keys behind it belong: a walk that descends at each pointer sees all keys in order. Reading one key
needs no pointer.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Protocol

CHUNK = 480  # bytes; 26 of the bucket's name, the chunk and a pointer's NUL must stay within 511
ROOT = b"\x01"  # below it lie buckets and the store's own records


class Cursor(Protocol):
    """What is used of ``lmdb.Cursor``."""

    def set_range(self, key: bytes) -> bool: ...
    def next(self) -> bool: ...
    def key(self) -> bytes | memoryview: ...


def bucket(head: bytes) -> bytes:
    """The name of the bucket for keys that go on after ``head``; the root's is empty."""
    return b"\x00b" + blake2b(head, digest_size=24).digest() if head else b""


def place(key: bytes) -> bytes:
    """Where the entry of ``key`` lies."""
    if len(key) <= CHUNK:
        return key
    split = (len(key) - 1) // CHUNK * CHUNK
    return bucket(key[:split]) + key[split:]


def pointers(key: bytes) -> list[bytes]:
    """The pointers that lead a walk to ``key``, the outermost first; none for a short key."""
    depth = (len(key) - 1) // CHUNK
    return [bucket(key[: i * CHUNK]) + key[i * CHUNK : (i + 1) * CHUNK] + b"\x00" for i in range(depth)]


def prune(key: bytes, cursor: Cursor, delete: Callable[[bytes], object]) -> None:
    """Remove the pointers that lead nowhere after ``key`` was deleted."""
    for depth in range((len(key) - 1) // CHUNK, 0, -1):
        name = bucket(key[: depth * CHUNK])
        if cursor.set_range(name) and bytes(cursor.key()).startswith(name):
            return
        delete(pointers(key[: depth * CHUNK + 1])[-1])


class Walk:
    """The stored keys in order, seen through a cursor."""

    __slots__ = ("_bucket", "_cursor", "_head")

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._head = self._bucket = b""

    def seek(self, key: bytes) -> bytes | None:
        """Go to the first stored key that is not less than ``key``; None if there is none."""
        split = max(0, len(key) - 1) // CHUNK * CHUNK
        self._enter(key[:split])
        self._cursor.set_range(self._bucket + key[split:] if split else max(key, ROOT))
        return self._settle()

    def next(self) -> bytes | None:
        """Go to the next stored key; None at the end."""
        self._cursor.next()
        return self._settle()

    def _enter(self, head: bytes) -> None:
        self._head, self._bucket = head, bucket(head)

    def _settle(self) -> bytes | None:
        """The key at the cursor, after going down at pointers and up at the ends of buckets."""
        while True:
            raw = bytes(self._cursor.key())
            if not raw or not raw.startswith(self._bucket):
                if not self._head:
                    return None
                # On behind everything that begins with the chunk this bucket belongs to.
                chunk = self._head[-CHUNK:]
                self._enter(self._head[:-CHUNK])
                self._cursor.set_range(self._bucket + chunk + b"\x01")
            elif raw[-1] == 0:
                self._enter(self._head + raw[len(self._bucket) : -1])
                self._cursor.set_range(self._bucket)
            else:
                return self._head + raw[len(self._bucket) :]
