"""Patterns with stars."""

import pytest

from strongroom.sdk.patterns import fits_any, glob


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("a", "a", True),
        ("a", "A", False),
        ("*", "", True),
        ("a*", "ab", True),
        ("*b", "ab", True),
        ("a*b", "a", False),
        ("a*a", "a", False),
        ("a*b*c", "axbxc", True),
        ("a*b*c", "acb", False),
        ("*.example", "x.example", True),
        ("*.example", "x.example.evil", False),
        ("a.c", "abc", False),
        ("", "", True),
        ("", "a", False),
        ("a**b", "ab", True),
    ],
)
def test_glob(pattern: str, text: str, fits: bool) -> None:
    assert glob(pattern, text) is fits


def test_glob_is_linear() -> None:
    assert not glob("a*" * 500 + "b", "a" * 5000)  # a backtracking matcher would never end


def test_fits_any() -> None:
    assert fits_any(["x", "a*"], ["b", "ab"]) and not fits_any(["x"], ["b"])
    assert not fits_any([], ["b"]) and not fits_any(["*"], [])
