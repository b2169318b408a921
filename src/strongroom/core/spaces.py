"""The namespaces of an unsealed vault: found by path, opened when somebody asks for them, closed when they are many.

An entry is checked by its revision at every request, like a token, so a namespace that is made or being removed is
so in every process with the next request. While the store's ``stamp`` stands, nothing is asked.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from strongroom.core import layout
from strongroom.core.mounts import MountTable, default_mounts
from strongroom.core.names import namespace_id, new_uuid
from strongroom.core.namespace import Namespace, Parts, Place, open_namespace
from strongroom.core.policies import default_policies
from strongroom.core.space_entry import MAX_DEPTH, SpaceEntry
from strongroom.core.tokens import new_token_keys
from strongroom.errors import BadRequest, Conflict, NotFound
from strongroom.sdk.paths import canonical_text
from strongroom.sdk.request import ROOT_NAMESPACE, Request
from strongroom.sdk.storage import Write

MAX_OPEN = 1024  # namespaces that stay open in a process
_KNOWN = 8192
_TRIES = 64
_pack = msgspec.msgpack.Encoder().encode
_entry = msgspec.msgpack.Decoder(SpaceEntry).decode
_place = msgspec.msgpack.Decoder(Place).decode


class _Known(msgspec.Struct):
    entry: SpaceEntry
    revision: int
    stamp: int | None


class Spaces:
    """See the module.

    Args:
        storage: the barrier.
        parts: what namespaces are built with.
        root: the root namespace, open; it stays so.
    """

    def __init__(self, storage: Any, parts: Parts, root: Namespace) -> None:
        self._storage, self._parts, self._root = storage, parts, root
        self.opened: dict[str, Namespace] = {root.id: root}  # least lately used first, but for the root
        self.held: dict[str, int] = {}  # id -> requests and jobs that are in it or below it
        self._known: dict[tuple[str, str], _Known] = {}
        root.reach = self.open

    # -- find ----------------------------------------------------------------------------------------------------

    async def enter(self, request: Request, stamp: int | None) -> Request:
        """``request`` with the namespace that its header and the beginning of its path name, and the path in it.

        Every namespace on the way is open and fresh, and stays open until ``leave``.

        Raises:
            NotFound: the header names none, or one that is being removed.
            BadRequest: the header is no canonical path.
        """
        asked = request.namespace_path
        names = canonical_text(asked).removesuffix("/").split("/") if asked else []
        space, path, way = self._root, request.path, [ROOT_NAMESPACE]
        self._hold(ROOT_NAMESPACE)
        try:
            while True:
                if by_header := bool(names):
                    name, rest = names.pop(0), path
                elif space.has_children and not space.serves(path):
                    name, _, rest = path.partition("/")
                else:
                    break
                entry = await self._child(space.id, name, stamp) if rest else None
                if entry is None and not by_header:
                    break
                if entry is None or entry.tainted:
                    raise NotFound("namespace not found")
                self._hold(entry.id)
                way.append(entry.id)
                found = await self.open(entry.id, stamp)
                if found is None:
                    raise NotFound("namespace not found")
                space, path = found, rest
        except BaseException:
            self._release(way)
            raise
        return msgspec.structs.replace(request, namespace=space.id, namespace_path=space.path, path=path)

    def leave(self, request: Request) -> None:
        """A request that ``enter`` gave is over."""
        space = self.opened[request.namespace]
        self._release([*space.ancestors, space.id])

    def _hold(self, namespace: str) -> None:
        self.held[namespace] = self.held.get(namespace, 0) + 1

    def _release(self, namespaces: Sequence[str]) -> None:
        for namespace in namespaces:
            left = self.held.get(namespace, 0) - 1
            if left > 0:
                self.held[namespace] = left
            else:
                self.held.pop(namespace, None)

    def seen(self, path: str) -> tuple[Namespace, str]:
        """The namespace that ``path`` lies in and the rest of it, as far as the last request there found it."""
        space = self._root
        while space.has_children and not space.serves(path):
            name, _, rest = path.partition("/")
            known = self._known.get((space.id, name))
            found = self.opened.get(known.entry.id) if known is not None else None
            if found is None or not rest:
                break
            space, path = found, rest
        return space, path

    async def _child(self, parent: str, name: str, stamp: int | None) -> SpaceEntry | None:
        known = self._known.get((parent, name))
        if known is not None and stamp is not None and known.stamp == stamp:
            return known.entry
        key = layout.child(parent, name)
        stored = await self._storage.get_sealed(key)
        if stored is None:
            self._known.pop((parent, name), None)
            return None
        if known is None or known.revision != stored.revision:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            known = self._known[parent, name] = _Known(_entry(self._storage.open(key, stored)), stored.revision, stamp)
        known.stamp = stamp
        return known.entry

    async def open(self, namespace: str, stamp: int | None = None) -> Namespace | None:
        """The namespace with that id, open and fresh, tainted or not; None if there is none."""
        if namespace == ROOT_NAMESPACE:
            return self._root
        space = self.opened.pop(namespace, None)
        if space is not None:
            self.opened[namespace] = space
            if stamp is None or space.stamp != stamp:
                await space.refresh()
                space.stamp = stamp
            return space
        place = await self._storage.get(layout.place(namespace))
        if place is None:
            return None
        try:
            space = await open_namespace(namespace, self._storage, self._parts, _place(place.value), place.revision)
        except NotFound:  # a removal that has got as far as its keys
            return None
        space.stamp = stamp
        space.reach = self.open
        space = self.opened.setdefault(namespace, space)
        if len(self.opened) > MAX_OPEN:
            self._close_some()
        return space

    def _close_some(self) -> None:
        """Close those that nobody asked for lately, a good many at once."""
        spare = [name for name in self.opened if name != ROOT_NAMESPACE and name not in self.held]
        for name in spare[: MAX_OPEN // 8]:
            del self.opened[name]

    def forget(self, namespace: str) -> None:
        """A namespace is gone: nothing in it is needed any more, unless a request is still there."""
        self._parts.limited(namespace, False, False)
        if namespace not in self.held:
            self.opened.pop(namespace, None)

    # -- the entries ---------------------------------------------------------------------------------------------

    async def get(self, parent: str, name: str) -> tuple[SpaceEntry, int] | None:
        """The entry of a namespace directly below ``parent``, and its revision."""
        stored = await self._storage.get(layout.child(parent, name))
        return None if stored is None else (_entry(stored.value), stored.revision)

    async def children(self, parent: str, *, after: str = "", limit: int = 0) -> list[SpaceEntry]:
        """The namespaces directly below ``parent`` by name; all of them without a ``limit``."""
        found: list[SpaceEntry] = []
        while rows := await self._storage.scan(
            layout.child_prefix(parent), after=after, limit=min(limit - len(found), 500) if limit else 500
        ):
            found += [_entry(stored.value) for _, stored in rows]
            after = rows[-1][0]
            if limit and len(found) >= limit:
                break
        return found

    async def create(self, parent: Namespace, name: str, metadata: dict[str, str]) -> SpaceEntry:
        """A new namespace below ``parent``, with its mounts, its ``default`` policy and its secrets: one commit.

        Raises:
            BadRequest: a mount has that name, or the namespaces are nested too deeply.
            NotFound: the parent is being removed.
            Conflict: it was made meanwhile, or others kept changing the parent.
        """
        if len(parent.ancestors) >= MAX_DEPTH:
            raise BadRequest("namespaces are nested too deeply")
        for _ in range(_TRIES):
            ns = namespace_id()
            entry = SpaceEntry(
                id=ns,
                uuid=new_uuid(),
                name=name,
                path=f"{parent.path}{name}/",
                custom_metadata=metadata,
                created=self._parts.now(),
            )
            epoch = await self._revision(layout.epoch(parent.id))
            await self._check_parent(parent, name)
            expect = {
                layout.epoch(parent.id): epoch,
                layout.child(parent.id, name): 0,
                layout.place(ns): 0,
            }
            try:
                await self._storage.commit(self._first(parent, entry), expect=expect)
            except Conflict:
                if await self.get(parent.id, name) is not None:
                    raise
                continue
            await parent.refresh()
            return entry
        raise Conflict("the parent namespace changes too quickly")

    async def _check_parent(self, parent: Namespace, name: str) -> None:
        if parent.ancestors:
            own = await self.get(parent.ancestors[-1], parent.path.rstrip("/").rpartition("/")[2])
            if own is None or own[0].tainted:
                raise NotFound("namespace not found")
        await parent.mounts.load()
        for mount in (*parent.mounts.entries, *(entry.path for entry in parent.mounts.removing)):
            if mount.startswith(f"{name}/"):
                raise BadRequest(f"path is already in use at {mount}")

    def _first(self, parent: Namespace, entry: SpaceEntry) -> list[Write]:
        """What a new namespace starts with."""
        ns, parts = entry.id, self._parts
        tokens = new_token_keys(layout.token_prefix(ns))[1]
        table = MountTable(
            self._storage, ns, parts.kinds, parts.limits, parts.mac_key, now=parts.now, offload=parts.offload
        )
        place = Place(path=entry.path, ancestors=(*parent.ancestors, parent.id))
        return [
            Write(layout.child(parent.id, entry.name), _pack(entry)),
            Write(layout.place(ns), _pack(place)),
            Write(layout.epoch(parent.id), b"1"),
            Write(layout.epoch(ns), b"1"),
            tokens,
            *(table.write(mount) for mount in default_mounts(table)),
            *default_policies(ns, parts.now(), parts.language.default_policy),
        ]

    async def update(self, parent: str, name: str, change: Callable[[SpaceEntry], SpaceEntry]) -> SpaceEntry:
        """Store what ``change`` makes of an entry.

        Raises:
            NotFound: there is no such namespace.
            Conflict: others kept changing it.
        """
        key = layout.child(parent, name)
        for _ in range(_TRIES):
            found = await self.get(parent, name)
            if found is None:
                raise NotFound
            new = change(found[0])
            try:
                await self._storage.commit([Write(key, _pack(new))], expect={key: found[1]})
            except Conflict:
                continue
            return new
        raise Conflict("the namespace changes too quickly")

    async def taint(self, parent: str, name: str) -> SpaceEntry | None:
        """Begin to remove a namespace: from this commit on nothing in it answers, in any process. None: there is none.

        Raises:
            BadRequest: it has namespaces below it.
            Conflict: others kept changing it.
        """
        for _ in range(_TRIES):
            upper = await self._revision(layout.epoch(parent))
            found = await self.get(parent, name)
            if found is None or found[0].tainted:
                return found[0] if found is not None else None
            entry = msgspec.structs.replace(found[0], tainted=True)
            lower = await self._revision(layout.epoch(entry.id))  # moves when something is made below it
            if await self._storage.list(layout.child_prefix(entry.id), limit=1):
                raise BadRequest(f"cannot delete namespace {entry.path!r}: it has child namespaces")
            key, where = layout.child(parent, name), layout.place(entry.id)
            place = await self._storage.get(where)
            if place is None:
                continue  # it is gone already
            writes = [
                Write(key, _pack(entry)),
                Write(where, place.value),  # moves what every grant in it expects: see MountTable.standing
                Write(layout.UNFINISHED + entry.id, b"1"),
                Write(layout.epoch(parent), b"1"),
                Write(layout.epoch(entry.id), b"1"),
            ]
            expect = {layout.epoch(parent): upper, key: found[1], layout.epoch(entry.id): lower}
            try:
                await self._storage.commit(writes, expect=expect)
            except Conflict:
                continue
            return entry
        raise Conflict("the namespace changes too quickly")

    async def _revision(self, key: str) -> int:
        stored = await self._storage.get_sealed(key)
        return stored.revision if stored is not None else 0
