"""Codes by time, against the vectors of RFC 6238 (appendix B) and RFC 4226 (appendix D)."""

from urllib.parse import parse_qs, urlsplit

import pytest

from strongroom.core.identity.mfa_totp import hotp, matching_step, otpauth_url

SEED = b"12345678901234567890"
KEYS = {"SHA1": SEED, "SHA256": (SEED * 2)[:32], "SHA512": (SEED * 4)[:64]}
RFC_6238 = [
    (59, "94287082", "46119246", "90693936"),
    (1111111109, "07081804", "68084774", "25091201"),
    (1111111111, "14050471", "67062674", "99943326"),
    (1234567890, "89005924", "91819424", "93441116"),
    (2000000000, "69279037", "90698825", "38618901"),
    (20000000000, "65353130", "77737706", "47863826"),
]
RFC_4226 = "755224 287082 359152 969429 338314 254676 287922 162583 399871 520489".split()


@pytest.mark.parametrize(("time", "sha1", "sha256", "sha512"), RFC_6238)
def test_rfc_6238(time: int, sha1: str, sha256: str, sha512: str) -> None:
    codes = {name: hotp(key, time // 30, digits=8, algorithm=name) for name, key in KEYS.items()}
    assert codes == {"SHA1": sha1, "SHA256": sha256, "SHA512": sha512}


def test_rfc_4226() -> None:
    assert [hotp(SEED, n, digits=6, algorithm="SHA1") for n in range(10)] == RFC_4226


def step(code: str, now: float, *, skew: int = 1, after: int = -1) -> int | None:
    return matching_step(SEED, code, now, period=30, skew=skew, digits=6, algorithm="SHA1", after=after)


def test_the_window() -> None:
    assert [step(code, 125) for code in RFC_4226[:8]] == [None, None, None, 3, 4, 5, None, None]
    assert [step(code, 125, skew=0) for code in RFC_4226[:8]] == [None, None, None, None, 4, None, None, None]
    assert step(RFC_4226[0], 0) == 0  # nothing is before the first step


def test_a_used_step_and_those_before_it_do_not_count() -> None:
    assert [step(code, 125, after=4) for code in RFC_4226[:8]] == [None, None, None, None, None, 5, None, None]


@pytest.mark.parametrize("code", ["", "33831", "3383144", "33831a", "338314 ", "３３８３１４", "-38314"])
def test_what_is_no_code(code: str) -> None:
    assert step(code, 125) is None and step("338314", 125) == 4


def test_the_address() -> None:
    url = otpauth_url(SEED, issuer="A & B", account="e:1", period=60, digits=8, algorithm="SHA256")
    assert url.startswith("otpauth://totp/A%20%26%20B:e%3A1?")
    fields = {key: value[0] for key, value in parse_qs(urlsplit(url).query).items()}
    assert fields == {
        "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "issuer": "A & B", "period": "60", "digits": "8",
        "algorithm": "SHA256",
    }  # fmt: skip
