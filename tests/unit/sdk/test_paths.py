"""The canonical path: a table of what is refused and kept, and properties that hold for every input."""

import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import BadRequest
from strongroom.sdk.paths import MAX_PATH, canonical, canonical_text, sanitised

KEPT = [
    (b"secret/data/a", "secret/data/a"),
    (b"secret/metadata/", "secret/metadata/"),
    (b"secret/a%20b", "secret/a b"),
    (b"secret/100%25", "secret/100%"),
    (b"secret/%252e%252e", "secret/%2e%2e"),
    (b"secret/%252F", "secret/%2F"),
    (b"secret/caf%C3%A9", "secret/café"),
    (b"secret/caf\xc3\xa9", "secret/café"),
    (b"secret/a+b", "secret/a+b"),
    (b"secret/.hidden", "secret/.hidden"),
    (b"secret/...", "secret/..."),
    (b"secret/a..b", "secret/a..b"),
    (b"secret/%3Fx%23y", "secret/?x#y"),
    (b"secret/a*b", "secret/a*b"),
    (b"%61uth/token", "auth/token"),
    (b"secret/%F0%9F%94%91", "secret/🔑"),
]
REFUSED = [
    b"",
    b"/",
    b"/secret/a",
    b"secret//a",
    b"secret/a//",
    b"secret/./a",
    b"secret/../a",
    b"secret/..",
    b"secret/../",
    b"secret/.;/a",
    b"secret/..;x=1/a",
    b"secret/..%3B/a",
    b".;",
    b".",
    b"..",
    b"secret/%2e%2e/a",
    b"secret/%2E/a",
    b"secret/.%2e/a",
    b"secret/a%2fb",
    b"secret/a%2Fb",
    b"secret/a\\b",
    b"secret/a%5cb",
    b"secret/%00",
    b"secret/%0a",
    b"secret/%7f",
    b"secret/%C2%85",
    b"secret/%zz",
    b"secret/%4",
    b"secret/%",
    b"secret/%FF%FE",
    b"secret/%C0%AF",
    b"secret/%ED%A0%80",
    b"secret/cafe%CC%81",
    b"secret/a#b",
    b"secret/" + b"a" * MAX_PATH,
]


@pytest.mark.parametrize(("raw", "path"), KEPT)
def test_kept(raw: bytes, path: str) -> None:
    assert canonical(raw) == path
    assert canonical_text(path) == path


@pytest.mark.parametrize("raw", REFUSED)
def test_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        canonical(raw)


@pytest.mark.parametrize(
    "path", ["", "/", "/a", "a//b", "a/./b", "..", "a\\b", "a\0", "a\n", "cafe\u0301", "\ud800", "a" * 4097]
)
def test_text_refused(path: str) -> None:
    with pytest.raises(BadRequest):
        canonical_text(path)


@given(st.binary(max_size=60))
def test_whatever_passes_is_canonical(raw: bytes) -> None:
    try:
        path = canonical(raw)
    except BadRequest:
        return
    assert unicodedata.is_normalized("NFC", path)
    assert not any(part in ("", ".", "..") for part in path.removesuffix("/").split("/"))
    assert "\\" not in path and all(unicodedata.category(c) != "Cc" for c in path)
    assert canonical_text(path) == path


@given(st.text(max_size=40))
def test_one_decoding_gives_the_text_back(text: str) -> None:
    """Whatever text is a path comes back from its own encoding, and from no second decoding."""
    try:
        path = canonical_text(text)
    except BadRequest:
        return
    assert canonical(quote(path, safe="/").encode()) == path


def test_sanitised_is_printable_and_short() -> None:
    assert sanitised(b"a/\x00\xff b") == "a/%00%FF%20b"
    assert sanitised(b"x" * 2000) == "x" * 512 + "..."
