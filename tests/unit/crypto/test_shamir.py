"""Shamir shares: another implementation's vectors, every subset, and what is refused."""

import itertools
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.crypto.shamir import combine, split
from strongroom.errors import BadRequest, VaultError

VECTORS = Path(__file__).parents[2] / "vectors" / "shamir"


def times(a: int, b: int) -> int:
    """Schoolbook product in the field, to check against."""
    product = 0
    for bit in range(8):
        if b >> bit & 1:
            product ^= a << bit
    for bit in range(14, 7, -1):
        if product >> bit & 1:
            product ^= 0x11B << bit - 8
    return product


def test_shares_of_another_implementation_combine() -> None:
    lines = (VECTORS / "shares.txt").read_text().splitlines()
    assert len(lines) == 60
    pick = random.Random(1)
    for line in lines:
        secret, threshold, *shares = line.split()
        for _ in range(3):
            chosen = pick.sample([bytes.fromhex(share) for share in shares], int(threshold))
            assert combine(chosen).hex() == secret


def test_recorded_init_answer_is_one_secret() -> None:
    answer = json.loads((VECTORS / "init-answer.json").read_text())
    shares = [bytes.fromhex(key) for key in answer["keys"]]
    assert len({bytes(combine(pair)) for pair in itertools.permutations(shares, 2)}) == 1
    assert {len(share) for share in shares} == {33}


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=1, max_size=40), st.integers(2, 8), st.data())
def test_any_threshold_of_shares_gives_the_secret(secret: bytes, parts: int, data: st.DataObject) -> None:
    threshold = data.draw(st.integers(2, parts))
    shares = split(secret, parts, threshold)
    assert len({share[-1] for share in shares}) == parts
    assert all(len(share) == len(secret) + 1 and share[-1] for share in shares)
    chosen = data.draw(st.permutations(shares))[: data.draw(st.integers(threshold, parts))]
    assert combine(chosen) == secret


def test_every_subset_of_five() -> None:
    secret = bytes(range(32))
    shares = split(secret, 5, 3)
    for subset in itertools.combinations(shares, 3):
        assert combine(subset) == secret
    assert combine(shares) == secret


def test_shares_are_the_polynomial_of_the_coefficients_drawn() -> None:
    drawn: list[bytes] = []
    source = random.Random(7)

    def rng(n: int) -> bytes:
        drawn.append(source.randbytes(n))
        return drawn[-1]

    secret = b"\x00\xff\x80\x01"
    for share in split(secret, 6, 4, rng=rng):
        x = share[-1]
        for at, byte in enumerate(secret):
            y, power = byte, 1
            for coefficients in drawn[:3]:
                power = times(power, x)
                y ^= times(coefficients[at], power)
            assert share[at] == y


def test_the_most_shares_there_can_be() -> None:
    secret = b"\xff" * 32
    shares = split(secret, 255, 255)
    assert sorted(share[-1] for share in shares) == list(range(1, 256))
    assert combine(shares) == secret
    assert combine(shares[1:]) != secret


def test_x_coordinates_are_shuffled() -> None:
    first = {split(b"s", 3, 2)[0][-1] for _ in range(300)}
    assert len(first) > 100


@pytest.mark.parametrize(
    ("secret", "parts", "threshold"),
    [(b"", 3, 2), (b"s", 1, 1), (b"s", 256, 2), (b"s", 3, 1), (b"s", 3, 4), (b"s", 0, 0), (b"s", -1, 2)],
)
def test_split_refuses(secret: bytes, parts: int, threshold: int) -> None:
    with pytest.raises(BadRequest):
        split(secret, parts, threshold)


@pytest.mark.parametrize(
    "shares",
    [
        [],
        [b"ab\x01"],
        [b"ab\x01", b"cd\x01"],
        [b"ab\x01", b"ab\x01"],
        [b"ab\x01", b"cd\x00"],
        [b"ab\x01", b"c\x02"],
        [b"\x01", b"\x02"],
        [b"", b""],
    ],
)
def test_combine_refuses(shares: list[bytes]) -> None:
    with pytest.raises(BadRequest):
        combine(shares)


def test_a_stuck_random_source_is_noticed() -> None:
    with pytest.raises(VaultError, match="random source"):
        split(b"secret", 3, 2, rng=lambda n: b"\x05" * n)
