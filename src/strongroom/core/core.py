"""The vault at work: sealed or unsealed, its namespaces, its pipeline. ``vault.assemble`` puts one together."""

import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from strongroom.core import layout
from strongroom.core.barrier import Barrier
from strongroom.core.denials import HEADER as DENIAL
from strongroom.core.expiry import Duty, run
from strongroom.core.facts import Facts, Warnings
from strongroom.core.first_start import first_entries
from strongroom.core.leader import Leader
from strongroom.core.lease_limit import LeaseLimit
from strongroom.core.lease_step import LeaseStep
from strongroom.core.lease_tallies import ProcessTallies, Tallies
from strongroom.core.mounts import Kinds, MountLimits
from strongroom.core.namespace import Namespace, Parts, open_namespace
from strongroom.core.parse import Parse
from strongroom.core.pipeline import TRANSITION, Pipeline, Recorder
from strongroom.core.policies import Acl, Policies, PolicyLanguage, below
from strongroom.core.rate_limit import RateLimit, RoleLimit
from strongroom.core.rate_windows import Windows
from strongroom.core.router import Router, mounted
from strongroom.core.seal import InitResult, SealConfig, SealKeeper, SealStatus
from strongroom.core.shares import KeyShares
from strongroom.core.space_removal import Removals
from strongroom.core.spaces import Spaces
from strongroom.core.token_auth import TokenAuth, TokenCheck
from strongroom.core.visible import VisibleLists
from strongroom.core.wrapping import Wrapping
from strongroom.crypto.memory import SecretBytes
from strongroom.errors import Conflict, Sealed, VaultError
from strongroom.sdk.databases import Databases, NoDatabases
from strongroom.sdk.engine import Call, Engine, Mount
from strongroom.sdk.outside import Fetch, nowhere
from strongroom.sdk.paths import sanitised
from strongroom.sdk.request import ROOT_NAMESPACE, Caller, Request, Response
from strongroom.sdk.storage import Backend, NoStorage, Write

VERSION = "0.1.0"
REPORTED_VERSION = "1.21.0"  # what clients that gate features by Vault's version are told (configurable)


MAINTAIN_EVERY = 60.0  # seconds between two looks at how often the barrier's key was used


class CoreConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the core needs to know of the configuration."""

    default_lease_ttl: int = 2764800  # seconds
    max_lease_ttl: int = 2764800
    max_entry_size: int = 1024 * 1024
    mount_entry_hmac_level: str = "compat"
    mounts_monitor_interval: float = 0.0  # seconds; 0 = only when something changed
    version: str = REPORTED_VERSION
    cluster_name: str = ""
    storage_type: str = ""
    api_addr: str = ""
    unauthenticated_operator_endpoints: bool = False
    sanitized: dict[str, Any] = {}  # the configuration as sys/config/state/sanitized shows it


class Cluster(msgspec.Struct, frozen=True):
    """Name and id of what shares one store."""

    name: str
    id: str


class Door:
    """What the server lends to the sys routes; an embedded vault has none of it."""

    def __init__(self) -> None:
        self.metrics: Callable[[str], Awaitable[tuple[str, bytes]]] | None = None  # (format) -> (type, body)
        self.others_in_flight: Callable[[], Awaitable[Mapping[str, Any]]] | None = None  # see core/sys/host.py
        self.log_level = "warn"
        self.set_log_level: Callable[[str], None] = lambda level: None


class AuditTrail(Recorder, Protocol):
    """What the core asks of the audit devices beyond recording."""

    def devices(self) -> Mapping[str, Any]: ...

    async def enable(
        self, path: str, kind: str, *, description: str, options: Mapping[str, str], local: bool
    ) -> None: ...

    async def disable(self, path: str) -> None: ...

    def hash(self, path: str, text: str) -> str: ...

    async def proof(self, path: str) -> tuple[bytes, str]: ...

    async def unsealed(self, storage: Any, space: Namespace) -> None:
        """The barrier is open: load the devices."""

    async def sealed(self) -> None:
        """The barrier is about to close: forget the salts."""


class Core:
    """See the module. Nobody below is handed a Core but the sys routes, which are its face."""

    def __init__(
        self,
        backend: Backend,
        config: CoreConfig,
        *,
        kinds: Kinds,
        language: PolicyLanguage,
        audit: AuditTrail,
        system: Callable[["Core", Mount], Engine],
        handlers: Sequence[Any],
        guards: Sequence[Any] = (),
        now: Callable[[], float],
        offload: Callable[[Callable[[], Any]], Any],
        fetch: Fetch = nowhere,
        windows: Windows | None = None,
        databases: Databases = NoDatabases(),
        tallies: Tallies | None = None,
    ) -> None:
        self.databases = databases
        self.backend, self.config, self.kinds, self.language, self.audit = backend, config, kinds, language, audit
        self.now, self.offload, self.fetch = now, offload, fetch
        self.keeper = SealKeeper(backend, now=now, max_entry_size=config.max_entry_size)
        self.barrier: Barrier | None = None
        self.spaces: dict[str, Namespace] = {}
        self._directory: Spaces | None = None
        self.cluster: Cluster | None = None
        self.in_flight: dict[str, tuple[float, Request]] = {}
        self.on_transition: Callable[[str], Awaitable[None]] | None = None
        self.door = Door()
        self.attempts: dict[str, Any] = {}  # rekey and generate-root in progress; see core/sys/operator.py
        self._next_read = 0.0
        self._next_count = 0.0
        self._custom = list(handlers)
        self._guards = list(guards)
        self.lockout: Any = None
        self.rate_limit = RateLimit(self.space, now, windows=windows, seen=self._seen)
        self._tallies: Tallies = tallies if tallies is not None else ProcessTallies()
        self._rated: set[str] = set()  # ids of the namespaces that have rate limits
        self._counted: set[str] = set()  # and of those that have lease-count quotas
        mount = Mount(path="sys/", storage=NoStorage(), now=now, type="system")
        engine = system(self, mount)
        self._sealed_router = Router(
            [mounted("sys/", engine, kind="system", accessor="", uuid="", mount_class="secret", privileged=True)]
        )
        self.pipeline = self._pipeline()

    def __repr__(self) -> str:
        return f"Core({'sealed' if self.sealed else 'unsealed'})"

    # -- requests ------------------------------------------------------------------------------------------------

    def _pipeline(self) -> Pipeline:
        """The order of what happens to a request. This list is the whole truth of it."""
        tokens = TokenAuth(self.space)
        rates = self.rate_limit.knowing(tokens.check)
        steps: list[Any] = [
            SealStep(self),
            *([rates] if self._rated else []),
            Parse(),
            *([RoleLimit(rates)] if self._rated else []),
            TokenCheck(tokens),
            Facts(),
            *self._guards,
            Policies(lambda ns: self.space(ns).policies),
            VisibleLists(self.space),
            *self._custom,
            *([LeaseLimit(self.space)] if self._counted else []),
            tokens,
            LeaseStep(self.space),
            Wrapping(self.space),
            Warnings(),
        ]
        return Pipeline(self.router, steps, self.audit, tokens.spend, self._after, self._custom, self._denied)

    @property
    def limits_rates(self) -> bool:
        """Whether any namespace has a rate limit."""
        return bool(self._rated)

    def _now_limited(self, namespace: str, rates: bool, leases: bool) -> None:
        """A vault without quotas spends no time on them: their steps come and go with the first and the last."""
        before = bool(self._rated), bool(self._counted)
        for which, has in ((self._rated, rates), (self._counted, leases)):
            (which.add if has else which.discard)(namespace)
        if (bool(self._rated), bool(self._counted)) != before:
            self.pipeline = self._pipeline()

    def add_handler(self, handler: Any) -> None:
        """Put ``handler`` behind the built-in checks and before the request record."""
        self._custom.append(handler)
        self.pipeline = self._pipeline()

    async def handle(self, request: Request) -> Response:
        """One request through the house.

        Raises:
            VaultError: refused or failed; recorded.
        """
        self.in_flight[request.id] = (self.now(), request)
        try:
            if self.barrier is not None and request.fault is None:
                space = self.spaces.get(request.namespace)
                stamp = self.backend.stamp()  # taken before the look, so that a change during it is seen next time
                if space is None or stamp is None or stamp != space.stamp or self.config.mounts_monitor_interval:
                    try:
                        await self._fresh(self.space(request.namespace), stamp)
                    except VaultError as error:
                        request = msgspec.structs.replace(request, fault=error)
                if request.namespace_path or (
                    space is not None and space.has_children and not space.serves(request.path)
                ):
                    return await self._elsewhere(request, stamp)
            elif request.namespace_path:
                request = msgspec.structs.replace(request, namespace_path="")  # nobody looked whether it exists
            return await self.pipeline.handle(request)
        finally:
            self.in_flight.pop(request.id, None)

    async def _elsewhere(self, request: Request, stamp: int | None) -> Response:
        """A request that is or may be for another namespace than the root."""
        if request.fault is not None or self._of_the_node(request):
            return await self.pipeline.handle(msgspec.structs.replace(request, namespace_path=""))
        directory = self.directory
        try:
            inside = await directory.enter(request, stamp)
        except VaultError as error:
            path = f"{sanitised(request.namespace_path.encode())}/{request.path}"
            lost = msgspec.structs.replace(request, fault=error, namespace_path="", path=path)
            return await self.pipeline.handle(lost)
        try:
            self.in_flight[request.id] = (self.now(), inside)
            return await self.pipeline.handle(inside)
        finally:
            directory.leave(inside)

    def _of_the_node(self, request: Request) -> bool:
        """Whether the node itself is asked (health, seal status): clients send their namespace with that too."""
        if not request.path.startswith("sys/"):
            return False
        match, _ = self._sealed_router.match(request.op, request.path)
        return match.route.while_sealed

    async def _fresh(self, space: Namespace, stamp: int | None) -> None:
        if stamp is None or stamp != space.stamp:
            await space.refresh()
            space.stamp = stamp
        interval = self.config.mounts_monitor_interval
        if interval and self.now() >= self._next_read:
            self._next_read = self.now() + interval
            await space.mounts.load()

    async def _after(self, call: Call, response: Response) -> Response:
        change = call.notes.get(TRANSITION)
        if change is None:
            return response
        if self.on_transition is not None:
            await self.on_transition(change)
            return msgspec.structs.replace(response, close=True)
        if change == "sealing":
            await self.seal()
        return response

    def _denied(self, call: Call, error: VaultError) -> None:
        """Give a refusal the id by which ``sys/policies/explain`` of the caller's namespace knows it."""
        request, caller = call.request, call.caller
        space = self.spaces.get(request.namespace if caller is None else caller.namespace)
        if space is not None:
            below = request.namespace_path.removeprefix(space.path)
            error.headers = {**error.headers, DENIAL: space.denials.seal(call, below)}

    def router(self, namespace: str) -> Router:
        """Today's router of a namespace; the sealed vault has sys/ alone."""
        if self.barrier is None:
            return self._sealed_router
        return self.space(namespace).mounts.router

    def space(self, namespace: str = ROOT_NAMESPACE) -> Namespace:
        """The namespace with that id. Raises Sealed."""
        space = self.spaces.get(namespace)
        if space is None:
            raise Sealed
        return space

    @property
    def directory(self) -> Spaces:
        """The namespaces. Raises Sealed."""
        if self._directory is None:
            raise Sealed
        return self._directory

    def _seen(self, path: str) -> tuple[Namespace, str]:
        return self.directory.seen(path)

    @property
    def removals(self) -> Removals:
        """What removes namespaces. Raises Sealed."""
        return Removals(self.barrier, self.directory, self.now)

    async def acl(self, request: Request, caller: Caller) -> Acl:
        """What the policies of ``caller`` say of the namespace of ``request``."""
        store = self.space(caller.namespace).policies
        return await store.acl(caller, below(store, request, caller))

    def mounted(self, path: str) -> bool:
        """Whether a mount serves ``path``, which may begin with namespaces that a request was made to."""
        if self._directory is None:
            return self.router(ROOT_NAMESPACE).mount_of(path) is not None
        space, rest = self._directory.seen(path)
        return space.serves(rest)

    # -- seal ----------------------------------------------------------------------------------------------------

    @property
    def sealed(self) -> bool:
        return self.barrier is None

    async def initialize(
        self, config: SealConfig, *, token: str = "", record: Callable[[InitResult], Awaitable[None]] | None = None
    ) -> InitResult:
        """A new vault: shares and root token. It stays sealed.

        ``record`` is told the result before anything is stored; if it raises, nothing was initialised.
        """
        root: list[str] = []

        async def seed(first: Any) -> None:
            root.append(await first_entries(self, first, token=token))

        async def tell(result: InitResult) -> None:
            if record is not None:
                await record(msgspec.structs.replace(result, root_token=root[0]))

        result = await self.keeper.initialize(config, seed, before_commit=tell)
        return msgspec.structs.replace(result, root_token=root[0])

    async def submit(self, share: str) -> SealStatus:
        """One share; unseals with the last."""
        status = await self.keeper.submit(share)
        if not status.sealed and self.barrier is None:
            await self._open(self.keeper.take_keyring_key())
        return status

    async def unseal_once(self, shares: Sequence[str]) -> KeyShares:
        """Unseal and replace the shares."""
        fresh = await self.keeper.unseal_once(shares)
        await self._open(self.keeper.take_keyring_key())
        return fresh

    async def start_unsealed(self, keyring_key: SecretBytes) -> None:
        """Begin unsealed, with the key that another process of this node handed over (it is taken over)."""
        await self._open(keyring_key)

    def keyring_key(self) -> SecretBytes:
        """A copy of the keyring key, for a new process of this node. Raises Sealed."""
        if self.barrier is None:
            raise Sealed
        return self.barrier.copy_keyring_key()

    async def _open(self, keyring_key: SecretBytes) -> None:
        barrier = await self.keeper.open_barrier(keyring_key)
        try:
            stored = await barrier.get(layout.CLUSTER)
            secrets = await barrier.get_many([layout.config(ROOT_NAMESPACE, "mount-mac")])
            parts = Parts(
                kinds=self.kinds,
                limits=self.limits,
                language=self.language,
                mac_key=secrets[0].value if secrets[0] is not None else b"",
                now=self.now,
                offload=self.offload,
                fetch=self.fetch,
                tallies=self._tallies,
                limited=self._now_limited,
                databases=self.databases,
                leader=Leader(barrier, os.uname().nodename, self.now),
            )
            space = await open_namespace(ROOT_NAMESPACE, barrier, parts)
            await self.audit.unsealed(barrier, space)
            await self._note_version(barrier)
        except BaseException:
            await self.audit.sealed()
            await self.keeper.seal()
            raise
        self.cluster = None if stored is None else msgspec.json.decode(stored.value, type=Cluster)
        self._directory = Spaces(barrier, parts, space)
        self.spaces = self._directory.opened
        self.barrier = barrier

    @property
    def limits(self) -> MountLimits:
        config = self.config
        return MountLimits(
            default_lease_ttl=config.default_lease_ttl,
            max_lease_ttl=config.max_lease_ttl,
            hmac_level=config.mount_entry_hmac_level,
        )

    async def seal(self) -> None:
        """Close the barrier, forget every key, token and table."""
        if self.barrier is None:
            return
        await self.audit.sealed()
        self.databases.close()
        self.barrier = None
        self.spaces = {}
        self._directory = None
        self.cluster = None
        self.attempts.clear()
        self._rated.clear()
        self._counted.clear()
        self.pipeline = self._pipeline()
        await self.keeper.seal()

    async def version_history(self) -> list[tuple[str, str | None, float]]:
        """(version, the one before, when it first ran) of all that ran unsealed on this store."""
        assert self.barrier is not None
        stored = await self.barrier.get(layout.config(ROOT_NAMESPACE, "versions"))
        rows: list[Any] = msgspec.json.decode(stored.value) if stored is not None else []
        return [(version, before, when) for version, before, when in rows]

    async def _note_version(self, barrier: Barrier) -> None:
        """Remember that this version ran; another process may do the same at the same time."""
        key = layout.config(ROOT_NAMESPACE, "versions")
        stored = await barrier.get(key)
        rows: list[Any] = msgspec.json.decode(stored.value) if stored is not None else []
        if rows and rows[-1][0] == self.config.version:
            return
        rows.append([self.config.version, rows[-1][0] if rows else None, self.now()])
        with contextlib.suppress(Conflict):
            await barrier.commit(
                [Write(key, msgspec.json.encode(rows))], expect={key: stored.revision if stored else 0}
            )

    async def tidy(self) -> int:
        """Expire and finish what is due, and count encryptions; how many things were done."""
        if self.barrier is None:
            return 0
        return await run(await self.duties())

    async def duties(self) -> list[tuple[str, Duty]]:
        """What is to be expired and finished now, by name, to be run side by side; see core/expiry.py."""
        if self.barrier is None:
            return []
        await self._count_if_due()
        found = await self.space().expiry.duties()  # of all namespaces
        if await self.removals.any():
            found.append(("namespaces", self.removals.tidy))
        for space in self.spaces.values():
            for uuid, engine in space.mounts.engines():
                if (finish := getattr(engine, "finish", None)) is not None:
                    found.append((f"finish:{uuid}", finish))
        return found

    async def _count_if_due(self) -> None:
        if self.now() >= self._next_count:
            self._next_count = self.now() + MAINTAIN_EVERY
            await self.count_encryptions()

    async def count_encryptions(self) -> None:
        """Write back how often this process used the barrier's key, and rotate it if that is due."""
        if self.barrier is not None:
            await self.barrier.maintain()


class SealStep:
    """Handler: a sealed vault answers its ``while_sealed`` routes and nothing else."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def concerns(self, _call: Call) -> bool:
        return self._core.barrier is None

    async def pre_route(self, call: Call) -> Response | None:
        if not call.match.route.while_sealed:
            raise Sealed
        return None
