"""``Vault`` and ``AsyncVault``: a vault inside your program, over the same pipeline as the server's."""

import asyncio
import functools
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from strongroom.core.seal import InitResult, SealConfig, SealStatus
from strongroom.core.shares import KeyShares
from strongroom.errors import BadRequest, Conflict, NotFound, Sealed
from strongroom.sdk.request import Op, Request, Response
from strongroom.vault import calls
from strongroom.vault.assemble import assemble, read_config
from strongroom.vault.loop_thread import LoopThread
from strongroom.vault.migration import Ground, migrate
from strongroom.vault.once import recorded_unseal, whole
from strongroom.vault.stores import WholeStore, needs_loop
from strongroom.vault.turns import Slow, Turns

T = TypeVar("T")
Data = Mapping[str, Any]
_GONE = "this vault is closed, or belongs to the process that this one was forked from"
_PHASES = ("pre_route", "route", "post_route", "log")
_OWN_TYPES = frozenset({"system", "token", "identity"})


class Face:
    """What ``vault.core`` shows: live migration and added parts. The inner Core is not for callers."""

    def __init__(self, run: Callable[[Coroutine[Any, Any, Any]], Any], migrating: Callable[..., Any], add: Any) -> None:
        self._run, self._migrating, self._add = run, migrating, add

    def __repr__(self) -> str:
        return "Face()"

    def migrate(self, source: Data, target: Data) -> Any:
        """Move the running vault from one store to another, losing nothing written meanwhile.

        Args:
            source: the store in use, ``{kind: {options}}``; must be the one this vault was opened with.
            target: an empty store, ``{kind: {options}}``.

        Returns:
            a report with ``.entries`` copied. Blocking on ``Vault``; to be awaited on ``AsyncVault``.

        Raises:
            BadRequest: ``source`` is not the store in use, or ``target`` is not empty.
        """
        return self._run(self._migrating(source, target))

    def add_handler(self, handler: Any) -> None:
        """As ``Vault.add_handler``."""
        self._add.add_handler(handler)

    def add_auth_handler(self, kind: str, factory: Callable[..., Any]) -> None:
        """As ``Vault.add_auth_handler``."""
        self._add.add_auth_handler(kind, factory)

    def add_engine(self, kind: str, factory: Callable[..., Any]) -> None:
        """As ``Vault.add_engine``."""
        self._add.add_engine(kind, factory)


