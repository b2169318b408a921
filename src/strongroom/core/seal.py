"""The seal: from key shares to the open barrier (docs/formats/seal.md).

    shares -> unseal key -> root key (core/seal/root) -> keyring key (core/seal/keyring-key) -> terms (core/keyring)

Only the keyring key outlives an unseal; the root key exists in memory while shares are being checked.
"""

import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from strongroom.core.barrier import MAX_ENTRY_SIZE, Barrier
from strongroom.core.first_entries import FirstEntries
from strongroom.core.keyring import Keyring
from strongroom.core.layout import FORMAT, KEYRING, LAYOUT_VERSION, SEAL_CONFIG, SEAL_KEYRING_KEY, SEAL_ROOT
from strongroom.core.shares import (
    MALFORMED,
    WRONG_SHARES,
    KeyShares,
    SealConfig,
    ShareBox,
    make_shares,
    new_nonce,
    parse_share,
)
from strongroom.crypto import aead
from strongroom.crypto.memory import SecretBytes
from strongroom.errors import BadRequest, Conflict, IntegrityError, NotInitialized, Sealed
from strongroom.sdk.storage import Backend, Storage, Write

__all__ = ["InitResult", "KeyShares", "SealConfig", "SealKeeper", "SealStatus"]

_NO_KEY = "'key' must be specified in request body as JSON, or 'reset' set to true"


class SealStatus(msgspec.Struct, frozen=True):
    """The seal's part of ``sys/seal-status``, under Vault's names."""

    type: str
    initialized: bool
    sealed: bool
    t: int  # shares that unseal
    n: int  # shares there are
    progress: int  # shares given in the attempt under way
    nonce: str  # names that attempt; "" without one


class InitResult(KeyShares, frozen=True):
    """What ``initialize`` gives out, once."""

    root_token: str = ""


class SealEntry(msgspec.Struct, frozen=True):
    """The entry ``core/seal-config``, in clear."""

    type: str
    shares: int
    threshold: int
    generation: int  # counts the sets of shares made so far

    def share_bytes(self) -> int:
        return aead.KEY_BYTES if self.shares == 1 else aead.KEY_BYTES + 1


class SealRecord(NamedTuple):
    """The seal as the store has it now."""

    entry: SealEntry
    root: bytes  # sealed
    keyring_key: bytes  # sealed
    revisions: dict[str, int]  # what a change of the shares must expect


async def read_seal(store: Storage) -> SealRecord:
    """The seal's entries, from one snapshot.

    Raises:
        NotInitialized: there is no seal.
        IntegrityError: entries are missing or unreadable.
    """
    config, root, keyring_key = await store.get_many([SEAL_CONFIG, SEAL_ROOT, SEAL_KEYRING_KEY])
    if config is None:
        raise NotInitialized("Vault is not initialized")
    if root is None or keyring_key is None:
        raise IntegrityError("the seal is incomplete")
    revisions = {SEAL_CONFIG: config.revision, SEAL_ROOT: root.revision}
    return SealRecord(_decode(config.value), root.value, keyring_key.value, revisions)


def _decode(value: bytes) -> SealEntry:
    try:
        entry = msgspec.json.decode(value, type=SealEntry)
        SealConfig(entry.shares, entry.threshold).validate()
    except (msgspec.DecodeError, BadRequest) as error:
        raise IntegrityError("the seal configuration cannot be read") from error
    if entry.type != "shamir":
        raise IntegrityError("the seal configuration names a seal this version does not have")
    return entry


def open_root(box: ShareBox, sealed_root: bytes) -> SecretBytes:
    """The root key, if the shares in ``box`` are the right ones. Empties the box. Raises BadRequest."""
    with box.combine() as unseal_key:
        try:
            return aead.unwrap(unseal_key, SEAL_ROOT, sealed_root)
        except IntegrityError as error:
            raise BadRequest(WRONG_SHARES) from error


def new_shares(
    root_key: SecretBytes, config: SealConfig, generation: int, rng: aead.Rng
) -> tuple[list[Write], KeyShares]:
    """A new unseal key for ``root_key``: the two writes that make it the only one, and its shares."""
    with aead.new_key(rng) as unseal_key:
        shares = make_shares(unseal_key, config, rng)
        root = aead.wrap(unseal_key, SEAL_ROOT, root_key, rng=rng)
    entry = SealEntry("shamir", config.secret_shares, config.secret_threshold, generation)
    return [Write(SEAL_CONFIG, msgspec.json.encode(entry)), Write(SEAL_ROOT, root)], shares


