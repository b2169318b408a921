"""The vault as a worker runs it: ``server.node.Node`` over ``strongroom.vault``."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from strongroom.audit.file import target_of
from strongroom.audit.target import inside
from strongroom.core.audit import CHECKPOINT_EVERY, device_options
from strongroom.core.audit_devices import DeviceEntry, new_entry
from strongroom.core.client_trust import client_trust
from strongroom.core.core import REPORTED_VERSION
from strongroom.core.expiry import Duty
from strongroom.core.seal import InitResult, SealConfig
from strongroom.core.sys.config import STANDARD_CORS_HEADERS
from strongroom.core.sys.host import in_flight
from strongroom.crypto.memory import SecretBytes
from strongroom.errors import BadRequest, VaultError
from strongroom.sdk.request import Request, Response
from strongroom.sdk.storage import Backend
from strongroom.server.config import AuditDevice, ServerConfig
from strongroom.server.http_settings import KEPT_HEADERS, DoorSettings
from strongroom.server.node import Host, Transition
from strongroom.storage.lmdb import LmdbStore
from strongroom.vault.assemble import Assembled, VaultConfig, assemble
from strongroom.vault.plugins import load

TIDY_EVERY = 1.0  # seconds between two looks for what has expired
COUNT_EVERY = 60.0  # seconds between two times that a worker writes back how often it used the barrier's key
_OWNED = ("sys/rekey/", "sys/rotate/root/", "sys/generate-root/", "sys/generate-root-token/")
_HASH_THREADS = 2  # each password hash takes 64 MiB while it runs
_OUTSIDE_THREADS = 16  # they wait for peers outside, and hold up no hash


class VaultNode:
    """See the module."""

    def __init__(self, backend: Backend, config: ServerConfig) -> None:
        self._backend, self._config = backend, config
        self._pool: ThreadPoolExecutor | None = None
        self._outside: ThreadPoolExecutor | None = None
        self._made: Assembled | None = None
        self._host: Host | None = None
        self._settings = DoorSettings()
        self._jobs: asyncio.Task[None] | None = None
        self._counting: asyncio.Task[None] | None = None
        self._stating: asyncio.Task[None] | None = None
        self._owner = False
        self._transition: Callable[[Transition], Awaitable[None]] | None = None

    def __repr__(self) -> str:
        return f"VaultNode({'sealed' if self.sealed else 'unsealed'})"

    def attach(self, host: Host) -> None:
        """Put the vault together, now that the host's shared counters are known."""
        self._host = host
        made = assemble(
            self._backend,
            vault_config(self._config),
            offload=self._offload,
            outward=self._outward,
            counters=getattr(host, "lockouts", None),
            windows=getattr(host, "windows", None),
            tallies=getattr(host, "tallies", None),
        )
        made.core.door.metrics = self._metrics
        made.core.door.others_in_flight = host.in_flight
        made.core.door.log_level = self._config.log_level
        made.core.on_transition = self._changed
        made.audit.gathering = True  # the door holds answers until ``release_records``
        self._made = made

    @property
    def _vault(self) -> Assembled:
        if self._made is None:
            raise RuntimeError("attach comes first")
        return self._made

    @property
    def on_transition(self) -> Callable[[Transition], Awaitable[None]] | None:
        return self._transition

    @on_transition.setter
    def on_transition(self, told: Callable[[Transition], Awaitable[None]] | None) -> None:
        self._transition = told

    async def _changed(self, transition: str) -> None:
        if self._transition is not None:
            await self._transition(transition)

    @property
    def sealed(self) -> bool:
        return self._made is None or self._made.core.sealed

    @property
    def audit_failures(self) -> int:
        """Records that a device did not take, since this process began."""
        return 0 if self._made is None else self._made.audit.failures

    @property
    def audit_device_failures(self) -> dict[str, int]:
        """The same for each device that is enabled now."""
        return {} if self._made is None else self._made.audit.failures_by_device

    async def handle(self, request: Request) -> Response:
        """One request through the pipeline. Raises VaultError."""
        return await self._vault.core.handle(request)

    def limiting(self) -> bool:
        """Whether there are rate limits."""
        return self._vault.core.limits_rates

    def admit(self, request: Request) -> Request:
        """Count a request whose body has not come yet. It comes back marked, or with its refusal."""
        return self._vault.core.rate_limit.admit(request)

    def door_settings(self) -> DoorSettings:
        """As the vault's settings are now; the same value until they change."""
        return self._settings

    def renew_settings(self) -> None:
        """Follow at once what another process changed of them; an embedded store needs no waiting for that."""
        try:
            look = self._vault.core.space().refresh()
            look.send(None)
        except (StopIteration, VaultError):
            return
        look.close()

    def in_flight(self) -> dict[str, Any]:
        """Requests under way in this process, by id."""
        return in_flight(self._vault.core)

    def owned(self, path: str) -> bool:
        """Attempts live in one worker."""
        return path.startswith(_OWNED)

    def keyring_key(self) -> SecretBytes:
        """A copy; the caller closes it. Raises Sealed."""
        return self._vault.core.keyring_key()

    async def start_unsealed(self, keyring_key: SecretBytes) -> None:
        """Begin unsealed, with the key of another process; takes it over."""
        core = self._vault.core
        await core.start_unsealed(keyring_key)
        core.space().on_change.append(self._new_settings)
        await self._new_settings()
        self._counting = asyncio.get_running_loop().create_task(self._count_forever())
        self._stating = asyncio.get_running_loop().create_task(self._state_forever())

    async def initialize(self, shares: int, threshold: int, *, root_token: str = "") -> InitResult:
        """Initialise without a client. The vault stays sealed."""
        return await self._vault.core.initialize(SealConfig(shares, threshold), token=root_token)

    async def unseal(self, share: str) -> None:
        """Give one share without a client (development servers)."""
        await self._vault.core.submit(share)

    async def enable_kv(self, path: str) -> None:
        """Mount kv version 2 at ``path`` without a client (development servers)."""
        table = self._vault.core.space().mounts
        if f"{path}/" not in table.entries:
            entry = table.new_entry(f"{path}/", "kv", description="key/value secret storage", options={"version": "2"})
            await table.enable(entry)

    async def _new_settings(self) -> None:
        settings = self._vault.core.space().settings
        trust = self._settings.client_trust
        with contextlib.suppress(VaultError):  # a note that cannot be read must not stop every request
            trust = await client_trust(self._vault.core.barrier)
        proxied = {one.client_cert_header for one in self._config.listeners if one.client_cert_header}
        self._settings = DoorSettings(
            kept_headers=KEPT_HEADERS | proxied | frozenset(settings.audited_headers),
            client_trust=trust,
            cors_enabled=settings.cors.enabled,
            cors_origins=settings.cors.allowed_origins,
            cors_headers=(*STANDARD_CORS_HEADERS, *settings.cors.allowed_headers),
        )

    def records_kept(self) -> bool:
        """Whether records wait to be handed over together."""
        return self._made is not None and self._made.audit.kept

    def release_records(self) -> bool:
        """Hand them over; whether the answers that waited may leave."""
        return self._made is None or self._made.audit.release()

    def hand_over_records(self) -> bool:
        """The same for an answer that goes to another worker."""
        return self._made is None or self._made.audit.hand_over()

    def write_through(self, sock: socket.socket) -> None:
        """Commit through the host's writer process; a store that has no use for one closes the socket."""
        if isinstance(self._backend, LmdbStore):
            self._backend.write_through(sock)
        else:
            sock.close()

    def start_jobs(self) -> None:
        """This process is the one that ends what has expired."""
        if self._jobs is None:
            self._jobs = asyncio.get_running_loop().create_task(self._tidy_forever())

    async def _tidy_forever(self) -> None:
        running: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                await asyncio.sleep(TIDY_EVERY)
                with contextlib.suppress(VaultError):  # the next round tries again
                    for name, duty in await self._vault.core.duties():
                        if name not in running or running[name].done():
                            running[name] = asyncio.get_running_loop().create_task(_until_done(duty))
        finally:
            for task in running.values():
                task.cancel()

    async def _count_forever(self) -> None:
        """Rotation goes by what all workers did together, and only each one knows its own part."""
        while True:
            await asyncio.sleep(COUNT_EVERY)
            with contextlib.suppress(VaultError):
                await self._vault.core.count_encryptions()

    async def _state_forever(self) -> None:
        """Sign how far the audit logs have come, where something was written."""
        while True:
            await asyncio.sleep(CHECKPOINT_EVERY)
            await self._vault.audit.checkpoint()

    async def reload(self, log_level: str) -> None:
        """SIGHUP: reopen the audit files. Raises AuditFailed if one could not be."""
        self._vault.core.door.log_level = log_level
        await self._vault.audit.rotate()

    async def close(self) -> None:
        """Finish commits, close files, forget keys."""
        for task in (self._jobs, self._counting, self._stating):
            if task is not None:
                task.cancel()
        self._jobs = self._counting = self._stating = None
        if self._made is not None:
            await self._made.core.seal()
            await self._made.audit.leave()
            self._made.audit.close()
        await self._backend.close()
        for pool in (self._pool, self._outside):
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)

    async def _offload(self, work: Callable[[], Any]) -> Any:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=_HASH_THREADS, thread_name_prefix="hash")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def _outward(self, work: Callable[[], Any]) -> Any:
        if self._outside is None:
            self._outside = ThreadPoolExecutor(max_workers=_OUTSIDE_THREADS, thread_name_prefix="outside")
        return await asyncio.get_running_loop().run_in_executor(self._outside, work)

    async def _metrics(self, form: str) -> tuple[str, bytes]:
        host = self._host
        if host is None:
            raise RuntimeError("attach comes first")
        if form == "prometheus":
            return "text/plain; version=0.0.4; charset=utf-8", host.metrics_text()
        return "application/json", msgspec.json.encode(host.metrics_json())


