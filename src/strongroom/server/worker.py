"""One worker process: blank until it is told its role, then a node behind the HTTP door until it is told to stop.

Started by exec, never forked from a process that saw a secret. It inherits a control channel to the supervisor, a
socket on which another worker hands it the keyring key, the shared board and all listening sockets.

    sealed    opens a sealed node and accepts on every listening socket
    serving   waits for the keyring key, opens an unsealed node and accepts on its own sockets
"""

import argparse
import asyncio
import contextlib
import ctypes
import functools
import gc
import importlib
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from strongroom.crypto.hardening import die_with_parent, harden_process
from strongroom.crypto.memory import SecretBytes
from strongroom.errors import Sealed, Unavailable, VaultError
from strongroom.sdk.request import Request, Response
from strongroom.server import board as numbers
from strongroom.server import metrics
from strongroom.server.board import Board
from strongroom.server.config import ServerConfig
from strongroom.server.control import Channel, Message
from strongroom.server.flights import Others, tell
from strongroom.server.forward import Answerer, Asker, Unanswered, connect
from strongroom.server.http import Door
from strongroom.server.listeners import BACKLOG
from strongroom.server.lockouts import SharedCounters
from strongroom.server.logs import Log
from strongroom.server.node import Node, Transition
from strongroom.server.tallies import EXTRA, SharedTallies
from strongroom.server.tls import context, load_files
from strongroom.server.tls_clients import Asking, can_take_any
from strongroom.server.watch import EVERY
from strongroom.server.windows import SharedWindows

_LARGE = 64 * 1024 * 1024  # bytes of anonymous memory that are worth a look
_TRIM_EVERY = 10.0  # seconds
KEY_SIZE = 32  # bytes of the keyring key
_KEY_WAIT = 45.0  # seconds for a key that was promised
_CHANGE_WAIT = 75.0  # seconds for a change of processes: more than the supervisor gives them, less than a request has


class HostSide:
    """``node.Host`` for this worker."""

    def __init__(self, worker: "Worker", secret: bytes) -> None:
        self._worker = worker
        self.lockouts = SharedCounters(worker.board, secret)
        self.windows = SharedWindows(worker.board, secret)
        self.tallies = SharedTallies(worker.board, secret)

    def metrics_text(self) -> bytes:
        return metrics.text(self._worker.board, self._devices())

    def metrics_json(self) -> dict[str, Any]:
        return metrics.as_json(self._worker.board, devices=self._devices())

    def _devices(self) -> Sequence[str]:
        node = self._worker.node
        return () if node is None else tuple(node.audit_device_failures)

    async def in_flight(self) -> dict[str, Any]:
        return await self._worker.others.listed()


