"""What a verified token must say, and what the login takes from it."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from strongroom.auth.jwt.keys import Invalid

LEEWAY = 150  # seconds that stand in for a missing exp
SKEW = 60  # seconds that clocks may differ
MAX_NAME = 512  # characters of a user's or group's name
MAX_GROUPS = 2048
MISSING: Any = object()  # no claim of that name


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What the login takes from the claims."""

    user: str
    metadata: dict[str, str]
    groups: tuple[str, ...]


def leeway(value: int, default: int) -> int:
    """Vault's reading of a leeway field, in seconds: 0 is the default, negative is none."""
    return default if value == 0 else max(value, 0)


def check_times(
    claims: Mapping[str, Any], now: float, *, expiration: int = 0, not_before: int = 0, skew: int = 0
) -> None:
    """Whether the token is valid at ``now``.

    A missing ``exp`` is the later of ``nbf`` and ``iat`` plus a leeway, a missing ``nbf`` is ``iat``; at least one of
    the three must be there (Vault's rules). A token that says nothing but when it ends has begun: Vault lets it begin
    150 s before its end, which is done here only where the role asks for it.

    Args:
        claims: verified.
        now: seconds since the Unix epoch.
        expiration, skew: seconds as in the role: 0 = the default, negative = none.
        not_before: seconds before ``exp`` at which a token without ``nbf`` and ``iat`` begins; 0 or negative = none.

    Raises:
        Invalid: too early, too late, or no time at all.
    """
    exp, nbf, iat = (_time(claims, name) for name in ("exp", "nbf", "iat"))
    if exp is None and nbf is None and iat is None:
        raise Invalid("no iat, nbf or exp")
    begins = iat if nbf is None else nbf
    if exp is None:
        exp = max(nbf or 0.0, iat or 0.0) + leeway(expiration, LEEWAY)
    if begins is None:
        begins = exp - not_before if not_before > 0 else 0.0
    allowed = leeway(skew, SKEW)
    if now - allowed > exp:
        raise Invalid("expired")
    if now + allowed < begins:
        raise Invalid("not valid yet")
    if iat is not None and now + allowed < iat:
        raise Invalid("issued in the future")


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519 section 2). Text is none."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise Invalid(f"{name} is no time")
    return float(value)


def check_audience(claims: Mapping[str, Any], bound: Sequence[str], *, strict: bool = True) -> None:
    """Whether the token is meant for one of ``bound`` (RFC 7519 section 4.1.3).

    Args:
        claims: verified.
        bound: the audiences of the role.
        strict: a token that names an audience needs a role that names one too.

    Raises:
        Invalid: it is not, or its ``aud`` has a shape that the RFC does not know.
    """
    named: list[str] = []
    if "aud" in claims:
        value = claims["aud"]
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
            raise Invalid("aud is neither text nor a list of text")
        named = value
    if bound:
        if not set(bound) & set(named):
            raise Invalid("aud is none of the role's")
    elif named and strict:
        raise Invalid("aud is given and the role binds none")


def claim_at(claims: Mapping[str, Any], name: str, *, pointer: bool | None = None) -> Any:
    """The claim ``name``, or the value at it as a JSON pointer (RFC 6901); ``MISSING`` if there is none.

    Args:
        claims: verified.
        name: the name; with a leading "/" a pointer unless ``pointer`` says False.
        pointer: whether ``name`` is a pointer; None = by its first character.
    """
    if not (name.startswith("/") if pointer is None else pointer and name.startswith("/")):
        return claims.get(name, MISSING)
    value: Any = claims
    for part in name[1:].split("/"):
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping):
            value = value.get(part, MISSING)
        elif isinstance(value, list) and part.isascii() and part.isdigit() and len(part) < 6 and int(part) < len(value):
            value = value[int(part)]
        else:
            return MISSING
    return value


def check_bound(claims: Mapping[str, Any], bound: Mapping[str, Any], kind: str) -> None:
    """Whether each claim that ``bound`` names has one of the values bound to it.

    Args:
        claims: verified.
        bound: name or pointer -> a value or a list of values.
        kind: "string" (the same) or "glob" (``*`` stands for any text).

    Raises:
        Invalid: one has not.
    """
    for name, wanted in bound.items():
        found = claim_at(claims, name)
        if found is MISSING:
            raise Invalid("a bound claim is missing")
        values = found if isinstance(found, list) else [found]
        allowed = wanted if isinstance(wanted, list) else [wanted]
        if not any(_matches(value, one, kind) for value in values for one in allowed):
            raise Invalid("a bound claim has another value")


def _matches(value: Any, wanted: Any, kind: str) -> bool:
    if kind == "glob":
        return isinstance(value, str) and isinstance(wanted, str) and glob(wanted, value)
    if isinstance(value, bool) or isinstance(wanted, bool):
        return isinstance(value, bool) and isinstance(wanted, bool) and value == wanted  # True == 1 in Python only
    if isinstance(value, str) or isinstance(wanted, str):
        return isinstance(value, str) and isinstance(wanted, str) and value == wanted
    return isinstance(value, int | float) and isinstance(wanted, int | float) and value == wanted


def glob(pattern: str, text: str) -> bool:
    """Whether ``text`` is ``pattern``, in which ``*`` stands for any text and nothing else is special."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    *middle, last = rest
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def taken(
    claims: Mapping[str, Any],
    *,
    user_claim: str,
    user_pointer: bool = False,
    groups_claim: str = "",
    mappings: Mapping[str, str] = {},
) -> Taken:
    """User, groups and metadata.

    Args:
        claims: verified and checked.
        user_claim: the claim that names the user; must be text.
        user_pointer: whether that is a JSON pointer.
        groups_claim: the claim that lists the groups, "" = none.
        mappings: claim -> metadata key. A claim that is missing is passed over.

    Raises:
        Invalid: a claim is missing or of another type.
    """
    user = claim_at(claims, user_claim, pointer=user_pointer)
    if not _is_name(user):
        raise Invalid("the user claim is missing or no name")
    metadata = {}
    for name, key in mappings.items():
        value = claim_at(claims, name)
        if value is MISSING:
            continue
        if isinstance(value, bool):
            metadata[key] = "true" if value else "false"
        elif isinstance(value, str | int | float):
            metadata[key] = str(value)
        else:
            raise Invalid("a mapped claim is neither text, number nor boolean")
    return Taken(user=user, metadata=metadata, groups=_groups(claims, groups_claim))


def _groups(claims: Mapping[str, Any], name: str) -> tuple[str, ...]:
    if not name:
        return ()
    value = claim_at(claims, name)
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or len(listed) > MAX_GROUPS:
        raise Invalid("the groups claim is missing or no list")
    groups = [group for group in listed if group != ""]
    if not all(_is_name(group) for group in groups):
        raise Invalid("a group is no name")
    return tuple(sorted(set(groups)))


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and value.isprintable()
