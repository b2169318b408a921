"""A disk that loses power: what of a program's recorded calls (recorder.c) is certain to be there, and what may be.

    disk = Disk("/the/prefix")          what lies there now, all of it certain
    for record in read_log(log):
        disk.do(record)
    write_to(folder, disk.lose_power(Choice(7)))     one of the folders that may be found after the power came back

What counts as certain is no more than what POSIX promises with the usual reading of "synchronized":

* bytes and size of a file, once fsync, fdatasync or msync of it has returned, or they were written through O_DSYNC;
* names in a folder, once fsync of that folder has returned; a file's own fsync says nothing about its name.

Everything else is there or not, block by block (of 512 or 4096 bytes) and change by change, in any order. A rename
happens whole or not at all, and a change that was flushed brings the earlier ones of the same file or the same name
with it, as file systems keep such changes in one transaction. What a failed flush was to bring to disk stays uncertain
for good: a later flush says nothing about it.
"""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct

_HEAD = Struct("<cBHHIQQ")  # struct head of recorder.c
SECTOR, PAGE = 512, 4096


@dataclass(frozen=True)
class Record:
    """One call that succeeded. ``kind`` as in recorder.c."""

    kind: str
    flushed: bool
    node: int
    at: int
    path: str
    to: str
    data: bytes


def read_log(log: Path) -> list[Record]:
    """The records of a log, in the order of the calls. Raises ValueError if it is cut off."""
    raw, records, at = log.read_bytes(), [], 0
    while at < len(raw):
        kind, flushed, path, to, size, node, offset = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        end = at + path + to + size
        if end > len(raw):
            raise ValueError("the log is cut off")
        names = (
            os.path.normpath(os.fsdecode(raw[at : at + path])),
            os.path.normpath(os.fsdecode(raw[at + path : end - size])),
        )
        records.append(Record(kind.decode(), bool(flushed), node, offset, *names, raw[end - size : end]))
        at = end
    return records


class Choice:
    """What becomes of the uncertain, by a seed. Seeds 0 and 1: nothing of it and all of it is there."""

    def __init__(self, seed: int, grains: Sequence[int] = (SECTOR, PAGE)) -> None:
        self._random = random.Random(seed)
        self._share = float(seed) if seed < 2 else self._random.choice([0.1, 0.5, 0.9])
        self.grain = self._random.choice(grains)
        # Journaling file systems keep changes of names in order: half of the seeds do so, too.
        self._in_order = self._random.random() < 0.5
        self._ended = False

    def block(self) -> bool:
        return self._random.random() < self._share

    def change(self) -> bool:
        """Whether a change of names is there; asked in the order in which they were made."""
        if not self._in_order:
            return self.block()
        self._ended = self._ended or self._random.random() >= self._share**0.25
        return not self._ended


@dataclass
class Extent:
    """Bytes written, or (``data`` None) the size set to ``at``."""

    at: int
    data: bytes | None
    doubtful: bool = False  # a flush of it has failed


@dataclass(eq=False)
class File:
    """``certain`` survives; ``pending`` may, in parts."""

    certain: bytearray = field(default_factory=bytearray)
    pending: list[Extent] = field(default_factory=list)

    def flush(self) -> None:
        pending, self.pending = self.pending, []
        for extent in pending:
            if extent.doubtful:
                self.pending.append(extent)
            elif extent.data is None:
                _apply(self.certain, extent)
            else:
                self.write_through(extent)

    def fail(self) -> None:
        for extent in self.pending:
            extent.doubtful = True

    def write_through(self, extent: Extent) -> None:
        """A write that is on disk when it returns: what was pending for the same bytes is overtaken."""
        assert extent.data is not None
        low, high = extent.at, extent.at + len(extent.data)
        rest: list[Extent] = []
        for old in self.pending:
            if old.data is None:
                rest.append(old)
                continue
            end = old.at + len(old.data)
            if old.at < low:
                rest.append(Extent(old.at, old.data[: low - old.at], old.doubtful))
            if end > high:
                rest.append(Extent(max(old.at, high), old.data[max(high - old.at, 0) :], old.doubtful))
        self.pending = rest
        _apply(self.certain, extent)

    def after(self, choice: Choice) -> bytes:
        found, longest = bytearray(self.certain), len(self.certain)
        for extent in self.pending:
            if extent.data is None:
                if choice.block():
                    _apply(found, extent)
                    longest = extent.at
                continue
            for part in _blocks(extent, choice.grain):
                longest = max(longest, part.at + len(part.data or b""))
                if choice.block():
                    _apply(found, part)
        if len(found) < longest and choice.block():  # the new size is there and the bytes are not
            found.extend(bytes(longest - len(found)))
        return bytes(found)


def _apply(content: bytearray, extent: Extent) -> None:
    if extent.data is None:
        del content[extent.at :]
        content.extend(bytes(extent.at - len(content)))
    else:
        content.extend(bytes(max(0, extent.at - len(content))))
        content[extent.at : extent.at + len(extent.data)] = extent.data


def _blocks(extent: Extent, grain: int) -> Iterator[Extent]:
    data, at = extent.data or b"", extent.at
    while data:
        size = grain - at % grain
        yield Extent(at, data[:size])
        at, data = at + size, data[size:]


@dataclass(eq=False)
class Folder:
    """``certain`` names survive; changes of them that may are the disk's ``pending``."""

    now: dict[str, "Node"] = field(default_factory=dict)
    certain: dict[str, "Node"] = field(default_factory=dict)


