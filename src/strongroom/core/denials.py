"""The id that every 403 carries: who was refused what and when, sealed, so that nobody has to remember it.

A capsule is base64url of a nonce (12 bytes) and AES-256-GCM over msgpack, under a key that the token store's secret
gives (docs/formats/denial.md). A stranger reads nothing in it; ``sys/policies/explain`` opens it.
"""

import base64
import binascii
import os
from collections.abc import Callable

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.errors import BadRequest
from strongroom.sdk.engine import Call
from strongroom.sdk.request import Op

HEADER = "X-Strongroom-Denial"
_MAX_PATH = 2048  # characters of a path that are kept; headers must stay within what clients take
_MAX_POLICIES = 64
_NONCE = 12
_CONTEXT = b"strongroom denial 1"


class Denial(msgspec.Struct, frozen=True, array_like=True):
    """What a capsule holds."""

    time: float  # seconds since the Unix epoch
    op: Op
    path: str
    token_id: str = ""  # "" without a valid token
    entity_id: str = ""
    display_name: str = ""
    policies: tuple[str, ...] = ()
    remote: str = ""


_decode = msgspec.msgpack.Decoder(Denial).decode


class Denials:
    """Makes and opens capsules. ``key`` is 32 bytes and belongs to one namespace."""

    __slots__ = ("_cipher", "_now")

    def __init__(self, key: bytes, now: Callable[[], float]) -> None:
        self._cipher, self._now = AESGCM(key), now

    def __repr__(self) -> str:
        return "Denials()"

    def seal(self, call: Call, below: str = "") -> str:
        """The id for a refused call; ``below`` is the path of the namespace it was for, from this one."""
        request, caller = call.request, call.caller
        denial = Denial(self._now(), request.op, (below + request.path)[:_MAX_PATH], remote=request.remote)
        if caller is not None:
            denial = msgspec.structs.replace(
                denial,
                token_id=caller.token_id,
                entity_id=caller.entity_id,
                display_name=caller.display_name[:128],
                policies=caller.policies[:_MAX_POLICIES],
            )
        nonce = os.urandom(_NONCE)
        sealed = nonce + self._cipher.encrypt(nonce, msgspec.msgpack.encode(denial), _CONTEXT)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open(self, text: str) -> Denial:
        """What an id stands for. Raises BadRequest: it is none of this namespace's."""
        try:
            raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            return _decode(self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], _CONTEXT))
        except (UnicodeEncodeError, binascii.Error, ValueError, InvalidTag, msgspec.MsgspecError) as error:
            raise BadRequest("this is no denial id of this vault") from error
