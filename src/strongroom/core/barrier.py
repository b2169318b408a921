"""The barrier: everything the vault keeps passes through here and is sealed for its own key.

It wears the same ``Storage`` as the store below it. Names are in clear, values are not (docs/formats/barrier-entry.md).
"""

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from strongroom.core.keyring import KeyringKeeper, KeyStatus, RotationConfig
from strongroom.core.layout import CLEAR, RESERVED
from strongroom.crypto import aead
from strongroom.crypto.memory import SecretBytes
from strongroom.errors import BadRequest, Sealed, VaultError
from strongroom.sdk.storage import Backend, Entry, Pairs, Write

MAX_ENTRY_SIZE = 1024 * 1024  # bytes in clear
_HEADER = aead.HEADER
_NONCE = aead.NONCE_BYTES


class Barrier:
    """A store of sealed values. After ``close`` every call raises Sealed.

    Args:
        backend: the bytes on disk; stays open when the barrier closes.
        keyring: taken over, closed with the barrier.
        max_entry_size: bytes in clear that one entry may have.
    """

    __slots__ = ("_backend", "_embedded", "_keyring", "_max_entry", "_rng", "closed", "kind")

    def __init__(
        self,
        backend: Backend,
        keyring: KeyringKeeper,
        *,
        max_entry_size: int = MAX_ENTRY_SIZE,
        rng: aead.Rng = os.urandom,
    ) -> None:
        self._backend, self._keyring, self._max_entry, self._rng = backend, keyring, max_entry_size, rng
        self._embedded = backend.stamp() is not None
        self.kind = backend.kind
        self.closed = False

    def __repr__(self) -> str:
        return f"Barrier(over {self.kind}, {'sealed' if self.closed else 'open'})"

    @classmethod
    async def open_with(
        cls,
        backend: Backend,
        keyring_key: SecretBytes,
        *,
        now: Callable[[], float],
        max_entry_size: int = MAX_ENTRY_SIZE,
        rng: aead.Rng = os.urandom,
    ) -> "Barrier":
        """The barrier over ``backend``; takes ``keyring_key`` over. Raises IntegrityError if it is another's."""
        keyring = await KeyringKeeper.load(backend, keyring_key, now=now, rng=rng)
        return cls(backend, keyring, max_entry_size=max_entry_size, rng=rng)

    # Reading

    async def get(self, key: str) -> Entry | None:
        """As ``Storage.get``. Raises IntegrityError and Sealed."""
        if self.closed:
            raise Sealed
        entry = await self._backend.get(key)
        if entry is None:
            return None
        value = entry.value
        cipher = self._keyring.ciphers.get(value[:_HEADER])
        if cipher is None:
            await self._keyring.refresh()
            return Entry(self.open(key, entry), entry.revision)
        return Entry(aead.open_sealed(cipher, key, value), entry.revision)

    async def get_sealed(self, key: str) -> Entry | None:
        """The entry as stored, for ``open``: a cache may compare its revision without decrypting."""
        if self.closed:
            raise Sealed
        entry = await self._backend.get(key)
        if entry is not None and entry.value[:_HEADER] not in self._keyring.ciphers:
            await self._keyring.refresh()  # another process may have rotated
        return entry

    def open(self, key: str, entry: Entry) -> bytes:
        """The plaintext of an entry that ``get_sealed(key)`` gave. Raises IntegrityError and Sealed."""
        value = entry.value
        cipher = self._keyring.ciphers.get(value[:_HEADER])
        if cipher is None:
            if self.closed:
                raise Sealed
            raise aead.damaged(key)
        return aead.open_sealed(cipher, key, value)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | None]:
        if self.closed:
            raise Sealed
        entries = await self._backend.get_many(keys)
        await self._learn_terms([entry for entry in entries if entry is not None])
        return [
            None if entry is None else Entry(self.open(key, entry), entry.revision)
            for key, entry in zip(keys, entries, strict=True)
        ]

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        if self.closed:
            raise Sealed
        return await self._backend.list(prefix, after=after, limit=limit)

    async def scan(self, prefix: str, *, after: str = "", until: str = "", limit: int = 1000) -> Pairs:
        if self.closed:
            raise Sealed
        pairs = await self._backend.scan(prefix, after=after, until=until, limit=limit)
        await self._learn_terms([entry for _, entry in pairs])
        return [(key, Entry(self.open(prefix + key, entry), entry.revision)) for key, entry in pairs]

    async def _learn_terms(self, entries: Sequence[Entry]) -> None:
        ciphers = self._keyring.ciphers
        if any(entry.value[:_HEADER] not in ciphers for entry in entries):
            await self._keyring.refresh()

    # Writing

    async def commit(
        self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}, clear: Sequence[Write] = ()
    ) -> None:
        """As ``Storage.commit``; values are sealed under the active term.

        Args:
            clear: writes of the same commit that stay in clear; only keys of ``layout.CLEAR``.

        Raises:
            BadRequest: a value over the entry limit, or a key that is not for callers; nothing was written.
        """
        if self.closed:
            raise Sealed
        for write in clear:
            if write.key not in CLEAR:
                raise BadRequest("this key cannot be written in clear")
        if self._embedded:
            await self._keyring.refresh()  # a rotation elsewhere holds for the next write; cheap where reads are
        sealed, due = self._seal_all(writes)
        await self._backend.commit([*sealed, *clear], expect=expect)
        if due:
            try:
                await self._keyring.maintain()
            except VaultError:
                pass  # the caller's commit stands; the count is kept and the next one tries again

    def _seal_all(self, writes: Sequence[Write]) -> tuple[Sequence[Write], bool]:
        """The writes with their values sealed, and whether the keyring needs maintenance."""
        active = self._keyring.active
        if active is None:
            raise Sealed
        term, head, cipher = active
        sealed, count = [], 0
        nonces = self._rng(_NONCE * len(writes))  # one call to the system for all of a commit
        for write in writes:
            key, value = write.key, write.value
            if key in RESERVED or key in CLEAR:
                raise BadRequest("this key belongs to the seal")
            if value is not None:
                if len(value) > self._max_entry:
                    raise BadRequest(f"an entry of {len(value)} bytes is over the limit of {self._max_entry}")
                at = _NONCE * count
                value = aead.seal_with(nonces[at : at + _NONCE], cipher, head, key, value)
                count += 1
            sealed.append(Write(key, value))
        return sealed, self._keyring.count(term, count)

    # The store below

    async def watch(self, prefix: str) -> AsyncIterator[str]:
        if self.closed:
            raise Sealed
        async for key in self._backend.watch(prefix):
            yield key

    def stamp(self) -> int | None:
        """As ``Backend.stamp``."""
        return self._backend.stamp()

    async def close(self) -> None:
        """Write the count of encryptions back, then forget every key. The backend stays open."""
        if not self.closed:
            try:
                await self._keyring.maintain()
            except VaultError:
                pass  # sealing must succeed on a broken store; the limit leaves room for lost counts
            self.wipe()

    def wipe(self) -> None:
        """Forget every key at once, without waiting for anything."""
        self.closed = True
        self._keyring.close()

    # Terms

    async def rotate(self) -> KeyStatus:
        """Install a new term. Raises Sealed, Conflict, StorageFailed."""
        return await self._keyring.rotate()

    async def maintain(self) -> bool:
        """To be called about once a minute: write the count back, rotate if due; whether it rotated."""
        return await self._keyring.maintain()

    async def key_status(self) -> KeyStatus:
        return await self._keyring.status()

    async def rotation_config(self) -> RotationConfig:
        await self._keyring.refresh()
        return self._keyring.config

    async def set_rotation_config(self, config: RotationConfig) -> RotationConfig:
        """Store when to rotate by itself; what was stored after bounding. Raises BadRequest."""
        return await self._keyring.configure(config)

    def copy_keyring_key(self) -> SecretBytes:
        """For a new worker of this node. Raises Sealed."""
        return self._keyring.copy_key()
