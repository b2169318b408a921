"""The terms: the keys that values are sealed under, one active, the older ones kept for reading.

``Keyring`` is the decoded entry ``core/keyring`` (docs/formats/keyring.md), held only while it is being changed.
``KeyringKeeper`` is what a process works with: one cipher for each term, the keyring key, and the count of
encryptions not yet written back. Any process may rotate; the others notice by the entry's revision or when they
meet a term they do not know.
"""

import os
import struct
import threading
from collections.abc import Callable
from typing import Self

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.core.layout import KEYRING
from strongroom.crypto import aead
from strongroom.crypto.memory import SecretBytes
from strongroom.errors import BadRequest, Conflict, IntegrityError, Sealed
from strongroom.sdk.storage import Entry, Storage, Write

MAX_OPERATIONS = 3_865_470_566  # 0.9 x 2**32: room for what processes counted and lost in a crash
MIN_OPERATIONS = 1_000_000
MIN_INTERVAL = 24 * 3600  # seconds
PERSIST_EVERY = 2**20  # encryptions a process counts before it writes them back
_FORMAT = 1
_HEAD = struct.Struct(">BBQQI")  # format, auto-rotation on, max operations, interval in seconds, number of terms
_TERM = struct.Struct(">IdQ")  # number, install time, encryptions; the key follows
_ATTEMPTS = 16  # at a change against other writers


class RotationConfig(msgspec.Struct, frozen=True):
    """When a new term is installed without being asked for."""

    max_operations: int = MAX_OPERATIONS
    interval: int = 0  # seconds; 0 = by count only
    enabled: bool = True

    def bounded(self) -> "RotationConfig":
        """Within the limits: out-of-range counts become the largest, short intervals a day.

        Raises:
            BadRequest: a negative number, or an interval that cannot be stored.
        """
        if self.max_operations < 0 or not 0 <= self.interval < 2**53:
            raise BadRequest("the rotation limits must not be negative or beyond 2**53")
        in_range = MIN_OPERATIONS <= self.max_operations <= MAX_OPERATIONS
        return RotationConfig(
            self.max_operations if in_range else MAX_OPERATIONS,
            max(self.interval, MIN_INTERVAL) if self.interval else 0,
            self.enabled,
        )


class KeyStatus(msgspec.Struct, frozen=True):
    """The active term, for ``sys/key-status``."""

    term: int
    install_time: float  # seconds since the epoch, UTC
    encryptions: int


class Term(msgspec.Struct):
    """One key of the keyring. Encryptions are those written back so far."""

    number: int
    install_time: float
    encryptions: int
    key: SecretBytes


class Keyring:
    """All terms in clear, in locked memory. Use as a context manager: leaving it wipes them."""

    __slots__ = ("config", "terms")

    def __init__(self, terms: list[Term], config: RotationConfig) -> None:
        self.terms = terms  # by rising number; the last is the active one
        self.config = config

    def __repr__(self) -> str:
        return f"Keyring({len(self.terms)} terms)"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for term in self.terms:
            term.key.close()

    @classmethod
    def create(cls, now: float, rng: aead.Rng = os.urandom) -> "Keyring":
        """A keyring with term 1 and the default rotation."""
        return cls([Term(1, now, 0, aead.new_key(rng))], RotationConfig())

    @property
    def active(self) -> Term:
        return self.terms[-1]

    def add_term(self, now: float, rng: aead.Rng = os.urandom) -> None:
        """Install a new active term."""
        self.terms.append(Term(self.active.number + 1, now, 0, aead.new_key(rng)))

    def credit(self, counted: dict[int, int]) -> None:
        """Add ``counted`` encryptions (term number -> how many)."""
        for term in self.terms:
            term.encryptions += counted.get(term.number, 0)

    def seal(self, keyring_key: SecretBytes, rng: aead.Rng = os.urandom) -> bytes:
        """The value of ``core/keyring``."""
        config = self.config
        parts = [_HEAD.pack(_FORMAT, config.enabled, config.max_operations, config.interval, len(self.terms))]
        step = _TERM.size + aead.KEY_BYTES
        with SecretBytes(_HEAD.size + step * len(self.terms)) as plain:
            view = plain.view()
            view[: _HEAD.size] = parts[0]
            for at, term in enumerate(self.terms):
                start = _HEAD.size + step * at
                _TERM.pack_into(view, start, term.number, term.install_time, term.encryptions)
                view[start + _TERM.size : start + step] = term.key.view()
            return aead.wrap(keyring_key, KEYRING, plain, rng=rng)

    @classmethod
    def open(cls, keyring_key: SecretBytes, sealed: bytes) -> "Keyring":
        """The keyring in the value of ``core/keyring``. Raises IntegrityError."""
        step = _TERM.size + aead.KEY_BYTES
        with aead.unwrap(keyring_key, KEYRING, sealed) as plain:
            view = plain.view()
            if len(view) < _HEAD.size:
                raise aead.damaged(KEYRING)
            version, enabled, operations, interval, count = _HEAD.unpack_from(view)
            if version != _FORMAT or not count or len(view) != _HEAD.size + step * count:
                raise aead.damaged(KEYRING)
            terms = []
            for start in range(_HEAD.size, len(view), step):
                number, installed, encryptions = _TERM.unpack_from(view, start)
                key = SecretBytes(aead.KEY_BYTES)
                key.view()[:] = view[start + _TERM.size : start + step]
                terms.append(Term(number, installed, encryptions, key))
        return cls(terms, RotationConfig(operations, interval, bool(enabled)))


