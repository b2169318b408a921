"""Audit lines appended to a file.

A line is one ``write`` to an ``O_APPEND`` descriptor, so several processes may share a target and no line is torn. A
line that the disk took only in part is cut back. While a sink owes several responses, or after it failed, it holds room
for them (see ``room``).
"""

import errno
import fcntl
import os
import resource
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from strongroom.audit.options import check_options
from strongroom.audit.room import IDLE, PAGE, Room
from strongroom.audit.stdout import StdoutSink
from strongroom.audit.target import inside, open_file, open_folder
from strongroom.errors import AuditFailed, BadRequest
from strongroom.sdk.audit import AuditSink
from strongroom.sdk.engine import run_inline
from strongroom.sdk.fields import parse_bool

Offload = Callable[[Callable[[], Any]], Awaitable[Any]]
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_OWN = frozenset({"file_path", "path", "fsync", "mode"})


def open_sink(options: Mapping[str, str], *, audit_dir: str, offload: Offload = run_inline) -> AuditSink:
    """A sink for the device options of Vault's file device.

    Args:
        options: ``file_path`` (or ``path``): absolute or relative to ``audit_dir``, or "stdout"; ``fsync``: wait until
            records are on disk; ``mode``: octal, read and otherwise ignored, a new file is always 0600.
        audit_dir: the folder that every target lies in; "/" allows any.
        offload: runs fsync off the event loop.

    Raises:
        BadRequest: an option that is not allowed, or a target that is not a plain file of ours inside ``audit_dir``.
    """
    path = target_of(options)
    if path == "stdout":
        return StdoutSink()
    return FileSink(
        inside(path, audit_dir), audit_dir, fsync=parse_bool(options.get("fsync", ""), name="fsync"), offload=offload
    )


def target_of(options: Mapping[str, str]) -> str:
    """The target's path, after every option was checked. Raises BadRequest."""
    check_options("file", options, _OWN)
    mode = options.get("mode") or "0600"
    if len(mode) > 8 or not mode.isascii() or not mode.isdigit() or set(mode) & {"8", "9"}:
        raise BadRequest("mode is not an octal number")
    parse_bool(options.get("fsync", ""), name="fsync")
    path, alias = options.get("file_path", ""), options.get("path", "")
    if path and alias and path != alias:
        raise BadRequest("file_path and path differ: give one of them")
    if not path and not alias:
        raise BadRequest("file_path is required")
    return path or alias


