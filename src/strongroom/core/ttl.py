"""How long a token or a lease lives: the minimum rule, written once."""

from strongroom.sdk.fields import go_duration


def bounded_ttl(
    *, asked: int, default: int, maximum: int, explicit_max: int = 0, period: int = 0, age: float = 0.0
) -> tuple[int, tuple[str, ...]]:
    """The TTL that is granted now, in whole seconds, and what to warn about.

    Args:
        asked: what the request, role or method wants; 0 = no wish.
        default: what the mount gives without a wish, > 0.
        maximum: the lower of mount's and method's maximum, > 0; counts from creation.
        explicit_max: a hard limit from creation, 0 = none.
        period: of a periodic token, 0 = not periodic. It replaces ``asked`` and is not limited by ``maximum`` over
            the token's life, only each time.
        age: seconds since creation.

    Returns:
        (ttl, warnings). ``ttl`` <= 0 means that the life is over: refuse, never store (threat CVE-2021-32923).
    """
    warnings: list[str] = []
    if period:
        ttl, limit = period, maximum
    else:
        ttl, limit = asked or default, int(maximum - age)
    if ttl > limit:
        if asked or period:
            warnings.append(_capped(ttl, maximum))
        ttl = limit
    if explicit_max:
        left = int(explicit_max - age)
        if ttl > left:
            warnings = [_capped(ttl, explicit_max)]
            ttl = left
    return int(ttl), tuple(warnings)  # a plain number: it is stored


def _capped(ttl: int, limit: int) -> str:
    return (
        f'TTL of "{_short(ttl)}" exceeded the effective max_ttl of "{_short(limit)}"; TTL value is capped accordingly'
    )


def _short(seconds: int) -> str:
    text = go_duration(seconds)
    for tail in ("m0s", "h0m"):
        if text.endswith(tail) and len(text) > len(tail):
            text = text[: -len(tail) + 1]
    return text
