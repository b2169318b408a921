"""What is stored of a namespace below the root, and how it is shown.

ns/<parent id>/namespace/<name>   the entry
core/namespace/<id>               its ``Place``
core/unfinished/<id>              there is work in it for the tidying: a removal, its own or that of a mount
"""

from typing import Any

import msgspec

from strongroom.errors import BadRequest
from strongroom.sdk.paths import canonical_text

MAX_NAME = 128  # characters
MAX_DEPTH = 32  # levels below the root namespace
_RESERVED = frozenset({"root", "sys", "audit", "auth", "cubbyhole", "identity", "internal", "v1"})


class SpaceEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One namespace. ``id``, ``uuid``, ``name`` and ``path`` never change."""

    id: str  # 6 base62 characters
    uuid: str
    name: str
    path: str  # from the root namespace: "ns1/ns2/"
    custom_metadata: dict[str, str] = {}
    created: float = 0.0  # seconds since the Unix epoch
    tainted: bool = False  # being removed: nothing in it answers


def shown(entry: SpaceEntry) -> dict[str, Any]:
    """The entry as sys/namespaces prints it."""
    return {
        "custom_metadata": dict(entry.custom_metadata),
        "id": entry.id,
        "locked": False,
        "path": entry.path,
        "tainted": entry.tainted,
        "uuid": entry.uuid,
    }


def check_name(text: str) -> str:
    """The name of a new namespace, without the slash at its end.

    Raises:
        BadRequest: it is empty, reserved, holds a slash, a blank or a character that policies give a meaning, or it is
            too long.
    """
    name = text.removesuffix("/")
    if not name:
        raise BadRequest("namespace path is empty")
    if "/" in name:
        raise BadRequest("namespace path may not contain a slash: ask the parent namespace")
    canonical_text(name)
    if name.casefold() in _RESERVED:
        raise BadRequest(f'"{name}" is a reserved path and cannot be used as a namespace name')
    if len(name) > MAX_NAME or any(c.isspace() or c in '*+{},"' for c in name):
        raise BadRequest("namespace path is too long, or has a character that policies and clients cannot carry")
    return name


def check_metadata(given: Any) -> dict[str, str]:
    """Custom metadata: text under text, at most 64 keys of 128 and values of 512 bytes. Raises BadRequest."""
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise BadRequest("custom_metadata must be a map of text to text")
    if len(given) > 64 or any(not k or len(k.encode()) > 128 or len(v.encode()) > 512 for k, v in given.items()):
        raise BadRequest("custom_metadata holds at most 64 keys of 1 to 128 bytes with values of up to 512 bytes")
    return dict(given)
