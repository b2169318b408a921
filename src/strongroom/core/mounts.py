"""The mount table of one namespace: which engine answers where."""

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from strongroom.core import layout
from strongroom.core.client_trust import publisher
from strongroom.core.epoch import commit_with_epoch
from strongroom.core.mount_entry import MountConfig, MountEntry, check_mac, entry_mac
from strongroom.core.names import new_uuid
from strongroom.core.router import Mounted, Router, mounted
from strongroom.core.sweep import delete_prefix
from strongroom.errors import BadRequest, NotFound
from strongroom.sdk.databases import Databases, NoDatabases
from strongroom.sdk.engine import Engine, Mount, no_password
from strongroom.sdk.outside import Fetch, nowhere
from strongroom.sdk.request import ROOT_NAMESPACE
from strongroom.sdk.storage import View, Write

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(MountEntry).decode
_PRIVILEGED = frozenset({"system", "token"})
PROTECTED = ("sys/", "identity/", "cubbyhole/", "auth/token/")
_RESERVED = ("sys/", "auth/", "audit/", "identity/", "cubbyhole/", "internal/")

Factory = Callable[[Mount], Engine]


class Kinds:
    """The engines and auth methods that can be mounted, by type."""

    def __init__(self, engines: Mapping[str, Factory], auth: Mapping[str, Factory]) -> None:
        self.engines = dict(engines)
        self.auth = dict(auth)

    def factory(self, mount_class: str, kind: str) -> Factory | None:
        """The factory for ``kind``, or None."""
        return (self.auth if mount_class == "auth" else self.engines).get(kind)


class MountLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The system's lease TTLs (seconds) and how strictly entries are checked."""

    default_lease_ttl: int = 2764800
    max_lease_ttl: int = 2764800
    hmac_level: str = "compat"  # "none" | "compat" | "high"


async def _nothing(accessor: str) -> None:
    """Nobody keeps anything."""


