"""Where roles and SecretIDs lie, and every change of them. Each change is one commit.

    salt                                  32 random bytes: the key of every keyed hash of this mount
    role/<name>                           Role
    role-id/<hash of the RoleID>          RolePointer
    secret/<name>/<uid>/<hash>            SecretId; the hash is of uid and SecretID
    accessor/<accessor>                   AccessorPointer
    listed/<name>/<uid>/<accessor>        empty: what a LIST of the role's accessors reads

A SecretID hangs on the ``uid`` of its role. Deleting the role kills all its SecretIDs in the one commit that removes
the role; what is left of them is swept afterwards, or by tidying.
"""

import hmac
import os

import msgspec

from strongroom.auth.approle.entries import AccessorPointer, Role, RolePointer, SecretId, keyed
from strongroom.errors import BadRequest, Conflict
from strongroom.sdk.engine import Mount
from strongroom.sdk.listing import Page, answer_names
from strongroom.sdk.request import Response
from strongroom.sdk.storage import Entry, Write

_PAGE = 1000  # names or entries read at a time
_SWEEP = 20  # SecretIDs, of three keys each, removed in one commit


class Roles:
    """The roles of one mount."""

    __slots__ = ("_mount", "_salt", "_storage")

    def __init__(self, mount: Mount) -> None:
        self._mount, self._storage = mount, mount.storage
        self._salt = b""

    async def salt(self) -> bytes:
        """The mount's salt; made at the first use if the mount has none."""
        while not self._salt:
            entry = await self._storage.get("salt")
            if entry is None:
                try:
                    await self._storage.commit([Write("salt", os.urandom(32))], expect={"salt": 0})
                except Conflict:
                    pass  # another process made one
                continue
            self._salt = entry.value
        return self._salt

    async def find(self, name: str) -> tuple[Role, int] | None:
        """The role ``name`` and the revision of its entry."""
        entry = await self._storage.get(f"role/{name}")
        return None if entry is None else (msgspec.json.decode(entry.value, type=Role), entry.revision)

    async def by_role_id(self, role_id: str) -> tuple[str, Role, int] | None:
        """Name, role and revision of the role with this RoleID."""
        pointer = await self._pointer(role_id)
        if pointer is None:
            return None
        found = await self.find(pointer[0].role)
        if found is None or found[0].uid != pointer[0].uid:
            return None
        same = hmac.compare_digest(found[0].role_id.encode(), role_id.encode())
        return (pointer[0].role, *found) if same else None

    async def name_of(self, role_id: str) -> str:
        """The name of the role with this RoleID, "" if there is none. One look into the index, nothing else."""
        pointer = await self._pointer(role_id)
        return "" if pointer is None else pointer[0].role

    async def put(self, name: str, role: Role, revision: int, before: Role | None) -> None:
        """Store ``role`` and, if its RoleID is new, move the index with it.

        Raises:
            BadRequest: another role has this RoleID.
            Conflict: the role or the index changed meanwhile.
        """
        writes = [Write(f"role/{name}", msgspec.json.encode(role))]
        expect = {f"role/{name}": revision}
        if before is None or before.role_id != role.role_id:
            key = await self._index(role.role_id)
            entry = await self._storage.get(key)
            if entry is not None:
                await self._refuse_taken(entry)
            writes.append(Write(key, msgspec.json.encode(RolePointer(name, role.uid))))
            expect[key] = entry.revision if entry is not None else 0
            if before is not None:
                writes.append(Write(await self._index(before.role_id), None))
        await self._storage.commit(writes, expect=expect)

    async def delete(self, name: str) -> None:
        """Remove the role, its index, and all its SecretIDs."""
        while (found := await self.find(name)) is not None:
            role, revision = found
            gone = [Write(f"role/{name}", None), Write(await self._index(role.role_id), None)]
            try:
                await self._storage.commit(gone, expect={f"role/{name}": revision})
            except Conflict:
                continue
            await SecretIds(self._mount, self).sweep(name, role.uid)
            return

    async def _pointer(self, role_id: str) -> tuple[RolePointer, int] | None:
        entry = await self._storage.get(await self._index(role_id))
        return None if entry is None else (msgspec.json.decode(entry.value, type=RolePointer), entry.revision)

    async def _refuse_taken(self, entry: Entry) -> None:
        """Raise BadRequest unless the role that the index names is gone."""
        pointer = msgspec.json.decode(entry.value, type=RolePointer)
        found = await self.find(pointer.role)
        if found is not None and found[0].uid == pointer.uid:
            raise BadRequest("role_id is in use by another role")

    async def _index(self, role_id: str) -> str:
        return f"role-id/{keyed(await self.salt(), 'role-id', role_id)}"


