"""What a worker asks of the vault it serves, and what the vault may ask of the worker.

A worker process opens one ``Node`` with ``open_node(config)``, sealed. It never learns a share; the keyring key passes
through it in locked memory, from a socket into ``start_unsealed`` and from ``keyring_key`` into a socket.
"""

import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from strongroom.crypto.memory import SecretBytes
from strongroom.sdk.request import Request, Response
from strongroom.server.http_settings import DoorSettings

Transition = str  # "initialized" | "unsealed" | "sealing"


class Initialized(Protocol):
    """What ``initialize`` gives: the only time anybody sees these."""

    @property
    def keys(self) -> tuple[str, ...]: ...
    @property
    def keys_base64(self) -> tuple[str, ...]: ...
    @property
    def root_token(self) -> str: ...


class Node(Protocol):
    """One vault in one process."""

    on_transition: Callable[[Transition], Awaitable[None]] | None

    @property
    def sealed(self) -> bool: ...

    @property
    def audit_failures(self) -> int:
        """Records that a device did not take, since this process began."""

    @property
    def audit_device_failures(self) -> Mapping[str, int]:
        """The same for each audit device, by its path."""

    async def handle(self, request: Request) -> Response:
        """One request through the pipeline. Raises VaultError."""

    def limiting(self) -> bool:
        """Whether there are rate limits. Called for bodies that come in pieces."""

    def admit(self, request: Request) -> Request:
        """Count a request whose body has not come yet against them.

        It comes back marked as counted, with its refusal as ``fault``, or as it was: to be counted with its body.
        """

    def door_settings(self) -> DoorSettings:
        """CORS, custom and audited headers as they are now. Called for each request: return a kept value."""

    def renew_settings(self) -> None:
        """Follow at once what another process changed of them. Waits for nothing and never fails."""

    def in_flight(self) -> Mapping[str, Any]:
        """Requests under way in this process, by id, in the shape of sys/in-flight-req."""

    def owned(self, path: str) -> bool:
        """Whether requests on ``path`` belong to the one worker that holds attempts and jobs (rekey, generate-root)."""

    def attach(self, host: "Host") -> None:
        """Called once, before any request."""

    def keyring_key(self) -> SecretBytes:
        """A copy of the keyring key; the caller closes it. Raises Sealed."""

    async def start_unsealed(self, keyring_key: SecretBytes) -> None:
        """Begin unsealed, with the key of another process of this node; takes the key over."""

    async def initialize(self, shares: int, threshold: int, *, root_token: str = "") -> Initialized:
        """Initialise without a client (development servers). The vault stays sealed."""

    async def unseal(self, share: str) -> None:
        """Give one share without a client (development servers)."""

    async def enable_kv(self, path: str) -> None:
        """Mount kv version 2 at ``path`` unless it is there (development servers)."""

    def records_kept(self) -> bool:
        """Whether audit records wait for ``release_records``; answers wait with them. Asked for each answer."""

    def release_records(self) -> bool:
        """Hand the kept records over; whether the answers that waited may leave."""

    def hand_over_records(self) -> bool:
        """The same for an answer that takes another way; ``release_records`` tells what became of them once more."""

    def write_through(self, sock: socket.socket) -> None:
        """Commit through the host's writer process, at the other end of ``sock`` (taken over)."""

    def start_jobs(self) -> None:
        """This process is the one that ends what has expired. Called at most once."""

    async def reload(self, log_level: str) -> None:
        """SIGHUP: reopen the audit files."""

    async def close(self) -> None:
        """Finish commits, close files, forget keys."""


class Host(Protocol):
    """The process around a node, as the sys routes see it."""

    lockouts: Any  # core.lockout.Counters, shared by all workers
    windows: Any  # core.rate_windows.Windows, likewise
    tallies: Any  # core.lease_tallies.Tallies, likewise

    def metrics_text(self) -> bytes:
        """Prometheus text of the whole server (all workers)."""

    def metrics_json(self) -> Mapping[str, Any]:
        """The same in the shape of Vault's sys/metrics."""

    async def in_flight(self) -> Mapping[str, Any]:
        """Requests under way in the other workers, as far as they answer within a second."""


OpenNode = Callable[..., Awaitable[Node]]  # (config: ServerConfig) -> Node
