"""What goes in and what comes out: the words every door and every engine share."""

import enum
from collections.abc import Mapping
from typing import Any

import msgspec

from strongroom.errors import VaultError

ROOT_NAMESPACE = "root"  # id of the namespace whose path is empty


class Op(enum.StrEnum):
    """What is asked of a path. The values are the audit log's and the policies' words."""

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    LIST = "list"
    SCAN = "scan"  # a recursive LIST
    HELP = "help"
    UNKNOWN = "unknown"  # a method nobody serves; walks the pipeline to be refused and recorded


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request, exactly as the caller sent it. Never changed after it is built.

    ``data`` holds the query fields of a read, list or delete; the Parse step adds the fields of ``body``
    (in a copy that replaces ``call.request``). ``fault`` is what the door found wrong with bytes it could still
    frame as a request: the pipeline records it and raises it, so that a broken request has its audit line too.
    """

    id: str
    op: Op
    path: str  # canonical, without "/v1/"; a LIST ends in "/"
    data: dict[str, Any] = {}
    token: str = ""
    remote: str = ""  # client address, after trusted proxies were resolved
    wrap_ttl: int = 0  # seconds; 0 = do not wrap
    body: bytes = b""
    content_type: str = ""
    namespace: str = ROOT_NAMESPACE  # namespace id, set by the core
    namespace_path: str = ""  # as asked for by header; from the core on: of ``namespace``, "ns1/ns2/"
    remote_port: int = 0
    headers: Mapping[str, str] = {}  # lower-case names; only those a handler may look at
    certificate: bytes = b""  # the client's TLS certificate in DER, as the listener or a trusted proxy gave it
    chain: tuple[bytes, ...] = ()  # the certificates (DER) that came with it, unverified, in no order
    fault: VaultError | None = None
    admitted: dict[str, str] | None = None  # the door has counted it against the rate limits: headers of its answer

    def __repr__(self) -> str:
        return f"Request(id={self.id!r}, op={self.op.value!r}, path={self.path!r})"


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """Asks the lease manager for a lease on what this response gives out."""

    ttl: int  # seconds
    max_ttl: int  # seconds
    renewable: bool = True
    private: dict[str, Any] = {}  # what revoke() needs; kept by the lease store, never sent
    # A key of the engine's own storage and its revision: a note, written before the secret was made, to undo it should
    # no lease come to be. It is removed in the commit that stores the lease, which fails if the note is gone.
    intent: tuple[str, int] | None = None

    def __repr__(self) -> str:
        return f"Lease(ttl={self.ttl})"


class Auth(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a login or of a token creation.

    An auth method fills the first group; the Tokens handler limits ``ttl`` by mount and system, creates the token
    and fills the second. All TTLs are seconds, 0 = the default.
    """

    policies: tuple[str, ...] = ()
    metadata: Mapping[str, str] | None = None
    display_name: str = ""
    alias: str = ""  # the name that this login is known by at its mount, folded
    alias_metadata: Mapping[str, str] | None = None  # kept with the alias, and refreshed by each login
    group_aliases: tuple[str, ...] = ()  # names of external groups at this mount that the login proves
    ttl: int = 0
    max_ttl: int = 0
    explicit_max_ttl: int = 0
    period: int = 0
    num_uses: int = 0
    renewable: bool = True
    no_default_policy: bool = False
    bound_cidrs: tuple[str, ...] = ()
    token_type: str = ""  # "service" | "batch" | "" = as the mount says
    private: dict[str, Any] = {}  # handed back to the method's ``renew``; never sent

    client_token: str = ""
    accessor: str = ""
    token_policies: tuple[str, ...] = ()
    identity_policies: tuple[str, ...] = ()
    entity_id: str = ""
    orphan: bool = True
    mfa_requirement: Mapping[str, Any] | None = None  # there is no token before these second factors are proved

    def __repr__(self) -> str:
        return f"Auth(display_name={self.display_name!r})"


class WrapInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Where the real answer waits, for one use."""

    token: str
    accessor: str
    ttl: int  # seconds
    creation_time: str  # RFC 3339, nanoseconds, UTC
    creation_path: str
    wrapped_accessor: str = ""

    def __repr__(self) -> str:
        return f"WrapInfo(ttl={self.ttl}, creation_path={self.creation_path!r})"


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """``data=None`` (and nothing else set) becomes 204 No Content."""

    data: Mapping[str, Any] | None = None
    lease: Lease | None = None
    warnings: tuple[str, ...] = ()
    auth: Auth | None = None
    wrap_info: WrapInfo | None = None
    lease_id: str = ""
    lease_duration: int = 0  # seconds
    renewable: bool = False
    status: int = 0  # 0 = 200, or 204 without content
    bare: bool = False  # ``data`` is the whole body, without the envelope (sys/health, sys/init, ...)
    flat: bool = False  # ``data``'s keys are repeated beside ``data`` (sys/mounts, sys/auth, ...)
    raw: bytes | None = None  # the body as it stands (metrics, PEM)
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}
    close: bool = False  # the connection ends after this answer (the process behind it is going away)
    wrap_ttl: int = 0  # seconds; the engine wants this answer wrapped even if the caller did not ask
    # What the core makes of ``data`` is kept here, never ``data`` itself. The engine gives the same dict again while
    # the data behind an answer is the same (same revision), and another one afterwards.
    memo: dict[Any, bytes] | None = None

    def __repr__(self) -> str:
        kind = "auth" if self.auth else "wrapped" if self.wrap_info else "data" if self.data is not None else "empty"
        return f"Response({kind})"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking, as established by the token. Passed on, never looked up again."""

    accessor: str
    policies: tuple[str, ...]  # all that apply: token's and identity's, sorted
    display_name: str = ""
    token_id: str = ""  # salted hash of the token: the key of its cubbyhole, never the token
    token_policies: tuple[str, ...] = ()
    identity_policies: tuple[str, ...] = ()
    entity_id: str = ""
    namespace: str = ROOT_NAMESPACE
    token_type: str = "service"
    path: str = ""  # where the token was created: auth/userpass/login/bob
    mount_accessor: str = ""  # of the auth mount that made it
    metadata: Mapping[str, str] | None = None
    bound_cidrs: tuple[str, ...] = ()
    issue_time: float = 0.0  # seconds since the Unix epoch
    ttl: int = 0  # seconds at creation or last renewal; 0 = never expires
    orphan: bool = True
    root: bool = False  # holds the root policy: exempt from every policy check
    mfa: tuple[str, ...] = ()  # ids of the MFA methods that the login passed
    entity_name: str = ""  # "" without an entity
    groups: tuple[str, ...] = ()  # names of the identity groups, direct and inherited, sorted
    auth_type: str = ""  # of the auth mount that made the token: "approle"
    auth_path: str = ""  # and where it is: "auth/approle/"
    parent: str = ""  # ``token_id`` of the token that made it; "" for an orphan

    def __repr__(self) -> str:
        return f"Caller(display_name={self.display_name!r}, policies={self.policies!r})"
