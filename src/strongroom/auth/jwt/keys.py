"""Public keys, and the one question they answer: who signed this token?

The token's own header chooses among the keys and algorithms that the mount trusts and brings none of its own: ``jwk``,
``jku``, ``x5u`` and ``x5c`` are not looked at, ``crit`` is refused (RFC 8725 sections 3.1 and 3.10, RFC 7515
section 4.1.11).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from strongroom.errors import BadRequest

# Algorithm -> (key type, curve). HMAC and "none" are not here, so no shared secret and no nothing ever verifies.
ALGORITHMS = {
    "RS256": ("RSA", ""), "RS384": ("RSA", ""), "RS512": ("RSA", ""),
    "PS256": ("RSA", ""), "PS384": ("RSA", ""), "PS512": ("RSA", ""),
    "ES256": ("EC", "P-256"), "ES384": ("EC", "P-384"), "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"), "Ed25519": ("OKP", "Ed25519"),
}  # fmt: skip
MAX_TOKEN = 64 * 1024  # characters of a compact JWS
MAX_KEYS = 256  # of one set
_SEGMENTS = re.compile(r"[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{2,}", re.ASCII)
_LEAST_RSA, _MOST_RSA = 2048, 8192  # bits
_PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}  # members of a JWK that make the key
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Invalid(Exception):
    """The token proves nothing. The text is for the server's log; no caller sees it."""


class Header(msgspec.Struct, frozen=True):
    """What is read of a token's header."""

    alg: str
    kid: str = ""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """One public key. ``alg`` is "" where the key may be used with every algorithm that fits it."""

    jwk: dict[str, str]
    kid: str = ""
    alg: str = ""
    key: Any = None  # joserfc's

    def __repr__(self) -> str:
        return f"Key({self.jwk['kty']}, kid={self.kid!r})"

    def fits(self, alg: str) -> bool:
        """Whether a signature by ``alg`` may be checked with this key."""
        kind, curve = ALGORITHMS.get(alg, ("", ""))
        same = {alg, "EdDSA", "Ed25519"} if curve == "Ed25519" else {alg}
        return kind == self.jwk["kty"] and (not curve or self.jwk["crv"] == curve) and (self.alg or alg) in same


def header_of(token: str) -> Header:
    """The header of a compact JWS, unverified.

    Raises:
        Invalid: not a compact JWS of at most ``MAX_TOKEN`` characters (RFC 7515 section 3.1), an algorithm that is
            never accepted, or an extension that must be understood.
    """
    if len(token) > MAX_TOKEN or not _SEGMENTS.fullmatch(token):
        raise Invalid("not a compact JWS")
    fields = _object(token.partition(".")[0])
    alg, kid = fields.get("alg"), fields.get("kid", "")
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        raise Invalid("the algorithm is not one that is accepted")
    if not isinstance(kid, str):
        raise Invalid("kid is not text")
    if "crit" in fields or "b64" in fields:
        raise Invalid("the header asks for an extension")
    return Header(alg, kid)


def verified(token: str, header: Header, candidates: Iterable[Key]) -> dict[str, Any]:
    """The claims of ``token`` if one of ``candidates`` made its signature.

    Args:
        token: a compact JWS that ``header_of`` took.
        header: what it gave.
        candidates: trusted keys; those that do not fit the algorithm are passed over.

    Raises:
        Invalid: none of them did, or the payload is no JSON object.
    """
    from joserfc import jws
    from joserfc.errors import JoseError

    # RFC 9864 names the curve; joserfc warns at the old name for the same thing.
    alg = "Ed25519" if header.alg == "EdDSA" else header.alg
    registry = jws.JWSRegistry(algorithms=[alg], strict_check_header=False)
    registry.max_header_length = registry.max_payload_length = registry.max_signature_length = MAX_TOKEN
    for key in candidates:
        if not key.fits(header.alg):
            continue
        try:
            signed = jws.extract_compact(token.encode(), registry=registry)
            signed.protected = {"alg": alg}
            if jws.validate_compact(signed, key.key, registry=registry):
                return _object(token.split(".")[1])
        except (JoseError, ValueError):
            continue
    raise Invalid("no trusted key made this signature")


def chosen(header: Header, keys: Sequence[Key]) -> list[Key]:
    """The keys of a set that may have signed: those of that name, or the only one that fits where none is named."""
    fitting = [key for key in keys if key.fits(header.alg)]
    if header.kid:
        return [key for key in fitting if key.kid == header.kid]
    return fitting if len(fitting) == 1 else []


def from_set(text: bytes) -> tuple[Key, ...]:
    """The usable keys of a JWK set (RFC 7517 section 5). Others (symmetric, for encryption, too small) are left out.

    Raises:
        Invalid: not a JWK set.
    """
    try:
        rows = _decode(text).get("keys")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Invalid("not a JWK set") from None
    if not isinstance(rows, list):
        raise Invalid("not a JWK set")
    found = [_from_jwk(row) for row in rows[:MAX_KEYS] if isinstance(row, dict)]
    return tuple(key for key in found if key is not None)


def from_pem(text: str, *, name: str) -> Key:
    """A public key, or the key of a certificate, in PEM.

    Raises:
        BadRequest: neither, or a kind or size that is not accepted. The message names the field.
    """
    data = text.strip().encode()
    try:
        if b"CERTIFICATE" in data.partition(b"\n")[0]:
            public: Any = x509.load_pem_x509_certificate(data).public_key()
        else:
            public = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise BadRequest(f"{name} holds something that is no public key in PEM") from None
    key = _from_jwk(_jwk_of(public))
    if key is None:
        raise BadRequest(f"{name}: keys are RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519")
    return key


def _from_jwk(row: dict[str, Any]) -> Key | None:
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    kind, alg, kid = row.get("kty"), row.get("alg", ""), row.get("kid", "")
    operations = row.get("key_ops")
    if kind not in _PUBLIC or not isinstance(alg, str) or not isinstance(kid, str) or row.get("use", "sig") != "sig":
        return None
    if alg and alg not in ALGORITHMS:
        return None
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    jwk = {"kty": str(kind), **{name: row.get(name) for name in _PUBLIC[kind]}}
    if not all(isinstance(value, str) for value in jwk.values()):
        return None
    try:
        key: Any = JWKRegistry.import_key({k: str(v) for k, v in jwk.items()})
        public = key.public_key
    except (JoseError, ValueError, KeyError, TypeError, UnsupportedAlgorithm):
        return None
    if isinstance(public, rsa.RSAPublicKey):
        if not _LEAST_RSA <= public.key_size <= _MOST_RSA:
            return None
    elif not (isinstance(public, ed25519.Ed25519PublicKey) or jwk.get("crv") in ("P-256", "P-384", "P-521")):
        return None
    return Key(jwk={k: str(v) for k, v in jwk.items()}, kid=kid, alg=alg, key=key)


def _jwk_of(public: Any) -> dict[str, Any]:
    """``public`` as a JWK; an empty one for other kinds."""
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    if isinstance(public, rsa.RSAPublicKey):
        if public.key_size < _LEAST_RSA:
            return {}
        return dict(RSAKey.import_key(pem).as_dict())
    if isinstance(public, ec.EllipticCurvePublicKey):
        if public.curve.name not in ("secp256r1", "secp384r1", "secp521r1"):
            return {}
        return dict(ECKey.import_key(pem).as_dict())
    return dict(OKPKey.import_key(pem).as_dict()) if isinstance(public, ed25519.Ed25519PublicKey) else {}


def _object(segment: str) -> dict[str, Any]:
    import base64

    try:
        return _decode(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise Invalid("not a JSON object") from None