class SecretIds:
    """The SecretIDs of one mount."""

    __slots__ = ("_mount", "_roles", "_storage")

    def __init__(self, mount: Mount, roles: Roles) -> None:
        self._mount, self._storage, self._roles = mount, mount.storage, roles

    async def digest(self, uid: str, secret_id: str) -> str:
        """The keyed hash under which a SecretID of the role ``uid`` is kept."""
        return keyed(await self._roles.salt(), "secret-id", uid, secret_id)

    async def find(self, name: str, uid: str, digest: str) -> tuple[SecretId, int] | None:
        """The SecretID, if it is there and has not expired, and the revision of its entry."""
        entry = await self._storage.get(f"secret/{name}/{uid}/{digest}")
        if entry is None:
            return None
        secret = msgspec.json.decode(entry.value, type=SecretId)
        return (secret, entry.revision) if secret.alive(self._mount.now()) else None

    async def pointer(self, accessor: str) -> AccessorPointer | None:
        """Where the SecretID of ``accessor`` lies."""
        entry = await self._storage.get(f"accessor/{accessor}") if _is_segment(accessor) else None
        return None if entry is None else msgspec.json.decode(entry.value, type=AccessorPointer)

    async def create(self, name: str, role: Role, revision: int, secret_id: str, secret: SecretId) -> None:
        """Store a new SecretID under the role as it was at ``revision``.

        Raises:
            BadRequest: the role has this SecretID already.
            Conflict: the role changed meanwhile.
        """
        digest = await self.digest(role.uid, secret_id)
        key = f"secret/{name}/{role.uid}/{digest}"
        writes: list[Write] = []
        old = await self._storage.get(key)
        if old is not None:
            expired = msgspec.json.decode(old.value, type=SecretId)
            if expired.alive(self._mount.now()):
                raise BadRequest("SecretID is already registered")
            writes += _removal(name, role.uid, digest, expired.accessor)
        pointer = AccessorPointer(name, role.uid, digest)
        writes += [
            Write(key, msgspec.json.encode(secret)),
            Write(f"accessor/{secret.accessor}", msgspec.json.encode(pointer)),
            Write(f"listed/{name}/{role.uid}/{secret.accessor}", b""),
        ]
        await self._storage.commit(writes, expect={f"role/{name}": revision, key: old.revision if old else 0})

    async def spend(self, name: str, uid: str, digest: str, found: tuple[SecretId, int], role_revision: int) -> None:
        """Take one use away; the last use removes the SecretID. An unlimited SecretID is left as it is.

        Raises:
            Conflict: another login came first, or the role changed: read again and decide again.
        """
        secret, revision = found
        if secret.num_uses == 0:
            return
        key = f"secret/{name}/{uid}/{digest}"
        if secret.num_uses == 1:
            writes = _removal(name, uid, digest, secret.accessor)
        else:
            left = msgspec.structs.replace(secret, num_uses=secret.num_uses - 1, updated=self._mount.now())
            writes = [Write(key, msgspec.json.encode(left))]
        await self._storage.commit(writes, expect={key: revision, f"role/{name}": role_revision})

    async def destroy(self, name: str, uid: str, digest: str) -> None:
        """Remove a SecretID, expired or not; it need not be there."""
        key = f"secret/{name}/{uid}/{digest}"
        while (entry := await self._storage.get(key)) is not None:
            accessor = msgspec.json.decode(entry.value, type=SecretId).accessor
            try:
                await self._storage.commit(_removal(name, uid, digest, accessor), expect={key: entry.revision})
            except Conflict:
                continue
            return

    async def accessors(self, name: str, uid: str, page: Page) -> Response:
        """The answer of a LIST of the accessors of a role's SecretIDs. Raises NotFound when there is none."""
        return await answer_names(self._storage, f"listed/{name}/{uid}/", page)

    async def sweep(self, name: str, uid: str, *, only_expired: bool = False) -> int:
        """Remove the SecretIDs of the role ``uid``, all or the expired ones; how many. May be repeated."""
        prefix, after, swept, now = f"secret/{name}/{uid}/", "", 0, self._mount.now()
        while page := await self._storage.scan(prefix, after=after, limit=_SWEEP):
            after = page[-1][0]
            writes: list[Write] = []
            expect: dict[str, int] = {}
            for digest, entry in page:
                secret = msgspec.json.decode(entry.value, type=SecretId)
                if not only_expired or not secret.alive(now):
                    writes += _removal(name, uid, digest, secret.accessor)
                    expect[prefix + digest] = entry.revision
            if not writes:
                continue
            try:
                await self._storage.commit(writes, expect=expect)
            except Conflict:
                continue  # one of them was used or destroyed just now; the next tidying takes the rest
            swept += len(expect)
        return swept

    async def tidy(self) -> int:
        """Remove expired SecretIDs and those whose role is gone; how many."""
        swept, name_after = 0, ""
        while folders := await self._storage.list("secret/", after=name_after, limit=_PAGE):
            name_after = folders[-1]
            for folder in folders:
                name = folder.removesuffix("/")
                found = await self._roles.find(name)
                for uid_folder in await self._storage.list(f"secret/{folder}", limit=_PAGE):
                    uid = uid_folder.removesuffix("/")
                    living = found is not None and found[0].uid == uid
                    swept += await self.sweep(name, uid, only_expired=living)
        return swept


def _removal(name: str, uid: str, digest: str, accessor: str) -> list[Write]:
    return [
        Write(f"secret/{name}/{uid}/{digest}", None),
        Write(f"accessor/{accessor}", None),
        Write(f"listed/{name}/{uid}/{accessor}", None),
    ]


def _is_segment(text: str) -> bool:
    """Whether ``text`` can be one segment of a key (it came from a body, where no path rule looked at it)."""
    return 0 < len(text) <= 256 and text.isprintable() and "/" not in text
