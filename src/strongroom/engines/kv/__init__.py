"""The key/value engine: ``version=1`` keeps the last value of a secret, ``version=2`` keeps a history."""

from strongroom.engines.kv.v1 import KV1
from strongroom.engines.kv.v2 import KV2
from strongroom.errors import BadRequest
from strongroom.sdk.engine import Mount

__all__ = ["KV1", "KV2", "factory"]


def factory(mount: Mount) -> KV1 | KV2:
    """The engine for a mount of type ``kv``, chosen by its option ``version`` ("1", the default, or "2").

    Raises:
        BadRequest: another version.
    """
    match mount.options.get("version", "1"):
        case "" | "1":
            return KV1(mount)
        case "2":
            return KV2(mount)
    raise BadRequest("the version of a kv mount is 1 or 2")