async def _until_done(duty: Duty) -> None:
    """A mount whose server is slow holds up its own leases only."""
    with contextlib.suppress(VaultError):  # the next round tries again
        while await duty():  # noqa: ASYNC110 - it works in slices, and others get their turn
            await asyncio.sleep(0)


def vault_config(config: ServerConfig) -> VaultConfig:
    """The vault's part of a server's configuration."""
    return VaultConfig(
        default_lease_ttl=config.default_lease_ttl,
        max_lease_ttl=config.max_lease_ttl,
        max_entry_size=config.max_entry_size,
        mount_entry_hmac_level=config.mount_entry_hmac_level,
        mounts_monitor_interval=float(config.mounts_monitor_interval),
        version=config.version or REPORTED_VERSION,
        cluster_name=config.cluster_name,
        storage_type=config.storage.kind,
        api_addr=config.api_addr,
        unauthenticated_operator_endpoints=config.unauthenticated_operator_endpoints,
        audit=tuple(_device(device) for device in config.audit),
        audit_dir=audit_folder(config),
        audit_required=config.audit_required,
        allowed_private_hosts=config.allowed_private_hosts,
        sanitized=config.sanitized(),
    )


def _device(device: AuditDevice) -> DeviceEntry:
    return new_entry(device.path, device.type, description=device.description, options=device.options, configured=True)


