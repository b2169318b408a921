"""A node without a vault, for tests of the processes: its state is two files, its routes tell who answers."""

import asyncio
import hashlib
import os
import socket
import threading
from pathlib import Path
from typing import Any

from strongroom.crypto.memory import SecretBytes
from strongroom.errors import BadRequest, PermissionDenied, QuotaExceeded, Sealed, VaultError
from strongroom.sdk.request import Auth, Op, Request, Response
from strongroom.server.http_settings import DoorSettings

KEY = hashlib.sha256(
    b"a key that no table of Python holds"
).digest()  # stands for the keyring key; the scan of memory looks for it


class Made:
    keys = ("00",)
    keys_base64 = ("c2hhcmU=",)

    def __init__(self, root_token: str) -> None:
        self.root_token = root_token or "hvs.stub"


class StubNode:
    on_transition: Any = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key: SecretBytes | None = None
        self.attempt = 0
        self.host: Any = None
        self.jobs = False
        self.reloads = 0
        self.mounted: list[str] = []

    @property
    def audit_failures(self) -> int:
        return sum(1 for _ in self.folder.glob("audit-failed-*"))

    @property
    def audit_device_failures(self) -> dict[str, int]:
        return {"file/": self.audit_failures}

    @property
    def sealed(self) -> bool:
        return self.key is None

    def renew_settings(self) -> None: ...

    def limiting(self) -> bool:
        return False

    def admit(self, request: Request) -> Request:
        return request

    def door_settings(self) -> DoorSettings:
        return _SETTINGS

    def owned(self, path: str) -> bool:
        return path.startswith("sys/rekey/")

    def in_flight(self) -> dict[str, Any]:
        return {f"of-{os.getpid()}": {"request_path": "/v1/" + "x" * 300_000}}

    def attach(self, host: Any) -> None:
        self.host = host

    def records_kept(self) -> bool:
        return False

    def release_records(self) -> bool:
        return True

    def hand_over_records(self) -> bool:
        return True

    def write_through(self, sock: socket.socket) -> None:
        sock.close()

    def start_jobs(self) -> None:
        self.jobs = True

    def keyring_key(self) -> SecretBytes:
        if self.key is None:
            raise Sealed
        return self.key.copy()

    async def start_unsealed(self, keyring_key: SecretBytes) -> None:
        assert len(keyring_key) == 32
        if bytes(keyring_key.view()) != KEY:
            raise VaultError("this is another key")
        self.key = keyring_key

    async def initialize(self, shares: int, threshold: int, *, root_token: str = "") -> Made:
        if (self.folder / "initialized").exists():
            raise BadRequest("Vault is already initialized")
        (self.folder / "initialized").touch()
        return Made(root_token)

    async def unseal(self, share: str) -> None:
        if (self.folder / "rekeyed").exists():
            raise BadRequest("unable to retrieve stored keys")
        self.key = SecretBytes(32)
        self.key.view()[:] = KEY

    async def enable_kv(self, path: str) -> None:
        self.mounted.append(path)

    async def reload(self, log_level: str) -> None:
        self.reloads += 1

    async def close(self) -> None:
        self.key = None

    async def handle(self, request: Request) -> Response:
        if request.fault is not None:
            raise request.fault
        path = request.path
        if path == "sys/seal-status":
            return Response(data={"sealed": self.sealed, "pid": os.getpid()}, bare=True)
        if path == "sys/init" and request.op is Op.UPDATE:
            await self.initialize(1, 1)
            return await self._changed("initialized", Response(data={"keys": ["k"]}, bare=True))
        if path == "sys/unseal":
            if request.body == b'{"key":"wrong"}':
                raise BadRequest("wrong")
            await self.unseal("")
            return await self._changed("unsealed", Response(data={"sealed": False}, bare=True))
        if self.sealed:
            raise Sealed
        if path == "sys/seal":
            return await self._changed("sealing", Response())
        return await self._unsealed(request)

    async def _unsealed(self, request: Request) -> Response:
        path = request.path
        if path.startswith("sys/rekey/"):
            await asyncio.sleep(0.01)
            if path.endswith("refused"):
                raise QuotaExceeded("slow down", retry_after=9)
            if path.endswith("denied"):
                raise PermissionDenied(by_policy=True)
            self.attempt += 1
            auth = Auth(client_token=request.token, token_policies=("p",))
            return Response(data={"n": self.attempt, "pid": os.getpid(), "body": request.body.decode()}, auth=auth)
        if path == "hang":
            (self.folder / f"hanging-{os.getpid()}").touch()
            threading.Event().wait()  # the loop turns no more
        if path == "slow":
            await asyncio.sleep(0.5)
        if path == "flights":
            return Response(data={"pid": os.getpid(), "others": list(await self.host.in_flight())})
        if path == "metrics":
            return Response(raw=self.host.metrics_text(), content_type="text/plain")
        if path == "environ":
            return Response(data=dict(os.environ))
        if path == "state":
            return Response(data={"jobs": self.jobs, "reloads": self.reloads, "pid": os.getpid()})
        return Response(data={"pid": os.getpid(), "mounted": self.mounted})

    async def _changed(self, what: str, response: Response) -> Response:
        if self.on_transition is not None:
            await self.on_transition(what)
        return response


_SETTINGS = DoorSettings()


async def open_node(config: Any) -> StubNode:
    folder = Path(config.storage.options.get("path", "."))
    if folder.name == "broken":
        raise BadRequest("the store is broken")
    folder.mkdir(parents=True, exist_ok=True)
    return StubNode(folder)


async def open_held(config: Any) -> StubNode:
    """A start that takes as long as the file ``hold`` is there; ``opening-<pid>`` tells that it has begun."""
    node = await open_node(config)
    (node.folder / f"opening-{os.getpid()}").touch()
    while (node.folder / "hold").exists():  # noqa: ASYNC110 - another process removes it
        await asyncio.sleep(0.01)
    return node
