"""Password policies: how long a password is, and which characters it must have.

    length = 20
    rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" min-chars = 1 }
    rule "charset" { charset = "0123456789" min-chars = 1 }

The text is HCL or JSON; reading it is the policy language's affair, its meaning is here.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from strongroom.errors import BadRequest

MIN_LENGTH, MAX_LENGTH = 4, 100  # characters; Vault's own bounds
MAX_CHARSET = 4096
_WHAT = "failed to parse password policy"


class Charset(msgspec.Struct, frozen=True):
    """At least ``least`` characters of the password come from ``characters`` (sorted, each once)."""

    characters: str
    least: int = 0


class PasswordPolicy(msgspec.Struct, frozen=True):
    """A policy that can be met: see ``read``."""

    length: int
    rules: tuple[Charset, ...]

    def generate(self) -> str:
        """A password. Each place is drawn uniformly; the required characters are drawn first, then all are shuffled."""
        every = "".join(sorted(set("".join(rule.characters for rule in self.rules))))
        drawn = [rule.characters[_below(len(rule.characters))] for rule in self.rules for _ in range(rule.least)]
        drawn += [every[_below(len(every))] for _ in range(self.length - len(drawn))]
        for last in range(len(drawn) - 1, 0, -1):
            other = _below(last + 1)
            drawn[last], drawn[other] = drawn[other], drawn[last]
        return "".join(drawn)


def read(plain: Mapping[str, Any]) -> PasswordPolicy:
    """The policy in ``plain``: scalars as they are, blocks as lists of maps.

    Raises:
        BadRequest: an unknown key, a number out of range, no charset, or more required characters than the length.
    """
    _known(plain, {"length", "rule"})
    length = _number(plain.get("length"), "length", MIN_LENGTH, MAX_LENGTH)
    rules = tuple(_charset(block) for labelled in _blocks(plain.get("rule", [])) for block in _labelled(labelled))
    if not rules:
        raise BadRequest(f"{_WHAT}: at least one rule with a charset is needed")
    if sum(rule.least for rule in rules) > length:
        raise BadRequest(f"{_WHAT}: the rules ask for more characters than the length")
    return PasswordPolicy(length, rules)


def _labelled(rule: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    if set(rule) != {"charset"}:
        raise BadRequest(f'{_WHAT}: the only kind of rule is "charset"')
    return _blocks(rule["charset"])


def _blocks(value: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise BadRequest(f"{_WHAT}: a rule must be a block")
    return value


def _charset(block: Mapping[str, Any]) -> Charset:
    _known(block, {"charset", "min-chars"})
    text = block.get("charset")
    if not isinstance(text, str) or not text or len(text) > MAX_CHARSET or not text.isprintable():
        raise BadRequest(f"{_WHAT}: a charset must be printable characters")
    return Charset("".join(sorted(set(text))), _number(block.get("min-chars", 0), "min-chars", 0, MAX_LENGTH))


def _known(block: Mapping[str, Any], names: set[str]) -> None:
    if set(block) - names:
        raise BadRequest(f"{_WHAT}: unknown key; known are {', '.join(sorted(names))}")


def _number(value: Any, name: str, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise BadRequest(f"{_WHAT}: {name} must be a number from {least} to {most}")
    return value


def _below(limit: int) -> int:
    """A uniform number in ``range(limit)`` from the system's generator, by rejection."""
    width = (limit.bit_length() + 7) // 8
    top = 256**width // limit * limit
    while (value := int.from_bytes(os.urandom(width))) >= top:
        pass
    return value % limit
