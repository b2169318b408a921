"""A new root token for holders of enough key shares: Vault's generate-root.

The shares prove the authority by opening the root key; the token itself is made by the caller and leaves only
XORed with a one-time password that the starter of the attempt got (base64 without padding).
"""

import base64
import binascii
import os
import string
import threading

import msgspec

from strongroom.core.seal import open_root, read_seal
from strongroom.core.shares import MALFORMED, ShareBox, check_nonce, new_nonce, parse_share
from strongroom.crypto import aead
from strongroom.errors import BadRequest
from strongroom.sdk.storage import Storage

OTP_LENGTH = 28  # "hvs." and 24 characters: the length of a token
_ALPHABET = string.ascii_letters + string.digits


class GenerateRootStatus(msgspec.Struct, frozen=True):
    """The answer of ``sys/generate-root/*``, field for field."""

    nonce: str
    started: bool
    progress: int
    required: int
    complete: bool = False
    encoded_token: str = ""
    encoded_root_token: str = ""  # the older name of the same
    pgp_fingerprint: str = ""
    otp: str = ""
    otp_length: int = 0

    def __repr__(self) -> str:
        return f"GenerateRootStatus(progress={self.progress}, required={self.required}, complete={self.complete})"


class GenerateRoot:
    """The one attempt a node may have under way. ``store`` is the backend, below the barrier.

    ``submit`` until its answer is ``complete``; then make a token and pass it to ``finish``.
    """

    __slots__ = ("_box", "_guard", "_otp", "_proven", "_rng", "_store")

    def __init__(self, store: Storage, *, rng: aead.Rng = os.urandom) -> None:
        self._store, self._rng = store, rng
        self._guard = threading.Lock()
        self._box: ShareBox | None = None
        self._otp = ""
        self._proven: tuple[GenerateRootStatus, str] | None = None  # the last answer and the one-time password

    def __repr__(self) -> str:
        return f"GenerateRoot({'in progress' if self._box is not None else 'idle'})"

    async def status(self) -> GenerateRootStatus:
        """Raises NotInitialized."""
        required = (await read_seal(self._store)).entry.threshold
        box = self._box
        if box is None:
            return GenerateRootStatus("", False, 0, required, otp_length=OTP_LENGTH)
        return GenerateRootStatus(box.nonce, True, len(box), required, otp_length=OTP_LENGTH)

    async def start(self, otp: str = "", *, pgp_key: str = "") -> GenerateRootStatus:
        """Begin; the answer alone carries the one-time password, if it was made here.

        Args:
            otp: 28 ASCII characters, or "" to have one made.

        Raises:
            BadRequest: an ``otp`` of another length, a PGP key, or an attempt is under way.
            NotInitialized: there is no vault.
        """
        if pgp_key:
            raise BadRequest("PGP keys are not supported; use a one-time password")
        if otp and not (len(otp) == OTP_LENGTH and otp.isascii()):
            raise BadRequest("OTP string has incorrect length")
        required = (await read_seal(self._store)).entry.threshold
        with self._guard:
            if self._box is not None:
                raise BadRequest("root generation already in progress for this namespace")
            self._otp = otp or new_otp(self._rng)
            self._box = ShareBox(new_nonce(self._rng))
            self._proven = None
            made = "" if otp else self._otp  # a password that the caller brought is not told to anybody
            return GenerateRootStatus(self._box.nonce, True, 0, required, otp=made, otp_length=OTP_LENGTH)

    async def submit(self, share: str, nonce: str) -> GenerateRootStatus:
        """Give one share. When the answer is ``complete`` the authority is proven and the attempt is over.

        Raises:
            BadRequest: no attempt, another nonce, not a share, one given already, or wrong shares (the progress goes
                back to none then).
        """
        if not share:
            raise BadRequest("'key' must be specified in request body as JSON")
        record = await read_seal(self._store)
        with self._guard:
            box = self._box
            if box is None:
                raise BadRequest("no root generation in progress")
            check_nonce(nonce, box.nonce, "root generation")
            parsed = parse_share(share)
            if len(parsed) != record.entry.share_bytes():
                parsed.close()
                raise BadRequest(MALFORMED)
            if not box.add(parsed):
                raise BadRequest("this key share was already given to the root generation")
            required = record.entry.threshold
            if len(box) < required:
                return GenerateRootStatus(box.nonce, True, len(box), required)
            open_root(box, record.root).close()
            status = GenerateRootStatus(box.nonce, True, required, required, True)
            self._proven = (status, self._otp)
            self._box, self._otp = None, ""
            return status

    def finish(self, token: str) -> GenerateRootStatus:
        """The answer to the last ``submit`` with ``token`` in it, encoded. Works once. Raises BadRequest."""
        with self._guard:
            proven, self._proven = self._proven, None
        if proven is None:
            raise BadRequest("no root generation is complete")
        status, otp = proven
        encoded = encode_token(token, otp)
        return msgspec.structs.replace(status, encoded_token=encoded, encoded_root_token=encoded)

    def cancel(self, nonce: str | None = None) -> None:
        """Give up. ``nonce`` None: the caller is known to be allowed. Raises BadRequest for another nonce."""
        with self._guard:
            if self._box is not None:
                if nonce is not None:
                    check_nonce(nonce, self._box.nonce, "root generation")
                self._box.clear()
            self._box, self._otp, self._proven = None, "", None


def new_otp(rng: aead.Rng = os.urandom) -> str:
    """28 random characters of base62."""
    out: list[str] = []
    while len(out) < OTP_LENGTH:
        out += [_ALPHABET[byte % 62] for byte in rng(OTP_LENGTH) if byte < 248]  # 4 * 62: each equally likely
    return "".join(out[:OTP_LENGTH])


def encode_token(token: str, otp: str) -> str:
    """``token`` XOR ``otp`` in base64 without padding. Raises BadRequest: not of one length, or not ASCII."""
    return base64.b64encode(_xor(token, otp)).decode().rstrip("=")


def decode_token(encoded: str, otp: str) -> str:
    """The token that ``encode_token`` hid. Needs no vault. Raises BadRequest."""
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True).decode("latin-1")
        return _xor(raw, otp).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise BadRequest("the encoded token and the OTP do not fit each other") from error


def _xor(text: str, otp: str) -> bytes:
    try:
        left, right = text.encode("latin-1"), otp.encode("ascii")
    except UnicodeEncodeError as error:
        raise BadRequest("the token and the OTP must be ASCII") from error
    if len(left) != len(right):
        raise BadRequest("OTP string has incorrect length")
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
