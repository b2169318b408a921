"""A pipeline that answers without a vault, and a raw client that says exactly the bytes it is given."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from strongroom.sdk.request import Op, Request, Response
from strongroom.server.http import Door
from strongroom.server.http_settings import Limits, Proxies


class Meter:
    """Remembers what was counted."""

    def __init__(self) -> None:
        self.requests: list[tuple[Op, int]] = []
        self.bad = self.open = self.flying = 0

    def request(self, op: Op, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.requests.append((op, status))

    def bad_bytes(self) -> None:
        self.bad += 1

    def connections(self, change: int) -> None:
        self.open += change

    def in_flight(self, change: int) -> None:
        self.flying += change


class Stub:
    """Records every request, raises its fault, and answers with what it was asked."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.gate: asyncio.Event | None = None
        self.answer: Callable[[Request], Response] = self.echo

    @staticmethod
    def echo(request: Request) -> Response:
        return Response(data={"op": request.op.value, "path": request.path, "body": request.body.decode("latin-1")})

    async def handle(self, request: Request) -> Response:
        self.seen.append(request)
        if request.fault is not None:
            raise request.fault
        if self.gate is not None and request.path.startswith("slow/"):
            await self.gate.wait()
        return self.answer(request)


class Client:
    """Sends raw bytes and reads answers one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
        head = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", "0")) if body else 0
        return int(first.split()[1]), headers, await asyncio.wait_for(self.reader.readexactly(size), 10)

    async def ask(self, data: bytes) -> tuple[int, Any]:
        await self.say(data)
        status, _, body = await self.answer()
        return status, json.loads(body) if body else None

    async def rest(self) -> bytes:
        try:
            return await asyncio.wait_for(self.reader.read(), 10)
        except ConnectionResetError:
            return b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


class Served:
    """A door on a free loopback port."""

    def __init__(self, door: Door, stub: Stub, meter: Meter, port: int) -> None:
        self.door, self.stub, self.meter, self.port = door, stub, meter, port
        self.clients: list[Client] = []
        self.logged: list[str] = []

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def once(self, data: bytes) -> tuple[int, Any]:
        return await (await self.connect()).ask(data)


@contextlib.asynccontextmanager
async def served(
    limits: Limits | None = None,
    proxies: Proxies | None = None,
    handle: Callable[[Request], Coroutine[Any, Any, Response]] | None = None,
    **door_options: Any,
) -> AsyncIterator[Served]:
    stub, meter = Stub(), Meter()
    door = Door(handle or stub.handle, meter=meter, **door_options)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(door.listener(limits or Limits(), proxies), "127.0.0.1", 0)
    out = Served(door, stub, meter, server.sockets[0].getsockname()[1])
    door.log = out.logged.append
    try:
        yield out
    finally:
        for client in out.clients:
            await client.close()
        server.close()
        await door.drain(1)


def get(path: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    lines = [f"{method} /v1/{path} HTTP/1.1", "Host: x", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body
