"""Certificates, revocation lists and OCSP answers for tests; everything is dated around ``engine_harness.START``."""

import datetime
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from engine_harness import START

DAY = datetime.timedelta(days=1)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
OCSP_SIGNING = ExtendedKeyUsageOID.OCSP_SIGNING


def at(seconds: float = 0) -> datetime.datetime:
    """A moment ``seconds`` after START."""
    return datetime.datetime.fromtimestamp(START + seconds, datetime.UTC)


class Made:
    """A certificate with its key; ``sign`` makes another below it."""

    def __init__(self, certificate: x509.Certificate, key: Any) -> None:
        self.certificate, self.key = certificate, key

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()

    def sign(self, common_name: str, **more: Any) -> "Made":
        return make(common_name, issuer=self, **more)

    def crl(self, *serials: int, since: float = -3600, until: float | None = 86400, key: Any = None) -> bytes:
        """A revocation list of this authority, DER; ``key``: of somebody else who signs it."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(at(since)).next_update(at(until if until is not None else 86400))
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at(since))
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(key or self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def make(
    common_name: str,
    *,
    issuer: Made | None = None,
    ca: bool = False,
    key: Any = None,
    path_length: int | None = None,
    usage: Sequence[Any] | None = None,
    sans: Sequence[x509.GeneralName] = (),
    units: Sequence[str] = (),
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    serial: int = 0,
    since: datetime.datetime | None = None,
    until: datetime.datetime | None = None,
) -> Made:
    """A certificate (P-256 unless ``key`` says otherwise), self-signed without ``issuer``."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units]
    if common_name:
        names.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    subject = x509.Name(names)
    signer = issuer.key if issuer else key
    builder = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    builder = builder.issuer_name(issuer.certificate.subject if issuer else subject)
    builder = builder.serial_number(serial or x509.random_serial_number())
    builder = builder.not_valid_before(since or at() - 2000 * DAY).not_valid_after(until or at() + 2000 * DAY)
    builder = builder.add_extension(x509.BasicConstraints(ca, path_length), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    if issuer:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    algorithm = None if "Ed25519" in type(signer).__name__ else hashes.SHA256()
    return Made(builder.sign(signer, algorithm), key)


def text_extension(oid: str, text: str) -> x509.UnrecognizedExtension:
    """An extension that holds a UTF8String."""
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), b"\x0c" + bytes([len(text.encode())]) + text.encode())


def responder_at(url: str) -> tuple[x509.ExtensionType, bool]:
    """The extension that names an OCSP responder."""
    place = x509.UniformResourceIdentifier(url)
    return x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, place)]), False


def ocsp_answer(
    about: Made,
    issuer: Made,
    *,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    signer: Made | None = None,
    since: float = -60,
    until: float | None = 3600,
    carry: Sequence[Made] = (),
) -> bytes:
    """What a responder says, DER."""
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=about.certificate,
        issuer=issuer.certificate,
        algorithm=hashes.SHA1(),
        cert_status=status,
        this_update=at(since),
        next_update=None if until is None else at(until),
        revocation_time=at(-60) if revoked else None,
        revocation_reason=x509.ReasonFlags.key_compromise if revoked else None,
    )
    by = signer or issuer
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, by.certificate)
    if carry:
        builder = builder.certificates([one.certificate for one in carry])
    return builder.sign(by.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
