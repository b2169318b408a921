"""The first process: holds the listening sockets, starts and ends workers. It parses no request and holds no secret.

Sealed, one worker accepts on all sockets. It is replaced when the vault was initialised, and again when it was
unsealed: then it writes the keyring key straight into the sockets of fresh workers, one per slot, and leaves. To seal,
a new sealed worker accepts first, then every process that saw a secret ends, the one that was asked last. Blank workers
wait with everything imported, so that none of this takes long.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

import msgspec

from strongroom.crypto.hardening import harden_process
from strongroom.errors import BadRequest
from strongroom.server.board import BEAT, Board
from strongroom.server.child import Child
from strongroom.server.config import ServerConfig, Storage
from strongroom.server.control import Message
from strongroom.server.flights import join
from strongroom.server.host_writer import KINDS, HostWriter
from strongroom.server.listeners import Opened, close_all, open_all
from strongroom.server.logs import Log
from strongroom.server.tallies import EXTRA
from strongroom.server.watch import EVERY, Watch, waits_for_disk

DEFAULT_NODE = "strongroom.server.vault_node:open_node"
_READY_WAIT = 60.0  # seconds for a worker to start and take a role
_SEAL_WAIT = 5.0  # seconds for the sealed worker, before those that hold keys end without it
_GRACE = 1.0  # beyond the drain time, before SIGKILL
_MAX_DRAIN = 7.0  # everything ends within 10 s
_LINK_WAIT = 5.0
_RETRY = 1.0  # seconds before a worker that failed is tried again


class Supervisor:
    """See the module.

    Args:
        config: the configuration.
        node: "module:function" of what opens a node, for tests.
        bring_up: for development servers: what the first worker does to initialise and unseal (``dev.BringUp``).
        reread: reads the configuration again on SIGHUP. Raises BadRequest.
        on_ready: called once, when clients are served.
    """

    def __init__(
        self,
        config: ServerConfig,
        *,
        node: str = DEFAULT_NODE,
        bring_up: dict[str, Any] | None = None,
        reread: Callable[[], ServerConfig] | None = None,
        on_ready: Callable[["Supervisor"], None] = lambda _self: None,
    ) -> None:
        self.config, self._node, self._bring_up = config, node, bring_up
        self._reread, self._on_ready = reread, on_ready
        self.log = Log(config.log_level, config.log_format)
        self.slots = config.worker_count
        self.children: set[Child] = set()
        self.opened: list[Opened] = []
        self._rows: list[int] = []
        self._lock: asyncio.Lock
        self._stopped: asyncio.Event
        self._stopping = False
        self._error = ""
        self._folder = ""
        self._lockout_key = secrets.token_bytes(16)
        self._writer: HostWriter | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch: Watch[Child | HostWriter] = Watch()
        self._left_alone: Child | HostWriter | None = None  # silent, but for the disk

    # -- life

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT. 0, or 1 if the server could not start (the reason was logged)."""
        _standard_descriptors()
        return asyncio.run(self._run())

    def _harden(self) -> None:
        """Shut this process too; say, or with ``refuse_swap`` insist, that memory does not reach a disk.

        Raises:
            BadRequest: swap is in use and the configuration does not accept that.
        """
        report = harden_process(lock_all=False)
        if not report.swap_in_use:
            return
        told = "swap is in use: secrets that requests carry may reach the disk (keys are in locked memory)"
        if self.config.refuse_swap:
            raise BadRequest(f"{told}; turn swap off, or set refuse_swap = false")
        self.log.warn(told)

    async def _run(self) -> int:
        self._lock, self._stopped = asyncio.Lock(), asyncio.Event()
        rows = self.slots * 3 + 8
        board = Board.make(rows, EXTRA)
        self._board, self._rows = board, list(range(rows))
        try:
            self._harden()
            self._prepare()
            self._signals()
            self._task(self._watch.run(self._beats, lambda: float(self.config.worker_timeout), self._stuck))
            await self._begin_or_stop()
            if not self._stopping:
                self._on_ready(self)
            await self._stopped.wait()
        except BadRequest as error:
            self._error = str(error)
        finally:
            await self._end_all()
            if self._writer is not None:
                self._writer.stop()
            close_all(self.opened)
            self._clean()
            board.close()
        if self._error:
            self.log.error(self._error)
            return 1
        return 0

    def _prepare(self) -> None:
        self.opened = open_all(self.config.listeners, self.slots)
        config = msgspec.structs.replace(self.config, listeners=tuple(one.listener for one in self.opened))
        if config.storage.kind == "inmem":
            from strongroom.storage import inmem

            inmem.remove_abandoned()
            self._folder = inmem.private_tmpfs_folder()
            storage = Storage(kind="inmem", options={**config.storage.options, "path": self._folder})
            config = msgspec.structs.replace(config, storage=storage)
        self.config = config
        if config.pid_file:
            try:
                with open(config.pid_file, "w", encoding="ascii") as file:
                    file.write(f"{os.getpid()}\n")
            except OSError as error:
                raise BadRequest(f"pid_file cannot be written: {error.strerror}") from None

    def _clean(self) -> None:
        if self._folder:
            from strongroom.storage import inmem

            inmem.remove_folder(self._folder)
        if self.config.pid_file:
            with contextlib.suppress(OSError):
                os.unlink(self.config.pid_file)

    def _signals(self) -> None:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    async def _begin_or_stop(self) -> None:
        """A signal during the start does not wait for it."""
        begin, stopped = asyncio.ensure_future(self._begin()), asyncio.ensure_future(self._stopped.wait())
        await asyncio.wait({begin, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if begin.done():
            begin.result()
        else:
            begin.cancel()

    async def _begin(self) -> None:
        async with self._lock:
            first = self._spawn()
            if self._bring_up is not None:
                self._fill(self.slots)  # they import while the first one initialises
            if not await self._assign(first, "sealed", bring_up=self._bring_up) and not self._stopping:
                raise BadRequest(first.reason or "the first worker ended before it was ready")
        if self.config.storage.kind in KINDS:
            self._writer = HostWriter(self.config.storage.options, self.log, self._join_writer)
            self._writer.start()
        self._fill(self._spares())

    def stop(self) -> None:
        """Graceful; asked a second time, at once."""
        if self._stopping:
            for child in list(self.children):
                child.kill()
        self._stopping = True
        self._stopped.set()

    async def _end_all(self) -> None:
        self._stopping = True
        drain = min(float(self.config.drain_timeout), _MAX_DRAIN)
        for child in list(self.children):
            child.send("stop", seconds=drain)
        await self._wait_gone(list(self.children), drain + _GRACE)

    async def _wait_gone(self, children: list[Child], seconds: float) -> None:
        waiting = [child.gone for child in children if not child.gone.done()]
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)
        for child in children:
            child.kill()
        waiting = [child.gone for child in children if not child.gone.done()]
        if waiting:
            await asyncio.wait(waiting, timeout=5)

    # -- workers

    def _spawn(self) -> Child:
        if not self._rows:
            raise BadRequest("too many workers at once")
        child = Child(self._rows.pop(0), self._told, self._lost)
        inherited = [sock.fileno() for one in self.opened for sock in one.sockets]
        try:
            child.start(self._node, self._board.fd, self._board.rows, inherited)
        except OSError as error:
            self._rows.append(child.row)
            raise BadRequest(f"no worker can be started: {error.strerror}") from error
        self.children.add(child)
        return child

    def _of(self, role: str) -> list[Child]:
        return sorted((child for child in self.children if child.role == role), key=lambda child: child.slot)

    def _fill(self, count: int) -> None:
        """Have ``count`` blank workers."""
        for _ in range(count - len(self._of("blank"))):
            if not self._stopping:
                with contextlib.suppress(BadRequest):  # who needs one tries again, and says why there is none
                    self._spawn()

    def _blank(self) -> Child:
        """One that is ready to take a role, or a new one."""
        blanks = self._of("blank")
        return next((child for child in blanks if child.hello.done()), blanks[0] if blanks else None) or self._spawn()

    async def _assign(self, child: Child, role: str, slot: int = -1, bring_up: dict[str, Any] | None = None) -> bool:
        """Give a blank worker its role; whether it took it. A serving one needs its key meanwhile (``_hand_over``)."""
        child.role, child.slot = role, slot
        places = []
        for index, one in enumerate(self.opened):
            own = one.sockets if slot < 0 else [one.sockets[slot % len(one.sockets)]]
            places += [(index, sock.fileno()) for sock in own]
        child.send(
            "role",
            role=role,
            config=msgspec.to_builtins(self.config),
            accept=places,
            lockout_key=self._lockout_key,
            bring_up=bring_up,
        )
        done, _ = await asyncio.wait([child.ready], timeout=_READY_WAIT)
        if done and child.ready.result():
            if role == "serving":
                self._link_writer(child)
            return True
        if not self._stopping:
            self.log.error(f"worker {child.pid} did not become {role}: {child.reason or 'it ended'}")
        child.role = "leaving"
        child.kill()
        return False

    def _told(self, child: Child, message: Message) -> None:
        if message["t"] == "transition":
            self._task(self._change(child, str(message["what"])))
        elif message["t"] == "brought_up":
            child.brought_up()
        elif message["t"] == "flights":
            join(child, [other for other in self._of("serving") if other is not child and self._turns(other)])

    def _turns(self, child: Child) -> bool:
        """It serves, and its loop turns as far as is known."""
        return child.ready.done() and self._watch.silence(child) < 3 * EVERY

    def _task(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- the vault changes

    async def _change(self, child: Child, what: str) -> None:
        if not child.ready.done():
            await self._unsealed(child)  # a development server brings itself up; _begin holds the lock
            return
        change = {"initialized": self._renew_sealed, "unsealed": self._unsealed, "sealing": self._sealing}[what]
        async with self._lock:
            if self._stopping or child.gone.done():
                return
            try:
                await change(child)
            except BadRequest as error:
                self.log.error(str(error))
                self._leave(child, ok=False)
        self._ensure()

    def _ensure(self) -> None:
        """Somebody always answers, and enough blank workers wait."""
        if self._stopping:
            return
        if not self._of("serving") and not self._of("sealed"):
            self._task(self._replace("sealed", -1))
        self._fill(self._spares())

    def _spares(self) -> int:
        return 1 if self._of("serving") else self.slots

    async def _renew_sealed(self, child: Child) -> None:
        self._leave(child, ok=await self._new_sealed())

    async def _new_sealed(self) -> bool:
        try:
            return await self._assign(self._blank(), "sealed")
        except BadRequest as error:
            self.log.error(str(error))
            return False

    async def _unsealed(self, giver: Child) -> None:
        """Fresh workers take the key; the one that knows the shares leaves."""
        fresh = [self._blank_for(slot) for slot in range(self.slots)]
        ready = await asyncio.gather(*(self._hand_over(giver, child) for child in fresh))
        if any(ready):
            await self._link()
            for child, ok in zip(fresh, ready, strict=True):
                if not ok:
                    self._task(self._replace("serving", child.slot))
        elif not self._stopping:
            await self._new_sealed()
        self._leave(giver, ok=any(ready))

    def _blank_for(self, slot: int) -> Child:
        child = self._blank()
        child.role, child.slot = "serving", slot
        return child

    async def _hand_over(self, giver: Child, child: Child) -> bool:
        taking = asyncio.ensure_future(self._assign(child, "serving", child.slot))
        await asyncio.sleep(0)  # the role goes out first
        end = child.key_end()
        giver.send("give", [end])
        os.close(end)
        return await taking

    async def _sealing(self, asked: Child) -> None:
        taking = asyncio.ensure_future(self._new_sealed())
        await asyncio.wait([taking], timeout=_SEAL_WAIT)
        others = [child for child in self.children if child.role == "serving" and child is not asked]
        drain = min(float(self.config.drain_timeout), _MAX_DRAIN)
        for child in others:
            child.role = "leaving"
            child.send("stop", seconds=drain)
        await self._wait_gone(others, drain + _GRACE)
        self._leave(asked, ok=True)  # with it goes the last key, whether or not the sealed worker answers already
        await taking

    def _leave(self, child: Child, *, ok: bool) -> None:
        """It has served its purpose: it answers what it was asked, and ends."""
        child.role = "leaving"
        child.send("done", ok=ok)
        child.kill_after(min(float(self.config.drain_timeout), _MAX_DRAIN) + 2 * _GRACE)

    async def _link(self, only: Child | None = None) -> None:
        """The first serving worker owns attempts; join the others (or one) with it, and wait until they know."""
        serving = [child for child in self._of("serving") if child.ready.done()]
        if not serving:
            return
        owner = serving[0]
        told = []
        if only is None or only is owner:
            owner.link(None, owner=True)
            told.append(owner)
            only = None
        for child in serving[1:]:
            if only is None or child is only:
                one, two = socket.socketpair()
                owner.send("link", [one.fileno()], owner=True)
                child.link(two.fileno(), owner=False)
                told.append(child)
                one.close()
                two.close()
        await asyncio.wait([child.linked for child in told], timeout=_LINK_WAIT)

    def _join_writer(self) -> None:
        """Every worker that serves commits through the writer process."""
        for child in self._of("serving"):
            if child.ready.done() and child.ready.result():
                self._link_writer(child)

    def _link_writer(self, child: Child) -> None:
        end = None if self._writer is None else self._writer.link()
        if end is not None:
            with end:
                child.send("writer", [end.fileno()])

    # -- the unexpected

    def _lost(self, child: Child) -> None:
        """A process has ended."""
        self.children.discard(child)
        self._board.row(child.row).leave()
        self._rows.append(child.row)
        if self._stopping or child.role == "leaving":
            return
        if child.role == "blank":
            if child.hello.done() and not child.hello.result():
                asyncio.get_running_loop().call_later(_RETRY, lambda: self._fill(self._spares()))
            return
        self.log.error(f"worker {child.pid} ({child.role}) ended with {child.process.returncode}")
        if child.ready.result():  # else _assign knows
            self._task(self._replace(child.role, child.slot))

    async def _replace(self, role: str, slot: int) -> None:
        """A living worker hands the key over to a new one; if none lives, the vault is sealed."""
        started = time.monotonic()
        while not self._stopping:
            async with self._lock:
                living = [child for child in self._of("serving") if child.ready.done()]
                if role == "serving" and living:
                    if any(child.slot == slot for child in living):
                        return
                    with contextlib.suppress(BadRequest):
                        fresh = self._blank_for(slot)
                        if await self._hand_over(max(living, key=self._watch.heard), fresh):
                            await self._link(None if slot < living[0].slot or slot == 0 else fresh)
                            break
                elif self._of("sealed") or await self._new_sealed():
                    break
            await asyncio.sleep(_RETRY)
        self._ensure()
        self.log.info(f"replaced after {time.monotonic() - started:.3f} s")

    def _beats(self) -> dict[Child | HostWriter, int]:
        """Of those whose loop has begun; one that takes a role has its own limit, one that leaves too."""
        if self._stopping:
            return {}
        begun = [child for child in self._of("blank") if child.hello.done()]
        begun += [child for role in ("sealed", "serving") for child in self._of(role) if child.ready.done()]
        beats: dict[Child | HostWriter, int] = {child: self._board.numbers(child.row)[BEAT] for child in begun}
        if self._writer is not None and self._writer.ready:
            beats[self._writer] = self._writer.beat
        return beats

    def _stuck(self, one: Child | HostWriter, seconds: float) -> bool:
        """End a process whose loop does not turn, unless it or what it may wait for waits for the disk."""
        name = f"worker {one.pid} ({one.role})" if isinstance(one, Child) else f"the writer process {one.pid}"
        told = f"{name} does not respond for {seconds:.0f} s"
        pids = [other.pid for other in self.children]
        if self._writer is not None and self._writer.pid is not None:
            pids.append(self._writer.pid)
        if any(waits_for_disk(pid) for pid in pids):
            if self._left_alone is not one:
                self.log.error(f"{told}; the disk does not either, so it is left alone")
            self._left_alone = one
            return False
        self.log.error(f"{told}; it is killed and replaced")
        one.kill()
        return True

    def _reload(self) -> None:
        """SIGHUP: log level, certificates, audit files."""
        if self._reread is not None:
            try:
                config = self._reread()
            except BadRequest as error:
                self.log.error(f"configuration not reloaded: {error}")
                config = self.config
            kept = {"listeners": self.config.listeners, "storage": self.config.storage, "workers": self.config.workers}
            if len(config.listeners) == len(self.config.listeners):
                kept["listeners"] = tuple(
                    msgspec.structs.replace(new, address=old.address)
                    for new, old in zip(config.listeners, self.config.listeners, strict=True)
                )
            self.config = msgspec.structs.replace(config, **kept)
        self.log.configure(self.config.log_level, self.config.log_format)
        for child in self.children:
            if child.role in ("sealed", "serving"):
                child.send("reload", config=msgspec.to_builtins(self.config))


def _standard_descriptors() -> None:
    """Fill closed ones of 0, 1 and 2, or a socket or the board would become somebody's stderr."""
    fd = os.open(os.devnull, os.O_RDWR)
    while fd <= 2:
        os.set_inheritable(fd, True)
        fd = os.open(os.devnull, os.O_RDWR)
    os.close(fd)
