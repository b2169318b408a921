"""Cedar text taken apart into its statements, so that an error has a line and a decision has a policy.

The engine tells neither where a syntax error is nor which statement a number means, and it overflows its stack on
text that nests deeply. So the text is cut here, by Cedar's lexical rules, and bounded, before the engine sees it.
Source: the Cedar language reference, "Cedar policy language grammar".
"""

import re
from collections.abc import Sequence

import msgspec

from strongroom.errors import BadRequest

MAX_DEPTH = 32  # brackets within each other; the engine dies of some hundreds
MAX_TOKENS = 2000  # of one statement, for chains of operators nest too
MAX_STATEMENTS = 1000  # of one policy
MAX_TEXT = 256 * 1024  # characters of one policy; the engine takes a second for some hundred thousand

_TOKEN = re.compile(r'(\s+|//[^\n\r]*)|("(?:[^"\\]|\\.)*")|([A-Za-z_][A-Za-z0-9_]*)|([0-9]+)|(.)', re.DOTALL)
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")


class Piece(msgspec.Struct, frozen=True):
    """One statement's text, from its first token to its semicolon."""

    n: int  # counts from 1
    line: int  # of the first token, counts from 1
    text: str
    tokens: tuple[str, ...]
    head: str  # annotations, effect and scope, as a statement of their own


def cut(name: str, text: str) -> list[Piece]:
    """The statements of ``text``.

    Args:
        name: of the policy, for errors.
        text: Cedar.

    Raises:
        BadRequest: too long, a string without end, a statement without semicolon, too much nesting, nothing at all.
    """
    if len(text) > MAX_TEXT:
        raise BadRequest(f"failed to parse policy: {name}: longer than {MAX_TEXT} characters")
    pieces: list[Piece] = []
    tokens: list[str] = []
    begin = line = depth = head_end = 0
    for found in _TOKEN.finditer(text):
        blank, token = found[1], found[0]
        if blank is not None:
            continue
        if not tokens:
            begin, line, depth, head_end = found.start(), text.count("\n", 0, found.start()) + 1, 0, 0
        if token == '"':
            raise error(name, len(pieces) + 1, line, "a string has no end")
        tokens.append(token)
        if token in _OPEN:
            depth += 1
        elif token in _CLOSE:
            depth -= 1
            if depth == 0 and token == ")" and not head_end and _effect(tokens):
                head_end = found.end()
        if depth > MAX_DEPTH:
            raise error(name, len(pieces) + 1, line, f"brackets nest deeper than {MAX_DEPTH}")
        if len(tokens) > MAX_TOKENS:
            raise error(name, len(pieces) + 1, line, f"the statement has more than {MAX_TOKENS} tokens")
        if token == ";":
            head = text[begin : head_end or found.start()] + ";"
            pieces.append(Piece(len(pieces) + 1, line, text[begin : found.end()], tuple(tokens), head))
            tokens = []
        if len(pieces) > MAX_STATEMENTS:
            raise BadRequest(f"failed to parse policy: {name}: more than {MAX_STATEMENTS} statements")
    if tokens:
        raise error(name, len(pieces) + 1, line, "the statement does not end in a semicolon")
    if not pieces:
        raise BadRequest(f"failed to parse policy: {name}: there is no statement in it")
    return pieces


def _effect(tokens: Sequence[str]) -> bool:
    """Whether the bracket that just closed is the scope's, and not an annotation's."""
    level = 0
    for index in range(len(tokens) - 1, -1, -1):
        level += (tokens[index] in _CLOSE) - (tokens[index] in _OPEN)
        if level == 0:
            return index > 0 and tokens[index - 1] in ("permit", "forbid") and tokens[index - 2 : index - 1] != ["@"]
    return False


def error(name: str, n: int, line: int, what: str) -> BadRequest:
    """How every error of a statement reads."""
    return BadRequest(f"failed to parse policy: {name}#{n} (line {line}): {what}")


def reads_only(tokens: Sequence[str], stable: frozenset[str]) -> bool:
    """Whether all that a statement reads of ``context`` is in ``stable``; whatever is unclear counts as more."""
    for index, token in enumerate(tokens):
        if token != "context":
            continue
        dot, attribute, *after = [*tokens[index + 1 : index + 4], "", "", ""]
        name = attribute.strip('"')
        if dot == "has" and name in stable:
            continue
        if dot == "." and name in stable and after[0] != "(":
            continue
        return False
    return True
