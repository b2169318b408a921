"""The patterns of ACL files: read, expanded, and compiled so that no pattern takes long on any path.

docs/kubevault/globs.md is the specification. A pattern passes through four forms: characters; tokens (a unit that
matches one character, or a mark); branches, one for each brace expansion, in which runs of stars have become gaps; one
regular expression.

Why nothing blows up. Between two gaps stands a chunk of fixed width. A star cannot leave its segment, so the leftmost
place where the next chunk fits is at least as good as any later one in that segment, and a chunk with a slash has only
one place. Likewise the segments between two ``**`` are of fixed number, and the leftmost fit leaves most to what
follows. So every chunk but the last is an atomic group, never tried again, and the work is at most length of pattern x
length of path. A class that may match ``/`` breaks the argument, for it leaves open which segment comes next; such a
class is read as two cases, the slash and the rest, and a pattern with many such classes is followed as an automaton.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from itertools import product
from typing import NamedTuple, Never

MAX_DEPTH = 10
MAX_EXPANSIONS = 1024
MAX_SIZE = 65_536  # tokens of all expansions together
SPLIT = 3  # so many classes that may match a slash become two cases each

CONTROL = {"b": "\b", "n": "\n", "r": "\r", "t": "\t"}
FOLDERS_REGEX = "(?:[^/]*+/)*?"


class Malformed(ValueError):
    """The text is no pattern; says what is wrong with it."""


class Unit(NamedTuple):
    """What matches exactly one character."""

    regex: str
    text: str  # the character, if it can be only that one
    crosses: bool  # a class that may match "/"


class Mark(Enum):
    """What stands for no character by itself."""

    STAR = "*"
    OPEN = "{"
    COMMA = ","
    CLOSE = "}"


class Gap(Enum):
    """What matches text of any length."""

    STAR = "within a segment"
    FOLDERS = "any number of whole segments, each with the slash behind it"
    REST = "all that is left"


Token = Unit | Mark
Item = Unit | Gap
Tree = list["Unit | Mark | list[Tree]"]  # a list inside is a pair of braces: its alternatives
SLASH = Unit("/", "/", False)
ANY = Unit("[^/]", "", False)


class Branch(NamedTuple):
    """One brace expansion, with what narrows a search in a list of paths.

    ``prefix`` is the literal text in front; ``literal`` all of it, if there is no wildcard; ``below`` says that every
    path with the prefix matches; ``needle`` is literal text that each match contains behind the prefix ("": none),
    ``ends`` that it stands at the end.
    """

    items: tuple[Item, ...]
    prefix: str
    literal: str | None
    below: bool
    needle: str
    ends: bool


class Glob:
    """A pattern. Immutable; equal to another of the same text.

    ``prefix`` is literal text that every matching path begins with ("" if there is none, or if the pattern is negated);
    ``literal`` is the one path that matches, if there is no wildcard; ``branches`` are the expansions of the pattern
    without its leading ``!``, ``negated`` tells whether these negate it.
    """

    __slots__ = ("_match", "branches", "literal", "negated", "pattern", "prefix")

    pattern: str
    negated: bool
    branches: tuple[Branch, ...]
    prefix: str
    literal: str | None
    _match: Callable[[str], object] | None

    def __init__(self, pattern: str) -> None:
        """``pattern`` is text as in an ACL file, without the ``!`` that makes a rule a denial. Raises Malformed."""
        plain = pattern.lstrip("!")
        negated = (len(pattern) - len(plain)) % 2 == 1
        expansions = dict.fromkeys(tuple(_gaps(tokens)) for tokens in _expansions(_tree(_tokens(plain))))
        branches = tuple(map(_branch, expansions))
        single = len(branches) == 1 and not negated
        put = object.__setattr__
        put(self, "pattern", pattern)
        put(self, "negated", negated)
        put(self, "branches", branches)
        put(self, "prefix", "" if negated else _common([branch.prefix for branch in branches]))
        put(self, "literal", branches[0].literal if single else None)
        put(self, "_match", None)

    def matches(self, path: str) -> bool:
        """Whether the pattern matches ``path``: relative, segments parted by "/", any other characters."""
        match = self._match
        if match is None:  # compiled when first needed: a literal or a range in a sorted list never is
            match = _compile(self.branches)
            object.__setattr__(self, "_match", match)
        return (not match(path)) is self.negated

    def __setattr__(self, name: str, value: object) -> Never:
        raise AttributeError(f"a Glob cannot be changed: {name}")

    def __delattr__(self, name: str) -> Never:
        raise AttributeError(f"a Glob cannot be changed: {name}")

    def __eq__(self, other: object) -> bool:
        return self.pattern == other.pattern if isinstance(other, Glob) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.pattern)

    def __repr__(self) -> str:
        return f"Glob({self.pattern!r})"


# Characters to tokens.


def _tokens(text: str) -> Iterator[Token]:
    at = 0
    while at < len(text):
        char = text[at]
        if char == "[":
            unit, at = _class(text, at)
            yield unit
            continue
        if char == "\\":
            char, at = _escaped(text, at)
            yield _literal(char)
            continue
        at += 1
        if char == "?":
            yield ANY
        elif char in "*{,}":
            yield Mark(char)
        else:
            yield _literal(char)


def _literal(char: str) -> Unit:
    return SLASH if char == "/" else Unit(re.escape(char), char, False)


def _escaped(text: str, at: int) -> tuple[str, int]:
    """The character for the backslash at ``at``, and where to read on."""
    if at + 1 == len(text):
        raise Malformed("a backslash stands at the end")
    char = text[at + 1]
    return CONTROL.get(char, char), at + 2


def _class(text: str, start: int) -> tuple[Unit, int]:
    """The class whose ``[`` stands at ``start``, and where to read on."""
    at = start + 1
    negated = text[at : at + 1] in ("!", "^")
    at += negated
    ranges: list[tuple[str, str]] = []
    while at < len(text) and (text[at] != "]" or not ranges):  # "]" in the first place is a member
        low, at = _member(text, at)
        high = low
        if text[at : at + 1] == "-" and at + 1 < len(text) and text[at + 1] != "]":
            high, at = _member(text, at + 1)
        if high < low:
            raise Malformed(f"the range {low}-{high} is reversed")
        ranges.append((low, high))
    if at >= len(text):
        raise Malformed(f"no ] closes the class {_clipped(text[start:])}")
    if not negated and len(ranges) == 1 and ranges[0][0] == ranges[0][1] != "/":
        return _literal(ranges[0][0]), at + 1
    crosses = any(low <= "/" <= high for low, high in ranges) is not negated
    inside = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges)
    return Unit(f"[{'^' * negated}{inside}]", "", crosses), at + 1


def _member(text: str, at: int) -> tuple[str, int]:
    return _escaped(text, at) if text[at] == "\\" else (text[at], at + 1)


def _clipped(text: str) -> str:
    return text if len(text) <= 20 else text[:20] + "..."


# Braces.


def _tree(tokens: Iterator[Token]) -> Tree:
    """Tokens with braces made into lists of alternatives; a comma or ``}`` outside of braces is itself."""
    outer: list[tuple[Tree, list[Tree]]] = []  # for each open brace: what it stands in, its finished alternatives
    here: Tree = []
    for token in tokens:
        if token is Mark.OPEN:
            if len(outer) == MAX_DEPTH:
                raise Malformed(f"braces are nested deeper than {MAX_DEPTH}")
            outer.append((here, []))
            here = []
        elif token is Mark.COMMA and outer:
            outer[-1][1].append(here)
            here = []
        elif token is Mark.CLOSE and outer:
            around, alternatives = outer.pop()
            around.append([*alternatives, here])
            here = around
        elif isinstance(token, Mark) and token is not Mark.STAR:
            here.append(_literal(token.value))
        else:
            here.append(token)
    if outer:
        raise Malformed("a { is never closed")
    return here


def _count(tree: Tree) -> int:
    """Number of expansions; beyond the limit any number above it."""
    number = 1
    for item in tree:
        if isinstance(item, list):
            number = min(number * sum(map(_count, item)), MAX_EXPANSIONS + 1)
    return number


def _expansions(tree: Tree) -> list[list[Token]]:
    if _count(tree) > MAX_EXPANSIONS:
        raise Malformed(f"the braces stand for more than {MAX_EXPANSIONS} patterns")
    return _expand(tree)


def _expand(tree: Tree) -> list[list[Token]]:
    made: list[list[Token]] = [[]]
    size = 0
    for item in tree:
        choices = [choice for part in item for choice in _expand(part)] if isinstance(item, list) else [[item]]
        size = size * len(choices) + sum(map(len, choices)) * len(made)
        if size > MAX_SIZE:
            raise Malformed(f"the pattern is longer than {MAX_SIZE} characters, its braces expanded")
        if len(choices) == 1:  # in place: copies at each of many characters would be slow
            for one in made:
                one += choices[0]
        else:
            made = [[*one, *choice] for one in made for choice in choices]
    return made


# Stars.


def _gaps(tokens: list[Token]) -> list[Item]:
    """One expansion with its runs of stars read as gaps."""
    items: list[Item] = []
    at, end = 0, len(tokens)
    while at < end:
        token = tokens[at]
        if isinstance(token, Unit):
            items.append(token)
            at += 1
            continue
        start = at
        while at < end and tokens[at] is Mark.STAR:
            at += 1
        alone = at - start == 2 and (start == 0 or tokens[start - 1] is SLASH)
        if alone and at < end and tokens[at] is SLASH:
            at += 1
            if items[-1:] != [Gap.FOLDERS]:
                items.append(Gap.FOLDERS)
        elif at == end and ((at - start) % 2 == 0 or items[-1:] == [Gap.FOLDERS]):
            if items[-1:] == [Gap.FOLDERS]:  # "**/" and a last "*" or "**" are no more and no less than the rest
                items.pop()
            items.append(Gap.REST)
        else:
            items.append(Gap.STAR)
    return items


def _branch(items: tuple[Item, ...]) -> Branch:
    runs: list[tuple[str, bool]] = []  # literal text, and whether the pattern ends there; the first is the prefix
    run = ""
    for item in items:
        if isinstance(item, Unit) and item.text:
            run += item.text
        else:
            runs.append((run, False))
            run = ""
    runs.append((run, True))
    prefix = runs[0][0]
    literal = prefix if len(runs) == 1 else None
    below = len(items) == len(prefix) + 1 and items[-1] is Gap.REST
    needle, ends = max(runs[1:], key=lambda one: len(one[0]) + one[1], default=("", False))
    return Branch(items, prefix, literal, below, needle, ends and needle != "")


def _common(texts: Sequence[str]) -> str:
    """What all of the texts begin with: what the first and the last in order do."""
    low, high = min(texts), max(texts)
    return low[: next((at for at, char in enumerate(low) if high[at] != char), len(low))]


# Matching.


def _compile(branches: Sequence[Branch]) -> Callable[[str], object]:
    """What tells, true or false, whether one of the branches matches a path."""
    literals = frozenset(branch.literal for branch in branches)
    if None not in literals:
        return literals.__contains__
    if all(branch.below for branch in branches):
        prefixes = tuple(branch.prefix for branch in branches)
        return lambda path: path.startswith(prefixes)
    regexes: list[str] = []
    followed: list[Sequence[Item]] = []
    room = MAX_SIZE
    for branch in branches:
        crossing = sum(isinstance(item, Unit) and item.crosses for item in branch.items)
        room -= len(branch.items) << min(crossing, SPLIT)
        if crossing > SPLIT or room < 0:
            followed.append(branch.items)
        else:
            regexes += map(_regex, _cases(branch.items))
    match = re.compile("|".join(regexes) if regexes else "(?!)").match
    if not followed:
        return match
    automaton = Automaton(followed)
    return lambda path: match(path) is not None or automaton.matches(path)


def _cases(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """The items without classes that may match a slash: each class is a slash in one case, and in another is not."""
    if not any(isinstance(item, Unit) and item.crosses for item in items):
        return iter([items])
    choices = (
        (Unit(f"(?!/){item.regex}", "", False), SLASH) if isinstance(item, Unit) and item.crosses else (item,)
        for item in items
    )
    return product(*choices)


def _regex(items: Sequence[Item]) -> str:
    """A regular expression for ``match``; the end of the path is in it where the pattern asks for it."""
    open_end = items[-1:] == (Gap.REST,)
    runs: list[list[str]] = [[""]]  # between "**/": chunks, with a star between each two
    for item in items:
        if item is Gap.FOLDERS:
            runs.append([""])
        elif item is Gap.STAR:
            runs[-1].append("")
        elif isinstance(item, Unit):
            runs[-1][-1] += item.regex
    parts = []
    for number, (first, *others) in enumerate(runs):
        last = number == len(runs) - 1 and not open_end
        final = others.pop() if others and last else None
        text = first + "".join(f"(?>[^/]*?{chunk})" for chunk in others)
        if last:
            text += "" if final is None else f"[^/]*?{final}" if final else "[^/]*+"
            parts.append(f"{FOLDERS_REGEX if number else ''}{text}\\Z")
        else:
            parts.append(f"(?>{FOLDERS_REGEX}{text})" if number else text)
    return "".join(parts)


class Automaton:
    """Expansions as states, all followed at once: for patterns that no regular expression matches quickly.

    A state is a bit, which says that the items before it have matched so far. ``**/`` takes two: in front of a
    segment, and inside one that it swallows.
    """

    def __init__(self, expansions: Sequence[Sequence[Item]]) -> None:
        self._units: dict[str, int] = {}  # regex of a unit: the states in front of such a unit
        self._stays = self._stays_at_slash = self._skips = self._enters = self._leaves = self._begin = self._end = 0
        bit = 1
        for items in expansions:
            self._begin |= bit
            for item in items:
                if isinstance(item, Unit):
                    self._units[item.regex] = self._units.get(item.regex, 0) | bit
                elif item is Gap.FOLDERS:
                    self._enters |= bit
                    bit <<= 1
                    self._stays |= bit
                    self._leaves |= bit
                else:
                    self._stays |= bit
                    self._skips |= bit
                    self._stays_at_slash |= bit if item is Gap.REST else 0
                bit <<= 1
            self._end |= bit
            bit <<= 1
        self._units_of: dict[str, int] = {}  # character: the states in front of a unit that matches it

    def matches(self, path: str) -> bool:
        """Whether one of the expansions matches the whole path."""
        states = self._closed(self._begin)
        for char in path:
            stays = self._stays_at_slash if char == "/" else self._stays
            moved = ((states & self._before(char)) << 1) | (states & stays)
            if char == "/":
                moved |= (states & self._leaves) >> 1
            if not moved:
                return False
            states = self._closed(moved)
        return bool(states & self._end)

    def _closed(self, states: int) -> int:
        """With the states that need no character to be reached; gaps that follow each other are at most two."""
        for _ in range(2):
            into = states & self._enters
            states |= ((states & self._skips) << 1) | (into << 1) | (into << 2)
        return states

    def _before(self, char: str) -> int:
        mask = self._units_of.get(char)
        if mask is None:
            mask = 0
            for regex, states in self._units.items():
                if re.fullmatch(regex, char):
                    mask |= states
            self._units_of[char] = mask
        return mask