class Worker:
    """See the module."""

    def __init__(self, channel: Channel, key_socket: socket.socket, board: Board, row: int, log: Log) -> None:
        self.channel, self.key_socket, self.board, self.log = channel, key_socket, board, log
        self.row = board.row(row)
        self.node: Node | None = None
        self.door: Door | None = None
        self.config = ServerConfig()
        self._open_node: Any = None
        self._servers: list[Any] = []
        self._asking: dict[int, Asking] = {}
        self._change: asyncio.Future[bool] | None = None
        self._changing = ""  # to what; who asks for the same waits for it
        self._asker: Asker | None = None
        self._owner = False  # neither owner nor asker: not joined with the others yet
        self.others = Others(lambda: self.channel.send("flights"))
        self._finished = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._drain = 5.0

    async def run(self, open_node: Any) -> None:
        """Until the supervisor says stop, or is gone."""
        self._open_node = open_node
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unhandled)
        loop.add_reader(self.channel.fileno(), self._told)
        loop.add_signal_handler(signal.SIGTERM, lambda: self._start(self._stop(self._drain)))
        self._beat()
        self.channel.send("hello")
        await self._finished.wait()
        loop.remove_reader(self.channel.fileno())
        self.row.leave()

    def _beat(self) -> None:
        """Shows the supervisor that this loop turns."""
        self.row.beat()
        asyncio.get_running_loop().call_later(EVERY, self._beat)

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, what: dict[str, Any]) -> None:
        """An error that no request owns: its type only, the default handler would print values."""
        error = what.get("exception")
        self.log.error(f"worker {os.getpid()}: {type(error).__name__ if error else 'an error'} in the event loop")

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except VaultError as error:
            self.channel.send("failed", reason=str(error))
        except Exception as error:
            self.log.error(f"worker {os.getpid()}: {type(error).__name__} in its control loop")
            self.channel.send("failed", reason=f"internal error ({type(error).__name__})")

    # -- the supervisor's messages

    def _told(self) -> None:
        try:
            messages = self.channel.receive()
        except EOFError:
            os._exit(1)  # the supervisor is gone, and every process goes with it
        for message, fds in messages:
            kind = message["t"]
            if kind == "role":
                self._start(self._take_role(message))
            elif kind == "give":
                self._give_key(fds)
            elif kind == "done":
                self._answer_change(ok=bool(message["ok"]))
            elif kind == "stop":
                self._start(self._stop(message["seconds"]))
            elif kind == "link":
                self._start(self._link(fds[0], owner=bool(message["owner"])))
            elif kind == "tell":
                self._start(tell(fds[0], {} if self.node is None else self.node.in_flight()))
            elif kind == "told":
                self.others.opened(fds)
            elif kind == "own":
                self._own()
            elif kind == "writer":
                self._write_through(fds[0])
            elif kind == "reload":
                self._start(self._reload(message))

    async def _take_role(self, message: Message) -> None:
        started = time.monotonic()
        self.config = msgspec.convert(message["config"], ServerConfig)
        self._drain = float(self.config.drain_timeout)
        self.log.configure(self.config.log_level, self.config.log_format)
        self.row.take(os.getpid(), time.time())
        node: Node = await self._open_node(self.config)
        node.attach(HostSide(self, message["lockout_key"]))
        self.node = node
        self.door = Door(
            self._route,
            settings=node.door_settings,
            renew=self._renew,
            kept=node.records_kept,
            release=node.release_records,
            limiting=node.limiting,
            admit=node.admit,
            meter=self.row,
            log=self.log.error,
        )
        self._start(self._tick())
        if message["role"] == "serving":
            await node.start_unsealed(await self._receive_key())
            self.row.gauge(numbers.UNSEALED, 1)
        node.on_transition = self._transition
        if message.get("bring_up") is not None:
            from strongroom.server.dev import bring_up

            if await bring_up(node, message["bring_up"]):
                await self._transition("unsealed")
                self.channel.send("brought_up")
                self._start(self._stop(0))
                return
        await self._accept(message["accept"])
        self.channel.send("ready")
        self.log.debug(f"worker {os.getpid()} {message['role']} after {time.monotonic() - started:.3f} s")

    def _renew(self) -> None:
        """Before a connection's first byte: its settings, and whether it is asked for a certificate."""
        node = self.node
        assert node is not None
        node.renew_settings()
        if self._asking:
            trust = node.door_settings().client_trust
            for asking in self._asking.values():
                asking.follow(trust)

    def _own(self) -> None:
        self._asker, self._owner = None, True
        if self.node is not None and not self._stopping:
            self.node.start_jobs()
        self.channel.send("linked")

    async def _link(self, fd: int, *, owner: bool) -> None:
        node = self.node
        if node is None:
            os.close(fd)
            return
        if owner:
            await connect(fd, Answerer(node.handle, node.hand_over_records))
            return
        asker = Asker()
        await connect(fd, asker)
        self._asker, self._owner = asker, False
        self.channel.send("linked")

    def _write_through(self, fd: int) -> None:
        with socket.socket(fileno=fd) as sock:
            if self.node is not None and not self._stopping:
                self.node.write_through(sock.dup())

    async def _reload(self, message: Message) -> None:
        config = msgspec.convert(message["config"], ServerConfig)
        self.log.configure(config.log_level, config.log_format)
        for index, living in self._asking.items():
            tls = config.listeners[index].tls if index < len(config.listeners) else None
            if tls is not None:
                try:
                    living.reload(functools.partial(load_files, tls=tls))
                except VaultError as error:
                    self.log.error(f"certificate not reloaded: {error}")
        if self.node is not None:
            try:
                await self.node.reload(config.log_level)
            except VaultError as error:
                self.log.error(f"audit not reopened: {error}")

    # -- keys

    def _give_key(self, fds: Sequence[int]) -> None:
        """Write the keyring key into each socket: the supervisor only carries the descriptors."""
        try:
            if self.node is None:
                return
            with contextlib.suppress(Sealed), self.node.keyring_key() as key:
                for fd in fds:
                    with contextlib.suppress(OSError):
                        os.write(fd, key.view())
        finally:
            for fd in fds:
                os.close(fd)

    async def _receive_key(self) -> SecretBytes:
        loop = asyncio.get_running_loop()
        key = SecretBytes(KEY_SIZE)
        self.key_socket.setblocking(False)
        try:
            async with asyncio.timeout(_KEY_WAIT):
                got = 0
                while got < KEY_SIZE:
                    count = await loop.sock_recv_into(self.key_socket, key.view()[got:])
                    if not count:
                        raise Unavailable("no process of this node could hand over the key")
                    got += count
        except TimeoutError:
            raise Unavailable("no process of this node handed over the key in time") from None
        self.key_socket.close()
        return key

    # -- requests

    def _route(self, request: Request) -> Coroutine[Any, Any, Response]:
        node = self.node
        assert node is not None
        if not self._owner and request.fault is None and not node.sealed and node.owned(request.path):
            return self._ask(self._asker, node, request)
        return node.handle(request)

    async def _ask(self, asker: Asker | None, node: Node, request: Request) -> Response:
        """The owner answers and records; what it never answered is refused and recorded here."""
        try:
            if asker is None:
                raise Unanswered(Unavailable("this worker has only just begun; try again"))
            return await asker.ask(request)
        except Unanswered as error:
            fault = error.fault
        return await node.handle(msgspec.structs.replace(request, fault=fault, body=b""))

    async def _transition(self, what: Transition) -> None:
        """The vault was initialised, unsealed or is to be sealed: the supervisor changes the processes.

        Raises:
            Unavailable: it could not, or not in time; never after init, whose answer is the only one with the shares.
        """
        if self._change is None:
            loop = asyncio.get_running_loop()
            self._change, self._changing = loop.create_future(), what
            loop.call_later(_CHANGE_WAIT, lambda: self._answer_change(ok=False))
            if what != "initialized":
                self._stop_accepting()  # new connections wait for those that come
            if what == "unsealed":
                self.row.gauge(numbers.UNSEALED, 1)
            self.channel.send("transition", what=what)
        elif what != self._changing:
            raise Unavailable("the vault is being sealed or unsealed; try again")
        try:
            ok = await self._change
        except VaultError:  # the request's own time is over
            ok = False
        self._stop_accepting()
        self._start(self._stop(self._drain))
        if not ok and what != "initialized":
            raise Unavailable("the processes of this server could not be replaced in time; look at sys/seal-status")

    def _answer_change(self, *, ok: bool) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(ok)

    # -- sockets

    async def _accept(self, places: Sequence[Sequence[int]]) -> None:
        """Accept on the inherited sockets: (listener, descriptor) pairs."""
        loop = asyncio.get_running_loop()
        door = self.door
        assert door is not None
        for index, fd in places:
            listener = self.config.listeners[index]
            tls = None
            if listener.tls is not None:
                if index not in self._asking:
                    make = functools.partial(context, listener.tls)
                    self._asking[index] = Asking(listener.tls, make, can_take_any())
                tls = self._asking[index].context
            sock = socket.socket(fileno=os.dup(fd))
            factory = door.listener(listener.limits, listener.proxies(), tls=tls is not None, headers=listener.headers)
            wait = listener.limits.handshake_timeout if tls is not None else None
            if listener.kind == "unix":
                extra = _cleanup_argument(loop)
                server: Any = await loop.create_unix_server(
                    factory, sock=sock, backlog=BACKLOG, ssl=tls, ssl_handshake_timeout=wait, **extra
                )
            else:
                server = await loop.create_server(
                    factory, sock=sock, backlog=BACKLOG, ssl=tls, ssl_handshake_timeout=wait
                )
            self._servers.append(server)

    def _stop_accepting(self) -> None:
        if self.door is not None:
            self.door.draining = True
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def _tick(self) -> None:
        door = self.door
        assert door is not None
        known, failing, trim_at = 0, False, 0.0
        by_device: Mapping[str, int] = {}
        while True:
            resident = numbers.resident()
            self.row.gauge(numbers.RESIDENT, resident)
            failures = 0 if self.node is None else self.node.audit_failures
            if failures > known:
                self.row.audit_failed(failures - known)
                if not failing:
                    self.log.error("an audit device takes no records: look at its target, and at sys/audit")
            now_by_device = {} if self.node is None else dict(self.node.audit_device_failures)
            if now_by_device != by_device:
                for device, slot in numbers.device_slots(now_by_device).items():
                    self.row.device_failed(slot, now_by_device[device] - by_device.get(device, 0))
                by_device = now_by_device
            known, failing = failures, failures > known  # it sinks when a device goes
            if resident > _LARGE and door.now >= trim_at:
                trim_at = door.now + _TRIM_EVERY
                _give_back()
            await asyncio.sleep(1.0)
            door.tick()

    async def _stop(self, seconds: float) -> None:
        """Stop accepting, let what is under way finish, leave."""
        if self._stopping:
            return
        self._stopping = True
        self._answer_change(ok=True)  # somebody else sealed first, or the server stops: either way it is sealed here
        self._stop_accepting()
        if self.door is not None:
            await self.door.drain(seconds)
        if self.node is not None:
            with contextlib.suppress(VaultError, TimeoutError):
                await asyncio.wait_for(self.node.close(), 2)
        self._finished.set()