class SealKeeper:
    """Initialises, unseals and seals one store.

    A node keeps one; the attempt that collects shares lives in it. It does not own ``backend``.
    """

    __slots__ = (
        "_attempt", "_backend", "_barriers", "_generation", "_guard", "_keyring_key", "_max_entry", "_now", "_rng",
        "_unsealed",
    )  # fmt: skip

    def __init__(
        self,
        backend: Backend,
        *,
        now: Callable[[], float],
        rng: aead.Rng = os.urandom,
        max_entry_size: int = MAX_ENTRY_SIZE,
    ) -> None:
        self._backend, self._now, self._rng, self._max_entry = backend, now, rng, max_entry_size
        self._guard = threading.Lock()
        self._attempt: ShareBox | None = None
        self._generation = 0  # of the shares being collected
        self._keyring_key: SecretBytes | None = None
        self._barriers: list[Barrier] = []
        self._unsealed = False

    def __repr__(self) -> str:
        return f"SealKeeper({'unsealed' if self._unsealed else 'sealed'})"

    @property
    def sealed(self) -> bool:
        return not self._unsealed

    async def initialized(self) -> bool:
        """Whether the store holds a vault."""
        return await self._backend.get(SEAL_CONFIG) is not None

    async def status(self) -> SealStatus:
        """Now, as ``sys/seal-status`` shows it. Raises IntegrityError."""
        entry = await self._backend.get(SEAL_CONFIG)
        if entry is None:
            return SealStatus("shamir", False, True, 0, 0, 0, "")
        return self._status(_decode(entry.value))

    def _status(self, entry: SealEntry) -> SealStatus:
        box = self._attempt
        if self._unsealed or box is None or self._generation != entry.generation:
            return SealStatus(entry.type, True, self.sealed, entry.threshold, entry.shares, 0, "")
        return SealStatus(entry.type, True, True, entry.threshold, entry.shares, len(box), box.nonce)

    # Init

    async def initialize(
        self,
        config: SealConfig,
        seed: Callable[[FirstEntries], Awaitable[Any]],
        *,
        before_commit: Callable[[InitResult], Awaitable[None]] | None = None,
    ) -> InitResult:
        """Make a new vault in an empty store: all of it in one commit, or nothing. It stays sealed.

        Args:
            config: the shares to make.
            seed: writes the first entries (mounts, policies, root token) into the store it is given.
            before_commit: may record or deliver the result; if it raises, nothing was initialised.

        Returns:
            the shares; ``root_token`` is for the caller to fill in (``msgspec.structs.replace``).

        Raises:
            BadRequest: the configuration is invalid, the vault is initialised already, or ``seed`` wrote too much.
        """
        if await self.initialized():
            raise BadRequest("Vault is already initialized")
        config.validate()
        first = FirstEntries()
        await seed(first)
        now = self._now()
        with aead.new_key(self._rng) as root_key, aead.new_key(self._rng) as keyring_key:
            seal_writes, shares = new_shares(root_key, config, 1, self._rng)
            wrapped = aead.wrap(root_key, SEAL_KEYRING_KEY, keyring_key, rng=self._rng)
            with Keyring.create(now, self._rng) as keyring:
                seeds = first.sealed(keyring.active, self._rng, self._max_entry)
                keyring.credit({keyring.active.number: len(first)})
                terms = keyring.seal(keyring_key, self._rng)
        form = msgspec.json.encode({"version": LAYOUT_VERSION, "created": int(now)})
        own = [Write(FORMAT, form), *seal_writes, Write(SEAL_KEYRING_KEY, wrapped), Write(KEYRING, terms)]
        result = InitResult(shares.keys, shares.keys_base64)
        if before_commit is not None:
            await before_commit(result)
        try:
            await self._backend.commit(
                [*own, *seeds], expect={SEAL_CONFIG: 0, SEAL_ROOT: 0, SEAL_KEYRING_KEY: 0, KEYRING: 0}
            )
        except Conflict as error:
            raise BadRequest("Vault is already initialized") from error
        return result

    # Unseal

    async def submit(self, share: str) -> SealStatus:
        """Give one share (hex or base64) of the attempt to unseal; a repeated one changes nothing.

        After the last one the status says unsealed, and ``take_keyring_key`` gives the key, once.

        Raises:
            BadRequest: not a share, or the shares given so far are wrong (all are forgotten then).
            NotInitialized: there is nothing to unseal.
            IntegrityError: the shares are right but the store is damaged.
        """
        if not share:
            raise BadRequest(_NO_KEY)
        parsed = parse_share(share)
        record = await read_seal(self._backend)
        with self._guard:
            if self._unsealed:
                parsed.close()
            elif len(parsed) != record.entry.share_bytes():
                parsed.close()
                raise BadRequest(MALFORMED)
            else:
                self._add(parsed, record)
            return self._status(record.entry)

    def _add(self, share: SecretBytes, record: SealRecord) -> None:
        if self._attempt is not None and self._generation != record.entry.generation:
            self._forget()  # rekeyed meanwhile: the collected shares are of the old set
        if self._attempt is None:
            self._attempt = ShareBox(new_nonce(self._rng))
            self._generation = record.entry.generation
        self._attempt.add(share)
        if len(self._attempt) >= record.entry.threshold:
            box = self._attempt
            self._attempt = None
            with open_root(box, record.root) as root_key:
                self._unseal(aead.unwrap(root_key, SEAL_KEYRING_KEY, record.keyring_key))

    def _unseal(self, keyring_key: SecretBytes) -> None:
        self._forget()
        self._keyring_key = keyring_key
        self._unsealed = True

    async def unseal_once(self, shares: Sequence[str]) -> KeyShares:
        """Unseal with ``shares`` and make them useless: new ones, of the same number and threshold, come back.

        The change of shares is one commit; if it fails the vault stays sealed and the old shares stand.

        Raises:
            BadRequest: unsealed already, not shares, too few, or wrong ones.
            Conflict: the shares were changed by somebody else meanwhile.
            NotInitialized, IntegrityError: as ``submit``.
        """
        if self._unsealed:
            raise BadRequest("vault is unsealed")
        record = await read_seal(self._backend)
        entry = record.entry
        box = ShareBox("")
        try:
            for share in shares:
                parsed = parse_share(share)
                if len(parsed) != entry.share_bytes():
                    raise BadRequest(MALFORMED)
                box.add(parsed)
            if len(box) < entry.threshold:
                raise BadRequest(f"{len(box)} key shares were given, {entry.threshold} are needed")
            root_key = open_root(box, record.root)
        finally:
            box.clear()
        with root_key:
            keyring_key = aead.unwrap(root_key, SEAL_KEYRING_KEY, record.keyring_key)
            config = SealConfig(entry.shares, entry.threshold)
            writes, fresh = new_shares(root_key, config, entry.generation + 1, self._rng)
        try:
            await self._backend.commit(writes, expect=record.revisions)
        except BaseException:
            keyring_key.close()
            raise
        with self._guard:
            self._unseal(keyring_key)
        return fresh

    def reset(self) -> None:
        """Forget the shares given so far. Raises BadRequest when unsealed."""
        if self._unsealed:
            raise BadRequest("vault is unsealed")
        with self._guard:
            self._forget()

    def _forget(self) -> None:
        if self._attempt is not None:
            self._attempt.clear()
        self._attempt = None

    def take_keyring_key(self) -> SecretBytes:
        """The keyring key of the unseal just done; the keeper keeps none. Raises Sealed if it was taken."""
        with self._guard:
            key, self._keyring_key = self._keyring_key, None
        if key is None:
            raise Sealed
        return key

    async def open_barrier(self, keyring_key: SecretBytes) -> Barrier:
        """The barrier over the store; takes ``keyring_key`` over. The keeper is unsealed from now on.

        Raises:
            IntegrityError: the key is not this store's, or the keyring is damaged.
        """
        barrier = await Barrier.open_with(
            self._backend, keyring_key, now=self._now, rng=self._rng, max_entry_size=self._max_entry
        )
        self._barriers.append(barrier)
        self._unsealed = True
        return barrier

    async def seal(self) -> None:
        """Close the barriers this keeper opened and forget every key and share. Safe to call twice."""
        with self._guard:
            self._unsealed = False
            self._forget()
            key, self._keyring_key = self._keyring_key, None
            if key is not None:
                key.close()
            barriers, self._barriers = self._barriers, []
        try:
            for barrier in barriers:
                await barrier.close()
        finally:
            for barrier in barriers:
                barrier.wipe()
