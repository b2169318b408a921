"""Names and metadata of entities, groups and aliases: what may be written, and the one spelling they are found by."""

import unicodedata
from collections.abc import Mapping

from strongroom.core.router import fold
from strongroom.errors import BadRequest
from strongroom.sdk.token_fields import normalize_policies

MAX_NAME = 512  # characters
MAX_INDEX = 1024  # bytes of a folded, quoted name: the key it is part of must fit the store
_PAIRS, _KEY, _VALUE = 64, 128, 512  # limits of metadata: pairs, bytes of a key, bytes of a value


def check_name(name: str, what: str) -> str:
    """``name`` if it may be the name of an entity or group.

    Raises:
        BadRequest: too long, outer blanks, control or invisible characters, a leading slash, not in normal form C.
    """
    if len(name) > MAX_NAME:
        raise BadRequest(f"the {what} name is longer than {MAX_NAME} characters")
    if name != name.strip() or any(unicodedata.category(c)[0] == "C" for c in name):
        raise BadRequest(f"the {what} name holds outer blanks or control characters")
    if name.startswith("/"):  # Cedar policies know those of other namespaces by such names
        raise BadRequest(f"the {what} name starts with a slash")
    if not unicodedata.is_normalized("NFC", name):
        raise BadRequest(f"the {what} name is not in Unicode normal form C")
    return name


def index_of(name: str) -> str:
    """The part of a store key that stands for ``name``, in whatever case it is written.

    Raises:
        BadRequest: the name cannot be folded, or is too long.
    """
    folded = fold_name(name)
    quoted = folded.replace("%", "%25").replace("/", "%2F")
    if quoted.startswith("."):
        quoted = "%2E" + quoted[1:]
    if len(quoted.encode()) > MAX_INDEX:
        raise BadRequest("the name is too long")
    return quoted


def fold_name(name: str) -> str:
    """``name`` as it is compared: segment by segment, so that a slash in it stays one."""
    return "/".join(fold(part) if part else part for part in name.split("/"))


def fold_alias(name: str) -> str:
    """An alias as it is compared. Lower case alone: what an identity provider tells apart is not made one by folding
    compatibility letters."""
    return name.lower()


def check_alias_name(name: str) -> str:
    """``name`` if it may be an alias. Raises BadRequest."""
    if not name:
        raise BadRequest("missing alias name")
    if len(name) > 2 * MAX_NAME:
        raise BadRequest("the alias name is too long")
    return name


def check_metadata(data: Mapping[str, str], what: str = "metadata") -> dict[str, str] | None:
    """``data`` as it is stored, None for an empty one.

    Raises:
        BadRequest: more than 64 pairs, a key over 128 bytes, a value over 512.
    """
    if len(data) > _PAIRS:
        raise BadRequest(f"{what} can contain at most {_PAIRS} key/value pairs")
    for key, value in data.items():
        if not key or len(key.encode()) > _KEY:
            raise BadRequest(f"a key of {what} must have between 1 and {_KEY} bytes")
        if len(value.encode()) > _VALUE:
            raise BadRequest(f"a value of {what} is longer than {_VALUE} bytes")
    return dict(data) or None


def check_policies(names: tuple[str, ...]) -> tuple[str, ...]:
    """Policies that an entity or group may have.

    Raises:
        BadRequest: ``root`` is among them in any spelling (threat A3), or a name no policy can have.
    """
    try:
        return normalize_policies(names)
    except BadRequest as error:
        if "root policy" in str(error):
            raise BadRequest("policies cannot contain root") from None
        raise
