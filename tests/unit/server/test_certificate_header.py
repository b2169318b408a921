"""A client's certificate in a proxy's header."""

import base64
from urllib.parse import quote

import pytest

from certificates import make
from strongroom.errors import BadRequest
from strongroom.server.certificate_header import read_certificates

A, B = make("a"), make("b")
TWO = f"{base64.b64encode(A.der).decode()},{base64.b64encode(B.der).decode()}"


@pytest.mark.parametrize(
    ("value", "decoders", "found"),
    [
        (quote(A.pem), (), (A.der,)),
        (quote(A.pem), ("URL", "DER"), (A.der,)),
        (quote(A.pem + B.pem), (), (A.der, B.der)),
        (A.pem.replace("\n", "\t"), (), (A.der,)),
        (base64.b64encode(A.der).decode(), (), (A.der,)),
        (base64.b64encode(A.der).decode(), ("BASE64",), (A.der,)),
        (TWO, (), (A.der, B.der)),
        (base64.b64encode(A.pem.encode()).decode(), ("BASE64", "DER"), (A.der,)),
    ],
)
def test_read(value: str, decoders: tuple[str, ...], found: tuple[bytes, ...]) -> None:
    assert read_certificates(value, decoders) == found


@pytest.mark.parametrize(
    ("value", "decoders"),
    [
        ("junk", ()),
        ("BEGIN", ()),
        ("MTIz", ()),
        (quote(A.pem), ("BASE64",)),
        (f"{TWO}, {TWO}", ()),
        (f"{quote(A.pem)}, {quote(B.pem)}", ()),
        (",".join([base64.b64encode(A.der).decode()] * 9), ()),
        ("\u00e9", ()),
        (",", ()),
    ],
)
def test_refused(value: str, decoders: tuple[str, ...]) -> None:
    with pytest.raises(BadRequest):
        read_certificates(value, decoders)
