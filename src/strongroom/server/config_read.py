"""Configuration files as one tree: TOML, Vault's HCL and its JSON, each value with the place it stands at."""

import datetime
import os
import tomllib
from collections.abc import Iterator, Sequence
from typing import Any

from strongroom.errors import BadRequest
from strongroom.policy.hcl import Body, Item, located, parse
from strongroom.sdk.fields import parse_bool, parse_duration, parse_list

SUFFIXES = (".hcl", ".json", ".toml")
MAX_FILE = 1024 * 1024  # bytes


class Place:
    """One block, or all files together: items with the file they come from."""

    __slots__ = ("_items", "_used", "line", "title", "what")

    def __init__(self, title: str, items: Sequence[tuple[str, Item]], what: str = "", line: int = 0) -> None:
        self.title, self.what, self.line = title, what, line
        self._items = list(items)
        self._used: set[str] = set()

    def ignore(self, names: str) -> None:
        """Vault's keys that mean nothing here and do no harm: no warning for them."""
        self._used.update(names.split())

    def error(self, message: str, line: int = 0) -> BadRequest:
        """A refusal that names this place."""
        return located(self.what or "configuration", line or self.line, f"{self.title}: {message}".removeprefix(": "))

    def text(self, key: str, default: str = "") -> str:
        value, _, _ = self._scalar(key)
        if value is None:
            return default
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str | int | float):
            return str(value)
        raise self._wrong(key, "must be text")

    def flag(self, key: str, *, default: bool = False) -> bool:
        value, _, _ = self._scalar(key)
        if value is None:
            return default
        try:
            return parse_bool(value, name=key)
        except BadRequest:
            raise self._wrong(key, "must be true or false") from None

    def number(self, key: str, default: int, *, least: int = 0, most: int = 2**53) -> int:
        value, _, _ = self._scalar(key)
        if value is None:
            return default
        try:
            number = int(value) if not isinstance(value, bool | list) else None
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None or not least <= number <= most:
            limit = f"of at least {least}" if most == 2**53 else f"between {least} and {most}"
            raise self._wrong(key, f"must be a whole number {limit}")
        return number

    def seconds(self, key: str, default: float) -> float:
        value, _, _ = self._scalar(key)
        if value is None:
            return default
        try:
            return parse_duration(value, name=key)
        except BadRequest:
            raise self._wrong(key, 'must be a duration ("90s", "1h30m", a number of seconds)') from None

    def names(self, key: str) -> tuple[str, ...]:
        value, _, _ = self._scalar(key)
        if value is None:
            return ()
        try:
            return tuple(parse_list(value, name=key))
        except BadRequest:
            raise self._wrong(key, "must be a list of texts") from None

    def blocks(self, key: str) -> Iterator["Block"]:
        """Every block ``key``, its labels resolved as far as they were written; see ``Block.split``."""
        self._used.add(key)
        for what, item in self._items:
            if item.key == key:
                yield from _spread(what, item, item.labels, item.value)

    def scalars(self) -> dict[str, Any]:
        """All plain values (for the options of a store or an audit device)."""
        return {k: self._scalar(k)[0] for _, item in self._items if not _is_block(item.value) for k in (item.key,)}

    def unknown(self) -> list[str]:
        """A warning for each key that nobody asked for."""
        return [
            str(self.error(f"unknown key {item.key!r} is ignored", item.line))
            if self.what
            else str(located(what, item.line, f"unknown key {item.key!r} is ignored"))
            for what, item in self._items
            if item.key not in self._used and item.key.isprintable()
        ]

    def _scalar(self, key: str) -> tuple[Any, str, int]:
        self._used.add(key)
        found: tuple[Any, str, int] = (None, "", 0)
        for what, item in self._items:
            if item.key == key:
                if what == found[1]:
                    raise located(what, item.line, f"{key!r} is set twice")
                found = (item.value, what, item.line)  # a later file wins
        return found

    def _wrong(self, key: str, message: str) -> BadRequest:
        _, what, line = self._scalar(key)
        return located(what or "configuration", line, f"{self.title} {key} {message}".strip())


