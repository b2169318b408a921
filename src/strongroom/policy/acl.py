"""The decision: which rule speaks about a path, and does it grant what is asked?

Finding the rule, in this order:

1. the rule with exactly this path (for LIST and SCAN of ``p/`` also the one of ``p``);
2. of all patterns with ``*`` or ``+`` that match, the most specific: first wildcard latest, then no trailing ``*``,
   then fewest ``+``, then longest, then last in order of the text.

Rules of several policies for the same pattern are one: capabilities and parameters are united, ``deny`` beats all, of
wrapping limits the lower counts. Sources: HashiCorp's documentation of policies; ``docs/policies.md``.

Everything is laid out when the ``Acl`` is built, a refusal and a permission of each rule included: a decision on a
plain rule allocates nothing but a slice or two, and nothing is remembered from one question to the next.
"""

import bisect
import re
from collections.abc import Iterable, Sequence

from strongroom.policy.parameters import refusal
from strongroom.policy.rules import CAPABILITIES, DENY, SUDO, Parameters, Policy, Rule, pattern_kind
from strongroom.sdk.policy import Decision, Question
from strongroom.sdk.request import Op

_NEEDED = {
    Op.CREATE: "create",
    Op.READ: "read",
    Op.UPDATE: "update",
    Op.PATCH: "patch",
    Op.DELETE: "delete",
    Op.LIST: "list",
    Op.SCAN: "scan",
}
_WITH_FIELDS = frozenset((Op.CREATE, Op.READ, Op.UPDATE, Op.PATCH))  # whose parameters are looked at
_ROOT = Decision(allowed=True, granting=("root",), reason="root token")
_HELP = Decision(allowed=True, reason="help is open to every token")
_NO_RULE = Decision(allowed=False, reason="no rule for this path")
_NOT_CANONICAL = Decision(allowed=False, denied=True, reason="the path is not canonical")
_UNKNOWN = Decision(allowed=False, reason="no capability is for this operation")


class _Grant:
    """All that the policies say about one pattern, with the answers ready."""

    __slots__ = ("answers", "bits", "limits", "no_sudo", "pattern", "rank")

    def __init__(self, pattern: str, rules: Sequence[tuple[str, Rule]]) -> None:
        self.pattern = pattern
        bits = 0
        for _, rule in rules:
            bits |= rule.capabilities
        self.bits = DENY if bits & DENY else bits
        granting = [(name, rule) for name, rule in rules if not self.bits & DENY]
        limits = _Limits([rule for _, rule in granting])
        self.limits = limits if limits.any() else None
        self.rank = _rank(pattern)
        self.no_sudo = self.refuse("the sudo capability is missing")
        self.answers = {op: self._answer(word, granting) for op, word in _NEEDED.items()}

    def _answer(self, word: str, rules: Sequence[tuple[str, Rule]]) -> Decision:
        bit = CAPABILITIES[word]
        names = tuple(dict.fromkeys(name for name, rule in rules if rule.capabilities & bit))
        if names:
            return Decision(allowed=True, granting=names, rule=self.pattern, reason="granted")
        if self.bits & DENY:
            return self.refuse("denied by a rule", denied=True)
        return self.refuse(f"the {word} capability is missing")

    def refuse(self, reason: str, *, denied: bool = False) -> Decision:
        return Decision(allowed=False, rule=self.pattern, reason=reason, denied=denied)

    def limited(self, limits: "_Limits", question: Question, granted: Decision) -> Decision:
        """``granted``, unless a limit of the rule is not kept."""
        reason = limits.broken_by(question)
        return self.refuse(reason, denied=True) if reason else granted


class _Limits:
    """What a pattern's rules demand of wrapping and of a request's fields."""

    __slots__ = ("allowed", "denied", "longest", "required", "shortest")

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.allowed = _united(rule.allowed for rule in rules)
        self.denied = _united(rule.denied for rule in rules)
        self.required = tuple(dict.fromkeys(name for rule in rules for name in rule.required))
        self.shortest = min((rule.min_wrapping_ttl for rule in rules if rule.min_wrapping_ttl), default=0)
        self.longest = min((rule.max_wrapping_ttl for rule in rules if rule.max_wrapping_ttl), default=0)

    def any(self) -> bool:
        return bool(self.allowed or self.denied or self.required or self.shortest or self.longest)

    def broken_by(self, question: Question) -> str:
        """Why ``question`` does not keep to the limits, or ""."""
        if self.shortest or self.longest:
            ttl = question.wrap_ttl
            if ttl <= 0:
                return "the answer must be wrapped"
            if ttl < self.shortest or (self.longest and ttl > self.longest):
                return "the wrapping TTL is outside the rule's limits"
        if question.op not in _WITH_FIELDS:
            return ""
        data = question.data
        if any(name not in data for name in self.required):
            return "a required parameter is missing"
        return refusal(data, self.allowed, self.denied) if data else ""


