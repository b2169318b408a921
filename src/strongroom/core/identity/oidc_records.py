"""What is stored of OIDC keys and roles, and under which keys (docs/formats/identity.md)."""

import re
from typing import Any

import msgspec

from strongroom.core import layout
from strongroom.core.lease_entry import second
from strongroom.errors import BadRequest
from strongroom.sdk.request import ROOT_NAMESPACE

DAY = 86400
_NAME = re.compile(r"\w(?:[\w.-]*\w)?", re.ASCII)
_MAX_NAME = 128


class PrivateKey(msgspec.Struct, frozen=True):
    """A key pair that signs or is going to."""

    kid: str
    pem: bytes  # PKCS #8
    jwk: dict[str, str]  # its public half, with kid, use and alg

    def __repr__(self) -> str:
        return f"PrivateKey(kid={self.kid!r})"


class OldKey(msgspec.Struct, frozen=True):
    """The public half of a key that signed once. The private one is gone."""

    jwk: dict[str, str]
    until: float  # seconds since the Unix epoch


class PublicKeys(msgspec.Struct, frozen=True):
    """The public halves of a named key."""

    current: tuple[dict[str, str], ...]
    old: tuple[OldKey, ...]
    next_rotation: float  # seconds since the Unix epoch

    def at(self, now: float) -> list[dict[str, str]]:
        """The JWKs that tokens may be checked with at ``now``."""
        return [*self.current, *(old.jwk for old in self.old if old.until > now)]


class NamedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A named key: what signs now, what will sign next (published already), what signed. Spans in seconds."""

    name: str
    algorithm: str
    rotation_period: int
    verification_ttl: int
    allowed_client_ids: tuple[str, ...]
    signing: PrivateKey
    following: PrivateKey
    old: tuple[OldKey, ...] = ()
    next_rotation: float  # seconds since the Unix epoch

    def public(self) -> "PublicKeys":
        """What of it is for everybody."""
        return PublicKeys((self.signing.jwk, self.following.jwk), self.old, self.next_rotation)

    def allows(self, client_id: str) -> bool:
        return "*" in self.allowed_client_ids or client_id in self.allowed_client_ids

    def __repr__(self) -> str:
        return f"NamedKey(name={self.name!r}, algorithm={self.algorithm!r})"


class OidcRole(msgspec.Struct, frozen=True, kw_only=True):
    """What tokens of a role are like. ``ttl`` in seconds."""

    key: str
    client_id: str
    template: str = ""
    ttl: int = DAY


class OidcConfig(msgspec.Struct, frozen=True):
    issuer: str = ""  # "https://host:port"; "" = the server's api_addr


class OidcKeys:
    """The store keys of one namespace's OIDC tokens; ``prefix`` is ``ns/<nsid>/identity/``."""

    __slots__ = ("config", "guard", "key", "role")

    def __init__(self, prefix: str) -> None:
        self.config = prefix + "oidc/config"
        self.guard = prefix + "oidc/guard"  # its revision moves with every change, so that references hold
        self.key = prefix + "oidc/key/"  # <name>: NamedKey
        self.role = prefix + "oidc/role/"  # <name>: OidcRole


DUE = layout.identity_prefix(ROOT_NAMESPACE) + "oidc-due/"  # <second>.<nsid>.<name>: that key is to be rotated


def due(namespace: str, key: NamedKey) -> str:
    """Where the next rotation of a key is noted: for all namespaces in one place, the earliest first."""
    return f"{DUE}{second(key.next_rotation)}.{namespace}.{key.name}"


def check_name(name: str) -> str:
    """``name`` if a key or role may have it. Raises BadRequest."""
    if len(name) > _MAX_NAME or _NAME.fullmatch(name) is None:
        raise BadRequest("a name has letters, digits, '_', '-' and '.', begins and ends with a letter or digit")
    return str(name)  # no subclass of it


pack = msgspec.msgpack.Encoder().encode
key_of = msgspec.msgpack.Decoder(NamedKey).decode
role_of = msgspec.msgpack.Decoder(OidcRole).decode
config_of = msgspec.msgpack.Decoder(OidcConfig).decode


def key_data(key: NamedKey) -> dict[str, Any]:
    """A named key as answers show it: never the keys themselves."""
    return {
        "algorithm": key.algorithm,
        "allowed_client_ids": list(key.allowed_client_ids),
        "rotation_period": key.rotation_period,
        "verification_ttl": key.verification_ttl,
    }
