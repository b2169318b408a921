"""The words of HCL1: text in, tokens with positions out, in one pass and without recursion.

The parser and the formatter both read from here, so that they never disagree about what a text says. No message
quotes what it read: a configuration may hold passwords.
"""

import bisect
import re

import msgspec

from strongroom.errors import BadRequest

MAX_TEXT = 1 << 20  # characters; an entry of the store is no larger either
MAX_TOKENS = 250_000
MAX_NUMBER = 64  # characters of one number

IDENT, STRING, NUMBER, COMMENT, END = "identifier", "string", "number", "comment", "end of text"
PUNCTUATION = frozenset("{}[]=,")

_BLANK = re.compile(r"[ \t\r\n]+")
_COMMENT = re.compile(r"#[^\n]*|//[^\n]*|/\*.*?\*/", re.DOTALL)
_TOKEN = re.compile(
    r"""(?P<ident>[^\W\d][\w.\-]*)
    |(?P<string>"[^"\\\n$]*")
    |(?P<punct>[{}\[\]=,])
    |(?P<number>-?(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?))
    |(?P<heredoc><<-?\w+[ \t]*\r?\n)""",
    re.VERBOSE,
)
_PLAIN = re.compile(r'[^"\\\n$]+')
_ESCAPE = re.compile(r'\\(?:([abfnrtv\\"])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))')
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"'}
_HALF = re.compile("[\ud800-\udfff]")
_TAIL = re.compile(r"[\w.]")


def is_text(value: str) -> bool:
    """Whether ``value`` can be stored and compared: no NUL, no half of a surrogate pair."""
    return "\0" not in value and (value.isascii() or _HALF.search(value) is None)


class Token(msgspec.Struct, frozen=True):
    """One word. ``kind`` is a constant of this module or the punctuation mark itself."""

    kind: str
    value: str | int | float
    start: int  # character offset
    end: int

    def __repr__(self) -> str:
        return f"Token({self.kind!r}, {self.start}..{self.end})"


