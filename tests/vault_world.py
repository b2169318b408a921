"""A whole vault in the process: memory store, a clock that is set by hand, and the HTTP door's code without sockets.

world = await World.unsealed()
status, body = await world.http("GET", "sys/mounts")             # as root
child = await world.token(policies=["p"])                        # a token's text
await world.ok("POST", "secret/a", {"x": 1}, token=child)        # fails the test unless 2xx
"""

import json
from collections.abc import Mapping
from typing import Any

from strongroom.core.seal import SealConfig
from strongroom.errors import VaultError
from strongroom.sdk.request import Response
from strongroom.server import http_encode
from strongroom.server.http_frame import Framer
from strongroom.server.http_request import build, with_certificates
from strongroom.server.http_settings import DoorSettings, Limits, Proxies
from strongroom.storage.memory import MemoryStore
from strongroom.vault.assemble import Assembled, assemble, read_config

START = 1_900_000_000.0


class Clock:
    def __init__(self, time: float = START) -> None:
        self.time = time

    def __call__(self) -> float:
        return self.time

    def tick(self, seconds: float) -> None:
        self.time += seconds


class World:
    """See the module."""

    def __init__(
        self, config: Mapping[str, Any] | None = None, *, backend: Any = None, clock: Clock | None = None
    ) -> None:
        self.clock = clock or Clock()
        self.backend = backend if backend is not None else MemoryStore()
        self.made: Assembled = assemble(self.backend, read_config(config), now=self.clock)
        self.core = self.made.core
        self.root = ""
        self.keys: tuple[str, ...] = ()
        self.peer = ("127.0.0.1", 40000)
        self.settings = DoorSettings()
        self.certificates: tuple[bytes, ...] = ()  # of the TLS client, as a listener hands them on
        self.proxies = Proxies()

    @classmethod
    async def unsealed(
        cls, config: Mapping[str, Any] | None = None, *, token: str = "", backend: Any = None
    ) -> "World":
        world = cls(config, backend=backend)
        made = await world.core.initialize(SealConfig(1, 1), token=token)
        world.root, world.keys = made.root_token, made.keys
        await world.core.submit(made.keys[0])
        return world

    async def other(self, config: Mapping[str, Any] | None = None) -> "World":
        """A second process on the same store."""
        world = World(config, backend=self.backend, clock=self.clock)
        world.root, world.keys = self.root, self.keys
        await world.core.submit(self.keys[0])
        return world

    @property
    def space(self) -> Any:
        return self.core.space()

    async def raw(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> http_encode.Answer:
        """One request as a client would send it; ``target`` is what follows ``/v1/``; ``token`` None = root."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        used = self.root if token is None else token
        lines = [f"{method} /v1/{target} HTTP/1.1", "Host: vault", *(f"{k}: {v}" for k, v in (headers or {}).items())]
        lines += [f"X-Vault-Token: {used}"] * bool(used) + [f"Content-Length: {len(data)}"] * bool(data)
        framer = Framer(Limits(), self.settings)
        framer.feed("\r\n".join([*lines, "", ""]).encode() + data)
        assert framer.complete and framer.head is not None
        request = build(framer.head, framer.body(), self.peer, self.proxies, self.settings, framer.fault)
        request = with_certificates(request, self.certificates, self.proxies, self.peer[0])
        outcome: Any
        try:
            outcome = await self.core.handle(request)
        except VaultError as error:
            outcome = error
        if isinstance(outcome, Response):
            return http_encode.answer(outcome, request.id)
        return http_encode.refusal(outcome, request.id)

    async def http(self, method: str, target: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """Status and decoded body (None if empty, text if it is no JSON)."""
        answer = await self.raw(method, target, body, **options)
        if not answer.body or b"application/json" not in answer.headers:
            return answer.status, answer.body.decode() or None
        return answer.status, json.loads(answer.body)

    async def status(self, method: str, target: str, body: Any = None, **options: Any) -> int:
        return (await self.raw(method, target, body, **options)).status

    async def ok(self, method: str, target: str, body: Any = None, **options: Any) -> Any:
        """The body of an answer that must be 2xx."""
        status, answer = await self.http(method, target, body, **options)
        assert 200 <= status < 300, (method, target, status, answer)
        return answer

    async def refused(self, method: str, target: str, body: Any = None, **options: Any) -> tuple[int, str]:
        """Status and joined errors of an answer that must be an error."""
        status, answer = await self.http(method, target, body, **options)
        assert status >= 400, (method, target, status, answer)
        return status, "; ".join(answer.get("errors") or ()) if answer else ""

    async def create(self, *, by: str | None = None, path: str = "auth/token/create", **fields: Any) -> dict[str, Any]:
        """The ``auth`` block of a new token."""
        auth: dict[str, Any] = (await self.ok("POST", path, fields, token=by))["auth"]
        return auth

    async def token(self, *, by: str | None = None, path: str = "auth/token/create", **fields: Any) -> str:
        return str((await self.create(by=by, path=path, **fields))["client_token"])

    async def policy(self, name: str, **paths: list[str]) -> None:
        """A policy; the keyword is the path, the value its capabilities."""
        rules = {path: {"capabilities": capabilities} for path, capabilities in paths.items()}
        await self.ok("PUT", f"sys/policies/acl/{name}", {"policy": json.dumps({"path": rules})})

    async def alive(self, token: str) -> bool:
        return await self.status("GET", "auth/token/lookup-self", token=token) == 200

    async def stored(self, prefix: str) -> list[str]:
        """The keys in the store under ``prefix``."""
        return [prefix + key for key, _ in await self.core.barrier.scan(prefix, limit=100_000)]  # type: ignore[union-attr]
