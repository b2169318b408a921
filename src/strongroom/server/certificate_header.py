"""The client's certificate as a proxy in front hands it on in a header.

nginx sends URL-encoded PEM (``$ssl_client_escaped_cert``), Traefik base64 of DER, one after a comma for each of the
chain; what Vault calls decoders (``URL``, ``BASE64``, ``DER``) says which, and without them the looks of the value do.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from strongroom.errors import BadRequest

MAX_CERTIFICATES = 8
_ARMOUR = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----")


def read_certificates(value: str, decoders: Sequence[str] = ()) -> tuple[bytes, ...]:
    """The certificates (DER) in a header's value, the client's first.

    Args:
        value: URL-encoded PEM, or base64 of DER with commas between certificates.
        decoders: "URL", "BASE64" and "DER" (PEM to DER) in the order to be applied; none: by the looks of ``value``.

    Raises:
        BadRequest: it cannot be read, or the header came more than once (then ", " stands between the values, and a
            client might have sent the first).
    """
    if ", " in value:
        raise BadRequest("the header with the client certificate is given twice")
    try:
        if not decoders:
            decoders = ("URL", "DER") if "BEGIN" in value else ("BASE64",)
        found = [value.encode("latin-1")]
        for decoder in decoders:
            found = [made for one in found for made in _STEPS[decoder](one)]
    except (ValueError, binascii.Error, UnicodeError) as error:
        raise BadRequest("failed to decode the client certificate") from error
    if not 0 < len(found) <= MAX_CERTIFICATES or not all(one[:1] == b"\x30" for one in found):
        raise BadRequest("failed to decode the client certificate")
    return tuple(found)


def _base64(value: bytes) -> list[bytes]:
    return [base64.b64decode(part, validate=True) for part in value.split(b",")]


def _pem(value: bytes) -> list[bytes]:
    return [base64.b64decode(b"".join(part.split()), validate=True) for part in _ARMOUR.findall(value)]


_STEPS = {"URL": lambda value: [unquote_to_bytes(value)], "BASE64": _base64, "DER": _pem}
