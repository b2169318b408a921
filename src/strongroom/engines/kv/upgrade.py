"""From version 1 to version 2: every secret becomes version 1 of itself, in batches, and goes on after a crash.

Layout of version 1: ``v1/<path>`` holds the JSON text of the secret. The marker ``upgrade`` holds the progress;
while it exists no version 1 engine writes (each of its commits expects the marker's absence), so a process that has not
heard of the upgrade yet cannot leave a secret behind.
"""

from collections.abc import Callable

import msgspec

from strongroom.engines.kv.ledger import Ledger
from strongroom.engines.kv.secret import Config, Edit, Secret, add_version, new_secret
from strongroom.errors import BadRequest, Conflict
from strongroom.sdk.storage import Entry, Storage, Write

V1 = "v1/"
MARKER = "upgrade"
BATCH = 64  # secrets a request moves, when an upgrade was cut short and requests have to finish it
UPGRADING = (
    "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period "
    "and will resume service shortly."
)


class Marker(msgspec.Struct, array_like=True):
    done: bool


class Upgrade:
    """The upgrade of one mount. ``done`` is what the hot path looks at."""

    __slots__ = ("_busy", "_ledger", "_now", "_storage", "done")

    def __init__(self, storage: Storage, ledger: Ledger, now: Callable[[], int]) -> None:
        self._storage, self._ledger, self._now = storage, ledger, now
        self._busy = False
        self.done = False

    async def require(self) -> None:
        """Return if the data is versioned; else move one batch, and refuse unless that was the last.

        Raises:
            BadRequest: the upgrade is not finished.
        """
        if self._busy:
            raise BadRequest(UPGRADING)
        entry = await self._storage.get(MARKER)
        if entry is not None and _decode(entry).done:
            self.done = True
        elif entry is None and not await self._storage.list(V1, limit=1):
            self.done = True  # a mount that never had version 1 data
        elif not await self._move(BATCH):
            raise BadRequest(UPGRADING)

    async def run(self) -> None:
        """Move everything. Safe to run twice, and in several processes at once."""
        while not await self._move(BATCH):
            pass

    async def _move(self, count: int) -> bool:
        """Move up to ``count`` secrets; True when none is left."""
        self._busy = True
        try:
            await self._mark(done=False)
            page = await self._storage.scan(V1, limit=count)
            for path, entry in page:
                await self._move_one(path, entry)
            if len(page) < count:
                await self._mark(done=True)
                self.done = True
        finally:
            self._busy = False
        return self.done

    async def _move_one(self, path: str, entry: Entry) -> None:
        def version_one(config: Config, secret: Secret | None) -> Edit:
            now = self._now()
            if secret is not None and secret.current == 1 and secret.data == msgspec.Raw(entry.value):
                return Edit(secret)  # moved before a crash that kept the old key
            return add_version(secret or new_secret(now), entry.value, now=now, config=config)

        key = V1 + path
        try:
            await self._ledger.change(path, version_one, also=Write(key, None), expect=entry.revision)
        except Conflict:
            if await self._storage.get(key) is not None:  # else another process moved it
                raise

    async def _mark(self, *, done: bool) -> None:
        entry = await self._storage.get(MARKER)
        if entry is not None and (_decode(entry).done or not done):
            return
        try:
            await self._storage.commit(
                [Write(MARKER, msgspec.json.encode(Marker(done)))], expect={MARKER: entry.revision if entry else 0}
            )
        except Conflict:
            return  # another process marked it


def _decode(entry: Entry) -> Marker:
    return msgspec.json.decode(entry.value, type=Marker)
