"""Folders and files that only their owner may touch, whatever the umask says."""

import os
import stat
from contextlib import suppress

from strongroom.errors import BadRequest, StorageFailed


def private_folder(path: str, what: str) -> str:
    """Make ``path`` (0700, with its parents) or check that it is ours alone; the absolute path.

    Raises:
        BadRequest: no path was given.
        StorageFailed: it cannot be made, is no folder, belongs to someone else or lets others in.
    """
    if not path:
        raise BadRequest(f"the {what} needs a path")
    path = os.path.abspath(path)
    try:
        _make(path)
        found = os.stat(path)
    except OSError as error:
        raise StorageFailed(f"the folder of the {what} cannot be made: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise StorageFailed(f"the path of the {what} is not a folder")
    if found.st_uid != os.geteuid():
        raise StorageFailed(f"the folder of the {what} belongs to another user")
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise StorageFailed(f"the folder of the {what} lets other users in (mode {mode:04o}); run: chmod 700 {path}")
    try:
        if not os.listdir(path):
            _sync_names(path)
    except OSError as error:
        raise StorageFailed(f"the folder of the {what} cannot be brought to disk: {error.strerror}") from error
    return path


def _make(path: str) -> None:
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        _make(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    os.chmod(path, 0o700)  # the umask may have taken some of ours


def _sync_names(path: str) -> None:
    """Put the name of an empty folder on disk, and of those above it that may be of our making.

    Before anything is in it: whoever made it may have been stopped before this, and nobody asks again later.
    """
    while os.stat(path).st_uid == os.geteuid() and (parent := os.path.dirname(path)) != path:
        with suppress(PermissionError):
            sync_folder(parent)
        path = parent


def private_file(path: str, *, flags: int = os.O_RDWR) -> int:
    """Open ``path``, made with mode 0600 if it is missing; a file with a wider mode is narrowed. The descriptor."""
    fd = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if stat.S_IMODE(os.fstat(fd).st_mode) != 0o600:
        os.fchmod(fd, 0o600)
    return fd


def sync_folder(path: str) -> None:
    """Put the names in a folder on disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
