"""Values, rules and the MAC of a SOPS file, once its data key is known.

A value is AES-256-GCM under the data key, with the keys on the way to it as additional data (``db:password:``; places
in lists do not count). The MAC is SHA-512 over all values in order, encrypted with the time of the last change as
additional data. Source: aes/cipher.go and sops.go of SOPS 3.13.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from strongroom.client.sops_error import Undecryptable
from strongroom.client.sops_tree import Leaf, Node, floating, integer, timestamp

KEY_BYTES = 32
_VALUE = re.compile(
    rb"ENC\[AES256_GCM,data:([A-Za-z0-9+/=]+),iv:([A-Za-z0-9+/=]+),tag:([A-Za-z0-9+/=]+),type:([a-z]+)\]"
)
_TAG_BYTES = 16
_RULES = ("unencrypted_suffix", "encrypted_suffix", "unencrypted_regex", "encrypted_regex")
_COMMENT_RULES = ("unencrypted_comment_regex", "encrypted_comment_regex")
_ONLY_ENCRYPTED = hashlib.sha256(b"sops").digest()  # begins the MAC of a file with mac_only_encrypted
_MAX_PATTERN = 1000  # characters
_TRUE = {b"1", b"t", b"T", b"true", b"True", b"TRUE"}
_BOOL = {**dict.fromkeys(_TRUE, b"true"), **dict.fromkeys((b"0", b"f", b"F", b"false", b"False", b"FALSE"), b"false")}
_YAML_FLOATS = {"+Inf": ".inf", "-Inf": "-.inf", "NaN": ".nan"}


class Rules(NamedTuple):
    """Which values are encrypted. ``kind`` is one of sops's names; no rule at all is the suffix ``_unencrypted``."""

    kind: str
    text: str
    pattern: re.Pattern[str] | None
    mac_only_encrypted: bool

    def encrypted(self, path: tuple[str, ...], leaf: Leaf) -> bool:
        """Whether the value at ``path`` counts as encrypted.

        Comments are in no MAC, so whoever can write the file can change what a rule about comments says; for these the
        value's form says as much as the comment would.
        """
        if self.kind in _COMMENT_RULES:
            return leaf.kind == "str" and (leaf.data.startswith(b"ENC[AES256_GCM,") or not leaf.data)
        if self.pattern is not None:
            named = any(self.pattern.search(key) for key in path)
        else:
            named = any(key.endswith(self.text) for key in path)
        return named is not self.kind.startswith("un")


def read_rules(meta: Mapping[str, Node]) -> Rules:
    """The rules of a file's ``sops`` map. Raises Undecryptable when there are two, as SOPS does."""
    given = [(kind, text) for kind in (*_RULES, *_COMMENT_RULES) if (text := words(meta, kind))]
    if len(given) > 1:
        raise Undecryptable(f"both {given[0][0]} and {given[1][0]} are set in the sops map")
    kind, text = given[0] if given else ("unencrypted_suffix", "_unencrypted")
    only = meta.get("mac_only_encrypted")
    pattern = compile_pattern(text, kind) if kind.endswith("_regex") and kind not in _COMMENT_RULES else None
    return Rules(kind, text, pattern, isinstance(only, Leaf) and only.data in _TRUE)


def words(meta: Mapping[str, Node], name: str) -> str:
    """The text of a field of the ``sops`` map, or the empty string."""
    found = meta.get(name)
    if isinstance(found, Leaf) and found.kind != "null":
        return found.data.decode("utf-8", "replace")
    return ""


def compile_pattern(text: str, kind: str) -> re.Pattern[str]:
    """A pattern of Go's regexp. What only Go knows is refused; where the two differ silently the MAC does not fit."""
    said = Undecryptable(f"{kind} in the sops map is a pattern that is not understood here")
    if len(text) > _MAX_PATTERN or "[[:" in text:
        raise said
    # Python's $ also matches before a line break at the end; Go's does not
    text = re.sub(r"\\z|(\\.|\[(?:\\.|[^\]\\])*\])|\$", lambda found: found[1] or r"\Z", text, flags=re.DOTALL)
    try:
        return re.compile(text, re.ASCII)
    except (re.error, RecursionError, OverflowError):
        raise said from None


