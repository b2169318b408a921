"""Room on the disk of an audit target, held for the responses that a sink still owes.

The room is an unnamed file beside the target, so it belongs to one process alone, is given back in pieces, and is gone
when the process is, however it ends.
"""

import os
import secrets

PAGE = 4096
IDLE = 256 * PAGE  # what an idle sink may keep: giving room back and asking anew costs a journal entry of the disk each


class Room:
    """Bytes set aside in the folder ``folder_fd`` (which stays the caller's)."""

    __slots__ = ("_fd", "_folder", "held")

    def __init__(self, folder_fd: int) -> None:
        self._folder = folder_fd
        self._fd = -1
        self.held = 0  # bytes

    def hold(self, size: int) -> None:
        """Hold at least ``size`` bytes. Raises OSError (ENOSPC, EDQUOT, ...) if the disk does not give them."""
        if size <= self.held:
            return
        if self._fd < 0:
            self._fd = _unnamed_file(self._folder)
        size = -(-size // PAGE) * PAGE
        try:
            _allocate(self._fd, self.held, size - self.held)
        except OSError:
            os.ftruncate(self._fd, self.held)  # some file systems keep the part that they could allocate
            raise
        self.held = size

    def give(self, size: int) -> None:
        """Give ``size`` bytes back to the disk (all, if fewer are held)."""
        if self._fd >= 0 and self.held:
            self.held = max(0, self.held - -(-size // PAGE) * PAGE)
            os.ftruncate(self._fd, self.held)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd, self.held = -1, 0


def _allocate(fd: int, start: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, start, size)
        return
    at = start
    while at < start + size:  # no such call on macOS: real bytes hold the room as well
        at += os.pwrite(fd, bytes(min(PAGE, start + size - at)), at)


def _unnamed_file(folder_fd: int) -> int:
    flag = getattr(os, "O_TMPFILE", 0)
    if flag:
        try:
            return os.open(".", flag | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=folder_fd)
        except OSError:
            pass  # a file system without unnamed files; a full disk fails again below
    name = f".room-{secrets.token_hex(8)}"
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder_fd)
    os.unlink(name, dir_fd=folder_fd)
    return fd
