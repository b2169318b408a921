"""HCL, version 1, and its JSON form: one entry point for policies, server configuration and everything like them.

    parse(text) -> Body                  items in their order, with line and column
    blocks(body, "path", labels=1)       repeated blocks, however they were written (HCL, or nested JSON objects)
    attributes(body)                     the plain values of one block; each key at most once
    to_plain(body)                       dicts and lists, the same for HCL and JSON

Source: the public description of HCL1 and its JSON form, and the texts that Vault's clients send. Differences that
matter: no newline is needed between items, a comma after an item is allowed, ``a = { }`` and ``a { }`` mean the same.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import msgspec

from strongroom.errors import BadRequest
from strongroom.policy.hcl_tokens import END, IDENT, MAX_TOKENS, NUMBER, STRING, Scanner, Source, Token, is_text

MAX_DEPTH = 64

_JSON_WORD = re.compile(r'[{}\[\],:]|"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)

Value: TypeAlias = "str | int | float | bool | list[Value] | Body | None"


class Item(msgspec.Struct, frozen=True):
    """``key "label" { }`` or ``key = value``. Read from JSON, ``labels`` is empty and ``line`` 0 (see ``blocks``)."""

    key: str
    labels: tuple[str, ...]
    value: Value
    line: int = 0  # from 1; 0 = unknown
    column: int = 0

    def __repr__(self) -> str:
        return f"Item({self.key!r}, labels={len(self.labels)}, line={self.line})"


class Body(msgspec.Struct, frozen=True):
    """What stands between two braces, or in the whole text."""

    items: tuple[Item, ...] = ()

    def __repr__(self) -> str:
        return f"Body({len(self.items)} items)"


class Block(NamedTuple):
    """One block with its labels resolved."""

    labels: tuple[str, ...]
    body: Body
    line: int
    column: int


def parse(text: str, *, what: str = "configuration") -> Body:
    """Read HCL1, or JSON if the first character is ``{``.

    Args:
        text: at most 1 Mi characters, 250,000 words, 64 levels deep.
        what: how errors begin.

    Raises:
        BadRequest: ``<what>: line L, column C: ...``; never quotes the text.
    """
    source = Source(text, what)
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        return _parse_json(source)
    return _Parser(source).document()


class _Parser:
    """Recursive descent, at most ``MAX_DEPTH`` calls deep."""

    __slots__ = ("_depth", "_scanner", "_source", "_token")

    def __init__(self, source: Source) -> None:
        self._source, self._scanner, self._depth = source, Scanner(source), 0
        self._token = self._scanner.next()

    def document(self) -> Body:
        return self._items(END)

    def _advance(self) -> Token:
        token, self._token = self._token, self._scanner.next()
        return token

    def _items(self, close: str) -> Body:
        """Items up to ``close``, which is consumed unless it is the end of the text."""
        items: list[Item] = []
        while self._token.kind != close:
            items.append(self._item())
            if self._token.kind == ",":
                self._advance()
        if close != END:
            self._advance()
        return Body(tuple(items))

    def _item(self) -> Item:
        first = self._token
        keys: list[str] = []
        while self._token.kind in (IDENT, STRING):
            keys.append(str(self._advance().value))
        line, column = self._source.position(first.start)
        if not keys:
            raise self._expected("a name")
        if self._token.kind == "=":
            if len(keys) > 1:
                raise self._expected("'{' after the labels of a block")
            self._advance()
            return Item(keys[0], (), self._value(), line, column)
        if self._token.kind != "{":
            raise self._expected("'=' or '{'")
        return Item(keys[0], tuple(keys[1:]), self._object(), line, column)

    def _object(self) -> Body:
        self._enter()
        self._advance()
        body = self._items("}")
        self._depth -= 1
        return body

    def _value(self) -> Value:
        token = self._token
        if token.kind == "{":
            return self._object()
        if token.kind == "[":
            return self._list()
        if token.kind in (STRING, NUMBER):
            return self._advance().value
        if token.kind == IDENT and token.value in ("true", "false"):
            return self._advance().value == "true"
        raise self._expected("a value: text in quotes, a number, true, false, a list or an object")

    def _list(self) -> list[Value]:
        self._enter()
        self._advance()
        values: list[Value] = []
        while self._token.kind != "]":
            values.append(self._value())
            if self._token.kind == ",":
                self._advance()
            elif self._token.kind != "]":
                raise self._expected("',' or ']'")
        self._advance()
        self._depth -= 1
        return values

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._source.error(self._token.start, f"nested deeper than {MAX_DEPTH} levels")

    def _expected(self, wanted: str) -> BadRequest:
        kind = self._token.kind
        got = f"'{kind}'" if len(kind) == 1 else kind
        return self._source.error(self._token.start, f"expected {wanted}, found {got}")


def _parse_json(source: Source) -> Body:
    """JSON by Python's reader, with its depth and size checked first; repeated keys are kept in their order."""
    _check_json(source)

    def integer(digits: str) -> int:
        if len(digits) > 20 or not -(2**63) <= int(digits) < 2**63:
            raise BadRequest(f"{source.what}: a number is out of range")
        return int(digits)

    def real(digits: str) -> float:
        if not math.isfinite(float(digits)):
            raise BadRequest(f"{source.what}: a number is out of range")
        return float(digits)

    def constant(_: str) -> None:
        raise BadRequest(f"{source.what}: NaN and Infinity are not values")

    def pairs(items: list[tuple[str, Any]]) -> Body:
        return Body(tuple(Item(key, (), value) for key, value in items))

    try:
        document = json.loads(
            source.text.removeprefix("\ufeff"),
            object_pairs_hook=pairs,
            parse_int=integer,
            parse_float=real,
            parse_constant=constant,
        )
    except json.JSONDecodeError as cause:
        raise source.error(cause.pos + source.text.startswith("\ufeff"), "this is not valid JSON") from None
    assert isinstance(document, Body)
    _check_text(document, source.what)
    return document


def _check_json(source: Source) -> None:
    """Refuse deep or large JSON before a recursive reader sees it. One pass; broken JSON passes, to fail later."""
    depth = count = 0
    for word in _JSON_WORD.finditer(source.text):
        mark = word[0][0]
        if mark in "{[":
            depth += 1
            if depth > MAX_DEPTH:
                raise source.error(word.start(), f"nested deeper than {MAX_DEPTH} levels")
        elif mark in "}]":
            depth -= 1
        count += 1
    if count > MAX_TOKENS:
        raise BadRequest(f"{source.what}: more than {MAX_TOKENS} words")


def _check_text(value: Value, what: str) -> None:
    """Refuse NUL and half surrogate pairs, which JSON escapes can smuggle in."""
    if isinstance(value, str):
        if not is_text(value):
            raise BadRequest(f"{what}: a string holds a character that is not text")
    elif isinstance(value, list):
        for element in value:
            _check_text(element, what)
    elif isinstance(value, Body):
        for item in value.items:
            _check_text(item.key, what)
            _check_text(item.value, what)


def located(what: str, line: int, message: str) -> BadRequest:
    """A refusal that names the line where one is known."""
    return BadRequest(f"{what}: line {line}: {message}" if line else f"{what}: {message}")


def blocks(body: Body, key: str, *, labels: int = 0, what: str = "configuration") -> Iterator[Block]:
    """Every block ``key`` with exactly ``labels`` labels, in order.

    Labels may be written as HCL labels or as nested objects, repeated blocks as a list of objects:
    ``path "a" { }``, ``path = { "a" = { } }``, ``{"path": {"a": {}}}`` and ``{"path": [{"a": {}}]}`` are the same.

    Raises:
        BadRequest: a block has too many labels, or a value stands where a block is expected.
    """
    for item in body.items:
        if item.key == key:
            yield from _resolve(item, item.labels, item.value, labels, what)


def _resolve(item: Item, found: tuple[str, ...], value: Value, wanted: int, what: str) -> Iterator[Block]:
    if isinstance(value, list):
        for element in value:
            yield from _resolve(item, found, element, wanted, what)
        return
    if not isinstance(value, Body) or len(found) > wanted:
        raise located(what, item.line, f"{_shown(item.key)} must be a block with {wanted} label(s)")
    if len(found) == wanted:
        yield Block(found, value, item.line, item.column)
        return
    for inner in value.items:
        at = inner if inner.line else item
        yield from _resolve(at, (*found, inner.key, *inner.labels), inner.value, wanted, what)


def attributes(body: Body, *, what: str = "configuration") -> dict[str, Item]:
    """The items of one block by key.

    Raises:
        BadRequest: a key stands twice.
    """
    found: dict[str, Item] = {}
    for item in body.items:
        if item.key in found:
            raise located(what, item.line, f"{_shown(item.key)} is set twice")
        found[item.key] = item
    return found


def to_plain(body: Body, *, what: str = "configuration") -> dict[str, Any]:
    """``body`` as dicts, lists and scalars, the same for HCL and for its JSON form.

    A scalar or a list of scalars stays what it is. Whatever is written with braces becomes a **list of dicts**, one for
    each time it stands there, and each label is one more such level:

        storage "lmdb" { path = "x" }     {"storage": [{"lmdb": [{"path": "x"}]}]}
        listener "tcp" { } listener "tcp" { }     {"listener": [{"tcp": [{}]}, {"tcp": [{}]}]}
        audit "file" "main" { }           {"audit": [{"file": [{"main": [{}]}]}]}
        {"backend": {"inmem": {}}}        {"backend": [{"inmem": [{}]}]}

    Raises:
        BadRequest: a scalar stands twice, or a key is both a scalar and a block.
    """
    plain: dict[str, Any] = {}
    for item in body.items:
        value = _plain_value(item.value, what)
        for label in reversed(item.labels):
            value = [{label: value}]
        if item.key not in plain:
            plain[item.key] = value
        elif _is_blocks(value) and _is_blocks(plain[item.key]):
            plain[item.key] = plain[item.key] + value
        else:
            raise located(what, item.line, f"{_shown(item.key)} is set twice")
    return plain


def _plain_value(value: Value, what: str) -> Any:
    if isinstance(value, Body):
        return [to_plain(value, what=what)]
    if isinstance(value, list):
        return [to_plain(v, what=what) if isinstance(v, Body) else _plain_value(v, what) for v in value]
    return value


def _is_blocks(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(element, dict) for element in value)


def _shown(key: str) -> str:
    """A key for a message: quoted when it is short and plain, else not at all."""
    return f"{key!r}" if len(key) <= 64 and key.isprintable() else "a key"