def open_tree(tree: dict[str, Node], meta: Mapping[str, Node], key: bytes) -> dict[str, Node]:
    """``tree`` (without its ``sops`` map) decrypted, comments left out. ``key`` is the data key, 32 bytes.

    Raises Undecryptable when a value or the MAC is not authentic, when a value that must be encrypted is in clear, and
    without a MAC. Nothing is returned before the MAC was compared.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(key) != KEY_BYTES:
        raise Undecryptable("the data key has the wrong length")
    walk = _Walk(AESGCM(key), read_rules(meta))
    opened = walk.node(tree, ())
    assert isinstance(opened, dict)
    changed = words(meta, "lastmodified")
    sealed = meta.get("mac")
    if not isinstance(sealed, Leaf) or not sealed.data:
        raise Undecryptable("the sops map has no MAC")
    try:
        noted = walk.open(sealed.data, re.sub(r"\.[0-9]+", "", changed).encode())[0].data
    except _NotAuthentic:
        raise Undecryptable("the MAC, or the time of the last change it is bound to, was changed", _CHANGED) from None
    if not hmac.compare_digest(noted, walk.hash.hexdigest().upper().encode()):
        raise Undecryptable("the values are not those that were encrypted: the MAC does not match", _CHANGED)
    return opened


_CHANGED = "take the file from its history, or edit it with sops, which makes the MAC anew"


class _NotAuthentic(Exception):
    """Wrong key, additional data or bytes."""


class _Walk:
    """One pass over a tree, with the hash of what was seen."""

    def __init__(self, cipher: Any, rules: Rules) -> None:
        self.cipher, self.rules = cipher, rules
        self.hash = hashlib.sha512(_ONLY_ENCRYPTED if rules.mac_only_encrypted else b"")

    def node(self, node: Node, path: tuple[str, ...]) -> Node:
        if isinstance(node, dict):
            pairs = {name: self.node(inner, (*path, name)) for name, inner in node.items()}
            if any(isinstance(inner, Leaf) and inner.kind == "comment" for inner in pairs.values()):
                raise Undecryptable(f"a value below {shown(path)} is a comment", _CHANGED)
            return pairs
        if isinstance(node, list):  # SOPS keeps comments in a list as items of it
            items = [self.node(inner, path) for inner in node]
            return [inner for inner in items if not (isinstance(inner, Leaf) and inner.kind == "comment")]
        return self.leaf(node, path)

    def leaf(self, leaf: Leaf, path: tuple[str, ...]) -> Leaf:
        if leaf.kind == "null":
            return settled(leaf)  # SOPS leaves nothing as it is, and out of the MAC
        encrypted = self.rules.encrypted(path, leaf)
        if encrypted:
            leaf, counted = self.opened(leaf, path)
        else:
            leaf, counted = settled(leaf), hashed(leaf)
        if leaf.kind != "comment" and (encrypted or not self.rules.mac_only_encrypted):
            self.hash.update(counted)
        return leaf

    def opened(self, leaf: Leaf, path: tuple[str, ...]) -> tuple[Leaf, bytes]:
        if leaf.kind != "str" or (leaf.data and not _VALUE.fullmatch(leaf.data)):
            raise Undecryptable(
                f"the value of {shown(path)} is in clear where an encrypted one must be",
                "edit the file with sops, or say in .sops.yaml what stays in clear",
            )
        if not leaf.data:
            return leaf, b""  # the empty text is written as it is
        try:
            return self.open(leaf.data, (":".join(path) + ":").encode())
        except _NotAuthentic:
            raise Undecryptable(f"the value of {shown(path)} was changed or moved", _CHANGED) from None

    def open(self, text: bytes, bound: bytes) -> tuple[Leaf, bytes]:
        """A value's plaintext, and what of it counts for the MAC."""
        from cryptography.exceptions import InvalidTag

        found = _VALUE.fullmatch(text)
        if found is None:
            raise _NotAuthentic
        try:
            data, nonce, tag = (base64.b64decode(part, validate=True) for part in found.groups()[:3])
            if len(tag) != _TAG_BYTES:
                raise _NotAuthentic
            plain = self.cipher.decrypt(nonce, data + tag, bound)
        except (binascii.Error, InvalidTag, ValueError):
            raise _NotAuthentic from None
        return typed(found[4].decode(), plain)


def typed(kind: str, plain: bytes) -> tuple[Leaf, bytes]:
    """A decrypted value, settled, and what of it counts for the MAC."""
    leaf = Leaf(kind, plain)
    try:
        match kind:
            case "int":
                int(plain)  # decimal, never 0x1F
            case "float":
                leaf = Leaf(kind, floating(plain.decode()).encode())
            case "bool":
                leaf = Leaf(kind, _BOOL[plain])
            case "str" | "comment" | "bytes" | "time":
                pass
            case _:
                raise _NotAuthentic
        return settled(leaf), hashed(leaf)
    except (ValueError, KeyError):
        raise _NotAuthentic from None


def settled(leaf: Leaf) -> Leaf:
    """``leaf`` in the text that ``sops decrypt`` shows; a float without an exponent, though, which SOPS makes up: a
    person's 12345678.5 would be 1.23456785e+07."""
    match leaf.kind:
        case "bool":
            return Leaf(leaf.kind, _BOOL[leaf.data])
        case "null":
            return Leaf(leaf.kind, b"null")
        case "float":
            text = hashed(leaf).decode()
            return Leaf(leaf.kind, _YAML_FLOATS.get(text, text).encode())
        case "int" | "time":
            return Leaf(leaf.kind, hashed(leaf))
        case _:
            return leaf


def hashed(leaf: Leaf) -> bytes:
    """What counts for the MAC: the value in Go's text, not its source."""
    match leaf.kind:
        case "int":
            return str(integer(leaf.data.decode())).encode()
        case "float":
            return floating(leaf.data.decode()).encode()
        case "bool":
            return b"True" if _BOOL[leaf.data] == b"true" else b"False"
        case "time":
            return timestamp(leaf.data.decode()).encode()
        case _:
            return leaf.data


def shown(path: tuple[str, ...]) -> str:
    """Keys on the way to a value, for people."""
    return ".".join(path)[:200]
