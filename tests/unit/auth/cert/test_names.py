"""Names, units and extensions."""

import pytest
from cryptography import x509

from certificates import make, text_extension
from strongroom.auth.cert.entries import Role
from strongroom.auth.cert.names import Holder, asn1_text

SANS = [
    x509.DNSName("web.example"),
    x509.RFC822Name("ops@example"),
    x509.UniformResourceIdentifier("spiffe://prod/web"),
]
MADE = make("web", sans=SANS, units=["eng", "ops"], extensions=[(text_extension("1.2.3.4", "blue"), False)])


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        ({}, True),
        ({"allowed_names": ("web",)}, True),
        ({"allowed_names": ("*.example",)}, True),
        ({"allowed_names": ("ops@*",)}, True),
        ({"allowed_names": ("spiffe*",)}, False),
        ({"allowed_common_names": ("w*",)}, True),
        ({"allowed_common_names": ("web.example",)}, False),
        ({"allowed_dns_sans": ("*.example",)}, True),
        ({"allowed_dns_sans": ("web",)}, False),
        ({"allowed_email_sans": ("ops@example",)}, True),
        ({"allowed_email_sans": ("web",)}, False),
        ({"allowed_uri_sans": ("spiffe://prod/*",)}, True),
        ({"allowed_uri_sans": ("spiffe://dev/*",)}, False),
        ({"allowed_organizational_units": ("ops",)}, True),
        ({"allowed_organizational_units": ("hr",)}, False),
        ({"allowed_common_names": ("web",), "allowed_organizational_units": ("hr",)}, False),
        ({"required_extensions": ("1.2.3.4:bl*",)}, True),
        ({"required_extensions": ("1.2.3.4:red",)}, False),
        ({"required_extensions": ("1.2.3.4:*", "1.2.3.5:*")}, False),
        ({"required_extensions": ("hex:1.2.3.4:0C04*",)}, True),
        ({"required_extensions": ("hex:1.2.3.4:0c05*",)}, False),
    ],
)
def test_fits(fields: dict[str, tuple[str, ...]], fits: bool) -> None:
    assert Holder(MADE.certificate).fits(Role(uid="u", **fields)) is fits


def test_metadata() -> None:
    issuer = make("root", ca=True)
    made = issuer.sign("web", serial=258, extensions=[(text_extension("1.2.3.4", "blue"), False)])
    told = Holder(made.certificate).metadata("r", Role(uid="u", allowed_metadata_extensions=("1.2.3.4", "1.2.3.5")))
    key = x509.SubjectKeyIdentifier.from_public_key(made.key.public_key()).digest.hex(":")
    by = x509.SubjectKeyIdentifier.from_public_key(issuer.key.public_key()).digest.hex(":")
    assert told == {
        "cert_name": "r",
        "common_name": "web",
        "serial_number": "258",
        "subject_key_id": key,
        "authority_key_id": by,
        "1-2-3-4": "blue",
    }


def test_no_names_fit_no_pattern() -> None:
    holder = Holder(make("").certificate)
    assert holder.fits(Role(uid="u")) and not holder.fits(Role(uid="u", allowed_dns_sans=("*",)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"\x0c\x02hi", "hi"),
        (b"\x13\x02hi", "hi"),
        (b"\x0c\x03hi", None),
        (b"\x0c\x01hi", None),
        (b"\x0c\x81\x02hi", "hi"),
        (b"\x02\x01\x05", None),
        (b"\x0c\x01\xff", None),
        (b"", None),
        (b"\x0c", None),
    ],
)
def test_asn1_text(value: bytes, text: str | None) -> None:
    assert asn1_text(value) == text
