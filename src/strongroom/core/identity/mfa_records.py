"""What is stored of second factors, and the keys it is stored under (docs/formats/identity.md)."""

from typing import Any

import msgspec

from strongroom.core.token_entry import TokenEntry


class Method(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One TOTP method: how secrets are made from now on, and how many wrong codes are taken."""

    id: str
    name: str = ""
    issuer: str = ""
    period: int = 30  # seconds
    key_size: int = 20  # bytes
    qr_size: int = 200  # pixels; kept for clients, no picture is made
    algorithm: str = "SHA1"
    digits: int = 6
    skew: int = 1
    max_attempts: int = 5


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """What one entity shares with its authenticator. It keeps the parameters that it was made with."""

    key: bytes
    period: int
    algorithm: str
    digits: int
    skew: int

    def __repr__(self) -> str:
        return "Secret()"


class State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the codes of one entity for one method went."""

    step: int = -1  # the last time step whose code was used
    failures: int = 0  # in a row
    last: float = 0.0  # when the last of them was, in Unix seconds


class Enforcement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which logins need one of which methods. A login is meant if any of the four lists names it."""

    id: str
    name: str
    methods: tuple[str, ...]  # ids
    accessors: tuple[str, ...] = ()  # of auth mounts
    types: tuple[str, ...] = ()  # of auth mounts
    groups: tuple[str, ...] = ()  # ids
    entities: tuple[str, ...] = ()  # ids


class Pending(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A login that proved its first factor: the token that it gets once the second is proved too."""

    entry: TokenEntry  # without its times
    expires: float  # Unix seconds
    warnings: tuple[str, ...] = ()
    extra: tuple[tuple[str, bytes | None], ...] = ()  # what is written along with the token
    quota: str = ""  # id of the lease-count quota that the token counts against, "" = none

    def __repr__(self) -> str:
        return f"Pending({self.entry!r})"


class MfaKeys:
    """The store keys of one namespace's second factors; ``prefix`` is ``ns/<nsid>/identity/``."""

    __slots__ = ("due", "enforcement", "method", "method_name", "pending", "secret", "state")

    def __init__(self, prefix: str) -> None:
        self.method = prefix + "mfa-method/"  # <id>: Method
        self.method_name = prefix + "mfa-method-name/"  # <name>: id
        self.enforcement = prefix + "mfa-enforcement/"  # <name>: Enforcement
        self.secret = prefix + "mfa-secret/"  # <method id>/<entity id>: Secret
        self.state = prefix + "mfa-state/"  # <method id>/<entity id>: State
        self.pending = prefix + "mfa-pending/"  # <hash of the request id>: Pending
        self.due = prefix + "mfa-due/"  # <second, 12 digits>.<the same hash>: when it is over


method_of = msgspec.msgpack.Decoder(Method).decode
secret_of = msgspec.msgpack.Decoder(Secret).decode
state_of = msgspec.msgpack.Decoder(State).decode
enforcement_of = msgspec.msgpack.Decoder(Enforcement).decode
pending_of = msgspec.msgpack.Decoder(Pending).decode


def method_data(method: Method, namespace: str, path: str = "") -> dict[str, Any]:
    """A method as answers show it."""
    return {
        "algorithm": method.algorithm,
        "digits": method.digits,
        "id": method.id,
        "issuer": method.issuer,
        "key_size": method.key_size,
        "max_validation_attempts": method.max_attempts,
        "name": method.name,
        "namespace_id": namespace,
        "namespace_path": path,
        "period": method.period,
        "qr_size": method.qr_size,
        "skew": method.skew,
        "type": "totp",
    }


def enforcement_data(rule: Enforcement, namespace: str, path: str = "") -> dict[str, Any]:
    """An enforcement as answers show it."""
    return {
        "auth_method_accessors": list(rule.accessors),
        "auth_method_types": list(rule.types),
        "id": rule.id,
        "identity_entity_ids": list(rule.entities),
        "identity_group_ids": list(rule.groups),
        "mfa_method_ids": list(rule.methods),
        "name": rule.name,
        "namespace_id": namespace,
        "namespace_path": path,
    }
