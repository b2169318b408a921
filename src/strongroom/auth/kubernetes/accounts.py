"""Whose a service account's token is: read from its claims, checked by keys, or told by the API server."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

import msgspec

from strongroom.auth.kubernetes.entries import MAX_JWT, Config, Role, public_keys

# The API server signs with RSA or EC keys; nothing symmetric and no "none" is ever taken (RFC 8725 section 3.1).
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
_LEEWAY = 60  # seconds that clocks may differ for nbf and iat
_PREFIX = "system:serviceaccount:"


class Refused(Exception):
    """The token proves nothing here. The text is a fixed phrase; callers are told less."""


class Account(msgspec.Struct, frozen=True):
    """A service account, and when the token that names it ends (seconds since the Unix epoch; 0 = never)."""

    namespace: str
    name: str
    uid: str
    secret: str = ""
    expires: float = 0.0


def claimed(jwt: str) -> Account:
    """Whose the token says it is. Nothing is verified.

    Raises:
        Refused: it is no token of a service account.
    """
    claims = _claims(jwt)
    private: Any = claims.get("kubernetes.io")
    if isinstance(private, dict):  # a token for a pod or by request
        account: Any = private.get("serviceaccount")
        account = account if isinstance(account, dict) else {}
        found = [private.get("namespace"), account.get("name"), account.get("uid"), ""]
    else:  # a token kept in a Secret
        words = ("namespace", "service-account.name", "service-account.uid", "secret.name")
        found = [claims.get(f"kubernetes.io/serviceaccount/{word}") for word in words]
    namespace, name, uid, secret = (text if isinstance(text, str) else "" for text in found)
    if not (namespace and name and uid):
        raise Refused("not a service account's token")
    if claims.get("sub") != f"{_PREFIX}{namespace}:{name}":
        raise Refused("subject and service account differ")
    ends = claims.get("exp", 0)
    if not isinstance(ends, int | float) or isinstance(ends, bool):
        raise Refused("exp is no time")
    return Account(namespace, name, uid, secret, float(ends))


def check_locally(jwt: str, config: Config, role: Role, now: float) -> None:
    """Check signature, times, issuer and audience by what the mount knows.

    Raises:
        Refused: one of them does not hold.
    """
    _check_signature(jwt, public_keys(config.pem_keys))
    claims = _claims(jwt)
    ends = claims.get("exp")
    if ends is not None and not (isinstance(ends, int | float) and now < ends):
        raise Refused("expired")
    for name in ("nbf", "iat"):
        begins = claims.get(name)
        if begins is not None and not (isinstance(begins, int | float) and begins <= now + _LEEWAY):
            raise Refused("not valid yet")
    if config.issuer and not config.disable_iss_validation and claims.get("iss") != config.issuer:
        raise Refused("another issuer")
    if role.audience:
        check_audience(role, claims.get("aud"))


def check_audience(role: Role, audiences: Any) -> None:
    """Raises Refused unless the role's audience is among ``audiences``."""
    among = [audiences] if isinstance(audiences, str) else audiences
    if not isinstance(among, list) or role.audience not in among:
        raise Refused("another audience")


def _claims(jwt: str) -> dict[str, Any]:
    return _part(jwt, 1)


def _part(jwt: str, place: int) -> dict[str, Any]:
    parts = jwt.split(".")
    if len(jwt) > MAX_JWT or len(parts) != 3 or not jwt.isascii():
        raise Refused("not a token")
    try:
        padded = parts[place] + "=" * (-len(parts[place]) % 4)
        return msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=dict[str, Any])
    except (ValueError, binascii.Error, RecursionError):
        raise Refused("not a token") from None


def _check_signature(jwt: str, keys: Sequence[Any]) -> None:
    from joserfc import jws
    from joserfc.errors import JoseError

    header = _part(jwt, 0)
    if header.get("alg") not in _ALGORITHMS or "crit" in header or "b64" in header:
        raise Refused("an algorithm or an extension that is never taken")
    for key in keys:
        try:
            registry = jws.JWSRegistry(algorithms=_ALGORITHMS, strict_check_header=False)
            registry.max_payload_length = registry.max_header_length = MAX_JWT
            jws.deserialize_compact(jwt.encode(), _jose_key(key), registry=registry)
        except (JoseError, ValueError, TypeError):
            continue
        return
    raise Refused("no key made this signature")


def _jose_key(key: Any) -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from joserfc.jwk import ECKey, RSAKey

    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return (RSAKey if isinstance(key, rsa.RSAPublicKey) else ECKey).import_key(pem)