class MountTable:
    """See the module. Reading builds a Router; every change is one commit that also moves the epoch."""

    def __init__(
        self,
        storage: Any,
        namespace: str,
        kinds: Kinds,
        limits: MountLimits,
        mac_key: bytes,
        *,
        now: Callable[[], float],
        offload: Callable[[Callable[[], Any]], Any],
        fetch: Fetch = nowhere,
        databases: Databases = NoDatabases(),
        password: Callable[[str], Awaitable[str]] = no_password,
    ) -> None:
        self._databases, self._password = databases, password
        self._storage, self._ns, self._kinds, self._limits = storage, namespace, kinds, limits
        self._mac_key, self._now, self._offload, self._fetch = mac_key, now, offload, fetch
        self.entries: dict[str, MountEntry] = {}
        self.removing: list[MountEntry] = []
        self.router = Router([])
        self._built: dict[str, tuple[int, Mounted]] = {}
        self.before_end: Callable[[str], Awaitable[None]] = _nothing  # forgets what others keep of an accessor
        self.ground: Mapping[str, int] = {}  # key -> revision: what moves when the namespace itself is being removed

    # -- read ----------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read the table again; engines whose entry did not change are kept.

        Raises:
            IntegrityError: an entry was tampered with (see ``mount_entry_hmac_level``).
        """
        entries: dict[str, MountEntry] = {}
        removing: list[MountEntry] = []
        built: dict[str, tuple[int, Mounted]] = {}
        prefix, after = layout.mount_prefix(self._ns), ""
        while rows := await self._storage.scan(prefix, after=after, limit=500):
            for _, stored in rows:
                entry = _unpack(stored.value)
                check_mac(self._mac_key, entry, self._limits.hmac_level)
                if entry.state:
                    removing.append(entry)  # built too: its engine still has leases to undo
                else:
                    entries[entry.path] = entry
                old = self._built.get(entry.uuid)
                if old is not None and old[0] == stored.revision:
                    built[entry.uuid] = old
                else:
                    built[entry.uuid] = (stored.revision, self._build(entry))
            after = rows[-1][0]
        for uuid, (_, old_mount) in self._built.items():
            if uuid not in built or built[uuid][1] is not old_mount:
                _close(old_mount.engine)
        self.entries, self.removing, self._built = entries, removing, built
        self.router = Router([built[entry.uuid][1] for entry in entries.values()])

    def _build(self, entry: MountEntry) -> Mounted:
        factory = self._kinds.factory(entry.mount_class, entry.type)
        engine: Engine = _Missing(entry.type) if factory is None else factory(self.mount(entry))
        return mounted(
            entry.path,
            engine,
            kind=entry.type,
            accessor=entry.accessor,
            uuid=entry.uuid,
            mount_class=entry.mount_class,
            privileged=entry.type in _PRIVILEGED,
        )

    def mount(self, entry: MountEntry) -> Mount:
        """All that the engine of ``entry`` may touch."""
        default_ttl, max_ttl = self.ttls(entry)
        return Mount(
            path=entry.path,
            storage=self.view(entry),
            now=self._now,
            options=entry.options or {},
            accessor=entry.accessor,
            uuid=entry.uuid,
            type=entry.type,
            namespace=self._ns,
            default_lease_ttl=default_ttl,
            max_lease_ttl=max_ttl,
            token_type=entry.config.token_type or "default-service",
            offload=self._offload,
            fetch=self._fetch,
            publish=publisher(self._storage, self._ns, entry.uuid),
            databases=self._databases,
            password=self._password,
        )

    def view(self, entry: MountEntry) -> View:
        """The store of ``entry``'s engine."""
        return View(self._storage, layout.data_prefix(self._ns, entry.uuid))

    def ttls(self, entry: MountEntry | None) -> tuple[int, int]:
        """(default, maximum) lease TTL in seconds that apply to ``entry``."""
        limits = self._limits
        if entry is None:
            return limits.default_lease_ttl, limits.max_lease_ttl
        maximum = entry.config.max_lease_ttl or limits.max_lease_ttl
        return min(entry.config.default_lease_ttl or limits.default_lease_ttl, maximum), maximum

    def at(self, path: str) -> MountEntry | None:
        """The entry whose mount ``path`` lies in."""
        hit = self.router.mount_of(path)
        return None if hit is None else self.entries.get(hit.path)

    def by_accessor(self, accessor: str) -> MountEntry | None:
        return next((e for e in self.entries.values() if e.accessor == accessor), None)

    def by_uuid(self, uuid: str) -> MountEntry | None:
        """The entry of a mount that stands or is being removed."""
        return next((e for e in (*self.entries.values(), *self.removing) if e.uuid == uuid), None)

    def engines(self) -> list[tuple[str, Engine]]:
        """The engine of each mount that stands, by uuid."""
        return [(entry.uuid, self._built[entry.uuid][1].engine) for entry in self.entries.values()]

    def engine(self, uuid: str) -> Engine | None:
        """The engine of a mount, also of one that is being removed."""
        built = self._built.get(uuid)
        return None if built is None else built[1].engine

    def standing(self, uuid: str) -> dict[str, int]:
        """What the commit expects that stores something which a mount granted: it and its namespace stand.

        Without that a grant of one process may come after another has revoked all grants, and outlive the mount.

        Args:
            uuid: of the mount; "" = only the namespace must stand.

        Raises:
            NotFound: the mount is being removed or gone.
        """
        if not uuid:
            return dict(self.ground)
        if uuid not in self._built or any(entry.uuid == uuid for entry in self.removing):
            raise NotFound("the mount is gone")
        return {**self.ground, layout.mount(self._ns, uuid): self._built[uuid][0]}

    async def look_again(self) -> None:
        """Find out why ``standing`` did not hold: after this it tells what stands now.

        Raises:
            NotFound: the namespace is being removed or gone.
        """
        for key, revision in self.ground.items():
            stored = await self._storage.get_sealed(key)
            if stored is None or stored.revision != revision:
                raise NotFound("namespace not found")
        await self.load()

    # -- change --------------------------------------------------------------------------------------------------

    def new_entry(self, path: str, kind: str, **fields: Any) -> MountEntry:
        """An entry for ``path`` ("secret/", "auth/userpass/") with fresh uuid and accessor."""
        head = "auth_" if path.startswith("auth/") else ""
        accessor = f"{head}{kind}_{os.urandom(4).hex()}"
        entry = MountEntry(uuid=new_uuid(), path=path, type=kind, accessor=accessor, **fields)
        return self._signed(entry)

    def _signed(self, entry: MountEntry) -> MountEntry:
        return msgspec.structs.replace(entry, mac=entry_mac(self._mac_key, entry))

    def write(self, entry: MountEntry) -> Write:
        """The write that stores ``entry``."""
        return Write(layout.mount(self._ns, entry.uuid), _pack(self._signed(entry)))

    async def enable(self, entry: MountEntry) -> None:
        """Add a mount.

        Raises:
            BadRequest: unknown type, reserved or occupied path.
        """
        self._check_path(entry.path)
        if self._kinds.factory(entry.mount_class, entry.type) is None:
            raise BadRequest(f"plugin not found in the catalog: {entry.type}")

        def add() -> list[Write]:
            self._free(entry.path)
            return [self.write(entry)]

        await self._change(add, entry.path)
        engine = self.router.mounts[entry.path].engine if entry.path in self.router.mounts else None
        initialize = getattr(engine, "initialize", None)
        if initialize is not None:
            await initialize()

    async def replace(self, path: str, change: Callable[[MountEntry], MountEntry]) -> MountEntry:
        """Store what ``change`` makes of the entry at ``path`` (tune, move); it is asked again if others come between.

        Raises:
            BadRequest: nothing is mounted there, or the new path is taken.
        """
        made: list[tuple[MountEntry, MountEntry]] = []
        target = change(self.entries[path]).path if path in self.entries else ""

        def put() -> list[Write]:
            old = self.entries.get(path)
            if old is None:
                raise BadRequest(f"no mount at {path.removeprefix('auth/')}")
            new = change(old)
            if new.path != old.path:
                self._check_path(new.path)
                self._free(new.path)
            made[:] = [(old, new)]
            return [self.write(new)]

        await self._change(put, target)
        old, new = made[0]
        engine = self.router.mounts[new.path].engine if new.path in self.router.mounts else None
        initialize = getattr(engine, "initialize", None)
        if initialize is not None and new.options != old.options:
            await initialize()
        return new

    async def begin_removal(self, path: str) -> MountEntry | None:
        """The mount stops answering; its leases and, with ``finish_removal``, its data follow. None if there is none.

        A removal that was begun before and got stuck is given again.
        """
        marked: list[MountEntry | None] = []

        def mark() -> list[Write]:
            entry = self.entries.get(path)
            if entry is None:
                marked[:] = [next((entry for entry in self.removing if entry.path == path), None)]
                return []
            if path in PROTECTED:
                raise BadRequest(f"cannot unmount {entry.shown_path!r}")
            leaving = msgspec.structs.replace(entry, state="removing")
            marked[:] = [leaving]
            unfinished = [Write(layout.UNFINISHED + self._ns, b"1")] if self._ns != ROOT_NAMESPACE else []
            return [self.write(leaving), *unfinished]

        await self._change(mark)
        return marked[0]

    async def finish_removal(self, entry: MountEntry, *, storage: Any = None) -> None:
        """Delete what the engine kept, in commits of bounded size, then the entry. Safe to repeat.

        ``storage``: where the data is deleted through, None = the table's own.
        """
        await self.before_end(entry.accessor)
        through = storage or self._storage
        await delete_prefix(through, layout.data_prefix(self._ns, entry.uuid))
        await delete_prefix(through, layout.client_trust(self._ns, entry.uuid))
        await self._change(lambda: [Write(layout.mount(self._ns, entry.uuid), None)])

    async def _change(self, make: Callable[[], list[Write]], path: str = "") -> None:
        """Commit what ``make`` makes of the table as it is now, and move the epoch; again if others come between.

        ``path`` is one that the change takes: it may not begin with the name of a namespace.
        """
        writes: list[Write] = []

        async def before() -> None:
            await self.load()
            first = path.partition("/")[0]
            if first and await self._storage.get_sealed(layout.child(self._ns, first)) is not None:
                raise BadRequest(f"path is already in use at {first}/")
            writes[:] = make()

        await commit_with_epoch(self._storage, self._ns, writes, before=before)
        await self.load()

    def _check_path(self, path: str) -> None:
        shown = path.removeprefix("auth/")
        if not shown or shown == "/":
            raise BadRequest("mount path is empty")
        if path == "auth/token/":
            raise BadRequest("token credential backend cannot be instantiated")
        if not path.startswith("auth/") and path.startswith(_RESERVED):
            raise BadRequest(f'cannot mount "{path}"')
        if any(not part or part in (".", "..") for part in shown.rstrip("/").split("/")):
            raise BadRequest("mount path has an empty or dot segment")
        if any(ord(c) < 0x21 or c in '*+,{}"\\' or ord(c) == 0x7F for c in shown):
            raise BadRequest("mount path has a character that policies and clients cannot carry")

    def _free(self, path: str) -> None:
        for taken in (*self.entries, *(e.path for e in self.removing)):
            if path.startswith(taken) or taken.startswith(path):
                shown = taken.removeprefix("auth/")
                raise BadRequest(f"path is already in use at {shown}")


def _close(engine: Engine) -> None:
    close = getattr(engine, "close", None)
    if close is not None:
        close()


class _Missing:
    """Stands where a plug-in was mounted that this installation does not have. Answers nothing, keeps the data."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def routes(self) -> tuple[()]:
        return ()

    async def revoke(self, lease_private: Mapping[str, Any]) -> None:
        raise BadRequest(f"the plug-in {self.kind!r} is not installed")


def default_mounts(table: MountTable) -> list[MountEntry]:
    """What a new namespace has (wire facts B.5). The headers are listed as Vault lists them; no engine is given any."""
    return [
        table.new_entry(
            "sys/",
            "system",
            description="system endpoints used for control, policy and debugging",
            seal_wrap=True,
            config=MountConfig(passthrough_request_headers=("Accept",)),
        ),
        table.new_entry(
            "identity/",
            "identity",
            description="identity store",
            config=MountConfig(passthrough_request_headers=("Authorization",)),
        ),
        table.new_entry("cubbyhole/", "cubbyhole", description="per-token private secret storage", local=True),
        table.new_entry("auth/token/", "token", description="token based credentials"),
    ]


__all__ = ["Factory", "Kinds", "MountConfig", "MountEntry", "MountLimits", "MountTable", "default_mounts"]
