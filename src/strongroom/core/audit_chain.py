"""The chain of one writer on one device: every line bears its place, and checkpoints are signed statements of heads.

Format and what it proves: docs/formats/audit-chain.md. A writer is one process at one device; after a line that may or
may not have arrived it becomes another one, because nobody knows what its chain looks like over there.
"""

import base64
import os
from collections.abc import Callable, Mapping
from hashlib import sha256

import msgspec

from strongroom.core.audit_record import stamp
from strongroom.crypto.chain import Signer, start

STALE = 256  # rounds (signed checkpoints of the device) for which a head that no longer moves is still named
_PAST = 64  # heads of our own earlier chains that are kept until they were signed

Head = tuple[int, str, int]  # how many lines, the hash behind the last one (hex), the number of the first in its file


class Heads(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the store keeps of a device's chains."""

    key: str = ""  # fingerprint of the public key
    round: int = 0
    heads: dict[str, tuple[int, str, int, int]] = {}  # writer -> Head and the round in which it last moved
    signed: str = ""  # the checkpoint of this round, as it stands in the log

    def with_(self, mine: Mapping[str, Head], key: str) -> "Heads":
        """The next round: ``mine`` added, and without what has not moved for long."""
        before = self.heads if self.key == key else {}
        now = self.round + 1
        heads = {writer: row for writer, row in before.items() if row[3] > now - STALE}
        for writer, head in mine.items():
            row = heads.get(writer)
            if row is None or row[0] < head[0] or row[2] < head[2]:
                heads[writer] = (*head, now)
        return Heads(key, now, heads)

    def has(self, writer: str, head: Head) -> bool:
        """Whether ``head`` is in here, or a later one of that writer."""
        row = self.heads.get(writer)
        return row is not None and row[0] >= head[0] and row[2] >= head[2]

    def plain(self) -> dict[str, Head]:
        """Writer -> Head."""
        return {writer: row[:3] for writer, row in self.heads.items()}


class Chain:
    """See the module.

    Args:
        seed: the device's Ed25519 key; None on a sealed node, whose chain is signed by who unseals it.
        field: the name of the time in a line: "time" or "timestamp".
        rng: random bytes for the writer's name.
    """

    __slots__ = (
        "_field", "_mark", "_next", "_rng", "_signed", "first", "followed", "head", "key", "known", "n", "past",
        "signer", "writer",
    )  # fmt: skip

    def __init__(self, seed: bytes | None, *, field: str = "time", rng: Callable[[int], bytes] = os.urandom) -> None:
        self.signer = Signer(seed) if seed is not None else None
        self.key = fingerprint(self.signer.public) if self.signer is not None else ""
        self._field, self._rng = field.encode(), rng
        self.known: Mapping[str, Head] = {}  # heads of others, as the store had them last
        self.past: dict[str, Head] = {}
        self.followed: tuple[Chain, ...] = ()  # chains of this process that we sign for
        self._signed: dict[str, Head] = {}
        self._begin()

    def _begin(self) -> None:
        self.writer = self._rng(8).hex().encode()
        self.n, self.head, self.first = 0, start(self.writer), 1
        self._next = (self.n, self.head)
        self._mark = b',"chain":{"w":"%b","n":' % self.writer

    def add(self, *lines: bytes) -> bytes:
        """``lines`` (each an object and a newline) with their places. They count once ``took`` is called."""
        n, head, mark = self.n, self.head, self._mark
        placed = []
        for line in lines:
            body = line[:-2]
            n += 1
            head = sha256(head + body).digest()  # crypto.chain.link, without the call: this is on the way of every read
            placed.append(b'%b%b%d,"h":"%b"}}\n' % (body, mark, n, head.hex().encode()))
        self._next = (n, head)
        return b"".join(placed)

    def took(self) -> None:
        """The lines of the last ``add`` have arrived."""
        self.n, self.head = self._next

    def lost(self) -> None:
        """Another writer goes on: nobody knows whether the lines of the last ``add`` have arrived."""
        if self.n:
            while len(self.past) >= _PAST:
                del self.past[next(iter(self.past))]
            self.past[self.writer.decode()] = self._own()
        self._begin()

    def _own(self) -> Head:
        return self.n, self.head.hex(), self.first

    def mine(self) -> dict[str, Head]:
        """The heads that this process answers for."""
        heads = dict(self.past)
        for chain in (*self.followed, self):
            if chain.n:
                heads[chain.writer.decode()] = chain._own()
            if chain is not self:
                heads.update(chain.past)
        return heads

    def unsaid(self) -> dict[str, Head]:
        """Those of them that no checkpoint has stated."""
        return {writer: head for writer, head in self.mine().items() if self._signed.get(writer) != head}

    @property
    def idle(self) -> bool:
        """Whether nothing was written since the last checkpoint."""
        return self.signer is None or self.mine() == self._signed

    def moved(self) -> None:
        """What comes next is the first line of this writer in another file."""
        self.first = self.n + 1

    def checkpoint(self, now: float, heads: Mapping[str, Head] | None = None, *, opened: bool = False) -> bytes:
        """A signed line that states ``heads`` (those known here if None), still without its own place.

        ``opened``: it is the writer's first line in a file.
        """
        assert self.signer is not None
        stated = {**self.known, **self.mine()} if heads is None else heads
        text = b'{"%b":"%b","type":"checkpoint","checkpoint":{"key":"%b","opened":%b,"heads":%b}' % (
            self._field,
            stamp(now),
            self.key.encode(),
            b"true" if opened else b"false",
            msgspec.json.encode(dict(sorted(stated.items()))),
        )
        return b'%b,"sig":"%b"}\n' % (text, base64.b64encode(self.signer.sign(text)))

    def stated(self, said: Mapping[str, Head], *, still: bool) -> None:
        """A checkpoint with the heads ``said`` has arrived. ``still``: nothing but it was written since they were."""
        for chain in (self, *self.followed):
            for writer in said.keys() & chain.past.keys():
                del chain.past[writer]
        for chain in self.followed:
            chain._signed = {writer: said[writer] for writer in said.keys() & chain.mine().keys()}
        self._signed = self.mine() if still else {}


def gap_line(field: bytes, now: float, missed: int) -> bytes:
    """The marker before the first line that a device took again; ``missed`` is a count of lines."""
    return b'{"%b":"%b","type":"gap","gap":{"missed":%d}}\n' % (field, stamp(now), missed)


def fingerprint(public: bytes) -> str:
    """A short name of a public key: 16 hex digits."""
    return sha256(public).hexdigest()[:16]
