"""sys/tools: random bytes and hashes."""

import base64
import hashlib
import os
from typing import TYPE_CHECKING

import msgspec

from strongroom.errors import BadRequest
from strongroom.sdk.engine import Call, Route
from strongroom.sdk.fields import Text
from strongroom.sdk.request import Op, Response

if TYPE_CHECKING:
    from strongroom.core.core import Core

_HASHES = {
    "sha2-224": "sha224", "sha2-256": "sha256", "sha2-384": "sha384", "sha2-512": "sha512",
    "sha3-224": "sha3_224", "sha3-256": "sha3_256", "sha3-384": "sha3_384", "sha3-512": "sha3_512",
}  # fmt: skip
_SOURCES = ("platform", "seal", "all")
_MAX_BYTES = 128 * 1024


class RandomArgs(msgspec.Struct, frozen=True, kw_only=True):
    bytes: int = 32
    urlbytes: str = ""
    source: str = "platform"
    format: Text = Text("base64")


class HashArgs(msgspec.Struct, frozen=True, kw_only=True):
    input: Text = Text("")
    algorithm: Text = Text("sha2-256")
    urlalgorithm: str = ""
    format: Text = Text("hex")


class ToolRoutes:
    """See the module."""

    def __init__(self, core: "Core") -> None:
        pass

    def routes(self) -> tuple[Route, ...]:
        rand, sums = {Op.UPDATE: self.random}, {Op.UPDATE: self.hash}
        return (
            Route(pattern="tools/random", args=RandomArgs, ops=rand, help="Random bytes."),
            Route(pattern="tools/random/{urlbytes}", args=RandomArgs, ops=rand, help="Random bytes."),
            Route(pattern="tools/random/{source}/{urlbytes}", args=RandomArgs, ops=rand, help="Random bytes."),
            Route(pattern="tools/hash", args=HashArgs, ops=sums, help="A hash of base64 input."),
            Route(pattern="tools/hash/{urlalgorithm}", args=HashArgs, ops=sums, help="A hash of base64 input."),
        )

    async def random(self, call: Call, args: RandomArgs) -> Response:
        count = args.bytes
        if args.urlbytes in _SOURCES:
            pass
        elif args.urlbytes:
            if not args.urlbytes.isascii() or not args.urlbytes.isdigit():
                raise BadRequest("error parsing url-set byte count")
            count = int(args.urlbytes[:9])
        if args.source not in _SOURCES:
            raise BadRequest(f"unsupported entropy source {args.source!r}; must be one of platform, seal, all")
        if not 1 <= count <= _MAX_BYTES:
            raise BadRequest(f'"bytes" must be between 1 and {_MAX_BYTES}')
        return Response(data={"random_bytes": _formatted(os.urandom(count), args.format)})

    async def hash(self, call: Call, args: HashArgs) -> Response:
        name = args.urlalgorithm or str(args.algorithm)
        if name not in _HASHES:
            raise BadRequest("unsupported algorithm")
        try:
            data = base64.b64decode(args.input, validate=True)
        except ValueError as error:  # binascii's, or for text that is not ASCII
            raise BadRequest("unable to decode input as base64") from error
        return Response(data={"sum": _formatted(hashlib.new(_HASHES[name], data).digest(), args.format)})


def _formatted(data: bytes, form: str) -> str:
    if form == "hex":
        return data.hex()
    if form == "base64":
        return base64.b64encode(data).decode()
    raise BadRequest('unsupported encoding format; must be "hex" or "base64"')