Node = File | Folder
Step = tuple[Folder, str, Node, bool]  # in this folder, this name gets (True) or loses this node
Change = tuple[Step, ...]  # happens whole or not at all
Names = Callable[[Folder], dict[str, Node]]
Tree = dict[str, bytes | None]  # path below the prefix -> content; None is a folder


class Disk:
    """Everything below a prefix. ``told``: what the program wrote to its standard output."""

    def __init__(self, prefix: Path) -> None:
        self._prefix, self._nodes = os.path.normpath(prefix), dict[int, Node]()
        self._pending: list[Change] = []
        self.told = ""
        self._root = self._load(self._prefix)

    def _load(self, path: str) -> Folder:
        folder = Folder()
        self._nodes[os.stat(path).st_ino] = folder
        for item in os.scandir(path):
            node: Node = self._load(item.path) if item.is_dir() else File(bytearray(Path(item.path).read_bytes()))
            self._nodes[item.inode()] = folder.now[item.name] = folder.certain[item.name] = node
        return folder

    def do(self, record: Record) -> None:
        """Take in one call. Raises ValueError for one that this model does not know."""
        kind, node = record.kind, self._nodes.get(record.node)
        if kind == "t":
            self.told += record.data.decode()
        elif kind in "ws" and isinstance(node, File):  # others have no name any more, or never had one
            extent = Extent(record.at, record.data if kind == "w" else None)
            if record.flushed and kind == "w":
                node.write_through(extent)
            else:
                node.pending.append(extent)
        elif kind == "f" and node is not None:
            self._flush(node)
        elif kind == "e" and isinstance(node, File):
            node.fail()
        elif kind == "a":
            for each in self._nodes.values():
                self._flush(each)
        elif kind in "nd":
            made: Node = File() if kind == "n" else Folder()
            self._nodes[record.node] = made  # inode numbers are used again
            folder, name = self._place(record.path)
            self._change((folder, name, made, True))
        elif kind in "ux":
            folder, name = self._place(record.path)
            self._change((folder, name, folder.now[name], False))
        elif kind in "rl":
            folder, name = self._place(record.path)
            other, target = self._place(record.to)
            moved = folder.now[name]
            there: Step = (other, target, moved, True)
            if kind == "l":
                self._change(there)
            elif other.now.get(target) is not moved:
                self._change((folder, name, moved, False), there)
        elif kind not in "wsfe":
            raise ValueError(f"a call of kind {kind!r} on {record.path!r} is not known to the model")

    def _place(self, path: str) -> tuple[Folder, str]:
        above, name = os.path.split(os.path.relpath(path, self._prefix))
        node: Node = self._root
        for part in above.split("/") if above else []:
            assert isinstance(node, Folder)
            node = node.now[part]
        assert isinstance(node, Folder) and name != ".."
        return node, name

    def _change(self, *steps: Step) -> None:
        for step in steps:
            _take(step, step[0].now)
        self._pending.append(steps)

    def _flush(self, node: Node) -> None:
        if isinstance(node, File):
            node.flush()
            return
        taken: list[Change] = []
        nodes, places = set[int](), set[tuple[int, str]]()
        for change in reversed(self._pending):
            if any(
                folder is node or id(what) in nodes or (id(folder), name) in places for folder, name, what, _ in change
            ):
                taken.append(change)
                nodes |= {id(what) for _, _, what, _ in change}
                places |= {(id(folder), name) for folder, name, _, _ in change}
        gone = {id(change) for change in taken}
        self._pending = [change for change in self._pending if id(change) not in gone]
        for change in reversed(taken):
            for step in change:
                _take(step, step[0].certain)

    def lose_power(self, choice: Choice, during: Record | None = None) -> Tree:
        """What may be found afterwards. ``during``: the call under way; only its bytes matter, and may be torn."""
        torn = self._nodes.get(during.node) if during is not None and during.kind == "w" and during.flushed else None
        names: dict[int, dict[str, Node]] = {}

        def inside(folder: Folder) -> dict[str, Node]:
            return names.setdefault(id(folder), dict(folder.certain))

        for change in self._pending:
            if choice.change() and all(_possible(step, len(change) > 1, inside) for step in change):
                for step in change:
                    _take(step, inside(step[0]))
        if isinstance(torn, File) and during is not None:
            torn.pending.append(Extent(during.at, during.data))
        try:
            found: Tree = {}
            self._collect(self._root, "", inside, choice, found)
        finally:
            if isinstance(torn, File):
                torn.pending.pop()
        return found

    def _collect(self, folder: Folder, path: str, inside: Names, choice: Choice, found: Tree) -> None:
        for name, node in sorted(inside(folder).items()):
            if isinstance(node, File):
                found[path + name] = node.after(choice)
            else:
                found[path + name] = None
                self._collect(node, f"{path}{name}/", inside, choice, found)


def _take(step: Step, names: dict[str, Node]) -> None:
    _, name, node, gets = step
    if gets:
        names[name] = node
    else:
        names.pop(name, None)


def _possible(step: Step, moves: bool, inside: Names) -> bool:
    """Nothing loses a name that it does not have, and no folder that holds something is removed or written over."""
    folder, name, node, gets = step
    there = inside(folder).get(name)
    if gets:
        return not isinstance(there, Folder)
    return there is node and (moves or not isinstance(node, Folder) or not inside(node))


def write_to(folder: Path, tree: Tree) -> None:
    """Make the files and folders of a tree below ``folder``, private as the stores insist."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, content in tree.items():
        place = folder / path
        if content is None:
            place.mkdir(0o700)
        else:
            place.write_bytes(content)
            place.chmod(0o600)