def _cleanup_argument(loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
    """Tell a loop that would remove the path of a unix socket not to: others still listen on it."""
    known = "cleanup_socket" in (type(loop).create_unix_server.__doc__ or "") or sys.version_info >= (3, 13)
    return {"cleanup_socket": False} if known else {}


def _give_back() -> None:
    """Return to the system what large bodies left behind in the allocator (glibc; elsewhere nothing)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _spare_the_collector() -> None:
    """What is loaded stays for good; a request leaves no cycles, so the collector need not look after each few."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m strongroom.server.worker``; only the supervisor calls it."""
    parser = argparse.ArgumentParser(prog="strongroom.server.worker")
    for name in ("parent", "control", "key", "board", "rows", "row"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--node", required=True)
    args = parser.parse_args(argv)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the supervisor decides
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    die_with_parent(args.parent)
    _allow_files()
    log = Log()
    report = harden_process()
    for warning in report.warnings:
        log.info(warning)
    module, _, name = args.node.partition(":")
    open_node = getattr(importlib.import_module(module), name)
    board = Board(args.board, args.rows, EXTRA)
    channel = Channel(socket.socket(fileno=args.control))
    key_socket = socket.socket(fileno=args.key)

    _spare_the_collector()

    async def run() -> None:
        await Worker(channel, key_socket, board, args.row, log).run(open_node)

    _runner()(run())
    os._exit(0)  # nothing is left to do, and memory goes back to the kernel at once


def _allow_files() -> None:
    """As many descriptors as the hard limit allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _runner() -> Any:
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


if __name__ == "__main__":
    sys.exit(main())
