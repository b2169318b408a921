"""The folder of a file store as readers see it: whole commits or none of them, without waiting for a writer's disk.

The lock file holds a generation, mapped into every process. A writer makes it odd, renames the new files into place
and makes it even. A reader that saw the same even number before and after has seen one state of the store; otherwise
it looks again. An odd number that stays is a writer that died: whoever meets it takes the lock and finishes its work.
"""

import errno
import fcntl
import heapq
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from struct import Struct
from typing import TypeVar

from strongroom.errors import StorageFailed
from strongroom.storage.file_names import ENTRY, MORE, entry_path, folder_path, text
from strongroom.storage.folder import private_file, private_folder

T = TypeVar("T")
_HEAD = Struct(">4sQH")  # magic, revision, length of the key; then the key and the value
_MAGIC = b"SRE1"
_MISSING = (FileNotFoundError, NotADirectoryError)
_TRIES = 5
GENERATION, REVISION = 0, 1  # places in the lock file, 8 bytes each in this host's byte order
Found = tuple[bytes, int, bytes]  # key, revision, value


def pack(key: bytes, revision: int, value: bytes) -> bytes:
    """An entry as it lies in its file."""
    return _HEAD.pack(_MAGIC, revision, len(key)) + key + value


def unpack(raw: bytes) -> Found:
    """Key, revision and value of an entry's file.

    Raises:
        StorageFailed: it is no entry.
    """
    if len(raw) < _HEAD.size:
        raise StorageFailed("a file of the store is cut off")
    magic, revision, width = _HEAD.unpack_from(raw)
    start = _HEAD.size + width
    if magic != _MAGIC or len(raw) < start:
        raise StorageFailed("a file of the store is not an entry")
    return raw[_HEAD.size : start], revision, raw[start:]


