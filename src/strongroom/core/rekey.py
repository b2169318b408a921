"""Changing the key shares while the vault is unsealed: Vault's rekey, with its verification step.

The old shares prove themselves by opening the root key, which a new unseal key then wraps. That is one commit, made
when the old shares are complete or, with verification, when the new ones have been given back. Before it the old
shares unseal, after it the new ones; there is no state in which neither does. A rekey lives in memory: a restart
before the commit leaves the old shares.
"""

import os
import threading
from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from strongroom.core.seal import SealRecord, new_shares, open_root, read_seal
from strongroom.core.shares import (
    MALFORMED,
    KeyShares,
    SealConfig,
    ShareBox,
    check_nonce,
    new_nonce,
    parse_share,
)
from strongroom.crypto import aead
from strongroom.crypto.memory import SecretBytes
from strongroom.errors import BadRequest, Conflict
from strongroom.sdk.storage import Storage, Write

_NO_KEY = "'key' must be specified in request body as JSON"


class RekeyStatus(msgspec.Struct, frozen=True):
    """The answer of ``sys/rekey/init`` and of an update that is not the last, field for field."""

    nonce: str
    started: bool
    t: int  # of the new shares
    n: int
    progress: int
    required: int  # old shares
    pgp_fingerprints: None = None
    backup: bool = False
    verification_required: bool = False
    verification_nonce: str | UnsetType = UNSET


class RekeyResult(msgspec.Struct, frozen=True):
    """The answer of the last update: the new shares, once."""

    nonce: str
    complete: bool
    keys: tuple[str, ...]
    keys_base64: tuple[str, ...]
    pgp_fingerprints: None = None
    backup: bool = False
    verification_required: bool = False
    verification_nonce: str | UnsetType = UNSET

    def __repr__(self) -> str:
        return f"RekeyResult({len(self.keys)} shares)"


class VerifyStatus(msgspec.Struct, frozen=True):
    """The answer of ``sys/rekey/verify`` before the last new share."""

    nonce: str
    started: bool
    t: int
    n: int
    progress: int


class VerifyResult(msgspec.Struct, frozen=True):
    """The answer of ``sys/rekey/verify`` to the last new share."""

    nonce: str
    complete: bool


class _Attempt:
    """One rekey: the old shares given, then perhaps the writes that wait for the new ones."""

    __slots__ = ("config", "expect", "generation", "old", "verification", "verify", "writes")

    def __init__(self, config: SealConfig, verify: bool, generation: int, nonce: str) -> None:
        self.config, self.verify, self.generation = config, verify, generation
        self.old = ShareBox(nonce)
        self.verification: ShareBox | None = None  # the new shares given back
        self.writes: Sequence[Write] = ()
        self.expect: dict[str, int] = {}

    def clear(self) -> None:
        self.old.clear()
        if self.verification is not None:
            self.verification.clear()