class _Base:
    """What both faces share."""

    def __init__(
        self,
        backend: Any,
        config: Data | None,
        now: Callable[[], float],
        offload: Any,
        run: Callable[[Coroutine[Any, Any, Any]], Any],
    ) -> None:
        settings = read_config(config)
        if backend is None and config is not None:
            backend = config.get("storage") or config.get("backend")
        self._ground = Ground(backend)
        if not settings.audit_dir:
            settings = msgspec.structs.replace(settings, audit_dir=_beside(self._ground))
        self._made = assemble(self._ground.store, settings, now=now, offload=offload)
        self._core = self._made.core
        self._made.audit.inline = True
        self._token = _kept("")
        self._closed = False
        _open.add(self)
        self.core = Face(run, functools.partial(migrate, self._ground, self._core), self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._ground.store.kind}, {'sealed' if self.sealed else 'unsealed'})"

    def set_token(self, token: str) -> None:
        """The token that calls without one of their own use; "" = none. Raises BadRequest if it is no text."""
        self._token = _kept(calls.token_text(token))

    @property
    def sealed(self) -> bool:
        """Whether the vault is sealed."""
        return self._closed or self._core.sealed

    def add_handler(self, handler: Any) -> None:
        """Add a request handler (see ``strongroom.sdk.Handler``): it sees every request that the built-in checks let
        pass before it runs, every answer, and every outcome. One that raises refuses the request. Raises BadRequest
        for an object with none of the phases."""
        if not any(callable(getattr(handler, phase, None)) for phase in _PHASES):
            raise BadRequest(f"a handler has one of the phases {', '.join(_PHASES)}")
        self._custom()
        self._core.add_handler(handler)

    def add_engine(self, kind: str, factory: Callable[..., Any]) -> None:
        """Make ``factory(mount)`` mountable as a secrets engine of type ``kind``; before the vault is unsealed, if one
        is mounted already. Raises BadRequest for a name that is the house's own."""
        self._custom()
        self._made.kinds.engines[_type_name(kind, factory)] = factory

    def add_auth_handler(self, kind: str, factory: Callable[..., Any]) -> None:
        """Make ``factory(mount)`` mountable as an auth method of type ``kind``; else as ``add_engine``."""
        self._custom()
        self._made.kinds.auth[_type_name(kind, factory)] = factory

    def _custom(self) -> None:
        """Parts from outside may wait for anything."""

    def _request(self, op: Op, path: str, data: Data | None, token: str | None) -> Request:
        if self._closed:
            raise Sealed(_GONE)
        return calls.request(op, path, data, self._token() if token is None else token)

    async def _send(
        self, op: Op, path: str, data: Data | None, token: str | None, certificate: bytes = b""
    ) -> Response:
        request = self._request(op, path, data, token)
        if certificate:
            request = msgspec.structs.replace(request, certificate=bytes(certificate))
        return await self._core.handle(request)

    async def _read(self, op: Op, path: str, data: Data | None, token: str | None) -> Response | None:
        request = self._request(op, path, data, token)
        try:
            return await self._core.handle(request)
        except NotFound as error:
            mounted = self._core.mounted(request.path)
            return calls.absent(error, mounted=mounted)

    async def _init(self, config: SealConfig) -> InitResult:
        return calls.init_result(await self._send(Op.UPDATE, "sys/init", calls.init_fields(config), ""))

    async def _unseal(self, share: str) -> SealStatus:
        return calls.seal_status(await self._send(Op.UPDATE, "sys/unseal", {"key": share}, ""))

    async def _unseal_once(self, shares: Sequence[str]) -> KeyShares:
        if self._closed:
            raise Sealed(_GONE)
        await WholeStore(self._ground.store).check()
        given = [shares] if isinstance(shares, str) else list(shares)
        return await recorded_unseal(self._core, given)

    async def _seal(self, token: str | None) -> None:
        await self._send(Op.UPDATE, "sys/seal", None, token)

    async def _login(self, path: str, data: Data | None, certificate: bytes) -> Response:
        response = await self._send(Op.UPDATE, path, data, "", certificate)
        if response.auth is not None and response.auth.client_token:  # there may be a second factor to prove first
            self._token = _kept(response.auth.client_token)
        return response

    async def _mount(self, path: str, kind: str, options: Data | None, token: str | None) -> None:
        await self._send(Op.UPDATE, calls.mount_path(path, ""), calls.mount_fields(kind, options), token)

    async def _remount(self, source: str, target: str, token: str | None) -> None:
        await self._send(Op.UPDATE, "sys/remount", {"from": source, "to": target}, token)

    async def _close(self) -> None:
        if self._closed:
            return
        if self._ground.moving:
            raise Conflict("the vault is being moved to another store")
        self._closed = True
        self._token = _kept("")
        await self._core.seal()
        await self._made.audit.leave()
        self._made.audit.close()
        await self._ground.close()


def _forked() -> None:
    """A forked child has neither the threads of its parent's vaults nor their keys (those pages are zero)."""
    for vault in _open:
        vault._closed, vault._token = True, _kept("")
        if isinstance(vault, Vault):
            vault._loop, vault._guard = None, threading.Lock()


_open: "weakref.WeakSet[_Base]" = weakref.WeakSet()
os.register_at_fork(after_in_child=_forked)


def _kept(token: str) -> Callable[[], str]:
    """``token``, where neither ``repr`` nor ``vars`` of the vault show it."""
    return lambda: token


def _type_name(kind: Any, factory: Any) -> str:
    if not isinstance(kind, str) or not kind or kind in _OWN_TYPES:
        raise BadRequest("the type of an added part must be text, and no type of the house's own core")
    if not callable(factory):
        raise BadRequest("a factory must be callable with a Mount")
    return kind


