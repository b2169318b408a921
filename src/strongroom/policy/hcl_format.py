"""HCL as ``strongroom policy fmt`` writes it: one shape for every text that means the same, comments kept.

Two blanks a level; ``=`` aligned in attributes on consecutive lines; an empty line around whatever takes several
lines; at most one empty line elsewhere, where there was one; lists in one line if they were. Formatting twice
changes nothing, and never changes what the text means.
"""

from collections.abc import Iterator, Sequence

import msgspec

from strongroom.errors import BadRequest
from strongroom.policy.hcl import parse
from strongroom.policy.hcl_tokens import COMMENT, END, IDENT, STRING, Scanner, Source, Token

_INDENT = "  "


def format(text: str, *, what: str = "policy") -> str:  # noqa: A001
    """``text`` in canonical form, ending in a newline unless it is empty.

    Raises:
        BadRequest: the text is not HCL (JSON is not formatted), with line and column.
    """
    text = text.replace("\r\n", "\n")
    parse(text, what=what)
    if text.lstrip("\ufeff \t\n").startswith("{"):
        raise BadRequest(f"{what}: JSON is not formatted")
    entries = _Reader(Source(text, what)).entries(END)
    lines = list(_layout(entries, 0))
    return "\n".join(lines) + "\n" if lines else ""


class _Entry(msgspec.Struct):
    """A comment, an item of a body or an element of a list, with the source lines it took."""

    head: str  # the comment; 'path "x" ' or 'key = ' without its '='; "" for an element
    value: "str | _List | _Object | None"  # None for a comment
    assigned: bool
    first: int
    last: int
    after: list[str]  # comments behind it on the same line


class _List(msgspec.Struct):
    entries: list[_Entry]
    spread: bool  # over several lines


class _Object(msgspec.Struct):
    entries: list[_Entry]


class _Reader:
    """Reads tokens with their comments. The text was parsed before, so its grammar and depth are sound."""

    __slots__ = ("_last", "_scanner", "_source", "_stray", "_token")

    def __init__(self, source: Source) -> None:
        self._source, self._scanner = source, Scanner(source, comments=True)
        self._stray: list[_Entry] = []  # comments in the middle of an item; they move before it
        self._token = self._scanner.next()
        self._last = 1  # source line on which the last token read ended

    def entries(self, close: str) -> list[_Entry]:
        """Items and comments up to ``close``, which is consumed."""
        found: list[_Entry] = []
        while self._token.kind != close:
            if self._token.kind == COMMENT:
                found.append(self._comment())
                continue
            if self._token.kind == ",":  # one that comments parted from its value
                self._advance()
                continue
            first, keys = self._line(self._token.start), list[str]()
            while self._meaningful().kind in (IDENT, STRING):
                keys.append(self._raw(self._advance()))
            assigned = self._meaningful().kind == "="
            if assigned:
                self._advance()
            found += self._finish(_Entry(" ".join(keys), self._value(), assigned, first, self._last, []))
        self._advance()
        return found

    def _value(self) -> "str | _List | _Object":
        token = self._meaningful()
        self._advance()
        if token.kind not in ("{", "["):
            return self._raw(token)
        outer, self._stray = self._stray, []
        value = _Object(self.entries("}")) if token.kind == "{" else self._list()
        self._stray = outer
        return value

    def _list(self) -> _List:
        found: list[_Entry] = []
        opened = self._last
        while self._token.kind != "]":
            if self._token.kind == COMMENT:
                found.append(self._comment())
                continue
            if self._token.kind == ",":  # one that comments parted from its value
                self._advance()
                continue
            first = self._line(self._token.start)
            found += self._finish(_Entry("", self._value(), False, first, self._last, []))
        self._advance()
        return _List(found, self._last != opened)

    def _finish(self, entry: _Entry) -> list[_Entry]:
        """``entry`` with the comments behind it, its comma read over, after the comments that stood inside it."""
        comma = False
        while True:
            if self._token.kind == COMMENT and self._line(self._token.start) == entry.last:
                entry.after.append(self._raw(self._advance()).rstrip())
                entry.last = self._last
            elif self._token.kind == "," and not comma:
                self._advance()
                comma = True
            else:
                break
        stray, self._stray = self._stray, []
        for comment in stray:
            comment.first = comment.last = entry.first
        return [*stray, entry]

    def _comment(self) -> _Entry:
        token = self._advance()
        return _Entry(self._raw(token).rstrip(), None, False, self._line(token.start), self._last, [])

    def _meaningful(self) -> Token:
        """The current token, after setting aside comments before it."""
        while self._token.kind == COMMENT:
            self._stray.append(self._comment())
        return self._token

    def _advance(self) -> Token:
        token, self._token = self._token, self._scanner.next()
        self._last = self._line(token.end)
        return token

    def _line(self, offset: int) -> int:
        return self._source.position(offset)[0]

    def _raw(self, token: Token) -> str:
        return self._source.text[token.start : token.end]


