"""PostgreSQL's lexical rules, as far as names and passwords are put into an administrator's statements.

    CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';

A placeholder is filled by the place it stands in: in a quoted name ``"`` is doubled, in a text ``'`` (and the backslash
in an E'' text), outside of both the value becomes a quoted text (a quoted name for ``{{name}}``). Inside a
dollar-quoted body the same rules hold once more. So no value can end the place it was put into. Source: PostgreSQL 15,
section 4.1. The statements run with ``standard_conforming_strings`` on.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from strongroom.errors import BadRequest

_PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_TOKEN = re.compile(
    r"""
    (?P<line>--[^\n]*)
  | (?P<block>/\*)
  | (?P<escaped>\b[eE]'(?:[^'\\]|\\.|'')*')
  | (?P<text>'(?:[^']|'')*')
  | (?P<name>"(?:[^"]|"")*")
  | (?P<dollar>\$(?P<tag>[A-Za-z_\x80-\uffff][A-Za-z0-9_\x80-\uffff]*)?\$)
  | (?P<word>[A-Za-z_\x80-\uffff][A-Za-z0-9_$\x80-\uffff]*)
  | (?P<end>;)
  | (?P<open>['"])
    """,
    re.VERBOSE | re.DOTALL,
)
_NAMES = frozenset({"name", "username"})
_QUOTES = re.compile(r"['\"\\$;]|--|/\*")
_DEPTH = 4  # dollar-quoted bodies within each other


def quote_name(name: str) -> str:
    """``name`` as a quoted identifier. Raises BadRequest for a NUL."""
    return '"' + _without_nul(name).replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """``text`` as a literal, right whatever ``standard_conforming_strings`` says. Raises BadRequest for a NUL."""
    doubled = _without_nul(text).replace("'", "''")
    return f"E'{doubled.replace(chr(92), chr(92) * 2)}'" if "\\" in doubled else f"'{doubled}'"


def filled(statements: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """The single statements of ``statements`` with ``values`` in their ``{{placeholders}}``.

    Args:
        statements: each may hold several, separated by ";".
        values: by the placeholder's name; unknown placeholders stay as they are (text may look so).

    Raises:
        BadRequest: a quote is not closed, or a value with quotes stands where quotes are nested. Quotes no value.
    """
    return [single for text in statements for single in _split(text, values, 0)]


def check(statements: Sequence[str]) -> None:
    """Refuse statements that could never be filled. Raises BadRequest."""
    filled(statements, {})


def _split(sql: str, values: Mapping[str, str], depth: int) -> Iterator[str]:
    made: list[str] = []
    for kind, piece in _pieces(sql):
        if kind == "end" and depth == 0:
            if text := "".join(made).strip():
                yield text
            made = []
        else:
            made.append(_fill(kind, piece, values, depth))
    if (text := "".join(made).strip()) or depth:
        yield text if depth == 0 else "".join(made)


def _pieces(sql: str) -> Iterator[tuple[str, str]]:
    """Kinds and texts that together are ``sql``. Kind "" is what lies outside of every quote."""
    at = plain = 0
    while (hit := _TOKEN.search(sql, at)) is not None:
        kind, start, stop = str(hit.lastgroup), hit.start(), hit.end()
        at = stop
        if kind == "word":  # so that e in "name'" and $ in "a$b$" begin no quote
            continue
        if kind == "open":
            raise BadRequest("a quote in a statement is not closed")
        if kind == "block":
            at = stop = _comment_end(sql, stop)
        elif kind == "dollar":
            close = sql.find(hit["dollar"], stop)
            if close < 0:
                raise BadRequest("a dollar quote in a statement is not closed")
            at = stop = close + len(hit["dollar"])
        if start > plain:
            yield "", sql[plain:start]
        yield kind, sql[start:stop]
        plain = stop
    if plain < len(sql):
        yield "", sql[plain:]


def _comment_end(sql: str, at: int) -> int:
    level = 1
    for hit in re.finditer(r"/\*|\*/", sql[at:]):
        level += 1 if hit[0] == "/*" else -1
        if not level:
            return at + hit.end()
    raise BadRequest("a comment in a statement is not closed")


def _fill(kind: str, piece: str, values: Mapping[str, str], depth: int) -> str:
    if "{{" not in piece:
        return piece
    if kind in ("line", "block"):
        return _PLACE.sub("", piece)
    if kind == "dollar":
        return _body(piece, values, depth)

    def put(hit: re.Match[str]) -> str:
        value = values.get(hit[1])
        if value is None:
            return hit[0]
        value = _without_nul(value)
        if kind == "":
            return quote_name(value) if hit[1] in _NAMES else quote_text(value)
        around = _PLACE.sub("", piece[2:-1] if kind == "escaped" else piece[1:-1])
        if _QUOTES.search(around) and _QUOTES.search(value):
            raise BadRequest("a statement nests quotes around a placeholder, and the value has quotes of its own")
        if kind == "name":
            return value.replace('"', '""')
        value = value.replace("'", "''")
        return value.replace("\\", "\\\\") if kind == "escaped" else value

    return _PLACE.sub(put, piece)


def _body(piece: str, values: Mapping[str, str], depth: int) -> str:
    if depth >= _DEPTH:
        raise BadRequest("a statement nests too many dollar quotes")
    tag = piece[: piece.index("$", 1) + 1]
    body = "".join(_split(piece[len(tag) : -len(tag)], values, depth + 1))
    if (body + tag).find(tag) != len(body):
        raise BadRequest("a value cannot be put into this dollar quote; choose another tag")
    return tag + body + tag


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise BadRequest("a name or text must not hold NUL")
    return value
