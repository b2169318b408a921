"""Verifies the logs of one device with nothing but its public key (docs/formats/audit-chain.md).

Reads the files once, from front to back, line by line. What it keeps is small: of each writer its place, and its lines
since the last checkpoint that covers them.
"""

import base64
import hashlib
import re
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from strongroom.crypto.chain import link, signed, start
from strongroom.errors import BadRequest

_PLACE = re.compile(rb',"chain":\{"w":"([0-9a-f]{16})","n":([1-9][0-9]{0,18}),"h":"([0-9a-f]{64})"\}\}\n\Z')
_CHECKPOINT = re.compile(rb'\{"time(?:stamp)?":"([^"]{1,40})","type":"checkpoint","checkpoint":\{')
_SIGNATURE = re.compile(rb',"sig":"([A-Za-z0-9+/]{86}==)"\Z')
_SHOWN = 100  # lines that no checkpoint vouches for, by name


class Place(NamedTuple):
    """A line: the file's index in the order given, its line number from 1."""

    file: int
    line: int


class _Checkpoint(msgspec.Struct):
    key: str
    opened: bool
    heads: dict[str, tuple[int, str, int]]


class _Line(msgspec.Struct):
    checkpoint: _Checkpoint


class Report(msgspec.Struct):
    """What a verification found. ``bad`` is None if everything up to the last checkpoint is as it was written."""

    lines: int = 0
    proved: int = 0  # lines that a checkpoint covers, checkpoints among them
    checkpoints: int = 0
    last: Place | None = None  # the last checkpoint
    last_time: str = ""
    from_start: bool = True  # False: the files begin after a rotation, and what was before is in none of them
    tail: int = 0  # lines behind what the last checkpoint says of their writer
    strange: int = 0  # lines without a chain, or of a chain that no checkpoint knows (a sealed node's), in front of it
    strange_at: list[Place] = []  # the first of them
    bad: Place | None = None
    why: str = ""


class _Bad(Exception):
    def __init__(self, at: Place, why: str) -> None:
        super().__init__(why)
        self.at, self.why = at, why


class _Writer:
    """Where one chain stands."""

    __slots__ = ("at", "covered", "covered_head", "head", "n", "pending")

    def __init__(self, n: int, head: bytes) -> None:
        self.n, self.head = n, head
        self.covered, self.covered_head = n, head  # as far as a checkpoint vouches
        self.pending: deque[tuple[int, bytes, Place]] = deque()
        self.at: Place | None = None  # its last line


class _Owed(NamedTuple):
    """A head that a checkpoint states and the files have not reached."""

    n: int
    head: str
    first: int
    at: Place


