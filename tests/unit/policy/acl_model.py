"""A slow policy decision that is right by inspection: the published rules, said once more in the plainest way.

It shares nothing with the product: patterns are lists of segments, matching is a loop, the choice between two
patterns is a list of comparisons in the documented order.
"""

from functools import cmp_to_key

Rules = list[tuple[str, frozenset[str]]]  # pattern, capabilities


def allowed(rules: Rules, op: str, path: str, sudo: bool = False) -> bool:
    if op == "help":
        return True
    found = capabilities(rules, path, folder=op in ("list", "scan"))
    return op in found and (not sudo or "sudo" in found)


def capabilities(rules: Rules, path: str, *, folder: bool) -> frozenset[str]:
    """The capabilities of the one pattern that speaks about ``path``, all policies together."""
    pattern = deciding_pattern({pattern for pattern, _ in rules}, path, folder=folder)
    merged = frozenset().union(*(words for other, words in rules if other == pattern))
    return frozenset() if "deny" in merged else merged


def deciding_pattern(patterns: set[str], path: str, *, folder: bool) -> str | None:
    names = [path, path[:-1]] if folder and path.endswith("/") else [path]
    for name in names:
        if name in patterns and not has_wildcard(name):
            return name
    candidates = [pattern for pattern in patterns if has_wildcard(pattern) and matches(pattern, path)]
    return max(candidates, key=cmp_to_key(compare)) if candidates else None


def has_wildcard(pattern: str) -> bool:
    return pattern.endswith("*") or "+" in pattern.split("/")


def matches(pattern: str, path: str) -> bool:
    if not pattern:
        return not path
    glob = pattern[-1] == "*"
    wanted = pattern[: len(pattern) - glob].split("/")
    given = path.split("/")
    if glob:
        if len(given) < len(wanted) or not given[len(wanted) - 1].startswith(wanted[-1]):
            return False
        wanted, given = wanted[:-1], given[: len(wanted) - 1]
    if len(wanted) != len(given):
        return False
    return all(want == "+" or want == have for want, have in zip(wanted, given))


def first_wildcard(pattern: str) -> int:
    position = 0
    for segment in pattern.split("/"):
        if segment == "+":
            return position
        position += len(segment) + 1
    return len(pattern) - 1  # the trailing *


def compare(one: str, two: str) -> int:
    """Above 0 when ``one`` has the higher priority: HashiCorp's five rules, in their order."""
    if first_wildcard(one) != first_wildcard(two):
        return 1 if first_wildcard(one) > first_wildcard(two) else -1
    if one.endswith("*") != two.endswith("*"):
        return 1 if two.endswith("*") else -1
    plus = [pattern.split("/").count("+") for pattern in (one.rstrip("*"), two.rstrip("*"))]
    if plus[0] != plus[1]:
        return 1 if plus[0] < plus[1] else -1
    texts = [pattern.removesuffix("*") for pattern in (one, two)]
    if len(texts[0]) != len(texts[1]):
        return 1 if len(texts[0]) > len(texts[1]) else -1
    return (texts[0] > texts[1]) - (texts[0] < texts[1])
