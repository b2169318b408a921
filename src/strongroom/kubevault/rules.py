"""The rules of one user: read from an ACL file, asked of a list of paths, and reviewed.

The last rule that matches a path decides; before the first rule nothing is allowed. An ``Index`` holds the paths in
order, so that most patterns are answered from a range or a search for text and few are tried path by path.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, compress, pairwise
from typing import NamedTuple

from strongroom.kubevault.globs import Branch, Glob, Malformed

# Unicode's White_Space. str.strip() would take four control characters more, and make another pattern of them.
BLANKS = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
FEW = 64  # paths that are rather tried one by one than searched for text


class Rule(NamedTuple):
    """A line of an ACL file. ``glob`` is None if it is malformed (``wrong`` says why) or empty (``wrong`` is "")."""

    line: int
    text: str
    denies: bool
    glob: Glob | None
    wrong: str = ""


class Finding(NamedTuple):
    """Something that a rule's author should know: code is ``malformed``, ``no-match`` or ``shadowed``."""

    rule: Rule
    code: str
    text: str


def parse_rules(text: str) -> list[Rule]:
    """The rules of an ACL file, in order; raises nothing.

    ``text`` is the file's content. Lines end at LF or CR LF; empty lines and those with "#" in the first column are no
    rules. A byte order mark in front is dropped. A malformed pattern is a rule with ``wrong``: see ``broken_denials``.
    """
    *ended, last = text.removeprefix("\ufeff").split("\n")
    lines = [*(line.removesuffix("\r") for line in ended), last]
    return [_rule(number, line.strip(BLANKS)) for number, line in enumerate(lines, 1) if line and line[0] != "#"]


def broken_denials(rules: Iterable[Rule]) -> list[Rule]:
    """The denials that are malformed. Each would silently deny nothing: from such a file no manifest may be made."""
    return [rule for rule in rules if rule.denies and rule.wrong]


def _rule(line: int, text: str) -> Rule:
    denies = text.startswith("!")
    pattern = text[denies:]
    if not pattern:
        return Rule(line, text, denies, None)
    try:
        return Rule(line, text, denies, _glob(pattern))
    except Malformed as error:
        return Rule(line, text, denies, None, str(error))


@lru_cache(4096)
def _glob(pattern: str) -> Glob:
    return Glob(pattern)  # users share patterns, and a Glob keeps what it compiled


