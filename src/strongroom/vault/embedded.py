"""``Vault`` and ``AsyncVault``: a vault inside your program, over the same pipeline as the server's."""

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from strongroom.core.seal import InitResult, SealConfig, SealStatus
from strongroom.core.shares import KeyShares
from strongroom.errors import NotFound
from strongroom.sdk.engine import run_inline
from strongroom.sdk.request import Op, Response
from strongroom.storage.completion import drive
from strongroom.vault import calls
from strongroom.vault.assemble import assemble, open_backend, read_config
from strongroom.vault.migration import migrate

T = TypeVar("T")
Data = Mapping[str, Any]


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
        self._spec = backend
        self._backend = open_backend(backend)
        self._made = assemble(self._backend, read_config(config), now=now, offload=offload)
        self._core = self._made.core
        self._token = ""
        self._closed = False
        self.core = Face(run, functools.partial(migrate, self), self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._backend.kind}, {'sealed' if self.sealed else 'unsealed'})"

    def set_token(self, token: str) -> None:
        """The token that calls without one of their own use; "" = none."""
        self._token = token

    @property
    def sealed(self) -> bool:
        """Whether the vault is sealed."""
        return self._core.sealed

    def add_handler(self, handler: Any) -> None:
        """Add a request handler (see ``strongroom.sdk.Handler``): it sees every request that the built-in checks let
        pass before it runs, every answer, and every outcome. One that raises refuses the request."""
        self._core.add_handler(handler)
        self._custom()

    def add_engine(self, kind: str, factory: Callable[..., Any]) -> None:
        """Make ``factory(mount)`` mountable as a secrets engine of type ``kind``."""
        self._made.kinds.engines[kind] = factory
        self._custom()

    def add_auth_handler(self, kind: str, factory: Callable[..., Any]) -> None:
        """Make ``factory(mount)`` mountable as an auth method of type ``kind``."""
        self._made.kinds.auth[kind] = factory
        self._custom()

    def _custom(self) -> None:
        """Parts from outside may wait for anything."""

    async def _send(self, op: Op, path: str, data: Data | None, token: str | None) -> Response:
        used = self._token if token is None else token
        return await self._core.handle(calls.request(op, path, data, used))

    async def _read(self, op: Op, path: str, data: Data | None, token: str | None) -> Response | None:
        try:
            return await self._send(op, path, data, token)
        except NotFound as error:
            return calls.absent(error)

    async def _init(self, config: SealConfig) -> InitResult:
        return calls.init_result(await self._send(Op.UPDATE, "sys/init", calls.init_fields(config), ""))

    async def _unseal(self, share: str) -> SealStatus:
        return calls.seal_status(await self._send(Op.UPDATE, "sys/unseal", {"key": share}, ""))

    async def _seal(self, token: str | None) -> None:
        await self._send(Op.UPDATE, "sys/seal", None, token)

    async def _login(self, path: str, data: Data | None) -> Response:
        response = await self._send(Op.UPDATE, path, data, "")
        if response.auth is not None:
            self._token = response.auth.client_token
        return response

    async def _mount(self, path: str, kind: str, options: Data | None, token: str | None) -> None:
        await self._send(Op.UPDATE, calls.mount_path(path, ""), calls.mount_fields(kind, options), token)

    async def _remount(self, source: str, target: str, token: str | None) -> None:
        await self._send(Op.UPDATE, "sys/remount", {"from": source, "to": target}, token)

    async def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._core.seal()
        self._made.audit.close()
        await self._backend.close()


