"""What every store refuses before it queues anything: keys and commits that no backend could keep."""

from collections.abc import Mapping, Sequence
from typing import Any

from strongroom.errors import BadRequest
from strongroom.sdk.storage import MAX_COMMIT_BYTES, MAX_COMMIT_WRITES, MAX_KEY, MAX_VALUE, Write

MAX_EXPECTS = 2 * MAX_COMMIT_WRITES


def key_bytes(key: str) -> bytes:
    """``key`` in UTF-8.

    Raises:
        BadRequest: empty, longer than ``MAX_KEY`` bytes, with a slash at either end, a NUL, or no Unicode text.
    """
    try:
        raw = key.encode()
    except UnicodeEncodeError:
        raise BadRequest("the key is not Unicode text") from None
    if not raw:
        raise BadRequest("the key is empty")
    if len(raw) > MAX_KEY:
        raise BadRequest(f"the key is longer than {MAX_KEY} bytes")
    if raw[0] == 0x2F or raw[-1] == 0x2F:
        raise BadRequest("a key neither begins nor ends with '/'")
    if 0 in raw:
        raise BadRequest("the key holds a NUL")
    return raw


def storable(key: str) -> bool:
    """Whether anything could be stored at ``key``; a read of any other key finds nothing."""
    try:
        key_bytes(key)
    except BadRequest:
        return False
    return True


Puts = list[tuple[bytes, bytes | None]]  # UTF-8 key, value or None to delete


def check_commit(writes: Sequence[Write], expect: Mapping[str, int]) -> tuple[Puts, list[tuple[bytes, int]], int]:
    """The commit with its keys in UTF-8, and its size in bytes (keys and values).

    Raises:
        BadRequest: a key or value cannot be stored, or the commit is over the limits of ``sdk.storage``.
    """
    if len(writes) > MAX_COMMIT_WRITES:
        raise BadRequest(f"a commit holds at most {MAX_COMMIT_WRITES} writes")
    if len(expect) > MAX_EXPECTS:
        raise BadRequest(f"a commit expects at most {MAX_EXPECTS} revisions")
    puts: Puts = []
    size = 0
    for write in writes:
        key, value = key_bytes(write.key), write.value
        size += len(key)
        if value is not None:
            if not isinstance(value, bytes):
                raise BadRequest("a value is not bytes")
            if len(value) > MAX_VALUE:
                raise BadRequest(f"a value is longer than {MAX_VALUE} bytes")
            size += len(value)
        puts.append((key, value))
    if len(puts) > 1 and size > MAX_COMMIT_BYTES:
        raise BadRequest(f"a commit of several writes holds at most {MAX_COMMIT_BYTES} bytes")
    return puts, [(key_bytes(key), revision) for key, revision in expect.items()], size


def check_prefix(prefix: str) -> None:
    """Raise ``BadRequest`` unless ``prefix`` can be listed: empty, or a folder's name with its slash."""
    if prefix and not prefix.endswith("/"):
        raise BadRequest("a folder to list ends with '/'")


def take_options(kind: str, options: Mapping[str, Any], known: Mapping[str, type]) -> dict[str, Any]:
    """The options of a store, checked by name and type; numbers and booleans may come as text.

    Raises:
        BadRequest: an unknown option, or a value of the wrong type.
    """
    taken: dict[str, Any] = {}
    for name, value in options.items():
        if name not in known:
            raise BadRequest(f"the {kind} store has no option {name!r}")
        want = known[name]
        if want is int and isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if want is bool and value in ("true", "false"):
            value = value == "true"
        if want is str and hasattr(value, "__fspath__"):
            value = value.__fspath__()
        if not isinstance(value, want) or (want is int and isinstance(value, bool)):
            raise BadRequest(f"the option {name!r} of the {kind} store is of the wrong type")
        taken[name] = value
    return taken