def _united(several: Iterable[Parameters | None]) -> Parameters | None:
    """Parameters of one pattern in several policies: all names, all values; "any value" swallows the others."""
    union: dict[str, tuple[object, ...]] = {}
    for parameters in several:
        for name, values in (parameters or {}).items():
            old = union.get(name)
            union[name] = values if old is None else (*old, *values) if old and values else ()
    return union or None


class _Prefixes:
    """The longest of many prefixes, by one binary search and a short walk up to a prefix that fits."""

    __slots__ = ("_parents", "_texts", "grants")

    def __init__(self, grants: Iterable[_Grant]) -> None:
        self.grants = sorted(grants, key=lambda grant: grant.pattern[:-1])
        self._texts = [grant.pattern[:-1] for grant in self.grants]
        self._parents: list[int] = []
        open_: list[int] = []  # prefixes that the current text starts with, shortest first
        for index, text in enumerate(self._texts):
            while open_ and not text.startswith(self._texts[open_[-1]]):
                open_.pop()
            self._parents.append(open_[-1] if open_ else -1)
            open_.append(index)

    def find(self, path: str) -> _Grant | None:
        # A prefix of ``path`` sorts at or before it, and all between start with it: it is the neighbour or an
        # ancestor of the neighbour.
        index = bisect.bisect_right(self._texts, path) - 1
        while index >= 0:
            if path.startswith(self._texts[index]):
                return self.grants[index]
            index = self._parents[index]
        return None

    def below(self, prefix: str) -> bool:
        """Whether any pattern that starts with ``prefix`` grants something."""
        for index in range(bisect.bisect_left(self._texts, prefix), len(self._texts)):
            if not self._texts[index].startswith(prefix):
                return False
            if _grants_any(self.grants[index]):
                return True
        return False


class _Segments:
    """Patterns with ``+``, most specific first, as one regular expression without a choice inside a segment."""

    __slots__ = ("_match", "grants")

    def __init__(self, grants: Iterable[_Grant]) -> None:
        self.grants = sorted(grants, key=lambda grant: grant.rank, reverse=True)
        self._match = re.compile("|".join(f"({_expression(grant.pattern)})" for grant in self.grants), re.DOTALL).match

    def find(self, path: str) -> _Grant | None:
        found = self._match(path)
        return self.grants[found.lastindex - 1] if found is not None and found.lastindex else None

    def below(self, prefix: str) -> bool:
        """Whether a pattern grants something on some path that starts with ``prefix``."""
        asked = prefix.split("/")
        return any(_grants_any(grant) and _may_start(grant.pattern, asked) for grant in self.grants)


def _expression(pattern: str) -> str:
    glob = pattern.endswith("*")
    parts = (pattern[:-1] if glob else pattern).split("/")
    return "/".join("[^/]*" if part == "+" else re.escape(part) for part in parts) + ("" if glob else r"\Z")


def _may_start(pattern: str, asked: Sequence[str]) -> bool:
    """Whether a path that starts with the segments ``asked`` (the last may be unfinished) can match ``pattern``."""
    glob = pattern.endswith("*")
    parts = (pattern[:-1] if glob else pattern).split("/")
    if len(asked) > len(parts) and not glob:
        return False
    for index, (part, segment) in enumerate(zip(parts, asked, strict=False)):
        last_part, last_asked = glob and index == len(parts) - 1, index == len(asked) - 1
        if part == "+" or part == segment:
            continue
        if not ((last_part and segment.startswith(part)) or (last_asked and part.startswith(segment))):
            return False
    return True


def _rank(pattern: str) -> tuple[int, bool, int, int, str]:
    """How specific a pattern with wildcards is; the greatest one decides."""
    glob = pattern.endswith("*")
    text = pattern[:-1] if glob else pattern
    parts = text.split("/")
    first = len(text)
    if "+" in parts:
        before = parts[: parts.index("+")]
        first = sum(len(part) for part in before) + len(before)
    return first, not glob, -parts.count("+"), len(text), text


def _grants_any(grant: _Grant) -> bool:
    return bool(grant.bits) and not grant.bits & DENY


def _words(grant: _Grant) -> list[str]:
    if not _grants_any(grant):
        return ["deny"]
    return sorted(word for word, bit in CAPABILITIES.items() if grant.bits & bit)


