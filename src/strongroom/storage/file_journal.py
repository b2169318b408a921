"""Commits of a file store: new files beside, a journal that names them, then renames.

    1. each new entry is written to ``new.<revision>.<n>`` and flushed; folders are made
    2. ``journal.new`` (which new file goes where, what is deleted) is flushed and renamed to ``journal``, the folder
       flushed: from here on the commit is durable
    3. generation odd; renames and deletes; generation even: from here on it is visible
    4. the folders touched are flushed, the journal removed

All under the store's one lock. A failure before the end of 2 leaves nothing. One after it leaves the journal, which
whoever takes the lock next brings to its end first. Layout: docs/formats/file-store.md.

The removal of the journal is not flushed: after a power cut it may be back, among the new files of a commit that came
later. So no name of a new file is ever used twice, as no revision is.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from typing import Any

from strongroom.errors import Conflict, StorageFailed
from strongroom.storage.changes import Changes
from strongroom.storage.file_names import entry_path
from strongroom.storage.file_tree import GENERATION, REVISION, Tree, pack
from strongroom.storage.folder import private_file
from strongroom.storage.group import Job, Take

FORMAT = 1
RESERVE = 1 << 16  # revisions taken from the disk at once
_TITLE = "strongroom file store, format "
Plan = dict[bytes, tuple[int, bytes | None]]  # key -> revision, value or None


class Journal:
    """The writing side of a store; one thread of a process uses it."""

    def __init__(self, tree: Tree, changes: Changes, *, sync: bool) -> None:
        self._tree, self._changes, self._sync = tree, changes, sync
        tree.recover = self._recover
        self._ceiling = 0
        self._ready: set[str] = set()  # folders whose names are on disk
        try:
            with tree.locked(fcntl.LOCK_EX):
                self._check_format()
                self._recover()
                self._remove_leftovers()
                self._reserve(self._stored_ceiling())
        except OSError as error:
            raise StorageFailed(f"the file store cannot be opened: {error.strerror}") from error

    def write_batch(self, take: Take) -> None:
        """Apply a batch as one change. Raises ``StorageFailed`` if nothing of it was kept."""
        try:
            with self._tree.locked(fcntl.LOCK_EX):
                self._recover()
                plan = self._decide(take())
                if not plan:
                    return
                self._keep(plan)
                # Durable. Should the rest fail, the next one to come finishes it before doing anything else.
                with suppress(OSError, StorageFailed):
                    self._recover()
        except OSError as error:
            raise StorageFailed(f"the file store could not write: {error.strerror}") from error
        self._changes.happened()

    def raise_revisions(self, floor: int) -> None:
        """Make every later revision greater than ``floor``."""
        try:
            with self._tree.locked(fcntl.LOCK_EX):
                self._reserve(max(floor, self._stored_ceiling()))
        except OSError as error:
            raise StorageFailed(f"the file store could not write: {error.strerror}") from error

    def _decide(self, jobs: list[Job]) -> Plan:
        """What the jobs that hold amount to, in their order."""
        plan: Plan = {}
        revision = self._tree.shared[REVISION]
        for job in jobs:
            if any(self._revision(plan, key) != expected for key, expected in job.expect):
                job.error = Conflict("the entry changed since it was read")
                continue
            revision += 1 if job.puts else 0
            for key, value in job.puts:
                if value is not None or self._revision(plan, key):
                    plan[key] = revision, value
        if plan:
            if revision > self._ceiling:
                self._reserve(max(revision, self._stored_ceiling()))
            self._tree.shared[REVISION] = revision
        return plan

    def _revision(self, plan: Plan, key: bytes) -> int:
        planned = plan.get(key)
        if planned is not None:
            return 0 if planned[1] is None else planned[0]
        found = self._tree.entry(key)
        return 0 if found is None else found[0]

    def _keep(self, plan: Plan) -> None:
        """Make the plan durable, or leave nothing of it."""
        tree, lines = self._tree, []
        files: list[str] = []
        folders: set[str] = set()
        latest = max(revision for revision, _ in plan.values())
        try:
            for key, (revision, value) in plan.items():
                line: dict[str, Any] = {"key": key.decode(), "revision": revision}
                if value is not None:
                    line["new"] = f"new.{latest}.{len(files)}"
                    files.append(line["new"])
                    self._write(line["new"], pack(key, revision, value))
                    folders.add(os.path.dirname(entry_path(key)))
                lines.append(line)
            self._ready_folders(folders)
            body = json.dumps(lines, indent=0)
            self._write("journal.new", f"{body}\n{sha256(body.encode()).hexdigest()}\n".encode())
            os.rename(tree.at("journal.new"), tree.at("journal"))
            self._flush("")
        except BaseException:
            for name in ("journal", "journal.new", *files):
                with suppress(OSError):
                    os.unlink(tree.at(name))
            raise

    def _recover(self) -> None:
        """Bring a journal that is there to its end. The lock is held."""
        tree, shared = self._tree, self._tree.shared
        try:
            with open(tree.at("journal"), "rb") as file:
                raw = file.read()
        except FileNotFoundError:
            if shared[GENERATION] & 1:
                shared[GENERATION] += 1
            return
        body, _, digest = raw.rstrip(b"\n").rpartition(b"\n")
        if sha256(body).hexdigest().encode() != digest:
            raise StorageFailed("the journal of the file store is damaged")
        lines = json.loads(body)
        if all(self._present(line) for line in lines):
            shared[GENERATION] |= 1
            touched: set[str] = {""}
            # Folders that the journal puts something into stay: made again, they would be on disk only after a flush.
            stay = {"data", "long"}
            for line in lines:
                if "new" in line:
                    stay.update(_up(os.path.dirname(entry_path(line["key"].encode()))))
            for line in lines:
                touched |= self._apply(line, stay)
            shared[REVISION] = max(shared[REVISION], *(line["revision"] for line in lines))
            shared[GENERATION] += 1
            for folder in touched:
                with suppress(FileNotFoundError):  # a later line emptied and removed it; its parent is flushed too
                    self._flush(folder)
        elif shared[GENERATION] & 1:
            shared[GENERATION] += 1
        # else it never was durable: the host stopped before its folder was flushed, and nobody was told it is kept
        os.unlink(tree.at("journal"))

    def _present(self, line: dict[str, Any]) -> bool:
        """Whether a line of the journal can still be done, or is done."""
        if "new" not in line or os.path.exists(self._tree.at(line["new"])):
            return True
        found = self._tree.entry(line["key"].encode())
        return found is not None and found[0] == line["revision"]

    def _apply(self, line: dict[str, Any], stay: set[str]) -> set[str]:
        """Rename or delete; the folders whose names changed."""
        tree, path = self._tree, entry_path(line["key"].encode())
        folder = os.path.dirname(path)
        if "new" in line:
            touched = self._make_folders(folder)
            with suppress(FileNotFoundError):  # done before
                os.rename(tree.at(line["new"]), tree.at(path))
            return touched | {folder}
        found = tree.file(path)
        if found is not None and found[1] <= line["revision"]:
            with suppress(FileNotFoundError, NotADirectoryError):
                os.unlink(tree.at(path))
            with suppress(OSError):  # the folder holds something else, or is gone
                while folder not in stay:
                    os.rmdir(tree.at(folder))
                    self._ready.discard(folder)
                    folder = os.path.dirname(folder)
        # Flushed even where nothing is left to do: whoever did it may have been stopped before the flush.
        while not os.path.isdir(tree.at(folder)):
            folder = os.path.dirname(folder)
        return {folder}

    def _ready_folders(self, folders: set[str]) -> None:
        """Make folders and flush all above them, once for each in the life of this object."""
        made: set[str] = set()
        for folder in folders:
            made |= self._make_folders(folder)  # also one that was ready: another process may have removed it since
        unsure = {name for folder in folders for name in _up(folder)} - self._ready
        for above in made | {os.path.dirname(name) for name in unsure}:
            self._flush(above)
        self._ready |= unsure

    def _make_folders(self, folder: str) -> set[str]:
        """Make a folder and those above it; the folders that got a new name in them."""
        path = self._tree.at(folder)
        if not folder or os.path.isdir(path):
            return set()
        above = os.path.dirname(folder)
        touched = self._make_folders(above)
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
            os.chmod(path, 0o700)  # the umask may have taken some of ours
        return touched | {above}

    def _write(self, name: str, data: bytes) -> None:
        fd = private_file(self._tree.at(name), flags=os.O_WRONLY | os.O_TRUNC)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            if self._sync:
                os.fsync(fd)
        finally:
            os.close(fd)

    def _flush(self, folder: str) -> None:
        if self._sync:
            fd = os.open(self._tree.at(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _replace(self, name: str, data: bytes) -> None:
        self._write(name + ".new", data)
        os.rename(self._tree.at(name + ".new"), self._tree.at(name))
        self._flush("")

    def _stored_ceiling(self) -> int:
        try:
            with open(self._tree.at("revision"), "rb") as file:
                return int(file.read(32))
        except FileNotFoundError:
            return 0
        except ValueError:
            raise StorageFailed("the revision file of the file store is damaged") from None

    def _reserve(self, start: int) -> None:
        """Go on counting above ``start``; the disk holds a number that is never passed without asking it."""
        self._replace("revision", b"%d\n" % (start + RESERVE))
        self._ceiling = start + RESERVE
        self._tree.shared[REVISION] = max(self._tree.shared[REVISION], start)

    def _check_format(self) -> None:
        try:
            with open(self._tree.at("format"), encoding="utf-8", errors="replace") as file:
                title = file.read(100)
        except FileNotFoundError:
            if set(os.listdir(self._tree.path)) - {"lock", "format.new"}:
                raise StorageFailed("the folder holds something else than a file store") from None
            self._replace("format", f"{_TITLE}{FORMAT}\n".encode())
            return
        if not title.startswith(_TITLE):
            raise StorageFailed("the folder holds something else than a file store")
        if title != f"{_TITLE}{FORMAT}\n":
            raise StorageFailed(
                f"the file store has format {title[len(_TITLE) :].strip()[:20]}, this release reads format {FORMAT}; "
                "use the release that wrote it, or a newer one"
            )

    def _remove_leftovers(self) -> None:
        for name in os.listdir(self._tree.path):
            if name.startswith("new.") or name.endswith(".new"):
                os.unlink(self._tree.at(name))


def _up(folder: str) -> Iterator[str]:
    """A folder and those above it, below the store's own."""
    while folder:
        yield folder
        folder = os.path.dirname(folder)
