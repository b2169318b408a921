"""Where versioned secrets are kept: reads in one get, changes as compare-and-commit, removals that survive a crash.

    config                   Config
    meta/<path>              Secret: metadata, the newest version's data, and that of older versions while it is small
    version/<id>/<number>    data of another older version, as JSON text; never changes while the version lives
    sweep/<random>           Sweep: version keys that may still have to go

A version key carries the secret's id and not its path, so what a crash leaves behind can never be taken for data of a
secret that was later written at the same path.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence

import msgspec

from strongroom.engines.kv.secret import Config, Edit, Secret, decode_config, decode_secret
from strongroom.errors import BadRequest, Conflict, VaultError
from strongroom.sdk.storage import MAX_COMMIT_BYTES, MAX_COMMIT_WRITES, MAX_VALUE, Entry, Storage, Write

META = "meta/"
CONFIG = "config"
TRIES = 64  # of a change that others keep overtaking; each lost try is someone else's success
MAX_WRITES = MAX_COMMIT_WRITES - 4
MAX_BYTES = MAX_COMMIT_BYTES - 64 * 1024  # the barrier's wrapping and the prefixes of the keys are added below us
MAX_SECRET = MAX_VALUE // 2  # bytes of one entry: the 1 MiB that the barrier takes
ROOM = 1024  # bytes that new data leaves free besides a second size of the version list: enough to note deletions

Change = Callable[[Config, Secret | None], Edit | None]
Found = tuple[Entry | None]  # what was read at a secret's path


class Sweep(msgspec.Struct, array_like=True):
    """Version keys to remove, unless the secret still has these versions."""

    path: str
    id: str
    numbers: tuple[int, ...]


class Ledger:
    """The secrets of one mount."""

    __slots__ = ("_settings", "_storage", "_swept")

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._settings: tuple[Config, int] | None = None  # as they were read last, and their revision
        self._swept = False

    async def find(self, path: str) -> Found:
        """What there is at ``path``, for ``change``."""
        return (await self._storage.get(META + path),)

    async def get(self, path: str) -> Secret | None:
        entry = await self._storage.get(META + path)
        return decode_secret(entry.value) if entry else None

    async def newest(self, path: str) -> tuple[Secret, int] | None:
        """The secret and its revision."""
        entry = await self._storage.get(META + path)
        return (decode_secret(entry.value), entry.revision) if entry else None

    async def get_many(self, paths: Sequence[str]) -> list[Secret | None]:
        entries = await self._storage.get_many([META + path for path in paths])
        return [decode_secret(entry.value) if entry else None for entry in entries]

    async def config(self) -> Config:
        return _config(await self._storage.get(CONFIG))

    async def change_config(self, change: Callable[[Config], None]) -> None:
        for _ in range(TRIES):
            entry = await self._storage.get(CONFIG)
            config = _config(entry)
            change(config)
            try:
                await self._storage.commit(
                    [Write(CONFIG, msgspec.json.encode(config))], expect={CONFIG: entry.revision if entry else 0}
                )
            except Conflict:
                continue
            return
        raise Conflict("too many writers at once")

    async def older_data(self, path: str, number: int, secret: Secret | None) -> tuple[Secret, bytes | None] | None:
        """The secret and the data of one of its versions, which may be an older one.

        ``secret`` is what was read at ``path`` just now. The data is None when the version is not there any more.
        The pair is read again if the version went between the two reads; None if the whole secret did.
        """
        for _ in range(TRIES):
            if secret is None:
                return None
            version = secret.version(number)
            if version is None or version.destroyed:
                return secret, None
            if number == secret.current:
                return secret, bytes(secret.data)
            if (near := secret.near_data().get(number)) is not None:
                return secret, bytes(near)
            entry = await self._storage.get(version_key(secret.id, number))
            if entry is not None:
                return secret, entry.value
            secret = await self.get(path)
        raise Conflict("too many writers at once")

    async def change(
        self, path: str, change: Change, *, found: Found | None = None, also: Write | None = None, expect: int = 0
    ) -> Secret | None:
        """Run ``change`` on what is stored and commit its edit; run it again if another writer was faster.

        The first try takes the mount's settings as they were read last. The commit expects that they still are; what
        else comes of them, an error or nothing to write, only counts when they were read anew.

        Args:
            path: of the secret.
            change: gets the mount's configuration and the secret (None if there is none), returns what to write, or
                None for nothing. It may alter the secret it is given. What it raises ends the change.
            found: what ``find`` gave in the same request.
            also: a key that goes with it; ``expect`` is the revision it must have.

        Returns:
            the secret as written, None if nothing was written or it was removed.

        Raises:
            Conflict: other writers were faster ``TRIES`` times.
        """
        if not self._swept:
            await self.sweep()
        for _ in range(TRIES):
            known = self._settings
            if known is None:
                first, entry = await self._storage.get_many([CONFIG, META + path])
                config, revision = self._settings = _config(first), first.revision if first else 0
            else:
                config, revision = known
                entry = found[0] if found else await self._storage.get(META + path)
            found = None
            secret = decode_secret(entry.value) if entry else None
            kept_id = secret.id if secret else ""
            try:
                edit = change(config, secret)
            except VaultError:
                if known is None:
                    raise
                edit = None
            if edit is None:
                if known is None:
                    return None
                self._settings = None
                continue
            expected = {META + path: entry.revision if entry else 0, CONFIG: revision}
            if also:
                expected[also.key] = expect
            try:
                await self._write(path, kept_id, edit, also, expected)
            except Conflict:
                self._settings = None
                continue
            return edit.secret
        raise Conflict("too many writers at once")

    async def _write(self, path: str, kept_id: str, edit: Edit, also: Write | None, expect: Mapping[str, int]) -> None:
        """One commit if it fits. If not: archive, note what will have to go, write the secret, remove.

        Archiving first does no harm: a version's data is the same wherever it lies, and a destroyed version takes
        the copy with it. The note is checked against the secret when it is followed, so noting first does none either.
        """
        main = [Write(META + path, _encode(edit)), *([also] if also else [])]
        archive = [Write(version_key(kept_id, number), data) for number, data in filter(None, [edit.archive])]
        dead = [Write(version_key(kept_id, number), None) for number in edit.dead]
        if _fits([*main, *archive, *dead]):
            await self._storage.commit([*main, *archive, *dead], expect=expect)
            return
        if archive:
            await self._storage.commit(archive, expect=expect)
        note = Write(f"sweep/{secrets.token_hex(8)}", msgspec.json.encode(Sweep(path, kept_id, edit.dead)))
        if dead:
            await self._storage.commit([note], expect=expect)
        if _fits(main):
            await self._storage.commit(main, expect=expect)
        else:
            await self._storage.commit(main[:1], expect=expect)
            await self._storage.commit(main[1:], expect={key: n for key, n in expect.items() if key == main[1].key})
        if dead:
            await self._remove([*dead, Write(note.key, None)])

    async def _remove(self, deletes: Sequence[Write]) -> None:
        for start in range(0, len(deletes), MAX_WRITES):
            await self._storage.commit(deletes[start : start + MAX_WRITES])

    async def sweep(self) -> None:
        """Finish removals that were cut short. Runs once, before the first change of this process."""
        after = ""
        while page := await self._storage.scan("sweep/", after=after, limit=100):
            for key, entry in page:
                note = msgspec.json.decode(entry.value, type=Sweep)
                secret = await self.get(note.path)
                versions = secret.versions() if secret and secret.id == note.id else {}
                gone = [number for number in note.numbers if number not in versions or versions[number].destroyed]
                await self._remove(
                    [*(Write(version_key(note.id, number), None) for number in gone), Write(f"sweep/{key}", None)]
                )
            after = page[-1][0]
        self._swept = True


def version_key(secret_id: str, number: int) -> str:
    return f"version/{secret_id}/{number}"


def _config(entry: Entry | None) -> Config:
    return decode_config(entry.value) if entry else Config()


def _encode(edit: Edit) -> bytes | None:
    if edit.secret is None:
        return None
    text = msgspec.json.encode(edit.secret)
    if edit.grows and len(text) + len(edit.secret.older) + ROOM > MAX_SECRET:
        raise BadRequest("the secret is too large: with its metadata it has to stay under 1 MiB")
    return text


def _fits(writes: Sequence[Write]) -> bool:
    size = sum(len(write.key) + len(write.value or b"") for write in writes)
    return len(writes) == 1 or (len(writes) <= MAX_WRITES and size <= MAX_BYTES)
