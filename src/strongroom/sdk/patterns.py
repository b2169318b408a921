"""The patterns of roles: ``*`` stands for any characters, also none, everything else for itself."""

from collections.abc import Iterable, Sequence


def glob(pattern: str, text: str) -> bool:
    """Whether all of ``text`` fits ``pattern``. Case counts. Linear in both, whatever strangers send."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    if not text.startswith(first):
        return False
    at = len(first)
    *middle, last = rest
    for part in middle:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(text) - at >= len(last) and text.endswith(last)


def fits_any(patterns: Sequence[str], texts: Iterable[str]) -> bool:
    """Whether one of ``texts`` fits one of ``patterns``."""
    return any(glob(pattern, text) for text in texts for pattern in patterns)
