"""The store of a server that keeps nothing: LMDB in a private folder in memory, shared by all workers.

The supervisor makes the folder and hands its path to the workers; its name carries the supervisor's process id, so
that the next start can remove what a killed one left behind. Where there is no ``/dev/shm`` (macOS) the folder lies
among the temporary files, on disk: what is in it is ciphertext either way.
"""

import os
import re
import shutil
import stat
import tempfile
import weakref
from collections.abc import Mapping
from typing import Any

from strongroom.errors import StorageFailed
from strongroom.sdk.storage import Backend
from strongroom.storage.limits import take_options
from strongroom.storage.lmdb import MAP_SIZE, LmdbStore

_NAME = re.compile(r"strongroom-inmem-(\d{1,10})-[0-9a-f]{16}")
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a folder of one's own is made in it, 0700


def open_store(options: Mapping[str, Any]) -> Backend:
    """Open the store in the folder ``path``, or in a new one that goes with this process.

    Args:
        options: ``path``, a folder from ``private_tmpfs_folder``; ``map_size``.

    Raises:
        BadRequest: an unknown option.
        StorageFailed: the folder lets other users in, or cannot be made.
    """
    taken = take_options("inmem", options, {"path": str, "map_size": int})
    path = taken.get("path", "")
    own = not path
    if own:
        path = private_tmpfs_folder()
    try:
        store = InmemStore(path, map_size=taken.get("map_size", MAP_SIZE), sync=False)
    except BaseException:
        if own:
            remove_folder(path)
        raise
    if own:
        weakref.finalize(store, remove_folder, path)
    return store


class InmemStore(LmdbStore):
    """An LMDB store that is never flushed."""

    kind = "inmem"


def private_tmpfs_folder(owner: int | None = None) -> str:
    """Make an empty folder, 0700, in shared memory if there is any; its path.

    Args:
        owner: process id with whose end the folder is abandoned; this process by default.

    Raises:
        StorageFailed: no folder can be made.
    """
    name = f"strongroom-inmem-{os.getpid() if owner is None else owner}-{os.urandom(8).hex()}"
    for root in _roots():
        path = os.path.join(root, name)
        try:
            os.mkdir(path, 0o700)
            os.chmod(path, 0o700)
        except OSError:
            continue
        return path
    raise StorageFailed("no folder for the inmem store can be made")


def remove_abandoned() -> list[str]:
    """Remove the folders of this user whose process is gone; their paths."""
    removed = []
    for root in _roots():
        try:
            names = os.listdir(root)
        except OSError:
            continue
        for name in names:
            match = _NAME.fullmatch(name)
            path = os.path.join(root, name)
            if match and not _alive(int(match[1])) and _ours(path):
                remove_folder(path)
                removed.append(path)
    return removed


def remove_folder(path: str) -> None:
    """Remove a folder that ``private_tmpfs_folder`` made; no error if it is gone."""
    shutil.rmtree(path, ignore_errors=True)


def _roots() -> list[str]:
    return [root for root in (_SHARED_MEMORY, tempfile.gettempdir()) if os.access(root, os.W_OK | os.X_OK)]


def _ours(path: str) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