def audit_folder(config: ServerConfig) -> str:
    """The one folder for audit files: ``audit_dir``, else beside the data, or the working folder if none is kept."""
    return config.audit_dir or (os.getcwd() if config.storage.kind == "inmem" else beside_data(config.storage.options))


def check_audit(config: ServerConfig) -> list[str]:
    """What is wrong with the declared audit devices whatever the state of the disk, one sentence each.

    A server with such a device would refuse every request, and only its start is the time to say why.
    """
    problems = []
    for device in config.audit:
        try:
            load("audit", device.type)
            device_options(device.options)
            if device.type == "file":
                target = target_of(device.options)
                if target != "stdout":
                    inside(target, audit_folder(config))
        except BadRequest as error:
            problems.append(f'audit device "{device.path.rstrip("/")}": {error}')
    return problems


def beside_data(options: Mapping[str, Any]) -> str:
    """Where audit files go when nothing is said: the folder the data folder stands in, or the working folder."""
    path = options.get("path")
    return os.path.dirname(os.path.abspath(path)) if isinstance(path, str) and path else os.getcwd()


async def open_node(config: ServerConfig) -> VaultNode:
    """A sealed node over the configured store.

    Raises:
        BadRequest, StorageFailed: the store cannot be opened, or an audit device can never work.
    """
    if problems := check_audit(config):
        raise BadRequest(*problems)
    backend = load("storage", config.storage.kind)(dict(config.storage.options))
    return VaultNode(backend, config)
