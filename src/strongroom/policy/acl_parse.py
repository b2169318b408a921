"""From the text of an ACL policy to its rules. Everything that could be misread is refused here, when it is written.

A key that restricts and is not understood must never be skipped: that would grant. So unknown keys are refused, and
known ones that Strongroom does not enforce are refused by name.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from strongroom.errors import BadRequest
from strongroom.policy.hcl import Block, Body, Item, Value, attributes, blocks, located, parse
from strongroom.policy.rules import CAPABILITIES, DENY, Parameters, Policy, Rule, pattern_kind
from strongroom.policy.templating import check_template, is_templated
from strongroom.sdk.fields import parse_duration

__all__ = ["Policy", "Rule", "parse_policy", "parse_stored", "policy_name"]

WHAT = "failed to parse policy"
MAX_NAME = 256  # characters

_NAME = re.compile(r"[a-z0-9_.:@=+~\-]+(?:/[a-z0-9_.:@=+~\-]+)*")
_WORD = re.compile(r"[A-Za-z0-9_\-]{1,40}")
_LEGACY: Mapping[str, tuple[str, ...]] = {  # the old ``policy = "..."`` of a path
    "deny": ("deny",),
    "read": ("read", "list"),
    "write": ("create", "read", "update", "delete", "list"),
    "sudo": ("create", "read", "update", "delete", "list", "sudo"),
}
_KNOWN = frozenset(
    (
        "capabilities",
        "policy",
        "allowed_parameters",
        "denied_parameters",
        "required_parameters",
        "min_wrapping_ttl",
        "max_wrapping_ttl",
        "comment",
        "subscribe_event_types",
    )
)
_UNSUPPORTED: Mapping[str, str] = {
    "control_group": "control groups are not supported",
    "mfa_methods": "MFA on a path is not supported",
    "expiration": "rules that expire are not supported",
    "pagination_limit": "a limit on list pages is not supported",
    "list_scan_response_keys_filter_path": "filtered lists are not supported",
    "response_keys_filter_path": "filtered lists are not supported",
}


def policy_name(name: str) -> str:
    """The name a policy is kept and asked for by: lower case.

    Letters, digits and ``_ - . : @ = + ~`` in ASCII, in segments parted by single slashes; no ``.`` or ``..`` segment,
    since names become storage keys, and nothing that only looks like another name.

    Raises:
        BadRequest: any other name. ``root`` is a name; who may use it is the caller's to decide.
    """
    lowered = name.lower() if name.isascii() else ""
    if len(name) > MAX_NAME or not _NAME.fullmatch(lowered) or {".", ".."} & set(lowered.split("/")):
        raise BadRequest("a policy name has letters, digits and _-.:@=+~ only, and no spaces")
    return lowered


def parse_policy(name: str, text: str) -> Policy:
    """Read a policy in HCL or JSON.

    Args:
        name: see ``policy_name``; ``root`` is refused.
        text: at most 1 Mi characters. Empty text is a policy that grants nothing.

    Raises:
        BadRequest: ``failed to parse policy: ...`` with the line; bad names in words of their own.

    Source: HashiCorp's and OpenBao's documentation of policies; ``docs/policies.md`` lists what differs.
    """
    name = policy_name(name)
    if name == "root":
        raise BadRequest('cannot update "root" policy')
    body = parse(text, what=WHAT)
    for item in body.items:
        if item.key not in ("path", "name"):
            raise located(WHAT, item.line, f"unknown key {_word(item.key)}; a policy consists of path blocks")
    warnings: list[str] = []
    rules = tuple(_rule(block, warnings) for block in blocks(body, "path", labels=1, what=WHAT))
    templated = any(is_templated(rule.pattern) for rule in rules)
    return Policy(name=name, rules=rules, templated=templated, warnings=tuple(warnings))


def parse_stored(name: str, text: str) -> Policy:
    """As ``parse_policy`` for text from the store, and never raises: what cannot be read any more is ``broken``.

    Its holders are then denied, with a reason in the audit record, as for a template that cannot be filled in.
    """
    try:
        return parse_policy(name, text)
    except BadRequest as cause:
        return Policy(name=name, broken=f"policy {name}: {cause}")


class _Place:
    """A path block being read, and how its errors begin."""

    __slots__ = ("block", "items", "label")

    def __init__(self, block: Block) -> None:
        self.block = block
        label = block.labels[0]
        self.label = f'path "{label}"' if len(label) <= 200 and label.isprintable() else "a path"
        self.items = attributes(block.body, what=WHAT)

    def error(self, message: str, item: Item | None = None) -> BadRequest:
        line = (item.line if item else 0) or self.block.line
        return BadRequest(f"{WHAT}: {self.label}: {message}" + (f" (line {line})" if line else ""))

    def get(self, key: str) -> Item | None:
        """The item ``key``; a JSON null counts as absent."""
        item = self.items.get(key)
        return item if item is not None and item.value is not None else None


def _rule(block: Block, warnings: list[str]) -> Rule:
    place = _Place(block)
    for key, item in place.items.items():
        if key in _UNSUPPORTED:
            raise place.error(_UNSUPPORTED[key], item)
        if key not in _KNOWN:
            raise place.error(f"unknown key {_word(key)}", item)
    if "subscribe_event_types" in place.items:
        warnings.append(f"{place.label}: subscribe_event_types has no effect")
    capabilities = _capabilities(place)
    shortest, longest = _ttl(place, "min_wrapping_ttl"), _ttl(place, "max_wrapping_ttl")
    if longest and shortest > longest:
        raise place.error("max_wrapping_ttl is less than min_wrapping_ttl", place.get("max_wrapping_ttl"))
    return Rule(
        pattern=_pattern(place, warnings),
        capabilities=capabilities,
        allowed=_parameters(place, "allowed_parameters"),
        denied=_parameters(place, "denied_parameters"),
        required=tuple(dict.fromkeys(name.lower() for name in _words(place, "required_parameters"))),
        min_wrapping_ttl=shortest,
        max_wrapping_ttl=longest,
        line=block.line,
    )


def _pattern(place: _Place, warnings: list[str]) -> str:
    """The path as requests spell it (NFC, no leading slash), checked for wildcards that would not work."""
    pattern = unicodedata.normalize("NFC", place.block.labels[0].removeprefix("/"))
    if not pattern.isprintable():
        raise place.error("the path holds a control character")
    if is_templated(pattern):
        try:
            check_template(pattern)
        except BadRequest as cause:
            raise place.error(str(cause)) from None
    if "+*" in pattern:
        raise place.error("'+*' is not a wildcard")
    if "*" in pattern[:-1]:
        warnings.append(f"{place.label}: a '*' that is not at the end stands for itself")
    elif pattern_kind(pattern) != "segments" and any(part in ("", ".", "..") for part in pattern.split("/")[:-1]):
        warnings.append(f"{place.label}: no request has such a path")
    return pattern


def _capabilities(place: _Place) -> int:
    words = list(_words(place, "capabilities"))
    if legacy := place.get("policy"):
        if not isinstance(legacy.value, str) or legacy.value not in _LEGACY:
            raise place.error("policy must be read, write, deny or sudo", legacy)
        words += _LEGACY[legacy.value]
    total = 0
    for word in words:
        if word not in CAPABILITIES:
            raise place.error(f"invalid capability {_word(word)}", place.get("capabilities"))
        total |= CAPABILITIES[word]
    return DENY if total & DENY else total


def _words(place: _Place, key: str) -> tuple[str, ...]:
    item = place.get(key)
    if item is None:
        return ()
    if not isinstance(item.value, list) or not all(isinstance(word, str) for word in item.value):
        raise place.error(f"{key} must be a list of texts", item)
    return tuple(str(word) for word in item.value)


def _ttl(place: _Place, key: str) -> int:
    item = place.get(key)
    if item is None:
        return 0
    try:
        return parse_duration(item.value, name=key)
    except BadRequest as cause:
        raise place.error(str(cause), item) from None


def _parameters(place: _Place, key: str) -> Parameters | None:
    item = place.get(key)
    if item is None:
        return None
    parameters: dict[str, tuple[Any, ...]] = {}
    for block in blocks(Body((item,)), key, what=WHAT):
        for entry in block.body.items:
            if not isinstance(entry.value, list) or entry.labels:
                raise place.error(f"each of {key} needs a list of values", entry)
            name = entry.key.lower()
            if name in parameters:
                raise place.error(f"one of {key} is given twice", entry)
            parameters[name] = tuple(_plain(value) for value in entry.value)
    return parameters


def _plain(value: Value) -> Any:
    """A parameter's value as a request would carry it."""
    if isinstance(value, Body):
        return {item.key: _plain(item.value) for item in value.items}
    if isinstance(value, list):
        return [_plain(element) for element in value]
    return value


def _word(text: str) -> str:
    """``text`` in a message, if it is a plain short word."""
    return f'"{text}"' if _WORD.fullmatch(text) else "(not a word)"
