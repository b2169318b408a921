"""Key shares as people hold them: made, read, collected until enough are there.

With more than one share, each is 33 bytes (docs/formats/shamir-share.md); a single share is the 32-byte unseal key
itself. Either is written in hex or in base64.
"""

import base64
import binascii
import hmac
import uuid
from typing import Any, TypeVar

import msgspec

from strongroom.crypto import aead, shamir
from strongroom.crypto.memory import SecretBytes, wipe
from strongroom.errors import BadRequest, VaultError

MALFORMED = "'key' must be a valid hex or base64 string"
WRONG_SHARES = (  # clients match on this text (wire facts, golden_seal)
    "unable to retrieve stored keys: invalid key: failed to decrypt keys from storage: "
    "cipher: message authentication failed"
)
_HEX = (2 * aead.KEY_BYTES, 2 * (aead.KEY_BYTES + 1))  # characters
_BASE64 = 44  # characters, for 32 bytes and for 33

T = TypeVar("T")


class SealConfig(msgspec.Struct, frozen=True):
    """How many shares there are, and how many of them unseal."""

    secret_shares: int = 5
    secret_threshold: int = 3

    def validate(self, what: str = "seal") -> None:
        """Raises BadRequest with Vault's words; ``what`` is "seal" or "rekey seal"."""
        shares, threshold = self.secret_shares, self.secret_threshold
        problem = ""
        if shares < 1:
            problem = "shares must be at least one"
        elif shares > shamir.MAX_SHARES:
            problem = "shares must be less than 256"
        elif threshold < 1:
            problem = "threshold must be at least one"
        elif threshold > shares:
            problem = "threshold cannot be larger than shares"
        elif threshold == 1 and shares > 1:
            problem = "threshold must be greater than one for multiple shares"
        if problem:
            raise BadRequest(f"invalid {what} configuration: {problem}")


class KeyShares(msgspec.Struct, frozen=True):
    """Shares to hand out, the same ones twice: in hex and in base64."""

    keys: tuple[str, ...]
    keys_base64: tuple[str, ...]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.keys)} shares)"

    def __rich_repr__(self) -> Any:  # msgspec's own would show every field
        yield len(self.keys)


def new_nonce(rng: aead.Rng) -> str:
    """A random UUID that names an attempt."""
    return str(uuid.UUID(bytes=rng(16), version=4))


def check_nonce(given: str, expected: str, what: str) -> None:
    """Raises BadRequest unless ``given`` names the attempt ``expected``."""
    if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode()):
        raise BadRequest(f"the nonce is not that of the {what} in progress")


def make_shares(unseal_key: SecretBytes, config: SealConfig, rng: aead.Rng) -> KeyShares:
    """The shares of ``unseal_key``; they were combined again before they are returned."""
    if config.secret_shares == 1:
        shares = [bytearray(unseal_key.view())]
    else:
        shares = shamir.split(unseal_key.view(), config.secret_shares, config.secret_threshold, rng=rng)
        for some in (shares[: config.secret_threshold], shares[-config.secret_threshold :]):
            with SecretBytes.take_over(shamir.combine(some)) as again:
                if again != unseal_key:
                    raise VaultError("the new key shares do not combine; nothing was changed")
    try:
        return KeyShares(
            tuple(share.hex() for share in shares),
            tuple(base64.b64encode(share).decode() for share in shares),
        )
    finally:
        for share in shares:
            wipe(share)


def parse_share(text: str) -> SecretBytes:
    """A share from hex (64 or 66 characters) or base64 (44): 32 or 33 bytes. Raises BadRequest."""
    raw = bytearray()
    if isinstance(text, str) and text.isascii():
        try:
            if len(text) in _HEX and text.isalnum():  # fromhex alone would skip blanks
                raw = bytearray.fromhex(text)
            elif len(text) == _BASE64:
                raw = bytearray(binascii.a2b_base64(text, strict_mode=True))
        except ValueError:
            pass
    if len(raw) not in (aead.KEY_BYTES, aead.KEY_BYTES + 1):
        wipe(raw)
        raise BadRequest(MALFORMED)
    return SecretBytes.take_over(raw)


class ShareBox:
    """Shares given so far for one attempt, in locked memory.

    Attributes:
        nonce: names the attempt.
    """

    __slots__ = ("_shares", "nonce")

    def __init__(self, nonce: str) -> None:
        self.nonce = nonce
        self._shares: list[SecretBytes] = []

    def __len__(self) -> int:
        return len(self._shares)

    def __repr__(self) -> str:
        return f"ShareBox({len(self._shares)} shares)"

    def add(self, share: SecretBytes) -> bool:
        """Take ``share`` over; False if it was there already."""
        if sum(share == other for other in self._shares):  # not any(): every one is compared, whichever is equal
            share.close()
            return False
        self._shares.append(share)
        return True

    def combine(self) -> SecretBytes:
        """The unseal key the shares make, right or wrong. The box is empty afterwards.

        Raises:
            BadRequest: they cannot be shares of one key; the text is that of wrong shares.
        """
        try:
            if len(self._shares) == 1:
                return self._shares[0].copy()
            return SecretBytes.take_over(shamir.combine([share.view() for share in self._shares]))
        except BadRequest as error:
            raise BadRequest(WRONG_SHARES) from error
        finally:
            self.clear()

    def clear(self) -> None:
        """Wipe the shares."""
        for share in self._shares:
            share.close()
        self._shares = []
