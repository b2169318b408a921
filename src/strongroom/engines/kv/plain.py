"""Secrets as JSON: into bytes and back without a change, merged (RFC 7396), or with the values taken out."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import msgspec

from strongroom.errors import BadRequest, IntegrityError

MAX_DEPTH = 100  # the HTTP door stops at 64; this one is for callers in the same process

_SCALARS = frozenset({str, int, bool, type(None)})
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def pack(data: Mapping[str, Any]) -> bytes:
    """``data`` as JSON text that ``unpack`` turns into an equal object.

    Raises:
        BadRequest: a value has no exact JSON form (NaN, bytes, a date, a key that is not text), or is nested deeper
            than ``MAX_DEPTH``. The encoder alone would turn these into something else without a word.
    """
    _check(data, MAX_DEPTH)
    try:
        return _encode(data)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadRequest("data cannot be kept as JSON") from error


def _check(value: Any, depth: int) -> None:
    if not depth:
        raise BadRequest("data is nested too deeply")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if type(key) is not str:
                raise BadRequest("data has a key that is not text")
            if type(item) not in _SCALARS:
                _check(item, depth - 1)
    elif isinstance(value, list | tuple):
        for item in value:
            if type(item) not in _SCALARS:
                _check(item, depth - 1)
    elif isinstance(value, float):
        if not isfinite(value):
            raise BadRequest("data has a number that JSON cannot hold")
    elif not isinstance(value, str | int):
        raise BadRequest("data has a value that JSON cannot hold")


def unpack(text: bytes | msgspec.Raw) -> dict[str, Any]:
    """The object that ``pack`` was given.

    Raises:
        IntegrityError: the stored text is not a JSON object.
    """
    try:
        return _decode(text)
    except msgspec.DecodeError as error:
        raise IntegrityError("a stored secret cannot be read") from error


def merge(target: Any, patch: Any) -> Any:
    """``patch`` applied to ``target`` as RFC 7396 says: objects merge, null removes, all else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def structure(data: Mapping[str, Any], depth: int = 0, level: int = 1) -> dict[str, Any]:
    """``data`` with null in the place of every value, down to ``depth`` levels of keys (0: all)."""
    return {
        key: structure(value, depth, level + 1)
        if isinstance(value, Mapping) and value and (not depth or level < depth)
        else None
        for key, value in data.items()
    }