class Block:
    """A block and the labels before it."""

    __slots__ = ("body", "labels", "line", "what")

    def __init__(self, what: str, labels: tuple[str, ...], body: Body, line: int) -> None:
        self.what, self.labels, self.body, self.line = what, labels, body, line

    def place(self, title: str) -> Place:
        return Place(title, [(self.what, item) for item in self.body.items], self.what, self.line)

    def split(self, wanted: int) -> Iterator["Block"]:
        """The blocks in this one until each has ``wanted`` labels (``{"tcp": {...}}`` is ``"tcp" {...}``)."""
        if len(self.labels) > wanted:
            raise located(self.what, self.line, f"a block has more than {wanted} label(s)")
        if len(self.labels) == wanted:
            yield self
            return
        for item in self.body.items:
            line = item.line or self.line
            if not _is_block(item.value):
                raise located(self.what, line, f"a block with {wanted} label(s) is needed around {item.key!r}")
            for inner in _spread(self.what, item, (*self.labels, item.key, *item.labels), item.value):
                yield from inner.split(wanted)


def _spread(what: str, item: Item, labels: tuple[str, ...], value: Any) -> Iterator[Block]:
    for body in value if isinstance(value, list) else [value]:
        if not isinstance(body, Body):
            raise located(what, item.line, f"{item.key!r} must be a block")
        yield Block(what, labels, body, item.line)


def _is_block(value: Any) -> bool:
    return isinstance(value, Body) or (isinstance(value, list) and any(isinstance(part, Body) for part in value))


def read_files(paths: Sequence[str], local: str = "") -> Place:
    """All files of ``paths`` (folders stand for their ``SUFFIXES`` files, by name) and ``local`` text as one place.

    Raises:
        BadRequest: a file cannot be read or parsed; names the file and, where known, the line.
    """
    items: list[tuple[str, Item]] = []
    for path in _expand(paths):
        items += [(path, item) for item in _read(path).items]
    if local:
        what = "VAULT_LOCAL_CONFIG"
        items += [(what, item) for item in parse(local, what=what).items]
    return Place("", items)


def _expand(paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        if not os.path.isdir(path):
            yield path
            continue
        try:
            names = sorted(name for name in os.listdir(path) if name.endswith(SUFFIXES) and not name.startswith("."))
        except OSError as error:
            raise BadRequest(f"{path}: {error.strerror}") from None
        if not names:
            raise BadRequest(f"{path}: no configuration file ({', '.join(SUFFIXES)}) in this folder")
        yield from (os.path.join(path, name) for name in names)


def _read(path: str) -> Body:
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_FILE + 1)
    except OSError as error:
        raise BadRequest(f"{path}: {error.strerror}") from None
    if len(raw) > MAX_FILE:
        raise BadRequest(f"{path}: a configuration file may have at most {MAX_FILE} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"{path}: not UTF-8") from None
    if not path.endswith(".toml"):
        return parse(text, what=path)
    try:
        return _body(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise BadRequest(f"{path}: {_toml_reason(str(error))}") from None
    except (RecursionError, ValueError):  # a ValueError: a number with thousands of digits
        raise BadRequest(f"{path}: nested too deeply, or not valid TOML") from None


def _toml_reason(text: str) -> str:
    """The place of a TOML error, without the quoted text: it may be a secret."""
    _, _, place = text.rpartition("(at ")
    return f"not valid TOML ({'at ' + place}" if place else "not valid TOML"


def _body(table: dict[str, Any]) -> Body:
    return Body(tuple(Item(key, (), _value(value)) for key, value in table.items()))


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return _body(value)
    if isinstance(value, list):
        return [_value(part) for part in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return value
