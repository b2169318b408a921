"""Memory for keys: locked against swap, left out of core dumps, zero in a forked child, wiped when done.

What Python itself copies (``bytes``, ``int``, ``str``) cannot be wiped; keys therefore go straight from a cipher
(``decrypt_into``) or a ``bytearray`` into these pages. OpenSSL keeps a copy of a key while a cipher object lives.
"""

import ctypes
import hmac
import logging
import mmap
import sys
import threading
from collections.abc import Callable
from typing import NoReturn, Self

_MADV_DONTDUMP = 16  # madvise(2), Linux
_MADV_WIPEONFORK = 18  # madvise(2), Linux >= 4.14; private anonymous pages only
_SLOT = 64  # bytes; a key, a share or a digest fits, and no slot straddles a page
_log = logging.getLogger("strongroom.memory")


class LockedArena:
    """Private anonymous pages, cut into slots of 64 bytes. Larger pieces get a mapping of their own.

    Attributes:
        locked: whether every page so far is locked (mlock), i.e. cannot reach swap.
    """

    __slots__ = ("_free", "_guard", "_warned", "locked")

    def __init__(self) -> None:
        self._free: list[memoryview] = []
        self._guard = threading.Lock()
        self._warned = False
        self.locked = True

    def __repr__(self) -> str:
        return f"LockedArena(locked={self.locked})"

    def take(self, size: int) -> memoryview:
        """``size`` (>= 1) zero bytes of locked memory, to be handed back with ``give``."""
        if size < 1:
            raise ValueError("a secret has at least one byte")
        if size > _SLOT:
            return self._map(size)[:size]
        with self._guard:
            if not self._free:
                page = self._map(mmap.PAGESIZE)
                self._free = [page[at : at + _SLOT] for at in range(0, mmap.PAGESIZE, _SLOT)]
            return self._free.pop()[:size]

    def give(self, piece: memoryview) -> None:
        """Wipe ``piece`` and take it back."""
        wipe(piece)
        if len(piece) <= _SLOT:
            whole = _slot_of(piece)
            with self._guard:
                self._free.append(whole)
        # a larger mapping goes back to the kernel with its last view

    def _map(self, size: int) -> memoryview:
        size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        missing = [name for name, protect in _PROTECTIONS if not protect(pages, size)]
        if "mlock" in missing:
            self.locked = False
        if missing and not self._warned:
            self._warned = True
            _log.warning("key memory is without %s on this system", ", ".join(missing))
        return memoryview(pages)


def _address(buffer: mmap.mmap | memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def _slot_of(piece: memoryview) -> memoryview:
    """The whole slot that ``piece`` begins."""
    pages = piece.obj
    at = _address(piece) - _address(pages)  # type: ignore[arg-type]
    return memoryview(pages)[at : at + _SLOT]


def _mlock(pages: mmap.mmap, size: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.mlock(ctypes.c_void_p(_address(pages)), ctypes.c_size_t(size)) == 0)


def _advise(advice: int) -> Callable[[mmap.mmap, int], bool]:
    def apply(pages: mmap.mmap, size: int) -> bool:
        if sys.platform != "linux":
            return False
        try:
            pages.madvise(advice)
        except OSError:
            return False
        return True

    return apply


_PROTECTIONS: tuple[tuple[str, Callable[[mmap.mmap, int], bool]], ...] = (
    ("mlock", _mlock),
    ("MADV_DONTDUMP", _advise(_MADV_DONTDUMP)),
    ("MADV_WIPEONFORK", _advise(_MADV_WIPEONFORK)),
)

ARENA = LockedArena()  # one per process: locked pages are few


def wipe(buffer: bytearray | memoryview) -> None:
    """Overwrite a buffer with zeros, in place."""
    buffer[:] = bytes(len(buffer))


class SecretBytes:
    """A secret of fixed length in locked memory.

    It prints as its length, compares in constant time, and cannot be hashed, copied or pickled. Use ``view()`` where
    a cipher wants a buffer; never turn it into ``bytes``.
    """

    __slots__ = ("__weakref__", "_arena", "_piece")

    def __init__(self, size: int, *, arena: LockedArena = ARENA) -> None:
        self._arena = arena
        self._piece: memoryview | None = arena.take(size)

    @classmethod
    def take_over(cls, source: bytearray, *, arena: LockedArena = ARENA) -> "SecretBytes":
        """The secret in ``source`` (not empty), which is wiped."""
        secret = cls(len(source), arena=arena)
        secret.view()[:] = source
        wipe(source)
        return secret

    def view(self) -> memoryview:
        """The bytes themselves, writable. Raises ValueError after ``close``."""
        if self._piece is None:
            raise ValueError("this secret was wiped")
        return self._piece

    def copy(self) -> "SecretBytes":
        """A second secret with the same bytes."""
        other = SecretBytes(len(self), arena=self._arena)
        other.view()[:] = self.view()
        return other

    @property
    def closed(self) -> bool:
        return self._piece is None

    def close(self) -> None:
        """Wipe. Safe to call twice."""
        piece, self._piece = self._piece, None
        if piece is not None:
            self._arena.give(piece)

    def __del__(self) -> None:
        try:
            self.close()
        except (AttributeError, TypeError):
            pass  # never filled, or the interpreter is going down and the pages with it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return 0 if self._piece is None else len(self._piece)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SecretBytes) and not (self.closed or other.closed):
            return hmac.compare_digest(self.view(), other.view())
        return self is other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "SecretBytes(wiped)" if self._piece is None else f"SecretBytes({len(self._piece)} bytes)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret in locked memory cannot be pickled or copied by the copy module")

    __copy__ = __reduce__

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__reduce__()