class Source:
    """A text and the way from an offset to a line and column."""

    __slots__ = ("_lines", "text", "what")

    def __init__(self, text: str, what: str) -> None:
        """Raises ``BadRequest`` for a text over ``MAX_TEXT`` characters or with NUL or half a surrogate pair."""
        if len(text) > MAX_TEXT:
            raise BadRequest(f"{what}: the text is longer than {MAX_TEXT} characters")
        if not is_text(text):
            raise BadRequest(f"{what}: the text holds a character that is not text")
        self.text, self.what = text, what
        self._lines: list[int] | None = None

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of ``offset``, both counted from 1."""
        if self._lines is None:
            self._lines = [0, *(found.end() for found in re.finditer("\n", self.text))]
        line = bisect.bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1

    def error(self, offset: int, message: str) -> BadRequest:
        """The refusal to raise for what stands at ``offset``."""
        line, column = self.position(offset)
        return BadRequest(f"{self.what}: line {line}, column {column}: {message}")


class Scanner:
    """Hands out tokens one at a time; with ``comments`` also the comments."""

    __slots__ = ("_at", "_comments", "_count", "source")

    def __init__(self, source: Source, *, comments: bool = False) -> None:
        self.source, self._comments, self._count = source, comments, 0
        self._at = 1 if source.text.startswith("\ufeff") else 0

    def next(self) -> Token:
        """The next token. Raises ``BadRequest`` where the text holds no token."""
        text, source = self.source.text, self.source
        while True:
            if blank := _BLANK.match(text, self._at):
                self._at = blank.end()
            start = self._at
            mark = text[start : start + 1]
            if mark != "#" and mark != "/":
                break
            if (comment := _COMMENT.match(text, start)) is None:
                unfinished = text.startswith("/*", start)
                raise source.error(start, "this comment has no end" if unfinished else "unexpected character")
            self._at = comment.end()
            if self._comments:
                return self._token(COMMENT, comment[0], start, self._at)
        if not mark:
            return Token(END, "", start, start)
        found = _TOKEN.match(text, start)
        if found is None:
            if mark != '"':
                raise source.error(start, "unexpected character")
            value, self._at = _string(source, start)
            return self._token(STRING, value, start, self._at)
        self._at = found.end()
        return self._read(found)

    def _read(self, found: re.Match[str]) -> Token:
        start, text = found.start(), found[0]
        match found.lastgroup:
            case "ident":
                return self._token(IDENT, text, start, self._at)
            case "string":
                return self._token(STRING, _sound(self.source, start, text[1:-1]), start, self._at)
            case "punct":
                return self._token(text, text, start, self._at)
            case "number":
                return self._token(NUMBER, _number(self.source, start, self._at), start, self._at)
        value, self._at = _heredoc(self.source, start, self._at)
        return self._token(STRING, value, start, self._at)

    def _token(self, kind: str, value: str | float, start: int, end: int) -> Token:
        self._count += 1
        if self._count > MAX_TOKENS:
            raise self.source.error(start, f"more than {MAX_TOKENS} words")
        return Token(kind, value, start, end)


def _sound(source: Source, start: int, value: str) -> str:
    if not is_text(value):
        raise source.error(start, "this string holds a character that is not text")
    return value


def _string(source: Source, start: int) -> tuple[str, int]:
    """A string with escapes or with ``${ }``, whose inside is kept as it stands. Returns it and where it ends."""
    text, at, open_braces = source.text, start + 1, 0
    parts: list[str] = []
    while True:
        mark = text[at : at + 1]
        if not mark or (mark == "\n" and not open_braces):
            raise source.error(start, "this string has no end")
        if open_braces:
            open_braces += (mark == "{") - (mark == "}")
        elif mark == '"':
            return _sound(source, start, "".join(parts)), at + 1
        elif mark == "\\":
            escape = _ESCAPE.match(text, at)
            if escape is None:
                raise source.error(at, "unknown escape in a string")
            parts.append(_unescape(source, escape))
            at = escape.end()
            continue
        elif mark == "$" and text.startswith("${", at):
            open_braces, mark = 1, "${"
        elif plain := _PLAIN.match(text, at):
            mark = plain[0]
        parts.append(mark)
        at += len(mark)


def _unescape(source: Source, escape: re.Match[str]) -> str:
    simple, octal, *hexes = escape.groups()
    if simple:
        return _SIMPLE[simple]
    code = int(octal, 8) if octal else int(next(digits for digits in hexes if digits), 16)
    if code > 0x10FFFF:
        raise source.error(escape.start(), "this escape is beyond Unicode")
    return chr(code)


def _number(source: Source, start: int, end: int) -> int | float:
    """A number by HCL1's rules: ``0x`` is hexadecimal, a leading ``0`` octal, integers have 64 bits."""
    text = source.text[start:end]
    if len(text) > MAX_NUMBER or _TAIL.match(source.text, end):
        raise source.error(start, "this is not a number")
    digits = text.lstrip("-")
    try:
        if digits[:2] in ("0x", "0X"):
            value: int | float = int(text, 16)
        elif digits.isdigit():
            value = int(text, 8 if digits[0] == "0" and len(digits) > 1 else 10)
        else:
            value = float(text)
    except ValueError:
        raise source.error(start, "this is not a number") from None
    if (isinstance(value, int) and not -(2**63) <= value < 2**63) or value in (float("inf"), float("-inf")):
        raise source.error(start, "this number is out of range")
    return value


def _heredoc(source: Source, start: int, body: int) -> tuple[str, int]:
    """The lines after ``<<MARK`` up to a line with nothing but MARK; ``<<-`` takes that line's indent off each."""
    head = source.text[start:body].strip()
    indented = head.startswith("<<-")
    mark = head[3 if indented else 2 :]
    close = re.compile(rf"^([ \t]*){re.escape(mark)}\r?$", re.MULTILINE).search(source.text, body)
    if close is None:
        raise source.error(start, "this heredoc has no end")
    value = source.text[body : close.start()].replace("\r\n", "\n")
    indent = close[1]
    if indented and indent:
        lines = value.split("\n")[:-1]
        if all(line.startswith(indent) for line in lines):
            value = "".join(line[len(indent) :] + "\n" for line in lines)
    return _sound(source, start, value), close.end()
