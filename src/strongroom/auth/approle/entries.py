"""What the AppRole method keeps: roles and SecretIDs, and the rules of their fields."""

import datetime
import hmac
import os
import uuid
from typing import Any

import msgspec

from strongroom.errors import BadRequest
from strongroom.sdk.fields import UNSET, Duration, Flag, StrList, Text, UnsetType
from strongroom.sdk.token_fields import TokenArgs, TokenParams, check_cidrs

MAX_ID = 4096  # bytes of UTF-8 of a RoleID or SecretID
MAX_METADATA = 16384  # bytes of JSON
MAX_USES = 2**31 - 1
NEVER = "0001-01-01T00:00:00Z"  # how Vault writes a time that was never set (wire facts B.8)


class RoleArgs(TokenArgs, frozen=True, kw_only=True):
    """The fields of a role as a client may send them."""

    bind_secret_id: Flag | UnsetType = UNSET
    secret_id_bound_cidrs: StrList | UnsetType = UNSET
    bound_cidr_list: StrList | UnsetType = UNSET  # deprecated name of secret_id_bound_cidrs
    secret_id_num_uses: int | UnsetType = UNSET
    secret_id_ttl: Duration | UnsetType = UNSET
    local_secret_ids: Flag | UnsetType = UNSET
    role_id: Text | UnsetType = UNSET
    policies: StrList | UnsetType = UNSET
    period: Duration | UnsetType = UNSET


class Role(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A role as stored. ``uid`` tells a role from a later one of the same name. TTLs in seconds, 0 = no limit."""

    uid: str
    role_id: str
    bind_secret_id: bool = True
    local_secret_ids: bool = False
    secret_id_bound_cidrs: tuple[str, ...] = ()
    secret_id_num_uses: int = 0
    secret_id_ttl: int = 0
    token: TokenParams = TokenParams()

    def __repr__(self) -> str:
        return f"Role(uid={self.uid!r})"

    def updated(self, args: msgspec.Struct) -> "Role":
        """This role with the fields that ``args`` has set (all but ``role_id`` and ``local_secret_ids``).

        Raises:
            BadRequest: a field is out of range, or nothing would guard the role any more.
        """
        changes: dict[str, Any] = {}
        for name in ("bound_cidr_list", "secret_id_bound_cidrs"):  # the new name wins
            if (blocks := getattr(args, name, UNSET)) is not UNSET:
                changes["secret_id_bound_cidrs"] = check_cidrs(blocks, name=name)
        if (bind := getattr(args, "bind_secret_id", UNSET)) is not UNSET:
            changes["bind_secret_id"] = bool(bind)
        if (uses := getattr(args, "secret_id_num_uses", UNSET)) is not UNSET:
            changes["secret_id_num_uses"] = check_uses(uses, "secret_id_num_uses")
        if (ttl := getattr(args, "secret_id_ttl", UNSET)) is not UNSET:
            changes["secret_id_ttl"] = int(ttl)
        return msgspec.structs.replace(self, **changes, token=self.token.updated(args)).guarded()

    def guarded(self) -> "Role":
        """This role. Raises BadRequest if the RoleID alone would open it from everywhere."""
        if not (self.bind_secret_id or self.secret_id_bound_cidrs or self.token.token_bound_cidrs):
            raise BadRequest("at least one constraint should be enabled on the role: bind_secret_id or bound CIDRs")
        return self

    def answer(self) -> dict[str, Any]:
        """The fields as a read of the role shows them."""
        return {
            "bind_secret_id": self.bind_secret_id,
            "local_secret_ids": self.local_secret_ids,
            "secret_id_bound_cidrs": list(self.secret_id_bound_cidrs) or None,
            "secret_id_num_uses": self.secret_id_num_uses,
            "secret_id_ttl": self.secret_id_ttl,
            **self.token.answer(),
        }


class SecretId(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a SecretID: all but the SecretID, of which only a keyed hash is kept (in the key)."""

    accessor: str
    created: float  # seconds since the Unix epoch
    updated: float
    expires: float = 0.0  # 0 = never
    ttl: int = 0  # seconds, as given out
    num_uses: int = 0  # uses left; 0 = unlimited
    metadata: dict[str, str] = {}
    cidr_list: tuple[str, ...] = ()
    token_bound_cidrs: tuple[str, ...] = ()

    def alive(self, now: float) -> bool:
        """Whether it may still be used at ``now`` (threat GHSA-7m59: asked at every use, not left to tidying)."""
        return not self.expires or now < self.expires

    def answer(self) -> dict[str, Any]:
        """The fields as a look-up shows them."""
        return {
            "cidr_list": list(self.cidr_list),
            "creation_time": rfc3339(self.created),
            "expiration_time": rfc3339(self.expires) if self.expires else NEVER,
            "last_updated_time": rfc3339(self.updated),
            "metadata": dict(self.metadata),
            "secret_id_accessor": self.accessor,
            "secret_id_num_uses": self.num_uses,
            "secret_id_ttl": self.ttl,
            "token_bound_cidrs": list(self.token_bound_cidrs),
        }


class RolePointer(msgspec.Struct, frozen=True):
    """From a RoleID to its role."""

    role: str
    uid: str


class AccessorPointer(msgspec.Struct, frozen=True):
    """From an accessor to its SecretID: the role, and the keyed hash of the SecretID."""

    role: str
    uid: str
    digest: str


def check_uses(value: int, name: str) -> int:
    """A count of uses. Raises BadRequest when negative or beyond 31 bits."""
    if not 0 <= value <= MAX_USES:
        raise BadRequest(f"{name} must be between 0 and {MAX_USES}")
    return int(value)


def check_id(value: str, name: str) -> str:
    """A RoleID or SecretID of the caller's choice. Raises BadRequest when empty or over ``MAX_ID``."""
    if not value:
        raise BadRequest(f"missing {name}")
    if len(value.encode()) > MAX_ID:
        raise BadRequest(f"{name} is longer than {MAX_ID} bytes")
    return str(value)


def keyed(salt: bytes, *parts: str) -> str:
    """HMAC-SHA256 (RFC 2104) of ``parts`` under the mount's ``salt``, in hex. Parts cannot run into each other."""
    message = b"".join(len(data).to_bytes(4, "big") + data for part in parts for data in (part.encode(),))
    return hmac.digest(salt, message, "sha256").hex()


def new_id() -> str:
    """A random UUID (RFC 9562, version 4): 122 random bits."""
    return str(uuid.uuid4())


def new_uid() -> str:
    """What tells two roles of one name apart."""
    return os.urandom(8).hex()


def rfc3339(seconds: float) -> str:
    """UTC with up to nine decimals and ``Z``, as Go prints RFC3339Nano. ``seconds`` since the Unix epoch."""
    whole, nanos = divmod(int(seconds * 1_000_000) * 1000, 1_000_000_000)
    text = datetime.datetime.fromtimestamp(whole, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{nanos:09d}".rstrip("0") if nanos else "") + "Z"
