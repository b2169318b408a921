"""Arguments of the form ``key=value``, ``key=@file``, ``key=-``, ``@file`` and ``-``, turned into data."""

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

from strongroom.errors import BadRequest

MAX_INPUT = 32 * 1024 * 1024  # bytes; the server takes no larger request


class Stdin:
    """Standard input as an argument may name it: it can be read once."""

    def __init__(self, source: Callable[[], str] | None = None) -> None:
        self._source = source or _read_stdin
        self._used = False

    def take(self) -> str:
        """All of standard input. Raises ``BadRequest`` the second time."""
        if self._used:
            raise BadRequest("standard input (-) can be named only once")
        self._used = True
        return self._source()


def _read_stdin() -> str:
    raw = sys.stdin.buffer.read(MAX_INPUT + 1)
    if len(raw) > MAX_INPUT:
        raise BadRequest("standard input is too long")
    return as_text(raw, "standard input")


def as_text(raw: bytes, what: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(f"{what} is not UTF-8 text") from error


def read_file(name: str) -> str:
    """A file's text. Raises ``BadRequest`` for one that is missing, too long or not UTF-8."""
    try:
        with open(name, "rb") as file:
            raw = file.read(MAX_INPUT + 1)
    except OSError as error:
        raise BadRequest(f"cannot read {name}: {(error.strerror or 'unknown reason').lower()}") from error
    if len(raw) > MAX_INPUT:
        raise BadRequest(f"{name} is too long")
    return as_text(raw, name)


def parse_data(words: Iterable[str], stdin: Stdin) -> dict[str, Any]:
    """One object from ``words``; a key given twice becomes a list.

    ``@file`` and ``-`` alone take a whole JSON object; ``key=@file`` and ``key=-`` take text as it is; ``key=\\@x`` is
    the text ``@x``. Raises ``BadRequest``, which never quotes a value.
    """
    data: dict[str, Any] = {}
    for word in words:
        if word == "-":
            _merge(data, _object(stdin.take(), "standard input"))
        elif word.startswith("@"):
            _merge(data, _object(read_file(word[1:]), word[1:]))
        else:
            key, equals, value = word.partition("=")
            if not equals:
                raise BadRequest("data must be given as key=value, @file or -")
            _merge(data, {key: _value(value, stdin)})
    return data


def parse_texts(words: Iterable[str], stdin: Stdin) -> dict[str, str]:
    """As ``parse_data``, for values that must be text."""
    data = parse_data(words, stdin)
    for key, value in data.items():
        if not isinstance(value, str):
            raise BadRequest(f"{key} must be given once, as text")
    return data


def parse_pairs(words: Iterable[str], flag: str) -> dict[str, str]:
    """``key=value`` words of a repeatable flag. Raises ``BadRequest`` naming the flag."""
    pairs: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise BadRequest(f"-{flag} must be given as key=value")
        pairs[key] = value
    return pairs


def _value(text: str, stdin: Stdin) -> str:
    if text == "-":
        return stdin.take()
    if text.startswith("@"):
        return read_file(text[1:])
    return text[1:] if text.startswith("\\@") or text == "\\-" else text


def _object(text: str, what: str) -> dict[str, Any]:
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"{what} is not a JSON object") from error
    if not isinstance(loaded, dict):
        raise BadRequest(f"{what} is not a JSON object")
    return loaded


def _merge(data: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if key not in data:
            data[key] = value
        elif isinstance(data[key], list):
            data[key] = [*data[key], value]
        else:
            data[key] = [data[key], value]
