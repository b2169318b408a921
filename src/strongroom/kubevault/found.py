"""What reading a vault folder yields: the files that were found, and what is wrong with it."""

from collections.abc import Callable
from typing import NamedTuple


class Found(NamedTuple):
    """A file of the vault. ``path`` is relative to its room, with ``/``; ``where`` is how a person finds it."""

    path: str
    where: str
    read: Callable[[], bytes]


class Problem(NamedTuple):
    """Something that keeps the vault from being used, or a warning. ``line`` counts from 1; 0: the whole file."""

    where: str
    line: int
    text: str
    code: str = ""
    hint: str = ""  # what would help

    def __str__(self) -> str:
        return f"{self.where}:{self.line}: {self.text}" if self.line else f"{self.where}: {self.text}"


SKIPPED = frozenset({".gitkeep", ".gitignore", ".gitattributes", ".sops.yaml"})


def locked_by(data: bytes) -> str:
    """What still locks ``data``: ``git-crypt``, ``transcrypt`` or the empty string."""
    if data.startswith(b"\0GITCRYPT\0"):
        return "git-crypt"
    return "transcrypt" if data.startswith(b"U2FsdGVkX1") else ""