def _layout(entries: Sequence[_Entry], depth: int) -> Iterator[str]:
    """The lines of a body; a value of several lines is one string with newlines."""
    texts = ["" if entry.value is None else _render(entry.value, depth) for entry in entries]
    widths = _widths(entries, texts)
    for index, entry in enumerate(entries):
        if index and _parted(entries, texts, index):
            yield ""
        line = entry.head
        if entry.value is not None:
            line = f"{entry.head.ljust(widths[index])} = " if entry.assigned else f"{entry.head} "
        yield _INDENT * depth + " ".join([line + texts[index], *entry.after])


def _parted(entries: Sequence[_Entry], texts: Sequence[str], index: int) -> bool:
    """Whether an empty line stands before ``entries[index]``."""
    before, entry = entries[index - 1], entries[index]
    if entry.first - before.last > 1:
        return True
    if before.value is None:
        return False
    if "\n" in texts[index - 1]:
        return True
    ahead = index  # comments go with the item they introduce
    while ahead < len(entries) - 1 and entries[ahead].value is None and _next_line(entries, ahead):
        ahead += 1
    return "\n" in texts[ahead]


def _next_line(entries: Sequence[_Entry], index: int) -> bool:
    return entries[index + 1].first - entries[index].last <= 1


def _widths(entries: Sequence[_Entry], texts: Sequence[str]) -> list[int]:
    """How wide each item's name is written: as the widest of the one-line attributes around it."""
    widths = [len(entry.head) for entry in entries]
    start = 0
    for index in range(len(entries) + 1):
        joins = index < len(entries) and entries[index].assigned and "\n" not in texts[index]
        if joins and (index == start or not _parted(entries, texts, index)):
            continue
        if group := widths[start:index]:
            widths[start:index] = [max(group)] * len(group)
        start = index if joins else index + 1
    return widths


def _render(value: "str | _List | _Object", depth: int) -> str:
    if isinstance(value, str):
        return value
    close = _INDENT * depth
    if isinstance(value, _Object):
        return "\n".join(["{", *_layout(value.entries, depth + 1), close + "}"]) if value.entries else "{}"
    texts = ["" if entry.value is None else _render(entry.value, depth + 1) for entry in value.entries]
    plain = all(entry.value is not None and not entry.after for entry in value.entries)
    if not texts or (plain and not value.spread and not any("\n" in text for text in texts)):
        return "[" + ", ".join(texts) + "]"
    lines = ["["]
    for entry, text in zip(value.entries, texts, strict=True):
        if entry.value is None:
            lines.append(close + _INDENT + entry.head)
        else:
            comma = f"\n{close}{_INDENT}," if text.startswith("<<") else ","  # a heredoc's mark stands alone
            lines.append(close + _INDENT + " ".join([text + comma, *entry.after]))
    return "\n".join([*lines, close + "]"])
