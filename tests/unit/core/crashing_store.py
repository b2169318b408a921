"""A memory store that fails, or dies, at a chosen commit, and can be copied as it stands."""

from collections.abc import Mapping, Sequence

from strongroom.errors import StorageFailed
from strongroom.sdk.storage import Write
from strongroom.storage.memory import MemoryStore


class Died(BaseException):
    """The process ended here, for all the code under test may know."""


class CrashingStore(MemoryStore):
    """Counts commits. At commit ``at`` (from 1): "lose" it, or "keep" it, and die; or "refuse" it with an error."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = 0
        self.at = 0
        self.how = ""

    def arm(self, at: int, how: str) -> None:
        self.commits, self.at, self.how = 0, at, how

    async def commit(self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}) -> None:
        self.commits += 1
        hit = self.commits == self.at
        if hit and self.how == "refuse":
            raise StorageFailed("the disk said no")
        if not hit or self.how == "keep":
            await super().commit(writes, expect=expect)
        if hit:
            raise Died


async def copy_of(store: MemoryStore) -> MemoryStore:
    """What a restart finds: the entries, in a store of their own."""
    other = MemoryStore()
    for key, entry in await store.scan(""):
        await other.commit([Write(key, entry.value)])
    return other