class Rekey:
    """The one rekey a node may have under way. ``store`` is the backend, below the barrier."""

    __slots__ = ("_attempt", "_guard", "_rng", "_store")

    def __init__(self, store: Storage, *, rng: aead.Rng = os.urandom) -> None:
        self._store, self._rng = store, rng
        self._guard = threading.Lock()
        self._attempt: _Attempt | None = None

    def __repr__(self) -> str:
        return f"Rekey({'in progress' if self._attempt else 'idle'})"

    async def status(self) -> RekeyStatus:
        """Raises NotInitialized."""
        return self._status(await read_seal(self._store))

    def _status(self, record: SealRecord) -> RekeyStatus:
        attempt, required = self._attempt, record.entry.threshold
        if attempt is None:
            return RekeyStatus("", False, 0, 0, 0, required)
        config, waiting = attempt.config, attempt.verification
        return RekeyStatus(
            attempt.old.nonce,
            True,
            config.secret_threshold,
            config.secret_shares,
            len(attempt.old),
            required,
            verification_required=attempt.verify,
            verification_nonce=UNSET if waiting is None else waiting.nonce,
        )

    async def start(
        self,
        shares: int,
        threshold: int,
        *,
        require_verification: bool = False,
        pgp_keys: Sequence[str] = (),
        backup: bool = False,
    ) -> RekeyStatus:
        """Begin.

        Raises:
            BadRequest: the new configuration is invalid, PGP is asked for, or a rekey is under way.
            NotInitialized: there is nothing to rekey.
        """
        if pgp_keys or backup:
            raise BadRequest("PGP keys and backups of key shares are not supported")
        config = SealConfig(shares, threshold)
        config.validate("rekey seal")
        record = await read_seal(self._store)
        with self._guard:
            if self._attempt is not None:
                raise BadRequest("rekey already in progress")
            self._attempt = _Attempt(config, require_verification, record.entry.generation, new_nonce(self._rng))
            return self._status(record)

    async def submit(self, share: str, nonce: str) -> RekeyStatus | RekeyResult:
        """Give one of the old shares. The last one gives the new shares.

        Raises:
            BadRequest: no rekey, another nonce, not a share, one given already, or wrong shares (the progress goes
                back to none then).
            Conflict: the shares were changed by another node; the rekey is over.
            StorageFailed: nothing was changed; the old shares may be given again.
        """
        if not share:
            raise BadRequest(_NO_KEY)
        record = await read_seal(self._store)
        with self._guard:
            attempt = self._current(nonce)
            if attempt.verification is not None:
                raise BadRequest("the rekey waits for its new key shares to be verified")
            if attempt.generation != record.entry.generation:
                self._end()
                raise Conflict("the key shares were changed meanwhile; the rekey is over")
            _take(attempt.old, share, record.entry.share_bytes(), "rekey")
            if len(attempt.old) < record.entry.threshold:
                return self._status(record)
            old_nonce = attempt.old.nonce
            with open_root(attempt.old, record.root) as root_key:
                writes, fresh = new_shares(root_key, attempt.config, attempt.generation + 1, self._rng)
            if attempt.verify:
                attempt.writes, attempt.expect = writes, record.revisions
                attempt.verification = ShareBox(new_nonce(self._rng))
                return _result(old_nonce, fresh, attempt.verification.nonce)
        await self._commit(attempt, writes, record.revisions)
        return _result(old_nonce, fresh, None)

    async def _commit(self, attempt: _Attempt, writes: Sequence[Write], expect: dict[str, int]) -> None:
        try:
            await self._store.commit(writes, expect=expect)
        except Conflict as error:
            self._end(attempt)
            raise Conflict("the key shares were changed meanwhile; the rekey is over") from error
        self._end(attempt)

    def _current(self, nonce: str) -> _Attempt:
        if self._attempt is None:
            raise BadRequest("no rekey in progress")
        check_nonce(nonce, self._attempt.old.nonce, "rekey")
        return self._attempt

    def _end(self, attempt: _Attempt | None = None) -> None:
        if self._attempt is not None and attempt in (None, self._attempt):
            self._attempt.clear()
            self._attempt = None

    def cancel(self, nonce: str | None = None) -> None:
        """Give up. ``nonce`` None: the caller is known to be allowed. Raises BadRequest for another nonce."""
        with self._guard:
            if self._attempt is not None and nonce is not None:
                check_nonce(nonce, self._attempt.old.nonce, "rekey")
            self._end()

    # Verification

    def _waiting(self) -> tuple[_Attempt, ShareBox]:
        if self._attempt is None or self._attempt.verification is None:
            raise BadRequest("no rekey verification in progress")
        return self._attempt, self._attempt.verification

    def verify_status(self) -> VerifyStatus:
        """Not ``started`` while old shares are still being given. Raises BadRequest when there is no rekey."""
        if self._attempt is not None and self._attempt.verification is None:
            wanted = self._attempt.config
            return VerifyStatus("", False, wanted.secret_threshold, wanted.secret_shares, 0)
        attempt, box = self._waiting()
        return VerifyStatus(box.nonce, True, attempt.config.secret_threshold, attempt.config.secret_shares, len(box))

    async def verify(self, share: str, nonce: str) -> VerifyStatus | VerifyResult:
        """Give back one of the new shares. With the last one they become the ones that unseal.

        Raises:
            BadRequest: nothing waits, another nonce, not a share, one given already, or wrong ones (the progress
                goes back to none then; the new shares stay what they are).
            Conflict: the shares were changed by another node; the rekey is over.
            StorageFailed: nothing was changed; the new shares may be given again.
        """
        if not share:
            raise BadRequest(_NO_KEY)
        with self._guard:
            attempt, box = self._waiting()
            check_nonce(nonce, box.nonce, "rekey verification")
            config = attempt.config
            _take(box, share, aead.KEY_BYTES + (config.secret_shares > 1), "rekey verification")
            if len(box) < config.secret_threshold:
                return self.verify_status()
            sealed_root = attempt.writes[-1].value
            assert sealed_root is not None
            open_root(box, sealed_root).close()
            writes, expect = attempt.writes, attempt.expect
        await self._commit(attempt, writes, expect)
        return VerifyResult(nonce, True)

    def verify_cancel(self, nonce: str | None = None) -> VerifyStatus:
        """Forget the new shares given back so far; the verification goes on under a new nonce. Raises BadRequest."""
        with self._guard:
            attempt, box = self._waiting()
            if nonce is not None:
                check_nonce(nonce, box.nonce, "rekey verification")
            box.clear()
            attempt.verification = ShareBox(new_nonce(self._rng))
            return self.verify_status()


def _take(box: ShareBox, share: str, size: int, what: str) -> None:
    parsed: SecretBytes = parse_share(share)
    if len(parsed) != size:
        parsed.close()
        raise BadRequest(MALFORMED)
    if not box.add(parsed):
        raise BadRequest(f"this key share was already given to the {what}")


def _result(nonce: str, fresh: KeyShares, verification: str | None) -> RekeyResult:
    return RekeyResult(
        nonce,
        True,
        fresh.keys,
        fresh.keys_base64,
        verification_required=verification is not None,
        verification_nonce=UNSET if verification is None else verification,
    )
