"""The one spelling of a path: what the policies judge and what the engines serve is this and nothing else.

A path that could be read in two ways is refused rather than repaired, so no other spelling of a denied path exists.
"""

import re
import unicodedata

from strongroom.errors import BadRequest

MAX_PATH = 4096  # bytes of UTF-8; a storage key holds no more

_PLAIN = re.compile(rb"[A-Za-z0-9_\-~.:@!$&'()*+,;=/]+")
_PLAIN_TEXT = re.compile(r"[A-Za-z0-9_\-~.:@!$&'()*+,;=/]+")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})?")


def canonical(raw: bytes) -> str:
    """The path of a request target (RFC 3986 section 3.3, without ``/v1/`` and without the query), decoded once.

    Args:
        raw: bytes as they came. ``%25`` is a literal percent sign and stays one.

    Returns:
        text in NFC; one trailing ``/`` may remain (it means LIST).

    Raises:
        BadRequest: bad percent-encoding, not UTF-8, not NFC, a control character, a backslash, an encoded slash,
            an empty, ``.`` or ``..`` segment (plain, encoded, or as the ``..;x`` that some proxies read so), or longer
            than ``MAX_PATH``.
    """
    if _PLAIN.fullmatch(raw) and len(raw) <= MAX_PATH:
        path = raw.decode("ascii")
        if "//" not in path and "/." not in path and path[0] not in "/.":
            return path
    if b"#" in raw or b"?" in raw:
        raise BadRequest("path holds a delimiter of another part of the address")
    try:
        path = _PERCENT.sub(_byte, raw).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest("path is not valid UTF-8") from error
    return _checked(path)


def canonical_text(path: str) -> str:
    """``canonical`` for callers who hold text: the same rules without percent-decoding. Raises BadRequest."""
    if _PLAIN_TEXT.fullmatch(path) and "//" not in path and "/." not in path and path[0] not in "/.":
        return _checked(path) if len(path) > MAX_PATH else path
    return _checked(path)


def sanitised(raw: bytes, limit: int = 512) -> str:
    """``raw`` for a record of a refused request: printable ASCII, the rest as ``%XX``, cut at ``limit`` characters."""
    shown = "".join(chr(b) if 0x21 <= b <= 0x7E else f"%{b:02X}" for b in raw[: limit + 1])
    return shown if len(shown) <= limit and len(raw) <= limit else shown[:limit] + "..."


def _byte(match: re.Match[bytes]) -> bytes:
    digits = match[1]
    if digits is None:
        raise BadRequest("path holds a bad percent-encoding")
    value = int(digits, 16)
    if value == 0x2F:
        raise BadRequest("path holds an encoded slash")
    return bytes((value,))


def _checked(path: str) -> str:
    try:
        size = len(path.encode())
    except UnicodeEncodeError as error:  # a lone surrogate
        raise BadRequest("path is not valid UTF-8") from error
    if size > MAX_PATH:
        raise BadRequest("path is too long")
    if "\\" in path:
        raise BadRequest("path holds a backslash")
    if any(unicodedata.category(char) == "Cc" for char in path):
        raise BadRequest("path holds a control character")
    if not unicodedata.is_normalized("NFC", path):
        raise BadRequest("path is not in Unicode normal form C")
    segments = path.split("/")
    if len(segments) > 1 and not segments[-1]:
        segments.pop()  # one trailing slash: a LIST
    if not all(segments):
        raise BadRequest("path holds an empty segment")
    if any(segment.partition(";")[0] in (".", "..") for segment in segments if segment[0] == "."):
        raise BadRequest("path holds a dot segment")
    return path