class Vault(_Base):
    """A vault in your process. Safe to use from several threads.

    Args:
        backend: a store object, or ``{kind: {options}}``: ``{"lmdb": {"path": "data"}}``, "memory", "file".
        config: None or a mapping with the configuration file's names (docs/configuration.md).
        now: the clock, seconds since the Unix epoch.
    """

    def __init__(self, backend: Any, config: Data | None = None, *, now: Callable[[], float] = time.time) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._guard = threading.Lock()
        super().__init__(backend, config, now, run_inline, self._run)

    def _custom(self) -> None:
        """From now on every call runs on the vault's own loop thread, where anything may be awaited."""
        with self._guard:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                threading.Thread(target=loop.run_forever, name="strongroom-vault", daemon=True).start()
                self._loop = loop

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        loop = self._loop
        if loop is None:
            return drive(work)  # embedded stores wait for nothing but commits: no loop, about 1 us
        return asyncio.run_coroutine_threadsafe(work, loop).result()

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
        return self._run(self._core.unseal_once(list(shares)))

    def seal(self, *, token: str | None = None) -> None:
        """Seal: forget every key. Needs a token with sudo on sys/seal."""
        self._run(self._seal(token))

    def read(self, path: str, data: Data | None = None, *, token: str | None = None) -> Response | None:
        """The answer at ``path``, or None where nothing is. Raises VaultError."""
        return self._run(self._read(Op.READ, path, data, token))

    def list(self, path: str, data: Data | None = None, *, token: str | None = None) -> Response | None:
        """The names under ``path`` in ``.data["keys"]``, or None. Raises VaultError."""
        return self._run(self._read(Op.LIST, path, data, token))

    def write(self, path: str, data: Data | None = None, *, token: str | None = None) -> Response:
        """Create or update. Raises VaultError."""
        return self._run(self._send(Op.UPDATE, path, data, token))

    def patch(self, path: str, data: Data | None = None, *, token: str | None = None) -> Response:
        """Merge (RFC 7396) where the engine supports it. Raises VaultError."""
        return self._run(self._send(Op.PATCH, path, data, token))

    def delete(self, path: str, data: Data | None = None, *, token: str | None = None) -> Response:
        """Delete; also of what is not there. Raises VaultError."""
        return self._run(self._send(Op.DELETE, path, data, token))

    def login(self, path: str, data: Data | None = None) -> Response:
        """Log in at ``path`` (auth/userpass/login/bob) and use the token from now on. Raises VaultError."""
        return self._run(self._login(path, data))

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
        """Seal, close the store and end the private thread. Safe to call twice."""
        self._run(self._close())
        with self._guard:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

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
        return await self._init(config or SealConfig())

    async def unseal(self, share: str) -> SealStatus:
        """See ``Vault.unseal``."""
        return await self._unseal(share)

    async def unseal_once(self, shares: Sequence[str]) -> KeyShares:
        """See ``Vault.unseal_once``."""
        return await self._core.unseal_once(list(shares))

    async def seal(self, *, token: str | None = None) -> None:
        """See ``Vault.seal``."""
        await self._seal(token)

    async def read(self, path: str, data: Data | None = None, *, token: str | None = None) -> Response | None:
        """See ``Vault.read``."""
        return await self._read(Op.READ, path, data, token)

    async def list(self, path: str, data: Data | None = None, *, token: str | None = None) -> Response | None:
        """See ``Vault.list``."""
        return await self._read(Op.LIST, path, data, token)

    async def write(self, path: str, data: Data | None = None, *, token: str | None = None) -> Response:
        """See ``Vault.write``."""
        return await self._send(Op.UPDATE, path, data, token)

    async def patch(self, path: str, data: Data | None = None, *, token: str | None = None) -> Response:
        """See ``Vault.patch``."""
        return await self._send(Op.PATCH, path, data, token)

    async def delete(self, path: str, data: Data | None = None, *, token: str | None = None) -> Response:
        """See ``Vault.delete``."""
        return await self._send(Op.DELETE, path, data, token)

    async def login(self, path: str, data: Data | None = None) -> Response:
        """See ``Vault.login``."""
        return await self._login(path, data)

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
            self._pool.shutdown(wait=False)

    async def __aenter__(self) -> "AsyncVault":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