class Acl:
    """The rules of a set of policies; an ``Authorizer``. Immutable: build another when a policy changes.

    A policy that is broken, still has templates, or is called ``root`` grants nothing; the first two deny everything
    besides HELP, because a rule that cannot be read may have been one that denies.
    """

    __slots__ = ("_all", "_exact", "_prefixes", "_refused", "_root", "_segments")

    def __init__(self, policies: Sequence[Policy], *, root: bool = False) -> None:
        """
        Args:
            policies: as ``templating.render`` leaves them.
            root: for the holder of the root policy; everything is allowed.
        """
        self._root = root
        reason = next((policy.broken for policy in policies if policy.broken), "") or next(
            (f"policy {policy.name}: its templates were not filled in" for policy in policies if policy.templated), ""
        )
        self._refused = Decision(allowed=False, denied=True, reason=reason) if reason else None
        by_pattern: dict[str, list[tuple[str, Rule]]] = {}
        for policy in policies if not reason else ():
            if policy.name != "root":
                for rule in policy.rules:
                    by_pattern.setdefault(rule.pattern, []).append((policy.name, rule))
        kinds: dict[str, list[_Grant]] = {"exact": [], "prefix": [], "segments": []}
        for pattern, rules in by_pattern.items():
            kinds[pattern_kind(pattern)].append(_Grant(pattern, rules))
        self._exact = {grant.pattern: grant for grant in kinds["exact"]}
        self._prefixes = _Prefixes(kinds["prefix"])
        self._segments = _Segments(kinds["segments"]) if kinds["segments"] else None

    def decide(self, question: Question) -> Decision:
        """May the caller do this? Never raises; ``reason`` and ``rule`` are for the audit record only."""
        if question.caller.root or self._root:
            return _ROOT
        op, path = question.op, question.path
        if op is Op.HELP:
            return _HELP
        if self._refused is not None:
            return self._refused
        grant = self._exact.get(path)
        if grant is None:
            if path[:1] == "/":
                return _NOT_CANONICAL
            grant = self._find(path, op is Op.LIST or op is Op.SCAN)
            if grant is None:
                return _NO_RULE
        answer = grant.answers.get(op, _UNKNOWN)
        if not answer.allowed:
            return answer
        if question.sudo and not grant.bits & SUDO:
            return grant.no_sudo
        limits = grant.limits
        return answer if limits is None else grant.limited(limits, question, answer)

    def capabilities(self, path: str) -> list[str]:
        """What the policies grant on ``path``, sorted; ``["deny"]`` for nothing, ``["root"]`` for root."""
        if self._root:
            return ["root"]
        path = path.lstrip("/")  # people paste paths with their slash
        grant = None if self._refused is not None else self._exact.get(path) or self._find(path, True, bare=True)
        return ["deny"] if grant is None else _words(grant)

    def resultant(self) -> dict[str, dict[str, list[str]]]:
        """All patterns with their capabilities, templates filled in: ``{"exact_paths": .., "glob_paths": ..}``.

        As ``sys/internal/ui/resultant-acl`` has them: a prefix stands without its ``*``, a pattern with ``+`` whole.
        """
        globs = {grant.pattern[:-1]: _words(grant) for grant in self._prefixes.grants}
        if self._segments is not None:
            globs |= {grant.pattern: _words(grant) for grant in self._segments.grants}
        return {"exact_paths": {path: _words(grant) for path, grant in self._exact.items()}, "glob_paths": globs}

    def may_any(self, prefix: str) -> bool:
        """Whether anything at all is granted at ``prefix`` or below it (is this mount to be shown?)."""
        if self._root:
            return True
        if self._refused is not None:
            return False
        covering = self._prefixes.find(prefix)
        folder = self._exact.get(prefix.removesuffix("/"))
        return (
            (folder is not None and _grants_any(folder))
            or any(_grants_any(grant) and grant.pattern.startswith(prefix) for grant in self._exact.values())
            or (covering is not None and _grants_any(covering))
            or self._prefixes.below(prefix)
            or (self._segments is not None and self._segments.below(prefix))
        )

    def _find(self, path: str, listing: bool, *, bare: bool = False) -> _Grant | None:
        """The rule for ``path``, which no exact rule names as it stands.

        ``listing``: the path is a folder, its slash may be missing from the rule, and is put back if it is missing
        from the path unless ``bare`` (then it is unknown whether a folder is meant).
        """
        if listing:
            if path[-1:] == "/":
                grant = self._exact.get(path[:-1])
            elif bare:
                grant = None
            else:
                path += "/"
                grant = self._exact.get(path) or self._exact.get(path[:-1])
            if grant is not None:
                return grant
        prefix = self._prefixes.find(path)
        if self._segments is None:
            return prefix
        segment = self._segments.find(path)
        if prefix is None or segment is None:
            return prefix or segment
        return prefix if prefix.rank > segment.rank else segment
