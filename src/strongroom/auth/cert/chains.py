"""Whether a certificate is one that a role trusts, or leads to an authority that a role trusts (RFC 5280 section 6)."""

import datetime
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from strongroom.auth.cert.entries import is_authority

MAX_DEPTH = 8  # authorities between a certificate and its root
MAX_SENT = 8  # certificates sent along that are looked at
_FOR_CLIENTS = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})

Chain = tuple[x509.Certificate, ...]  # the client's first, the trusted authority last


def exact(certificate: x509.Certificate, trusted: Sequence[x509.Certificate], now: float) -> Chain | None:
    """The chain of a certificate that is itself among ``trusted``: every byte of it, not some of its fields.

    (Threats CVE-2024-2048 and CVE-2025-6037.) It must be for clients and in its days.
    """
    whole = certificate.public_bytes(Encoding.DER)
    if not any(whole == one.public_bytes(Encoding.DER) for one in trusted):
        return None
    moment = _moment(now)
    if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
        return None
    try:
        _for_clients(certificate)
    except ValueError:
        return None
    return (certificate,)


def chain(
    certificate: x509.Certificate, sent: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate], now: float
) -> Chain | None:
    """A chain from ``certificate`` over ``sent`` to an authority among ``trusted``, valid at ``now``, or None.

    Signatures, days, CA flags, path lengths, name constraints and key sizes are judged by
    ``cryptography.x509.verification``; key usages here. A subject alternative name is not asked for: many client
    certificates have none, and the role judges names.
    """
    roots = [one for one in trusted if is_authority(one)]
    if not roots:
        return None
    builder = PolicyBuilder().store(Store(roots)).time(_moment(now)).max_chain_depth(MAX_DEPTH)
    verifier = builder.extension_policies(ca_policy=_authorities(), ee_policy=_clients()).build_client_verifier()
    try:
        found = verifier.verify(certificate, _one_per_key(sent))
    except (VerificationError, ValueError):
        return None
    return tuple(found.chain)


def _one_per_key(sent: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Of certificates for one key the first, so that strangers cannot make up a maze of paths to be searched."""
    kept: dict[bytes, x509.Certificate] = {}
    for one in sent[:MAX_SENT]:
        kept.setdefault(one.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), one)
    return list(kept.values())


def _moment(now: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(now), datetime.UTC)


def _clients() -> ExtensionPolicy:
    return ExtensionPolicy.permit_all().may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _usage)


def _authorities() -> ExtensionPolicy:
    policy = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    policy = policy.may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _signs)
    return policy.may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _usage)


def _usage(policy: Policy, certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and not _FOR_CLIENTS.intersection(usage):
        raise ValueError("not for clients")


def _signs(policy: Policy, certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("may not sign certificates")


def _for_clients(certificate: x509.Certificate) -> None:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not _FOR_CLIENTS.intersection(usage):
        raise ValueError("not for clients")
