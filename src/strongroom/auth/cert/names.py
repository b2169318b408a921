"""What a certificate says of its holder, and whether a role takes it: names, units and extensions."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from strongroom.auth.cert.entries import Role
from strongroom.sdk.patterns import fits_any, glob

# Tags of ASN.1 character strings (X.680 section 8.4) and their codecs.
_STRINGS = {0x0C: "utf-8", 0x12: "ascii", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1E: "utf-16-be"}


class Holder:
    """The names in a client's certificate.

    Raises:
        ValueError: a name or an extension cannot be read.
    """

    __slots__ = ("certificate", "common_name", "dns", "emails", "extensions", "units", "uris")

    def __init__(self, certificate: x509.Certificate) -> None:
        subject = certificate.subject
        self.certificate = certificate
        names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        self.common_name = str(names[-1].value) if names else ""
        self.units = [str(one.value) for one in subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)]
        self.dns: list[str] = []
        self.emails: list[str] = []
        self.uris: list[str] = []
        self.extensions: dict[str, bytes] = {}
        try:
            found = certificate.extensions
        except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
            raise ValueError("an extension cannot be read") from error
        for extension in found:
            self.extensions[extension.oid.dotted_string] = extension.value.public_bytes()
            if isinstance(extension.value, x509.SubjectAlternativeName):
                self.dns = extension.value.get_values_for_type(x509.DNSName)
                self.emails = extension.value.get_values_for_type(x509.RFC822Name)
                self.uris = extension.value.get_values_for_type(x509.UniformResourceIdentifier)

    def fits(self, role: Role) -> bool:
        """Whether ``role`` takes these names and extensions. An empty list of a role asks for nothing."""
        return (
            _any_of(role.allowed_names, [self.common_name, *self.dns, *self.emails])
            and _any_of(role.allowed_common_names, [self.common_name])
            and _any_of(role.allowed_dns_sans, self.dns)
            and _any_of(role.allowed_email_sans, self.emails)
            and _any_of(role.allowed_uri_sans, self.uris)
            and _any_of(role.allowed_organizational_units, self.units)
            and all(self._has(wanted) for wanted in role.required_extensions)
        )

    def _has(self, wanted: str) -> bool:
        as_hex = wanted.startswith("hex:")
        oid, _, pattern = wanted.removeprefix("hex:").partition(":")
        value = self.extensions.get(oid)
        if value is None:
            return False
        return glob(pattern.lower(), value.hex()) if as_hex else glob(pattern, asn1_text(value) or "")

    def metadata(self, role_name: str, role: Role) -> dict[str, str]:
        """What the token is told: names and numbers of the certificate, and extensions that ``role`` allows."""
        told = {
            "cert_name": role_name,
            "common_name": self.common_name,
            "serial_number": str(self.certificate.serial_number),
            "subject_key_id": "",
            "authority_key_id": "",
        }
        for extension in self.certificate.extensions:
            if isinstance(extension.value, x509.SubjectKeyIdentifier):
                told["subject_key_id"] = extension.value.digest.hex(":")
            elif isinstance(extension.value, x509.AuthorityKeyIdentifier):
                told["authority_key_id"] = (extension.value.key_identifier or b"").hex(":")
        for oid in role.allowed_metadata_extensions:
            text = asn1_text(self.extensions.get(oid, b""))
            if text is not None:
                told[oid.replace(".", "-")] = text
        return told

    def der(self) -> bytes:
        """The whole certificate."""
        return self.certificate.public_bytes(Encoding.DER)


def asn1_text(value: bytes) -> str | None:
    """The text of a DER character string (X.690 section 8.23) that is all of ``value``; None for anything else."""
    if len(value) < 2 or value[0] not in _STRINGS:
        return None
    length, at = value[1], 2
    if length >= 0x80:
        at = 2 + (length & 0x7F)
        length = int.from_bytes(value[2:at], "big")
    if at + length != len(value):
        return None
    try:
        return value[at:].decode(_STRINGS[value[0]])
    except UnicodeDecodeError:
        return None


def _any_of(patterns: Sequence[str], names: Sequence[str]) -> bool:
    return not patterns or fits_any(patterns, names)