def _beside(ground: Ground) -> str:
    """Where audit files go when nothing is said: beside the data, or the working folder."""
    place = ground.name.place() if ground.name is not None else ""
    return os.path.dirname(place) if place else os.getcwd()


class Vault(_Base):
    """A vault in your process. Safe to use from several threads.

    Args:
        backend: ``{kind: {options}}``: ``{"lmdb": {"path": "data"}}``, "memory", "file"; or a store object
            (``strongroom.sdk.Backend``), which stays yours: ``close`` leaves it open.
        config: None or a mapping with the configuration file's names (docs/configuration.md).
        now: the clock, seconds since the Unix epoch.

    Raises:
        BadRequest: the store or the configuration is wrong.
        StorageFailed: the store cannot be opened.
    """

    def __init__(self, backend: Any, config: Data | None = None, *, now: Callable[[], float] = time.time) -> None:
        self._turns = Turns()
        self._loop: LoopThread | None = None
        self._guard = threading.Lock()
        super().__init__(backend, config, now, self._offload, self._run)
        if needs_loop(self._ground.below):
            self._custom()

    def _custom(self) -> None:
        """From now on every call runs on the vault's own loop thread, where anything may be awaited."""
        if self._loop is not None:
            return
        with self._guard:
            if self._loop is None and not self._closed:
                self._loop = LoopThread()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        loop = self._loop
        if loop is not None:
            return loop.run(work, self._turns.interleave)
        if self._closed:
            work.close()
            raise Sealed(_GONE)
        return self._turns.run(work)  # embedded stores wait for nothing but commits: no loop, about 1 us

    async def _offload(self, work: Callable[[], Any]) -> Any:
        loop = self._loop
        if loop is not None and loop.here():
            return await asyncio.get_running_loop().run_in_executor(None, work)
        return await Slow(work)

    def init(self, config: SealConfig | None = None) -> InitResult:
        """Initialise: the shares (``.keys`` hex, ``.keys_base64``) and the root token. The vault stays sealed.

        Raises:
            BadRequest: initialised already, or the share counts are wrong.
        """
        return self._run(self._init(config or SealConfig()))

    def unseal(self, share: str) -> SealStatus:
        """Give one share, hex or base64. Raises BadRequest when it is no share, or the shares are wrong."""
        return self._run(self._unseal(share))

    def unseal_once(self, shares: Sequence[str]) -> KeyShares:
        """Unseal and make ``shares`` useless: the new ones come back. Raises BadRequest; then the old ones stand."""
        return self._run(self._unseal_once(shares))

    def seal(self, *, token: str | None = None) -> None:
        """Seal: forget every key. Needs a token with sudo on sys/seal."""
        self._run(self._seal(token))

    def read(self, path: str, data: Data | None = None, *, token: str | None = None) -> Response | None:
        """The answer at ``path``, or None where nothing is. Raises VaultError."""
        return self._run(self._read(Op.READ, path, data, token))

    def list(self, path: str, data: Data | None = None, *, token: str | None = None) -> Response | None:
        """The names under ``path`` in ``.data["keys"]``, or None. Raises VaultError."""
        return self._run(self._read(Op.LIST, path, data, token))

    def write(
        self, path: str, data: Data | None = None, *, token: str | None = None, certificate: bytes = b""
    ) -> Response:
        """Create or update. ``certificate``: as for ``login``, for a renewal. Raises VaultError."""
        return self._run(self._send(Op.UPDATE, path, data, token, certificate))

    def patch(self, path: str, data: Data | None = None, *, token: str | None = None) -> Response:
        """Merge (RFC 7396) where the engine supports it. Raises VaultError."""
        return self._run(self._send(Op.PATCH, path, data, token))

    def delete(self, path: str, data: Data | None = None, *, token: str | None = None) -> Response:
        """Delete; also of what is not there. Raises VaultError."""
        return self._run(self._send(Op.DELETE, path, data, token))

    def login(self, path: str, data: Data | None = None, *, certificate: bytes = b"") -> Response:
        """Log in at ``path`` (auth/userpass/login/bob) and use the token from now on. Raises VaultError.

        ``certificate``: the TLS client certificate (DER) of whoever logs in; that they hold its key was yours to see.
        """
        return self._run(self._login(path, data, certificate))

    def mount(self, path: str, type: str, *, token: str | None = None, options: Data | None = None) -> None:
        """Enable an engine at ``path``, or an auth method at ``auth/...``. Raises BadRequest."""
        self._run(self._mount(path, type, options, token))

    def unmount(self, path: str, *, token: str | None = None) -> None:
        """Disable the engine at ``path`` and delete what it kept."""
        self._run(self._send(Op.DELETE, calls.mount_path(path, ""), None, token))

    def remount(self, source: str, target: str, *, token: str | None = None) -> None:
        """Move a mount."""
        self._run(self._remount(source, target, token))

    def tidy(self) -> int:
        """End what has expired and finish what was begun; the server does this by itself. How many things."""
        return self._run(self._core.tidy())

    def close(self) -> None:
        """Seal, close the store (unless it is your own object) and end the private thread. Safe to call twice.

        Raises:
            Conflict: the vault is being moved to another store.
        """
        with self._guard:
            loop = self._loop
            if not self._closed:
                self._run(self._close())
        if loop is not None:
            loop.stop()

    def __enter__(self) -> "Vault":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncVault(_Base):
    """``Vault`` with ``await``; ``set_token``, ``sealed`` and ``add_*`` stay plain."""

    def __init__(self, backend: Any, config: Data | None = None, *, now: Callable[[], float] = time.time) -> None:
        self._pool: ThreadPoolExecutor | None = None
        super().__init__(backend, config, now, self._offload, lambda work: work)

    async def _offload(self, work: Callable[[], T]) -> T:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="strongroom")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def init(self, config: SealConfig | None = None) -> InitResult:
        """See ``Vault.init``."""
        return await whole(self._init(config or SealConfig()))

    async def unseal(self, share: str) -> SealStatus:
        """See ``Vault.unseal``."""
        return await self._unseal(share)

    async def unseal_once(self, shares: Sequence[str]) -> KeyShares:
        """See ``Vault.unseal_once``."""
        return await whole(self._unseal_once(shares))

    async def seal(self, *, token: str | None = None) -> None:
        """See ``Vault.seal``."""
        await self._seal(token)

    async def read(self, path: str, data: Data | None = None, *, token: str | None = None) -> Response | None:
        """See ``Vault.read``."""
        return await self._read(Op.READ, path, data, token)

    async def list(self, path: str, data: Data | None = None, *, token: str | None = None) -> Response | None:
        """See ``Vault.list``."""
        return await self._read(Op.LIST, path, data, token)

    async def write(
        self, path: str, data: Data | None = None, *, token: str | None = None, certificate: bytes = b""
    ) -> Response:
        """See ``Vault.write``."""
        return await self._send(Op.UPDATE, path, data, token, certificate)

    async def patch(self, path: str, data: Data | None = None, *, token: str | None = None) -> Response:
        """See ``Vault.patch``."""
        return await self._send(Op.PATCH, path, data, token)

    async def delete(self, path: str, data: Data | None = None, *, token: str | None = None) -> Response:
        """See ``Vault.delete``."""
        return await self._send(Op.DELETE, path, data, token)

    async def login(self, path: str, data: Data | None = None, *, certificate: bytes = b"") -> Response:
        """See ``Vault.login``."""
        return await self._login(path, data, certificate)

    async def mount(self, path: str, type: str, *, token: str | None = None, options: Data | None = None) -> None:
        """See ``Vault.mount``."""
        await self._mount(path, type, options, token)

    async def unmount(self, path: str, *, token: str | None = None) -> None:
        """See ``Vault.unmount``."""
        await self._send(Op.DELETE, calls.mount_path(path, ""), None, token)

    async def remount(self, source: str, target: str, *, token: str | None = None) -> None:
        """See ``Vault.remount``."""
        await self._remount(source, target, token)

    async def tidy(self) -> int:
        """See ``Vault.tidy``."""
        return await self._core.tidy()

    async def close(self) -> None:
        """See ``Vault.close``."""
        await self._close()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> "AsyncVault":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
