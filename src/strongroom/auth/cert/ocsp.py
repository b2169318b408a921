"""Asking a responder whether a certificate stands (RFC 6960), and believing only what its issuer vouches for.

Stapled answers are not looked at.
"""

import datetime
import enum
import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from strongroom.auth.cert.chains import Chain
from strongroom.auth.cert.entries import Role, read_pem
from strongroom.errors import VaultError
from strongroom.sdk.engine import Mount

_SKEW = 300  # seconds that a responder's clock may be ahead
_LIMIT = 64 * 1024  # bytes of an answer
_SECONDS = 10.0  # for one responder
_MAX_RESPONDERS = 4


class Standing(enum.Enum):
    """What is known of a certificate."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


async def standing(mount: Mount, role: Role, chain: Chain) -> Standing:
    """What the responders of the role, or else of the certificate, say of ``chain``'s first certificate.

    One that says "revoked" decides. Otherwise the first that says "good" does, unless all are to be asked.
    """
    certificate = chain[0]
    issuer = _issuer_of(certificate, chain, role)
    places = role.ocsp_servers_override or _places(certificate)
    if issuer is None or not places:
        return Standing.UNKNOWN
    asked = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1()).build()  # noqa: S303 - names a key
    body = asked.public_bytes(Encoding.DER)
    said: list[Standing] = []
    for place in places[:_MAX_RESPONDERS]:
        answer = await _ask(mount, place, body)
        now = mount.now()
        said.append(Standing.UNKNOWN if answer is None else judge(answer, asked, issuer, role, now))
        if said[-1] is Standing.REVOKED or (said[-1] is Standing.GOOD and not role.ocsp_query_all_servers):
            return said[-1]
    return Standing.GOOD if all(one is Standing.GOOD for one in said) else Standing.UNKNOWN


def judge(content: bytes, asked: ocsp.OCSPRequest, issuer: x509.Certificate, role: Role, now: float) -> Standing:
    """What an answer (DER) proves at ``now`` about the certificate asked for (threat CVE-2024-2660).

    UNKNOWN for anything that is not signed by the issuer, by a responder the issuer made one, or by one that the role
    names; that speaks of another certificate; or that is not of now.
    """
    try:
        answer = ocsp.load_der_ocsp_response(content)
        if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return Standing.UNKNOWN
        if not _signed(answer, issuer, role, now):
            return Standing.UNKNOWN
        for one in answer.responses:
            if _speaks_of(one, asked) and _of_now(one, role, now):
                return _STATES.get(one.certificate_status, Standing.UNKNOWN)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension):
        return Standing.UNKNOWN
    return Standing.UNKNOWN


_STATES = {ocsp.OCSPCertStatus.GOOD: Standing.GOOD, ocsp.OCSPCertStatus.REVOKED: Standing.REVOKED}


def _speaks_of(one: ocsp.OCSPSingleResponse, asked: ocsp.OCSPRequest) -> bool:
    return (
        one.serial_number == asked.serial_number
        and isinstance(one.hash_algorithm, hashes.SHA1)
        and one.issuer_name_hash == asked.issuer_name_hash
        and hmac.compare_digest(one.issuer_key_hash, asked.issuer_key_hash)
    )


def _of_now(one: ocsp.OCSPSingleResponse, role: Role, now: float) -> bool:
    since = one.this_update_utc.timestamp()
    until = one.next_update_utc
    oldest = role.ocsp_this_update_max_age
    if since > now + _SKEW or (oldest and since < now - oldest):
        return False
    if until is None:
        return since > now - (oldest or _SKEW)  # newer information is always to be had: it holds for now only
    return now <= until.timestamp()


def _signed(answer: ocsp.OCSPResponse, issuer: x509.Certificate, role: Role, now: float) -> bool:
    signers = [issuer, *read_pem(role.ocsp_ca_certificates, "ocsp_ca_certificates")]
    signers += [one for one in answer.certificates if _delegated(one, issuer, now)]
    return any(_verifies(answer, one) for one in signers)


def _delegated(responder: x509.Certificate, issuer: x509.Certificate, now: float) -> bool:
    """Whether ``issuer`` made ``responder`` one: signed it, for this use, and it is in its days (RFC 6960, 4.2.2.2)."""
    moment = datetime.datetime.fromtimestamp(int(now), datetime.UTC)
    if not responder.not_valid_before_utc <= moment <= responder.not_valid_after_utc:
        return False
    try:
        responder.verify_directly_issued_by(issuer)
        usage = responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in usage


def _verifies(answer: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key, algorithm = signer.public_key(), answer.signature_hash_algorithm
    signature, signed = answer.signature, answer.tbs_response_bytes
    try:
        if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, signed)
        elif algorithm is None or isinstance(algorithm, hashes.SHA1 | hashes.MD5):
            return False
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(algorithm))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _issuer_of(certificate: x509.Certificate, chain: Chain, role: Role) -> x509.Certificate | None:
    """Who issued it: the next of the chain, or for a pinned certificate one that the role knows."""
    known: Sequence[x509.Certificate] = chain[1:] or (
        *read_pem(role.ocsp_ca_certificates, "ocsp_ca_certificates"),
        *read_pem(role.certificate, "certificate"),
    )
    for one in known:
        try:
            certificate.verify_directly_issued_by(one)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return one
    return None


def _places(certificate: x509.Certificate) -> list[str]:
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return []
    return [
        one.access_location.value
        for one in access
        if one.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(one.access_location, x509.UniformResourceIdentifier)
        and _by_name(one.access_location.value)
    ]


def _by_name(url: str) -> bool:
    """Whether a certificate may send us to ``url``: only by a name, whose addresses are judged, never by an address."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and ":" not in host and any(c.isalpha() for c in host.rpartition(".")[2])


async def _ask(mount: Mount, place: str, body: bytes) -> bytes | None:
    headers = {"content-type": "application/ocsp-request", "accept": "application/ocsp-response"}
    try:
        got = await mount.fetch("POST", place, headers=headers, body=body, seconds=_SECONDS, limit=_LIMIT)
    except VaultError:
        return None
    return got.body if got.status == 200 else None
