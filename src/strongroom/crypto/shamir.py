"""Shamir's secret sharing over GF(2^8) in Vault's share format (docs/formats/shamir-share.md).

A share is one y byte for each secret byte, then the x byte. The field is that of AES (x^8+x^4+x^3+x+1, FIPS 197).

No table is indexed by a secret and no branch depends on one. CPython keeps its small integers in a table, so single
secret bytes are never integers here: a whole secret is one big integer, a byte per lane, with a guard bit above the
lanes that keeps it big and of constant length whatever the secret is. x coordinates are not secret.
"""

import os
from collections.abc import Callable, Sequence

from strongroom.errors import BadRequest, VaultError

MAX_SHARES = 255
_POLYNOMIAL = 0x1B  # x^8 = x^4+x^3+x+1
_GUARD_ABOVE = 32  # bits between the lanes and the guard bit


class _Lanes:
    """Arithmetic on vectors of ``n`` field elements, each vector one integer with the guard bit set."""

    __slots__ = ("_back", "_carry", "_keep", "guard", "n")

    def __init__(self, n: int) -> None:
        ones = int.from_bytes(b"\x01" * n, "little")
        self.n = n
        self.guard = 1 << (8 * n + _GUARD_ABOVE)
        self._keep = ones * 0x7F | self.guard
        self._carry = ones | self.guard >> 7
        self._back = self.guard << 1 ^ (self.guard >> 7) * _POLYNOMIAL ^ self.guard  # what doubling does to the guard

    def load(self, data: bytes | bytearray | memoryview) -> int:
        return int.from_bytes(data, "little") | self.guard

    def store(self, vector: int) -> bytearray:
        out = bytearray(vector.to_bytes(self.n + _GUARD_ABOVE // 8 + 1, "little"))
        del out[self.n :]
        return out

    def add(self, a: int, b: int) -> int:
        return a ^ b ^ self.guard

    def double(self, a: int) -> int:
        return (a & self._keep) << 1 ^ (a >> 7 & self._carry) * _POLYNOMIAL ^ self._back

    def times(self, a: int, factor: int) -> int:
        """``a`` times the public field element ``factor``."""
        total = self.guard
        while factor:
            if factor & 1:
                total = self.add(total, a)
            factor >>= 1
            if factor:
                a = self.double(a)
        return total


def _public_times(a: int, b: int) -> int:
    """Product of two field elements that are not secret."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a & 0x100:
            a ^= 0x100 | _POLYNOMIAL
        b >>= 1
    return product


def _public_inverse(a: int) -> int:
    """Inverse (a^254) of a field element that is not secret."""
    inverse, power = 1, a
    for _ in range(7):
        power = _public_times(power, power)
        inverse = _public_times(inverse, power)
    return inverse


def split(
    secret: bytes | bytearray | memoryview, parts: int, threshold: int, *, rng: Callable[[int], bytes] = os.urandom
) -> list[bytearray]:
    """Shares of ``secret``, any ``threshold`` of which give it back and fewer of which say nothing about it.

    Args:
        secret: 1 byte or more.
        parts: 2..255. (One share of one is the secret itself, without an x byte; the seal does that.)
        threshold: 2..parts.
        rng: n -> n random bytes; coefficients are taken from it unchanged, zeros included.

    Returns:
        ``parts`` shares of ``len(secret) + 1`` bytes with distinct random x in 1..255.

    Raises:
        BadRequest: a number out of range, or an empty secret.
    """
    if not secret:
        raise BadRequest("cannot split an empty secret")
    if not 2 <= parts <= MAX_SHARES:
        raise BadRequest(f"shares must be between 2 and {MAX_SHARES}")
    if not 2 <= threshold <= parts:
        raise BadRequest("threshold must be between 2 and the number of shares")
    lanes = _Lanes(len(secret))
    coefficients = [lanes.load(secret)] + [lanes.load(rng(lanes.n)) for _ in range(threshold - 1)]
    shares = []
    for x in _distinct(parts, rng):
        y = coefficients[-1]
        for coefficient in coefficients[-2::-1]:  # Horner's rule
            y = lanes.add(lanes.times(y, x), coefficient)
        share = lanes.store(y)
        share.append(x)
        shares.append(share)
    return shares


def _distinct(count: int, rng: Callable[[int], bytes]) -> list[int]:
    """``count`` different numbers of 1..255 in random order, all selections equally likely."""
    found: dict[int, None] = {}
    for _ in range(10_000):
        for x in rng(64):
            if x:
                found[x] = None
            if len(found) == count:
                return list(found)
    raise VaultError("the random source does not vary")


def combine(shares: Sequence[bytes | bytearray | memoryview]) -> bytearray:
    """The secret that ``shares`` (threshold or more, all of one split) were made from.

    Wrong or too few shares of the right form give other bytes, not an error: the caller must check the result.

    Raises:
        BadRequest: fewer than two shares, different lengths, a repeated or zero x.
    """
    if len(shares) < 2:
        raise BadRequest("at least two shares are needed")
    size = len(shares[0])
    if size < 2 or any(len(share) != size for share in shares):
        raise BadRequest("shares must be of one length, at least two bytes")
    xs = [share[-1] for share in shares]
    if 0 in xs or len(set(xs)) != len(xs):
        raise BadRequest("shares must have distinct coordinates, none of them zero")
    lanes = _Lanes(size - 1)
    secret = lanes.guard
    for share, x in zip(shares, xs, strict=True):
        above = below = 1
        for other in xs:
            if other != x:
                above = _public_times(above, other)
                below = _public_times(below, other ^ x)
        weight = _public_times(above, _public_inverse(below))
        secret = lanes.add(secret, lanes.times(lanes.load(memoryview(share)[:-1]), weight))
    return lanes.store(secret)
