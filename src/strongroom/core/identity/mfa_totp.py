"""One-time codes by time (RFC 6238 over RFC 4226), and the address that authenticator programs take a secret from."""

import base64
import hmac
from urllib.parse import quote, urlencode

DIGESTS = {"SHA1": "sha1", "SHA256": "sha256", "SHA512": "sha512"}


def hotp(key: bytes, counter: int, *, digits: int, algorithm: str) -> str:
    """The code of RFC 4226, section 5.3.

    Args:
        key: the shared secret.
        counter: 0 to 2**64 - 1; for codes by time the number of the step.
        digits: 6 or 8.
        algorithm: "SHA1", "SHA256" or "SHA512".

    Returns:
        ``digits`` ASCII digits.
    """
    mac = hmac.digest(key, counter.to_bytes(8, "big"), DIGESTS[algorithm])
    start = mac[-1] & 15
    number = int.from_bytes(mac[start : start + 4], "big") & 0x7FFFFFFF
    return str(number % 10**digits).zfill(digits)


def matching_step(
    key: bytes, code: str, now: float, *, period: int, skew: int, digits: int, algorithm: str, after: int
) -> int | None:
    """The time step that ``code`` is the code of.

    Args:
        key: the shared secret.
        code: as the caller sent it; only exactly ``digits`` ASCII digits can match (threat CVE-2025-6014).
        now: seconds since the Unix epoch.
        period: seconds of a step.
        skew: how many steps before and after the present one count too.
        digits, algorithm: as ``hotp`` takes them.
        after: the last step whose code was used; it and all before it do not count (RFC 6238, section 5.2).

    Returns:
        the number of the step, or None. Every step that counts is compared, each in constant time.
    """
    if len(code) != digits or not code.isascii() or not code.isdigit():
        return None
    present = int(now // period)
    found = None
    for step in range(max(present - skew, 0), present + skew + 1):
        same = hmac.compare_digest(hotp(key, step, digits=digits, algorithm=algorithm), code)
        if same and step > after and found is None:
            found = step
    return found


def otpauth_url(key: bytes, *, issuer: str, account: str, period: int, digits: int, algorithm: str) -> str:
    """The secret as ``otpauth://totp/ISSUER:ACCOUNT?...`` (the "Key Uri Format" of authenticator programs).

    Args:
        key: the shared secret; shown in base32 without padding.
        issuer, account: shown by the program, percent-encoded here.
        period, digits, algorithm: as ``matching_step`` takes them.
    """
    fields = {
        "algorithm": algorithm,
        "digits": digits,
        "issuer": issuer,
        "period": period,
        "secret": base64.b32encode(key).decode().rstrip("="),
    }
    return f"otpauth://totp/{quote(issuer, safe='')}:{quote(account, safe='')}?{urlencode(fields, quote_via=quote)}"
