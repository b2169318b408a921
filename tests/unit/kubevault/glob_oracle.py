"""A slow matcher of ACL patterns, right by inspection: docs/kubevault/globs.md said once more, character by character.

It shares nothing with the product: braces are expanded as text, and every way to match is tried.
"""

from functools import cache


class Bad(Exception):
    """No pattern."""


def matches(pattern: str, path: str) -> bool:
    return Pattern(pattern).matches(path)


class Pattern:
    def __init__(self, pattern: str) -> None:
        self.negated = False
        while pattern.startswith("!"):
            self.negated = not self.negated
            pattern = pattern[1:]
        self.expansions = expand(pattern, 0)
        if len(self.expansions) > 1024:
            raise Bad("too many")
        for one in self.expansions:
            check(one)

    def matches(self, path: str) -> bool:
        return any(whole(one, path) for one in self.expansions) != self.negated


def unit_end(text: str, at: int) -> int:
    """Where the character, escape or class that begins at ``at`` ends."""
    if text[at] == "\\":
        if at + 1 >= len(text):
            raise Bad("backslash")
        return at + 2
    if text[at] == "[":
        return class_of(text, at)[2]
    return at + 1


def class_of(text: str, at: int) -> tuple[bool, list[tuple[str, str]], int]:
    """Negated or not, the ranges, and where the class ends."""
    at += 1
    negated = at < len(text) and text[at] in "!^"
    if negated:
        at += 1
    members: list[tuple[str, str]] = []
    while True:
        if at >= len(text):
            raise Bad("class")
        if text[at] == "]" and members:
            return negated, members, at + 1
        low, at = character(text, at)
        high = low
        if at + 1 < len(text) and text[at] == "-" and text[at + 1] != "]":
            high, at = character(text, at + 1)
        if low > high:
            raise Bad("range")
        members.append((low, high))


def character(text: str, at: int) -> tuple[str, int]:
    if text[at] != "\\":
        return text[at], at + 1
    if at + 1 >= len(text):
        raise Bad("backslash")
    return {"n": "\n", "t": "\t", "r": "\r", "b": "\x08"}.get(text[at + 1], text[at + 1]), at + 2


def expand(text: str, depth: int) -> list[str]:
    """All texts that the braces stand for."""
    if depth > 10:
        raise Bad("depth")
    at = 0
    while at < len(text) and text[at] != "{":
        at = unit_end(text, at)
    if at == len(text):
        return [text]
    alternatives, open_braces, start, here = [], 1, at + 1, at + 1
    while open_braces:
        if here >= len(text):
            raise Bad("brace")
        end = unit_end(text, here)
        if text[here] == "{":
            open_braces += 1
        elif text[here] == "}":
            open_braces -= 1
        if (text[here] == "," and open_braces == 1) or open_braces == 0:
            alternatives.append(text[start:here])
            start = end
        here = end
    chosen = [one for alternative in alternatives for one in expand(alternative, depth + 1)]
    behind = expand(text[here:], depth)
    return [text[:at] + one + rest for one in chosen for rest in behind]


def check(text: str) -> None:
    at = 0
    while at < len(text):
        at = unit_end(text, at)


def whole(pattern: str, path: str) -> bool:
    """Whether an expansion matches the path from the first character to the last."""

    @cache
    def match(p: int, s: int) -> bool:
        if p == len(pattern):
            return s == len(path)
        if pattern[p] == "*":
            return stars(p, s)
        if s == len(path):
            return False
        if pattern[p] == "?":
            return path[s] != "/" and match(p + 1, s + 1)
        if pattern[p] == "[":
            negated, members, end = class_of(pattern, p)
            inside = any(low <= path[s] <= high for low, high in members)
            return inside != negated and match(end, s + 1)
        char, end = character(pattern, p)
        return char == path[s] and match(end, s + 1)

    def stars(p: int, s: int) -> bool:
        end = p
        while end < len(pattern) and pattern[end] == "*":
            end += 1
        count = end - p
        if count % 2 == 0 and end == len(pattern):
            return True
        if count == 2 and (p == 0 or pattern[p - 1] == "/"):
            for slash in ("/", "\\/"):
                if pattern.startswith(slash, end):
                    starts = [s, *(later + 1 for later in range(s, len(path)) if path[later] == "/")]
                    return any(match(end + len(slash), start) for start in starts)
        if match(end, s):
            return True
        return s < len(path) and path[s] != "/" and match(p, s + 1)

    return match(0, 0)
