"""The LMDB file of a store: opened privately, grown while in use, reopened after a failed write.

LMDB never writes over a page that the last commit refers to, and a commit shows only through its meta page, written
last. So after a failed write nothing has to be repaired and nothing flushed again: the file is closed, opened anew
with fresh descriptors, and the next commit writes and flushes all its own pages.
"""

import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import lmdb

from strongroom.errors import StorageFailed
from strongroom.storage.folder import private_file, private_folder, sync_folder

T = TypeVar("T")
FORMAT = 1
FORMAT_KEY = b"\x00format"
REVISION_KEY = b"\x00revision"
MAX_READERS = 2046  # read transactions at once on this host: two lines of the lock file's page are its header
_TRIES = 8


class Environment:
    """Owns the ``lmdb.Environment``. Any thread may read; one thread writes.

    ``gate`` is held by whoever writes, resizes or reopens; a reader takes it only after its first try failed.
    ``env`` is None while the map is replaced or a write given up: the binding then waits until no thread is inside
    LMDB, and busy readers would keep it waiting for minutes; so they fail fast and queue at the gate.
    """

    def __init__(self, path: str, *, map_size: int, sync: bool, max_readers: int) -> None:
        self.path = private_folder(path, "lmdb store")
        self.gate = threading.RLock()
        self._map_size, self._sync, self._max_readers = map_size, sync, max_readers
        self._closed = False
        self.env: Any = self._open()
        try:
            self._check_format()
            self.env.reader_check()
        except lmdb.Error as error:
            self.env.close()
            raise failed("the lmdb store cannot be read", error) from error
        except BaseException:
            self.env.close()
            raise

    def _open(self) -> lmdb.Environment:
        try:
            self._create()
            for name in ("data.mdb", "lock.mdb"):
                os.close(private_file(os.path.join(self.path, name)))
            return self._lmdb(self.path)
        except lmdb.Error as error:
            if "already open" in str(error):
                raise StorageFailed(
                    "the lmdb store is already open in this process: share the store object, or close it first"
                ) from error
            raise failed("the lmdb store cannot be opened", error) from error
        except OSError as error:
            raise StorageFailed(f"the files of the lmdb store cannot be opened: {error.strerror}") from error

    def _lmdb(self, path: str) -> lmdb.Environment:
        return lmdb.open(
            path,
            map_size=self._map_size,
            sync=self._sync,
            metasync=self._sync,
            mode=0o600,
            max_readers=self._max_readers,
            max_spare_txns=1,
            lib_version=0,
        )

    def _create(self) -> None:
        """Make the file if it is missing: whole, beside its place, then by a rename.

        LMDB itself writes the first pages of a new file in place, and cannot open a file where that was cut short.
        """
        path, draft = os.path.join(self.path, "data.mdb"), os.path.join(self.path, "new")
        if _size(path):
            if self._sync:
                sync_folder(self.path)  # whoever made it may have been stopped, or be, before its name is on disk
            return
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # against other processes that come first too
            if _size(path):
                return  # flushed by whoever held the lock
            shutil.rmtree(draft, ignore_errors=True)
            os.mkdir(draft, 0o700)
            os.chmod(draft, 0o700)
            env = self._lmdb(draft)
            try:
                with env.begin(write=True) as txn:
                    txn.put(FORMAT_KEY, b"%d" % FORMAT)
                    txn.put(REVISION_KEY, bytes(8))
                env.sync(True)
            finally:
                env.close()
            os.rename(os.path.join(draft, "data.mdb"), path)
            if self._sync:
                os.fsync(folder)
            shutil.rmtree(draft, ignore_errors=True)
        finally:
            os.close(folder)

    def _check_format(self) -> None:
        with self.env.begin() as txn:
            found = txn.get(FORMAT_KEY)
        if found is None:
            raise StorageFailed("the lmdb file holds something else than a strongroom store")
        if found != b"%d" % FORMAT:
            raise StorageFailed(
                f"the lmdb store has format {found[:20].decode('ascii', 'replace')}, "
                f"this release reads format {FORMAT}; use the release that wrote it, or a newer one"
            )

    def read(self, work: Callable[[lmdb.Environment], T]) -> T:
        """``work`` again, after a first try failed: the map was resized, or the file reopened, meanwhile.

        Raises:
            StorageFailed: it goes on failing, or the store is closed.
        """
        error: Exception | None = None
        for _ in range(_TRIES):
            try:
                return work(self.env)
            except lmdb.MapResizedError as resized:
                error = resized
                with self.gate:
                    self._usable()
                    self.adopt_size()
            except lmdb.ReadersFullError as full:
                raise StorageFailed("too many readers have the lmdb store open") from full
            except (lmdb.Error, TypeError) as other:
                error = other
                with self.gate:  # a resize or reopening in another thread ends before this
                    self._usable()
        raise failed("the lmdb store cannot be read", error) from error

    def _usable(self) -> None:
        if self._closed:
            raise StorageFailed("the store is closed")
        try:
            self.env.path()
        except lmdb.Error:
            self.env = self._open()

    def adopt_size(self) -> None:
        """Take over the size to which another process grew the map."""
        try:
            with self.paused() as env:
                env.set_mapsize(0)
                self._map_size = env.info()["map_size"]
        except lmdb.Error:
            self.reopen()

    @contextmanager
    def paused(self) -> Iterator[lmdb.Environment]:
        """Keep readers out: resizing and aborting wait until no thread is inside LMDB. The gate is held."""
        env, self.env = self.env, None
        try:
            yield env
        finally:
            self.env = env

    def grow(self, room: int) -> None:
        """Double the map, and more if ``room`` bytes need it. The gate is held and no write transaction open.

        Raises:
            StorageFailed: the address space is used up.
        """
        now = max(self._map_size, self.env.info()["map_size"])
        size = now * 2
        while size < now + 4 * room:
            size *= 2
        try:
            with self.paused() as env:
                env.set_mapsize(size)
        except (lmdb.Error, OverflowError) as error:
            self.reopen()
            raise failed("the lmdb store cannot grow", error) from error
        self._map_size = size

    def reopen(self) -> None:
        """Close the file and open it anew; if that fails now, the next use tries again. The gate is held."""
        env, self.env = self.env, None
        env.close()
        try:
            self.env = self._open()
        except StorageFailed:
            self.env = env  # told to the next caller, by ``_usable``

    def ready(self) -> lmdb.Environment:
        """The environment for a writer, opened anew if the last try failed. The gate is held."""
        self._usable()
        env: lmdb.Environment = self.env
        return env

    def close(self) -> None:
        """Release the file."""
        with self.gate:
            self._closed = True
            env, self.env = self.env, None
            env.close()
            self.env = env


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def failed(what: str, error: Any) -> StorageFailed:
    """LMDB's error as ours: its reason, without the path it may carry."""
    reason = str(error).rsplit(": ", 1)[-1] if error is not None else "unknown"
    return StorageFailed(f"{what}: {reason}")
