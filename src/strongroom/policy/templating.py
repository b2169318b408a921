"""Policies with ``{{identity...}}`` in their paths: what may stand there, and how it is filled in.

A value that is missing and a value that is dangerous are different things:

* missing (no entity, no alias at that mount, no such metadata, empty): a rule that grants grants nothing; a rule that
  denies cannot be dropped without granting, so the whole policy is ``broken`` and its holder is denied everything;
* dangerous (it could widen the pattern or leave its segment): the policy is ``broken``, whatever the rule says.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

import msgspec

from strongroom.errors import BadRequest
from strongroom.policy.rules import DENY, Policy, Rule

MAX_VALUE = 512  # characters of one substitution

_TEMPLATE = re.compile(r"\{\{([^{}]*)\}\}")
_ENTITY = re.compile(r"identity\.entity\.(?:(id|name)|metadata\.(.+))")
_ALIAS = re.compile(r"identity\.entity\.aliases\.([^.]+)\.(?:(id|name)|(metadata|custom_metadata)\.(.+))")
_GROUP = re.compile(
    r"identity\.groups\.(?:ids\.([^.]+)\.(?:(name)|metadata\.(.+))|names\.(.+?)\.(?:(id)|metadata\.(.+)))"
)
_DANGEROUS = re.compile(r"[*+/,{}%\\]")


def is_templated(pattern: str) -> bool:
    """Whether ``pattern`` holds anything that looks like a template."""
    return "{{" in pattern or "}}" in pattern


def check_template(pattern: str) -> None:
    """Refuse a pattern whose templates could never be filled in.

    Raises:
        BadRequest: braces do not pair, or the name inside is none that exists.
    """
    if is_templated(_TEMPLATE.sub("", pattern)):
        raise BadRequest("the braces of a template do not pair")
    for found in _TEMPLATE.finditer(pattern):
        if _keys(found[1].strip()) is None:
            raise BadRequest("a template names nothing that exists")


def render(policy: Policy, identity: Mapping[str, Any]) -> Policy:
    """``policy`` for one identity, ready for an ``Acl``.

    Args:
        policy: as parsed. One without templates comes back as it is.
        identity: ``{}`` for a token without entity, else ``{"entity": {"id", "name", "metadata": {..}, "aliases":
            {accessor: {"id", "name", "metadata": {..}, "custom_metadata": {..}}}}, "groups": {"ids": {id: {"name",
            "metadata"}}, "names": {name: {"id", "metadata"}}}}``; whatever is absent counts as missing.

    Returns:
        a policy that is no longer templated, or one that is ``broken``.
    """
    if not policy.templated:
        return policy
    rules: list[Rule] = []
    for rule in policy.rules:
        if not is_templated(rule.pattern):
            rules.append(rule)
            continue
        pattern, trouble = _fill(rule.pattern, identity)
        if pattern is not None:
            rules.append(msgspec.structs.replace(rule, pattern=pattern))
        elif trouble or rule.capabilities in (0, DENY):  # a rule without capabilities denies too
            reason = trouble or "a deny rule needs an identity value that is missing"
            where = f" (line {rule.line})" if rule.line else ""
            return Policy(name=policy.name, broken=f"policy {policy.name}: {reason}{where}", warnings=policy.warnings)
    return msgspec.structs.replace(policy, rules=tuple(rules), templated=False)


def _fill(pattern: str, identity: Mapping[str, Any]) -> tuple[str | None, str]:
    """The filled pattern, or None with "" for a missing value and a reason for a dangerous one."""
    parts: list[str] = []
    missing, at = False, 0
    for found in _TEMPLATE.finditer(pattern):
        parts.append(pattern[at : found.start()])
        at = found.end()
        keys = _keys(found[1].strip())
        value = _look_up(identity, keys) if keys else None
        if value is None or value == "":
            missing = True
        elif not _is_safe(value):
            return None, "an identity value is not fit for a path"
        else:
            parts.append(value)
    if missing:
        return None, ""
    filled = "".join([*parts, pattern[at:]])
    return (None, "a template cannot be read") if is_templated(filled) else (filled, "")


def _keys(name: str) -> tuple[str, ...] | None:
    """Where in the identity the value ``name`` lies; None for a name that does not exist."""
    if found := _ENTITY.fullmatch(name):
        return ("entity", found[1]) if found[1] else ("entity", "metadata", found[2])
    if found := _ALIAS.fullmatch(name):
        accessor, field, kind, key = found.groups()
        return ("entity", "aliases", accessor, field) if field else ("entity", "aliases", accessor, kind, key)
    if found := _GROUP.fullmatch(name):
        by_id, name_field, id_key, by_name, id_field, name_key = found.groups()
        where = ("groups", "ids", by_id) if by_id else ("groups", "names", by_name)
        field = name_field or id_field
        return (*where, field) if field else (*where, "metadata", id_key or name_key)
    return None


def _look_up(identity: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    value: Any = identity
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def _is_safe(value: object) -> bool:
    """Whether ``value`` stays one segment, or part of one, and means only itself."""
    if not isinstance(value, str) or len(value) > MAX_VALUE or _DANGEROUS.search(value) or value in (".", ".."):
        return False
    if value.isascii():
        return value.isprintable()
    return unicodedata.is_normalized("NFC", value) and not any(unicodedata.category(c)[0] == "C" for c in value)
