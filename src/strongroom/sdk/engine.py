"""How a secret engine, an auth method or a handler is written."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import msgspec

from strongroom.errors import BadRequest, VaultError
from strongroom.sdk.databases import Databases, NoDatabases
from strongroom.sdk.outside import Fetch, nowhere
from strongroom.sdk.request import ROOT_NAMESPACE, Auth, Caller, Op, Request, Response
from strongroom.sdk.storage import Storage, Write

T = TypeVar("T")
Trust = Mapping[str, Sequence[bytes]]  # a name of the mount's own -> certificates (DER); an empty list takes it off
Publish = Callable[[Sequence[Write], Mapping[str, int], Trust], Awaitable[None]]


class NoArgs(msgspec.Struct, frozen=True):
    """The route takes no fields (free-form bodies are in ``call.request.data``)."""


async def run_inline(work: Callable[[], T]) -> T:
    """The ``offload`` of a vault without a loop: slow CPU work runs where it is called."""
    return work()


async def no_password(policy: str) -> str:
    """The ``password`` of an engine outside a vault: there are no policies."""
    raise BadRequest("password policy not found")


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """All an engine may touch: its own storage, its options, the time."""

    path: str  # "secret/", "auth/userpass/"
    storage: Storage
    now: Callable[[], float]  # seconds since the Unix epoch, UTC
    options: Mapping[str, str] = {}
    accessor: str = ""
    uuid: str = ""
    type: str = ""
    namespace: str = ROOT_NAMESPACE
    default_lease_ttl: int = 2764800  # seconds, effective (mount's own or the system's)
    max_lease_ttl: int = 2764800  # seconds, effective
    token_type: str = "default-service"  # of an auth mount
    offload: Callable[[Callable[[], Any]], Awaitable[Any]] = run_inline  # runs CPU-heavy work off the loop
    fetch: Fetch = nowhere  # HTTP to the outside
    # ``storage.commit(writes, expect)`` that also tells the doors which TLS client certificates the mount goes by: they
    # ask their clients for one while any mount trusts any. None where there are no doors.
    publish: Publish | None = None
    databases: Databases = NoDatabases()
    password: Callable[[str], Awaitable[str]] = no_password  # (name of a password policy) -> a fresh password


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One path an engine answers: who may call it is written here and nowhere else."""

    pattern: str  # "creds/{role}"; "{path...}" takes the rest, which may be empty if ``rest_may_be_empty``
    ops: Mapping[Op, Callable[[Any, Any], Awaitable[Response]]]
    args: type[msgspec.Struct] = NoArgs
    login: bool = False  # reachable without a token
    sudo: bool = False  # needs the sudo capability
    while_sealed: bool = False
    help: str = ""
    fold: tuple[str, ...] = ()  # path fields that the engine folds to lower case, before any decision
    exists: Callable[[Any], Awaitable[bool]] | None = None  # (call) -> is this write an update (True) or a create?
    facts: Callable[[Any, Any], Awaitable[Mapping[str, Any]]] | None = None  # (call, args) -> what policies may see
    rest_may_be_empty: bool = False
    name: str = ""  # operation name in the OpenAPI document; made from the pattern when empty
    pure: frozenset[Op] = frozenset()  # operations that only look: nothing is changed anywhere before the answer leaves
    role: Callable[[Any], Awaitable[str]] | None = None  # of a login: (call) -> the role it names, for quotas
    strict: bool = True  # warn about unknown fields; False where the body is free-form

    def compile(self) -> re.Pattern[str]:
        """The pattern as a regular expression with one named group per field."""
        return _compiled(self.pattern, ".*" if self.rest_may_be_empty else ".+")


@lru_cache(maxsize=2048)  # mounts of one type share theirs
def _compiled(pattern: str, rest: str) -> re.Pattern[str]:
    out = ""
    for part in re.split(r"(\{\w+(?:\.\.\.)?\})", pattern):
        field = re.fullmatch(r"\{(\w+)(\.\.\.)?\}", part)
        out += f"(?P<{field[1]}>{rest if field[2] else '[^/]+'})" if field else re.escape(part)
    return re.compile(out)


class Match(msgspec.Struct, frozen=True):
    """Where a request goes, decided once. A path that leads nowhere matches too and carries its ``refusal``."""

    mount_path: str
    route: Route
    params: dict[str, str]
    refusal: VaultError | None = None  # raised by Router.route, after the caller was authenticated and audited
    mount_type: str = ""
    mount_accessor: str = ""
    mount_class: str = ""  # "secret" | "auth" | ""
    mount_uuid: str = ""


class Call(msgspec.Struct):
    """One request on its way through the house. Only the pipeline's handlers add to it."""

    request: Request
    match: Match
    caller: Caller | None = None
    args: Any = None  # the route's fields, decoded by the Facts step
    found: Any = None  # what the route's ``exists`` read, if the operation has a use for it
    facts: Mapping[str, Any] = {}
    policy_results: Mapping[str, Any] | None = None  # what the authorizers decided, for the audit record
    notes: dict[str, Any] = {}  # what handlers of ``core`` remember between phases
    warnings: tuple[str, ...] = ()
    headers: dict[str, str] | None = None  # that the answer carries, whatever comes of the call
    only_looks: bool = False  # there is no effect but the answer, so both audit records may be written at once

    def __repr__(self) -> str:
        return f"Call({self.request!r})"


class Engine(Protocol):
    """A secret engine or auth method. Built-ins need not inherit from it."""

    def __init__(self, mount: Mount) -> None: ...

    def routes(self) -> Sequence[Route]:
        """Every path this engine answers, most specific first."""

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        """Undo what a lease granted. Must be safe to call twice."""


class RenewableAuth(Protocol):
    """An auth method that has a say when one of its tokens is renewed."""

    async def renew(self, auth: Auth) -> Auth:
        """The same login with today's TTLs; raises ``VaultError`` if it would not be granted any more."""


class RequestRenewableAuth(Protocol):
    """As ``RenewableAuth``, for a method whose answer depends on the request that renews (its certificate, say)."""

    async def renew_from(self, auth: Auth, request: Request) -> Auth:
        """The same login with today's TTLs; raises ``VaultError`` if it would not be granted any more."""


class Initializing(Protocol):
    """An engine with work to do once, when its mount is created."""

    async def initialize(self) -> None:
        """Runs after the mount entry is stored and before the mount answers. Must be safe to run twice."""


class RenewableSecrets(Protocol):
    """An engine that has a say when a lease of its secrets is renewed."""

    async def renew_lease(self, lease_private: Mapping[str, Any], expires: float) -> None:
        """Let the secret live until ``expires`` (seconds since the Unix epoch); raises ``VaultError`` to refuse."""


class Finishing(Protocol):
    """An engine with work to finish that requests left behind."""

    async def finish(self) -> int:
        """Called about once a second, by one process of all. Does little at a time; how many things were done."""


class Closing(Protocol):
    """An engine that holds more than memory."""

    def close(self) -> None:
        """Let go of it: the mount is gone, is being rebuilt, or the vault is being sealed."""


class Handler:
    """One concern that watches every request. Override the phases you need."""

    async def pre_route(self, call: Call) -> Response | None:
        """Raise to refuse; return a Response to answer early; return None to pass on."""
        return None

    async def route(self, call: Call) -> Response | None:
        """Return a Response to answer in the engine's place; None lets the engine answer."""
        return None

    async def post_route(self, call: Call, response: Response) -> Response:
        """Change the answer of a call that succeeded."""
        return response

    async def log(self, call: Call, outcome: Response | BaseException) -> None:
        """Always runs, whatever happened. Raising here stops the reply."""
