"""Do a request's fields keep to a rule's allowed and denied parameters?

Names are compared in lower case. A text value may begin or end with ``*``. A field's type is up to the engine, which
takes ``"8"`` for 8 and ``"true"`` for true; so both spellings match, and a *denied* value matches every spelling
that an engine would read as it.
"""

from collections.abc import Mapping
from typing import Any

from strongroom.policy.rules import Parameters

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def refusal(data: Mapping[str, Any], allowed: Parameters | None, denied: Parameters | None) -> str:
    """Why ``data`` may not be sent, or "". Denied wins over allowed; no allowed parameters means all are."""
    if denied:
        if "*" in denied:
            return "every parameter is denied"
        for name, value in data.items():
            values = denied.get(name.lower())
            if values is not None and (not values or any(_is_denied(value, item) for item in values)):
                return "a parameter is denied"
    if allowed:
        others = "*" in allowed
        if others and len(allowed) == 1:
            return ""
        for name, value in data.items():
            values = allowed.get(name.lower())
            if values is None:
                if not others:
                    return "a parameter is not allowed"
            elif values and not any(_matches(value, item) for item in values):
                return "the value of a parameter is not allowed"
    return ""


def _matches(given: Any, rule: Any) -> bool:
    """Whether the value ``given`` is what ``rule`` says."""
    if isinstance(rule, str):
        text = given if isinstance(given, str) else _text(given)
        return text is not None and _glob(text, rule)
    if isinstance(given, str):
        return _text(rule) == given
    return _same(given, rule)


def _is_denied(given: Any, rule: Any) -> bool:
    """As ``_matches``, and wider: elements of a list, items of a comma list, every spelling of a number or flag."""
    if rule == "*" or _matches(given, rule):
        return True
    if isinstance(given, list | tuple):
        return any(_is_denied(element, rule) for element in given)
    if isinstance(given, str) and "," in given and any(_is_denied(item.strip(), rule) for item in given.split(",")):
        return True
    given_text, rule_text = _spelling(given), _spelling(rule)
    if given_text is None or rule_text is None:
        return False
    for words in (_TRUE, _FALSE):
        if given_text in words and rule_text in words:
            return True
    given_number, rule_number = _number(given_text), _number(rule_text)
    return given_number is not None and given_number == rule_number


def _glob(text: str, rule: str) -> bool:
    if len(rule) < 2:
        return text == rule
    head, tail = rule[0] == "*", rule[-1] == "*"
    if head and tail:
        return rule[1:-1] in text
    if head:
        return text.endswith(rule[1:])
    return text.startswith(rule[:-1]) if tail else text == rule


def _text(value: Any) -> str | None:
    """A number or flag as JSON writes it; None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value) if isinstance(value, int | float) else None


def _spelling(value: Any) -> str | None:
    return value.strip() if isinstance(value, str) else _text(value)


def _number(text: str) -> float | None:
    if len(text) > 40 or not text.isascii():
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _same(given: Any, rule: Any) -> bool:
    """Equal, where true is not 1."""
    if isinstance(given, bool) or isinstance(rule, bool) or given is None or rule is None:
        return given is rule
    if isinstance(given, int | float) and isinstance(rule, int | float):
        return given == rule
    if isinstance(given, list | tuple) and isinstance(rule, list | tuple):
        return len(given) == len(rule) and all(_same(a, b) for a, b in zip(given, rule, strict=True))
    if isinstance(given, Mapping) and isinstance(rule, Mapping):
        return given.keys() == rule.keys() and all(_same(given[key], rule[key]) for key in given)
    return isinstance(given, str) and isinstance(rule, str) and given == rule