class Tree:
    """Reading, and the lock that readers and writers share."""

    def __init__(self, path: str) -> None:
        self.path = private_folder(path, "file store")
        self._long: dict[str, bytes] = {}  # file name in long/ -> its key; the name is the key's hash
        self.recover: Callable[[], None] = _nothing
        try:
            lock = private_file(self.at("lock"))
            try:
                if os.fstat(lock).st_size < mmap.PAGESIZE:
                    os.ftruncate(lock, mmap.PAGESIZE)
                self._map = mmap.mmap(lock, mmap.PAGESIZE)
            finally:
                os.close(lock)
        except OSError as error:
            raise StorageFailed(f"the file store cannot be opened: {error.strerror}") from error
        self.shared = memoryview(self._map).cast("Q")

    def close(self) -> None:
        self.shared.release()
        self._map.close()

    def at(self, *names: str) -> str:
        """A path in the store."""
        return os.path.join(self.path, *names)

    def generation(self) -> int:
        """Moves with every change.

        Raises:
            StorageFailed: the store is closed.
        """
        try:
            return self.shared[GENERATION]
        except ValueError:
            raise StorageFailed("the store is closed") from None

    def last_revision(self) -> int:
        """The greatest revision given so far; ``StorageFailed`` if the store is closed."""
        self.generation()
        return self.shared[REVISION]

    @contextmanager
    def locked(self, how: int) -> Iterator[None]:
        """Hold the store's lock, ``fcntl.LOCK_SH`` or ``LOCK_EX``."""
        try:
            fd = os.open(self.at("lock"), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise StorageFailed(f"the lock of the file store cannot be taken: {error.strerror}") from error
        try:
            fcntl.flock(fd, how)
            yield
        finally:
            os.close(fd)

    def read(self, work: Callable[[], T]) -> T:
        """``work()`` over one state of the store.

        Raises:
            StorageFailed: a file cannot be read, or a commit that a dead writer left cannot be finished.
        """
        try:
            for _ in range(_TRIES):
                before = self.generation()
                if before & 1:
                    with self.locked(fcntl.LOCK_EX):
                        if self.generation() & 1:
                            self.recover()
                    continue
                try:
                    result = work()
                except (OSError, StorageFailed):
                    if self.generation() == before:
                        raise
                    continue
                if self.generation() == before:
                    return result
            with self.locked(fcntl.LOCK_EX):  # writers come too often; EX, since a dead one may be left to finish
                if self.generation() & 1:
                    self.recover()
                return work()
        except OSError as error:
            raise StorageFailed(f"the file store cannot be read: {error.strerror}") from error

    def entry(self, key: bytes) -> tuple[int, bytes] | None:
        """Revision and value at ``key``."""
        found = self.file(entry_path(key))
        if found is None:
            return None
        if found[0] != key:
            raise StorageFailed("a file of the store holds the entry of another key")
        return found[1:]

    def file(self, path: str) -> Found | None:
        """The entry in the file at ``path``, None if there is no such file."""
        try:
            with open(os.path.join(self.path, path), "rb", buffering=0) as file:
                raw = file.readall()
        except _MISSING:
            return None
        return unpack(raw)

    def names(self, folder: bytes, behind: bytes, limit: int) -> list[bytes]:
        """Child names of ``folder`` greater than ``behind``, at most ``limit``."""
        width = len(folder)
        children = {name: path for name, path in self._children(folder_path(folder)) if name > behind}
        for key in self._long_keys():
            if key.startswith(folder):
                head, slash, _ = key[width:].partition(b"/")
                if head + slash > behind:
                    children[head + slash] = ""
        found: list[bytes] = []
        for name in sorted(children):
            if len(found) >= limit:
                break
            if not name.endswith(b"/") or not children[name] or self._holds_any(children[name]):
                found.append(name)
        return found

    def walk(self, prefix: bytes, low: bytes, end: bytes | None) -> Iterator[tuple[bytes, str]]:
        """Keys that begin with ``prefix``, from ``low`` up to below ``end``, in order, each with its file."""
        folder = prefix[: prefix.rfind(b"/") + 1]
        long = [(key, entry_path(key)) for key in self._long_keys() if key >= low]
        for key, path in heapq.merge(self._walk(folder, low), sorted(long)):
            if end is not None and key >= end:
                return
            if key.startswith(prefix):
                yield key, path
            elif key > prefix:
                return

    def _walk(self, folder: bytes, low: bytes) -> Iterator[tuple[bytes, str]]:
        stack = [self._ordered(folder, folder_path(folder), low)]
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
            elif step[0].endswith(b"/"):
                stack.append(self._ordered(step[0], step[1], low))
            else:
                yield step

    def _ordered(self, folder: bytes, path: str, low: bytes) -> Iterator[tuple[bytes, str]]:
        for name, child in sorted(self._children(path)):
            key = folder + name
            if key >= low or (name.endswith(b"/") and low.startswith(key)):
                yield key, child

    def _children(self, path: str, head: bytes = b"") -> Iterator[tuple[bytes, str]]:
        """Names in a folder, folders with their slash, and where each lies; in no order."""
        try:
            found = list(os.scandir(os.path.join(self.path, path)))
        except _MISSING:
            return
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # nothing so long can be stored here
                return
            raise
        for item in found:
            name, child = item.name, f"{path}/{item.name}"
            try:
                if item.is_dir(follow_symlinks=False):
                    if name.endswith(MORE):
                        yield from self._children(child, head + text(name[:-1]))
                    else:
                        yield head + text(name) + b"/", child
                elif name.endswith(ENTRY):
                    yield head + text(name[: -len(ENTRY)]), child
            except (ValueError, UnicodeEncodeError):  # not ours
                continue

    def _holds_any(self, path: str) -> bool:
        """Whether any entry lies in a folder; a commit that failed may leave empty ones."""
        stack = [path]
        while stack:
            for name, child in self._children(stack.pop()):
                if not name.endswith(b"/"):
                    return True
                stack.append(child)
        return False

    def _long_keys(self) -> list[bytes]:
        try:
            names = os.listdir(self.at("long"))
        except FileNotFoundError:
            return []
        known, keys = self._long, []
        for name in names:
            key = known.get(name)
            if key is None and name.endswith(ENTRY):
                found = self.file(f"long/{name}")
                if found is None:
                    continue
                key = known[name] = found[0]
            if key is not None:
                keys.append(key)
        return keys


def _nothing() -> None:
    pass
