"""The minimum rule for lifetimes, against a slow model and at its edges."""

import itertools

import pytest

from strongroom.core.ttl import bounded_ttl


@pytest.mark.parametrize(
    ("asked", "explicit", "maximum", "default"), list(itertools.product((0, 5, 50, 500), repeat=4))
)
def test_the_smallest_limit_wins(asked: int, explicit: int, maximum: int, default: int):
    if not maximum or not default:
        return
    ttl, warnings = bounded_ttl(asked=asked, default=default, maximum=maximum, explicit_max=explicit)
    wished = asked or default
    limits = [wished, maximum] + ([explicit] if explicit else [])
    assert ttl == min(limits)
    assert bool(warnings) == (bool(asked) and ttl < asked or bool(explicit) and explicit < min(wished, maximum))


@pytest.mark.parametrize(("age", "expected"), [(0, 10), (8, 2), (9, 1), (9.001, 0), (9.5, 0), (10, 0), (10.5, 0)])
def test_what_is_left_of_the_maximum_is_cut_to_whole_seconds(age: float, expected: int):
    assert bounded_ttl(asked=60, default=60, maximum=10, age=age)[0] == expected
    assert bounded_ttl(asked=0, default=60, maximum=10, age=age)[0] == expected
    assert bounded_ttl(asked=0, default=60, maximum=99, explicit_max=10, age=age)[0] == expected


def test_a_period_renews_for_ever_but_for_an_explicit_maximum():
    assert bounded_ttl(asked=5, default=60, maximum=100, period=30, age=10_000)[0] == 30
    assert bounded_ttl(asked=0, default=60, maximum=20, period=30)[0] == 20
    assert bounded_ttl(asked=0, default=60, maximum=100, period=30, explicit_max=35, age=30)[0] == 5


def test_the_warning_is_in_vaults_words():
    _, warnings = bounded_ttl(asked=2764800, default=1, maximum=2764800, explicit_max=1200)
    assert warnings == (
        'TTL of "768h" exceeded the effective max_ttl of "20m"; TTL value is capped accordingly',
    )  # fmt: skip