class KeyringKeeper:
    """The keyring as one process uses it. Made with ``await KeyringKeeper.load(...)``.

    Attributes:
        ciphers: header of a sealed value -> cipher of its term; replaced as a whole, empty once sealed.
        active: header and cipher that new values are sealed with; None once sealed.
    """

    __slots__ = (
        "_backend", "_counted", "_guard", "_key", "_now", "_revision", "_rng", "_status", "active", "ciphers", "config",
    )  # fmt: skip

    def __init__(self, backend: Storage, key: SecretBytes, now: Callable[[], float], rng: aead.Rng) -> None:
        self._backend, self._key, self._now, self._rng = backend, key, now, rng
        self._guard = threading.Lock()
        self._counted: dict[int, int] = {}
        self._revision = 0
        self._status = KeyStatus(0, 0.0, 0)
        self.config = RotationConfig()
        self.ciphers: dict[bytes, AESGCM] = {}
        self.active: tuple[int, bytes, AESGCM] | None = None

    def __repr__(self) -> str:
        return f"KeyringKeeper(term={self._status.term})"

    @classmethod
    async def load(
        cls, backend: Storage, key: SecretBytes, *, now: Callable[[], float], rng: aead.Rng = os.urandom
    ) -> "KeyringKeeper":
        """Read ``core/keyring``. Takes ``key`` over; it is wiped by ``close`` or if this fails.

        Raises:
            IntegrityError: there is no keyring, or it is not under ``key``.
        """
        keeper = cls(backend, key, now, rng)
        try:
            await keeper.refresh()
        except BaseException:
            keeper.close()
            raise
        return keeper

    def _open(self, entry: Entry) -> Keyring:
        if self._key.closed:
            raise Sealed
        return Keyring.open(self._key, entry.value)

    def _adopt(self, entry: Entry) -> None:
        with self._guard, self._open(entry) as keyring:
            self.ciphers = {aead.header(term.number): aead.cipher_of(term.key) for term in keyring.terms}
            last = keyring.active
            head = aead.header(last.number)
            self.active = (last.number, head, self.ciphers[head])
            self._status = KeyStatus(last.number, last.install_time, last.encryptions)
            self.config = keyring.config
            self._revision = entry.revision

    async def _entry(self) -> Entry:
        if self._key.closed:
            raise Sealed
        entry = await self._backend.get(KEYRING)
        if entry is None:
            raise IntegrityError("the keyring is missing")
        return entry

    async def refresh(self) -> None:
        """Take up what another process did to the keyring, if anything. One read of the store."""
        entry = await self._entry()
        if entry.revision != self._revision:
            self._adopt(entry)

    def count(self, term: int, encryptions: int) -> bool:
        """Note that values were sealed under ``term``; whether ``maintain`` is due."""
        with self._guard:
            total = self._counted.get(term, 0) + encryptions
            self._counted[term] = total
        if term != self._status.term:
            return False  # rotated meanwhile
        return total >= PERSIST_EVERY or self._status.encryptions + total >= self._limit()

    def _limit(self) -> int:
        return self.config.max_operations if self.config.enabled else MAX_OPERATIONS

    async def status(self) -> KeyStatus:
        """The active term as the store knows it now, with this process's own uncounted encryptions."""
        await self.refresh()
        status = self._status
        return KeyStatus(status.term, status.install_time, status.encryptions + self._counted.get(status.term, 0))

    async def _change(self, edit: Callable[[Keyring], bool]) -> None:
        """Read, edit and commit, again on Conflict; this process's count is written back along with it.

        ``edit`` says whether the keyring must be written even if nothing was counted.
        """
        with self._guard:
            counted, self._counted = self._counted, {}
        try:
            for _ in range(_ATTEMPTS):
                entry = await self._entry()
                with self._guard, self._open(entry) as keyring:
                    keyring.credit(counted)
                    if not edit(keyring) and not any(counted.values()):
                        return
                    sealed = keyring.seal(self._key, self._rng)
                try:
                    await self._backend.commit([Write(KEYRING, sealed)], expect={KEYRING: entry.revision})
                except Conflict:
                    continue
                counted = {}
                await self.refresh()
                return
            raise Conflict("the keyring is being changed by others")
        finally:
            with self._guard:
                for term, number in counted.items():
                    self._counted[term] = self._counted.get(term, 0) + number

    async def rotate(self) -> KeyStatus:
        """Install a new term and use it from now on. One commit."""

        def edit(keyring: Keyring) -> bool:
            keyring.add_term(self._now(), self._rng)
            return True

        await self._change(edit)
        return self._status

    async def maintain(self) -> bool:
        """Write the count back and rotate if that is due; whether it rotated.

        The runtime calls this about once a minute; the barrier calls it when ``count`` said so.
        """
        rotated = False

        def edit(keyring: Keyring) -> bool:
            nonlocal rotated
            rotated = self._due(keyring)
            if rotated:
                keyring.add_term(self._now(), self._rng)
            return rotated

        await self._change(edit)
        return rotated

    def _due(self, keyring: Keyring) -> bool:
        config, active = keyring.config, keyring.active
        if not config.enabled:  # the hard limit of the cipher holds even then
            return active.encryptions >= MAX_OPERATIONS
        old = config.interval > 0 and self._now() - active.install_time >= config.interval
        return old or active.encryptions >= config.max_operations

    async def configure(self, config: RotationConfig) -> RotationConfig:
        """Store when to rotate; what was stored (see ``RotationConfig.bounded``). Raises BadRequest."""
        bounded = config.bounded()

        def edit(keyring: Keyring) -> bool:
            keyring.config = bounded
            return True

        await self._change(edit)
        return bounded

    def copy_key(self) -> SecretBytes:
        """The keyring key, to hand to a new worker. Raises Sealed."""
        with self._guard:
            if self._key.closed:
                raise Sealed
            return self._key.copy()

    def close(self) -> None:
        """Forget every key."""
        with self._guard:
            self.ciphers, self.active = {}, None
            self._key.close()