class Index:
    """Paths in path order, asked many times. A position is a path's index in ``paths``.

    Positions are given in ascending order, as a range or an array.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        """``paths`` in path order: sorted by their lists of segments, none twice. Raises ValueError if they are not."""
        self.paths = list(paths)
        # With the lowest character for "/" the order of texts is that of lists of segments. No path has a NUL.
        self._keys = [path.replace("/", "\0") for path in self.paths]
        if any(low >= high for low, high in pairwise(self._keys)):
            raise ValueError("paths are not in path order")
        self._text = "\0".join([*self.paths, ""])  # each path with a NUL behind it
        self._starts = list(accumulate((len(path) + 1 for path in self.paths), initial=0))
        self._found: dict[str, Sequence[int]] = {}

    def matching(self, rule: Rule) -> Sequence[int]:
        """The positions that the rule's pattern matches, whether it allows or denies."""
        return () if rule.glob is None else self.positions(rule.glob)

    def positions(self, glob: Glob) -> Sequence[int]:
        """The positions that a pattern matches; remembered."""
        found = self._found.get(glob.pattern)
        if found is None:
            found = self._found[glob.pattern] = self._search(glob)
        return found

    def allowed(self, rules: Iterable[Rule]) -> list[int]:
        """The positions that the rules allow."""
        state = bytearray(len(self.paths))
        for rule in rules:
            _mark(state, self.matching(rule), not rule.denies)
        return list(compress(range(len(state)), state))

    def deciding(self, rules: Sequence[Rule], path: str) -> Rule | None:
        """The last rule that matches ``path``, which need not be in the index. None if none does: it is not allowed."""
        return next((rule for rule in reversed(rules) if rule.glob is not None and rule.glob.matches(path)), None)

    def review(self, rules: Sequence[Rule]) -> list[Finding]:
        """What the rules' author should know, in order of rules. Malformed denials are an error and not among it."""
        later = self._decided_later(rules)
        state = bytearray(len(self.paths))
        found = []
        for rule, covered in zip(rules, later, strict=True):
            positions = self.matching(rule)
            if rule.wrong:
                if not rule.denies:
                    found.append(Finding(rule, "malformed", f"grants nothing: {rule.wrong}"))
            elif not positions:
                found.append(Finding(rule, "no-match", "matches no secret" + self._reason(rule)))
            elif covered:
                found.append(Finding(rule, "shadowed", f"every secret it matches is decided by {covered}"))
            elif all(state[at] != rule.denies for at in positions):
                already = (
                    "denies nothing: no rule above allows" if rule.denies else "allows nothing new: rules above allow"
                )
                found.append(Finding(rule, "shadowed", f"{already} what it matches"))
            _mark(state, positions, not rule.denies)
        return found

    # Finding what matches.

    def _search(self, glob: Glob) -> Sequence[int]:
        if glob.negated:
            state = bytearray(b"\1") * len(self.paths)
            _mark(state, self._search(Glob(glob.pattern.lstrip("!"))), False)
            return array("I", compress(range(len(state)), state))
        if len(glob.branches) == 1:
            found = self._search_branch(glob, glob.branches[0])
            return found if isinstance(found, range) else array("I", found)
        return array("I", sorted({at for branch in glob.branches for at in self._search_branch(glob, branch)}))

    def _search_branch(self, glob: Glob, branch: Branch) -> Iterable[int]:
        """Positions that the glob matches, among them all that the branch does."""
        if branch.literal is not None:
            key = branch.literal.replace("/", "\0")
            return range(bisect_left(self._keys, key), bisect_right(self._keys, key))
        span = self._span(branch.prefix)
        if branch.below:
            return span
        matches, paths = glob.matches, self.paths
        candidates = self._containing(branch, span) if branch.needle and len(span) > FEW else span
        return [at for at in candidates if matches(paths[at])]

    def _span(self, prefix: str) -> range:
        """The positions of the paths that begin with ``prefix``: they stand together."""
        key = prefix.replace("/", "\0")
        low = bisect_left(self._keys, key)
        return range(low, bisect_right(self._keys, key, low, key=lambda path: path[: len(key)]))

    def _containing(self, branch: Branch, span: range) -> Iterator[int]:
        """The positions within ``span`` of the paths that contain the branch's needle."""
        text, starts = self._text, self._starts
        needle = branch.needle + "\0" * branch.ends
        at, end = starts[span.start], starts[span.stop]
        while (at := text.find(needle, at, end)) >= 0:
            position = bisect_right(starts, at) - 1
            yield position
            at = starts[position + 1]

    # Reviewing.

    def _decided_later(self, rules: Sequence[Rule]) -> list[str]:
        """For each rule: which later rules decide all that it matches, in words; "" if there is something left."""
        by = array("I", bytes(4 * len(self.paths)))  # line of the deciding rule so far
        said = []
        for rule in reversed(rules):
            positions = self.matching(rule)
            lines = {by[at] for at in positions} if positions and all(by[at] for at in positions) else set()
            said.append(_lines(sorted(lines)) if lines else "")
            for at in positions:
                by[at] = by[at] or rule.line
        return said[::-1]

    def _reason(self, rule: Rule) -> str:
        """Why a rule matches nothing, where its text tells; begins with a colon, to be put behind a statement."""
        pattern = rule.text[rule.denies :]
        if not pattern:
            return ": it is empty"
        if pattern.startswith("#"):
            return ": a comment has its # in the first column of the line"
        plain, reasons = _mended(pattern)
        for other, guess in _guesses(plain):
            if other != pattern and self._matches_any(other):
                why = ", ".join([*reasons, *guess])
                return f": {why}; {'!' * rule.denies}{other} would match"
        return f": {', '.join(reasons)}" if reasons else ""

    def _matches_any(self, pattern: str) -> bool:
        try:
            return bool(self.positions(_glob(pattern)))
        except Malformed:
            return False


def _mended(pattern: str) -> tuple[str, list[str]]:
    """The pattern without what no path has, and what that was."""
    reasons = []
    head, hash_sign, _ = pattern.partition(" #")
    if hash_sign:
        pattern = head.rstrip(BLANKS)
        reasons.append("a comment needs a line of its own")
    if pattern != pattern.lstrip(BLANKS):
        pattern = pattern.lstrip(BLANKS)
        reasons.append("the blanks in front belong to the pattern")
    if pattern.startswith("./"):
        pattern = pattern.removeprefix("./")
        reasons.append("paths do not begin with ./")
    if pattern.startswith("/"):
        pattern = pattern.lstrip("/")
        reasons.append("paths do not begin with /")
    if pattern.endswith("/"):
        pattern = pattern.rstrip("/")
        reasons.append("paths do not end in /")
    return pattern, reasons


def _guesses(plain: str) -> Iterator[tuple[str, list[str]]]:
    """What somebody may have meant by a pattern, and what it says instead."""
    yield plain, []
    if plain.endswith("/*"):
        yield f"{plain}*", ["* stays in its folder"]
    elif plain and not plain.endswith("*"):
        yield f"{plain}/**", ["it names a folder"]


def _mark(state: bytearray, positions: Sequence[int], value: bool) -> None:
    if isinstance(positions, range):
        state[positions.start : positions.stop] = bytes([value]) * len(positions)
        return
    for at in positions:
        state[at] = value


def _lines(lines: list[int]) -> str:
    """ "line 3", or "lines 3, 5 and 9"."""
    if len(lines) == 1:
        return f"line {lines[0]}"
    return f"lines {', '.join(map(str, lines[:-1]))} and {lines[-1]}"