class FileSink:
    """One target as seen by one process. ``parts`` are the target's components below ``audit_dir``."""

    gathers = True  # several records in one write are as good as each in one

    __slots__ = (
        "_audit_dir", "_each", "_failed", "_fd", "_folder", "_fsync", "_limit", "_lock", "_lost", "_offload", "_open",
        "_parts", "_room", "_synced", "_turn", "_written", "moved",
    )  # fmt: skip

    def __init__(
        self, parts: tuple[str, ...], audit_dir: str, *, fsync: bool = False, offload: Offload = run_inline
    ) -> None:
        self._parts, self._audit_dir = parts, audit_dir
        self._fsync, self._offload = fsync, offload
        self._folder = open_folder(parts, audit_dir)
        try:
            self._fd = self._opened(self._folder)
        except BaseException:
            os.close(self._folder)
            raise
        self._room = Room(self._folder)
        self._limit = _size_limit()
        self.moved = False  # whether the last reopen found another file
        self._open = 0  # request records whose response record is still to come
        self._each = PAGE  # room that one of these responses may need, bytes
        self._failed = False  # the last record was not taken whole
        self._turn = threading.Lock()  # one line at a time: a repair must know which bytes are its own
        self._lock = threading.Lock()  # between fsync in its thread and reopen
        self._written = self._synced = self._lost = 0  # records

    def _opened(self, folder: int, mine: int = -1) -> int:
        """The target, its name on disk where its records are to be: flushing a file says nothing about its name."""
        fd = open_file(self._parts[-1], folder, mine)
        try:
            if self._fsync:
                os.fsync(folder)
        except OSError as error:
            os.close(fd)
            raise BadRequest("the folder of file_path cannot be brought to disk") from error
        return fd

    def request(self, line: bytes) -> None:
        with self._turn:
            size = len(line)
            if self._open or self._failed:
                self._secure(size)
            else:
                self._each = PAGE if size <= PAGE // 2 else 2 * size
            self._append(line)
            self._open += 1

    def response(self, line: bytes) -> None:
        with self._turn:
            try:
                self._append(line, self._each)
                self._failed = False
            finally:
                self._answered(1)

    def both(self, lines: bytes) -> None:
        self.several(lines, 0)

    def several(self, lines: bytes, owed: int) -> None:
        with self._turn:
            self._append(lines, self._each * owed)
            self._failed = False
            self._answered(owed)

    def _answered(self, count: int) -> None:
        """So many responses are owed less."""
        self._open = max(0, self._open - count)
        if not self._open and (self._failed or self._room.held > IDLE):
            self._room.give(self._room.held)

    def _secure(self, size: int) -> None:
        """Hold room for every response owed, this request's too; otherwise the request is not taken."""
        self._each = max(self._each, 2 * size)
        need = (self._open + 1) * self._each
        try:
            if self._failed:
                self._limit = _size_limit()  # of old, unless something went wrong: this is on the way of every write
            limit = self._limit
            if limit is not None and os.fstat(self._fd).st_size + size + need > limit:
                raise OSError(errno.EFBIG, "file size limit")
            self._room.hold(need)
        except OSError as error:
            self._failed = True
            raise AuditFailed("the audit device has no room for the response record") from error

    def _append(self, line: bytes, give: int = 0) -> None:
        """Write ``line`` whole or not at all; on a full disk give up held room, ``give`` bytes a time, and retry."""
        while True:
            try:
                taken = os.write(self._fd, line)
                if taken == len(line):
                    self._written += 1
                    return
                self._cut(taken)
                problem = OSError(errno.ENOSPC, "short write")
            except OSError as error:
                problem = error
            if not (give and self._room.held and problem.errno in _FULL):
                self._failed = True
                raise AuditFailed("the audit device did not take the record") from problem
            self._room.give(give)

    def _cut(self, taken: int) -> None:
        """Take back the ``taken`` bytes that we just appended.

        The end of the file is cut only while our bytes are its end. If another process has written behind them they
        are overwritten in place instead, with blanks and a newline: readers skip an empty line, and no line of others
        is lost.
        """
        end = os.lseek(self._fd, 0, os.SEEK_CUR)  # an appending write leaves the offset behind its own bytes
        locked = self._try_lock()
        try:
            if locked and os.fstat(self._fd).st_size == end:
                os.ftruncate(self._fd, end - taken)
                return
            flags = fcntl.fcntl(self._fd, fcntl.F_GETFL)
            fcntl.fcntl(self._fd, fcntl.F_SETFL, flags & ~os.O_APPEND)
            try:
                os.pwrite(self._fd, b" " * (taken - 1) + b"\n", end - taken)
            finally:
                fcntl.fcntl(self._fd, fcntl.F_SETFL, flags)
        finally:
            if locked:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _try_lock(self) -> bool:
        """The lock among those who cut; they hold it for microseconds, so a stranger's lock is not waited for."""
        for _ in range(20):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except OSError:
                time.sleep(0.001)
        return False

    def reopen(self) -> None:
        """Open the target by its name again (after log rotation). On failure the old file stays in use.

        Raises:
            AuditFailed: the target cannot be opened.
        """
        try:
            folder = open_folder(self._parts, self._audit_dir)
            try:
                fd = self._opened(folder, self._fd)
            except BaseException:
                os.close(folder)
                raise
        except BadRequest as error:
            raise AuditFailed(f"the audit target cannot be reopened: {error}") from error
        with self._turn, self._lock:
            if self._fsync:
                self._flush_locked()
            old = (self._fd, self._folder)
            self.moved = not os.path.samestat(os.fstat(self._fd), os.fstat(fd))
            self._room.close()
            self._fd, self._folder, self._room = fd, folder, Room(folder)
        for stale in old:
            os.close(stale)

    async def sync(self) -> None:
        """Wait until the records written so far are on disk; waiters share one fdatasync.

        Raises:
            AuditFailed: they are not, and may be lost.
        """
        if not self._fsync:
            return
        mine = self._written
        if self._synced < mine:
            await self._offload(lambda: self._flush(mine))
        if mine <= self._lost:
            raise AuditFailed("the audit device could not bring the record to disk")

    def _flush(self, mine: int) -> None:
        with self._lock:
            if self._synced < mine:  # else another waiter's fdatasync covered this record
                self._flush_locked()

    def _flush_locked(self) -> None:
        upto = self._written
        try:
            getattr(os, "fdatasync", os.fsync)(self._fd)
        except OSError:
            self._lost = upto  # the kernel reports a failure once; a later success says nothing about these pages
            self._failed = True
        self._synced = upto

    def close(self) -> None:
        """Close the target. Records are with the kernel already."""
        with self._turn, self._lock:
            self._room.close()
            for fd in (self._fd, self._folder):
                os.close(fd)
            self._fd = self._folder = -1


def _size_limit() -> int | None:
    """How large a file of this process may become, in bytes."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if limit == resource.RLIM_INFINITY else limit
