"""Lines that wait in a file of their own until another place has them: in order, bounded, and safe from kill -9.

A record is ``<number> <line>``; the file's name holds who wrote it, so that (writer, number) tells a line that was
handed on twice. The file is locked while its process lives; what a process that died left is taken over by the next.
"""

import errno
import fcntl
import os
import re
import secrets
import threading
from collections.abc import Sequence
from typing import NamedTuple

from strongroom.errors import AuditFailed

LIMIT = 64 * 1024 * 1024  # bytes
_ROOM = 4096  # least number of bytes that a request leaves for its response
_COMPACT = 1024 * 1024  # bytes handed on before the file is written anew
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_NAME = re.compile(r"\.([0-9a-f]{16})\Z")


class Waiting(NamedTuple):
    """A line that was not handed on yet."""

    number: int
    line: str


class Spool:
    """See the module.

    Args:
        folder: a descriptor of the folder, which stays the caller's.
        name: how the file's name begins.
        limit: bytes that may wait.
        writer: whose file to take over; None makes a new one.
    """

    def __init__(self, folder: int, name: str, *, limit: int = LIMIT, writer: str | None = None) -> None:
        self._folder, self._name, self.limit = folder, name, limit
        self.writer = writer or secrets.token_hex(8)
        self._lock = threading.Lock()
        self.fd = self._taken_over() if writer else self._new()
        self._size = os.fstat(self.fd).st_size
        self._done = 0  # offset behind what was handed on
        self._read = 0  # offset behind the batch that is being handed on
        self._next = 1

    def _new(self) -> int:
        """A file that is locked before anybody can see it under its name."""
        name = f"{self._name}.new-{self.writer}"
        fd = os.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._folder)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(name, self.file, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError:
            os.close(fd)
            os.unlink(name, dir_fd=self._folder)
            raise
        return fd

    def _taken_over(self) -> int:
        """The file of a process that is gone. Raises OSError while it lives."""
        fd = os.open(self.file, _FLAGS, dir_fd=self._folder)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(fd), os.stat(self.file, dir_fd=self._folder, follow_symlinks=False)):
                raise OSError(errno.ESTALE, "replaced meanwhile by its living owner")
        except OSError:
            os.close(fd)
            raise
        return fd

    @property
    def file(self) -> str:
        return f"{self._name}.{self.writer}"

    @property
    def waiting(self) -> int:
        """Bytes that were not handed on yet."""
        return self._size - self._done

    def put(self, lines: Sequence[bytes], *, keep_room: bool) -> None:
        """Append ``lines``, each with its newline, all or none. ``keep_room``: leave room for a response.

        Raises:
            AuditFailed: that many do not fit, or the disk did not take them.
        """
        with self._lock:
            data = b"".join(b"%d %b" % (self._next + n, line) for n, line in enumerate(lines))
            room = max(_ROOM, 2 * len(data)) if keep_room else 0
            if self.waiting + len(data) + room > self.limit:
                raise AuditFailed("the audit device's spool is full")
            try:
                taken = os.write(self.fd, data)
                if taken != len(data):
                    os.ftruncate(self.fd, self._size)
                    raise OSError(errno.ENOSPC, "short write")
            except OSError as error:
                raise AuditFailed("the audit device's spool did not take the record") from error
            self._size += taken
            self._next += len(lines)

    def batch(self, size: int = 1 << 20) -> list[Waiting]:
        """The next lines, about ``size`` bytes; they wait until ``handed_on``."""
        with self._lock:
            data = os.pread(self.fd, size, self._done)
            while data and b"\n" not in data and len(data) < self.waiting:
                data = os.pread(self.fd, 2 * len(data), self._done)
            whole = data[: data.rfind(b"\n") + 1]
            if not whole and data:
                whole = data  # the last record of a process that died in it: nobody was told that it was taken
            self._read = self._done + len(whole)
        out = []
        for record in whole.split(b"\n"):
            number, _, line = record.partition(b" ")
            if line and number.isdigit() and line.endswith(b"}"):
                out.append(Waiting(int(number), line.decode("utf-8", "replace")))
        return out

    def handed_on(self) -> None:
        """The last batch is where it should be."""
        with self._lock:
            self._done = self._read
            if self._done == self._size:
                os.ftruncate(self.fd, 0)
                self._size = self._done = self._read = 0
            elif self._done >= _COMPACT and self.waiting < _COMPACT:
                self._compact()

    def _compact(self) -> None:
        """The file anew without what was handed on; at every moment one of the two is there under the name."""
        rest = os.pread(self.fd, self.waiting, self._done)
        name = f"{self._name}.new-{self.writer}"
        fd = -1
        try:
            fd = os.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._folder)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.write(fd, rest) != len(rest):
                raise OSError(errno.ENOSPC, "short write")
            os.rename(name, self.file, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError:
            if fd >= 0:
                os.close(fd)
                os.unlink(name, dir_fd=self._folder)
            return  # the old file does it too
        os.close(self.fd)
        self.fd, self._size, self._done, self._read = fd, len(rest), 0, 0

    def close(self) -> None:
        """Let go; the file goes if nothing waits in it."""
        with self._lock:
            if self.fd < 0:
                return
            if not self.waiting:
                os.unlink(self.file, dir_fd=self._folder)
            os.close(self.fd)
            self.fd = -1


def left_behind(folder: int, name: str) -> list[Spool]:
    """The spools under ``name`` whose processes are gone."""
    found = []
    for file in sorted(os.listdir(folder)):
        if file.startswith(f"{name}.") and (match := _NAME.search(file[len(name) :])) is not None:
            try:
                found.append(Spool(folder, name, writer=match[1]))
            except OSError:
                continue  # locked: its process lives
    return found
