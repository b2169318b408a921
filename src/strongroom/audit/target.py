"""Which files an audit device may write: below one folder, ours, plain, and never reached through a link.

The path is walked one component at a time on folder descriptors with ``O_NOFOLLOW``; with ``..`` refused this gives
what openat2(2) gives with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, on every system and in every sandbox.
"""

import ctypes
import os
import stat
import sys

from strongroom.errors import BadRequest

# statfs(2) f_type of file systems whose "regular files" are doors into the kernel
_KERNEL_FILES = frozenset({0x9FA0, 0x62656572, 0x27E0EB, 0x63677270, 0x64626720, 0x74726163, 0x73636673, 0x62656570})
_MAX_PATH = 4096  # bytes, PATH_MAX
_OURS = (b'{"time":"', b'{"timestamp":"')  # how a line of ours begins, in either shape
_FIRST_KEYS = tuple(
    b'{"%b"' % key for key in (b"time", b"timestamp", b"type", b"auth", b"error", b"request", b"response")
)


def inside(path: str, audit_dir: str) -> tuple[str, ...]:
    """The components of ``path`` below ``audit_dir``.

    Args:
        path: absolute, or relative to ``audit_dir``.
        audit_dir: the one folder that targets may lie in; "/" allows any.

    Raises:
        BadRequest: empty, outside, with ``..`` or control characters, or a folder by its spelling.
    """
    if (
        not path
        or len(path.encode("utf-8", "surrogateescape")) > _MAX_PATH
        or any(ord(c) < 32 or c == "\x7f" for c in path)
    ):
        raise BadRequest("file_path is not a usable path")
    if path.endswith("/") or any(part in ("..", ".") for part in path.split("/")):
        raise BadRequest("file_path must name a file, without '.' and '..' in it")
    if path.endswith(".entry"):
        raise BadRequest("file_path must not end in '.entry': so end the files of a file store")
    rest = path
    if path.startswith("/"):
        for base in (os.path.abspath(audit_dir), os.path.realpath(audit_dir)):
            if path.startswith(base.rstrip("/") + "/"):
                rest = path[len(base.rstrip("/")) :]
                break
        else:
            raise BadRequest("file_path must lie inside the audit folder (audit_dir)")
    return tuple(part for part in rest.split("/") if part)


def open_folder(parts: tuple[str, ...], audit_dir: str) -> int:
    """A descriptor of the folder that holds the target; no component below ``audit_dir`` may be a link.

    Raises:
        BadRequest: the folder does not exist or is reached through a link.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        folder = os.open(audit_dir, flags)
        for part in parts[:-1]:
            parent = folder
            try:
                folder = os.open(part, flags | os.O_NOFOLLOW, dir_fd=parent)
            finally:
                os.close(parent)
    except OSError as error:
        raise BadRequest("the folder of file_path does not exist or cannot be used") from error
    return folder


def open_file(name: str, folder: int, mine: int = -1) -> int:
    """The target in ``folder``, opened for appending; created 0600 if missing, else checked and tightened.

    ``mine``: a descriptor that has passed already; the same file need not begin like an audit log again.

    Raises:
        BadRequest: what is there is not a plain file of ours with a single name.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = _create_or_open(name, folder, flags)
    except OSError as error:
        raise BadRequest("file_path cannot be opened for appending") from error
    try:
        _check(fd, mine)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _create_or_open(name: str, folder: int, flags: int) -> int:
    try:
        fd = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
    except FileExistsError:
        # Looked at before it is opened: opening a device or a FIFO may already do something.
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise BadRequest("file_path is not a plain file") from None
        return os.open(name, flags, dir_fd=folder)
    os.fchmod(fd, 0o600)  # whatever the umask said
    return fd


def _check(fd: int, mine: int) -> None:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or _kernel_file(fd):
        raise BadRequest("file_path is not a plain file")
    if found.st_uid != os.geteuid():
        raise BadRequest("file_path belongs to another user")
    if found.st_nlink > 1:
        raise BadRequest("file_path has a second name (a hard link)")
    if found.st_size and not (mine >= 0 and os.path.samestat(found, os.fstat(mine))) and not _audit_log(fd):
        raise BadRequest("file_path holds something that is not an audit log")
    if stat.S_IMODE(found.st_mode) & ~0o640:  # never executable, never open to others; a group that reads logs may stay
        os.fchmod(fd, 0o600)
    if found.st_size and os.pread(fd, 1, found.st_size - 1) != b"\n":
        os.write(fd, b"\n")  # a writer was killed in the middle of a line: ours begins on a line of its own


def _audit_log(fd: int) -> bool:
    """Whether what is there begins as an audit log does, ours or Vault's: the store, its keys and the configuration,
    which may lie in the same folder, must never be appended to.
    """
    start = os.pread(fd, 4096, 0).lstrip()  # a first line that was taken back is blanks
    torn = start.partition(b"\n")[0]  # a first line whose writer was killed in it
    return start.startswith(_FIRST_KEYS) or any(ours.startswith(torn) for ours in _OURS)


def _kernel_file(fd: int) -> bool:
    """Whether ``fd`` is on procfs, sysfs or the like (statfs(2))."""
    if not sys.platform.startswith("linux"):
        return False
    buffer = (ctypes.c_long * 64)()
    if ctypes.CDLL(None, use_errno=True).fstatfs(fd, buffer) != 0:
        return True
    return (buffer[0] & 0xFFFFFFFF) in _KERNEL_FILES