class Verifier:
    """See the module. ``public``: the 32 bytes of the device's Ed25519 key."""

    def __init__(self, public: bytes) -> None:
        if len(public) != 32:
            raise BadRequest("the public key of an audit device has 32 bytes")
        self._public = public
        self._key = hashlib.sha256(public).hexdigest()[:16]
        self._writers: dict[bytes, _Writer] = {}
        self._owed: dict[bytes, _Owed] = {}
        self._base: dict[str, tuple[int, str, int]] | None = None  # heads of the first checkpoint behind a rotation
        self._alone: deque[Place] = deque()  # lines without a chain
        self.report = Report()

    def files(self, files: Sequence[Iterable[bytes]], *, until: str = "") -> Report:
        """Verify ``files``, oldest first, each an iterable of lines with their newlines.

        Args:
            until: the last checkpoint as the server gives it; the files must reach as far as it says.
        """
        try:
            for index, lines in enumerate(files):
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        self._line(Place(index, number), line)
            if until:
                self._reaches(until)
            self._end()
        except _Bad as found:
            self.report.bad, self.report.why = found.at, found.why
        self._count()
        return self.report

    def _line(self, at: Place, line: bytes) -> None:
        self.report.lines += 1
        found = _PLACE.search(line)
        if found is None:
            self._alone.append(at)
            return
        body = line[: found.start()]
        name, n, stated = found[1], int(found[2]), bytes.fromhex(found[3].decode())
        begins = _CHECKPOINT.match(body)
        checkpoint = self._signed(at, body) if begins is not None else None
        writer = self._writers.get(name)
        if writer is None:
            writer = self._writers[name] = self._new(at, name, n, checkpoint)
            if name in self._owed and self._owed[name].n <= writer.n:
                del self._owed[name]  # stated by another writer before; these lines are in the older file
        if n != writer.n + 1:
            raise _Bad(at, _order(n, writer.n))
        if link(writer.head, body) != stated:
            raise _Bad(at, "the line, or its place in its writer's chain, was changed")
        owed = self._owed.get(name)
        if owed is not None and n <= owed.n and owed.at.file == at.file:
            raise _Bad(at, f"the line stands behind the checkpoint in line {owed.at.line} that already covers it")
        writer.n, writer.head, writer.at = n, stated, at
        writer.pending.append((n, stated, at))
        if owed is not None and n == owed.n:
            self._cover(name, writer, owed.n, owed.head, owed.at)
            del self._owed[name]
        if checkpoint is not None and begins is not None:
            self._state(at, checkpoint)
            self.report.checkpoints += 1
            self.report.last, self.report.last_time = at, begins[1].decode("ascii", "replace")

    def _signed(self, at: Place, body: bytes) -> _Checkpoint:
        found = _SIGNATURE.search(body)
        if found is None:
            raise _Bad(at, "a checkpoint without a signature")
        text = body[: found.start()]
        if not signed(self._public, text, base64.b64decode(found[1])):
            raise _Bad(at, "a checkpoint that this key has not signed")
        try:
            return msgspec.json.decode(text + b"}", type=_Line).checkpoint
        except msgspec.MsgspecError:
            raise _Bad(at, "a checkpoint that cannot be read") from None

    def _new(self, at: Place, name: bytes, n: int, checkpoint: _Checkpoint | None) -> _Writer:
        """A writer that is seen for the first time."""
        if n == 1:
            return _Writer(0, start(name))
        own = checkpoint.heads.get(name.decode()) if checkpoint is not None and checkpoint.opened else None
        if checkpoint is None or own is None or own[0] != n - 1 or at.file:
            raise _Bad(at, f"the lines 1 to {n - 1} of this writer are missing")
        self.report.from_start = False
        if self._base is None:
            self._base = checkpoint.heads
        return _Writer(n - 1, bytes.fromhex(own[1]))

    def _state(self, at: Place, checkpoint: _Checkpoint) -> None:
        """What a checkpoint says of every writer must be so, or become so."""
        for text, (n, head, first) in checkpoint.heads.items():
            name = text.encode()
            writer = self._writers.get(name)
            if writer is None or n > writer.n:
                owed = self._owed.get(name)
                if owed is None or n > owed.n or first > owed.first:
                    self._owed[name] = _Owed(n, head, first, at)
            else:
                self._cover(name, writer, n, head, at)

    def _cover(self, name: bytes, writer: _Writer, n: int, head: str, at: Place) -> None:
        where: Place | None = None
        begun = writer.pending[0][2] if writer.pending else at
        stated = bytes.fromhex(head)
        if n == writer.covered and writer.covered_head != stated:
            raise _Bad(at, f"the checkpoint does not agree with what was proved of writer {name.decode()} before")
        while writer.pending and writer.pending[0][0] <= n:
            writer.covered, writer.covered_head, where = writer.pending.popleft()
            self.report.proved += 1
        if where is not None and writer.covered == n and writer.covered_head != stated:
            raise _Bad(
                begun, f"a line of writer {name.decode()}, this or a later one up to line {where.line}, was changed"
            )

    def _reaches(self, until: str) -> None:
        """The heads of a checkpoint that the server has, and the log need not."""
        at = self.report.last or Place(0, 0)
        checkpoint = self._signed(at, until.encode()[:-1] if until.endswith("}") else until.encode())
        self._state(at, checkpoint)

    def _end(self) -> None:
        """Heads that were never reached: their lines are gone, or in an older or a newer file than these."""
        for name, owed in self._owed.items():
            writer = self._writers.get(name)
            if writer is None:
                before = self._base.get(name.decode()) if self._base is not None else None
                if before is None or before[2] != owed.first:
                    raise _Bad(owed.at, f"lines of writer {name.decode()} that this checkpoint covers are in no file")
            elif owed.first != writer.n + 1:
                at = writer.at or owed.at
                raise _Bad(at, f"behind this line {owed.n - writer.n} lines of writer {name.decode()} are missing")
        if not self.report.checkpoints and self.report.lines:
            raise _Bad(Place(0, 1), "there is no checkpoint in these files, so nothing is proved")

    def _count(self) -> None:
        report, last = self.report, self.report.last
        alone = list(self._alone)
        for writer in self._writers.values():
            if writer.covered:
                report.tail += len(writer.pending)
            else:
                alone += [at for _, _, at in writer.pending]
        ahead = sorted(at for at in alone if last is not None and at < last)
        report.tail += len(alone) - len(ahead)
        report.strange, report.strange_at = len(ahead), ahead[:_SHOWN]


def _order(n: int, before: int) -> str:
    if n <= before:
        return f"line {n} of its writer comes a second time, or behind line {before}"
    return f"lines of its writer are missing: {before} is followed by {n}"
