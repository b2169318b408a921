"""A memory store that lets other tasks run before each of its operations, in an order that a seed decides.

Races that embedded stores hide (their reads never wait) happen here, and the same ones with the same seed.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

from strongroom.sdk.storage import Entry, Pairs, Write
from strongroom.storage.memory import MemoryStore


class YieldingStore(MemoryStore):
    def __init__(self, seed: int, *, most: int = 3) -> None:
        super().__init__()
        self._random, self._most = random.Random(seed), most
        self.active = False

    async def _pause(self) -> None:
        if self.active:
            for _ in range(self._random.randrange(self._most + 1)):
                await asyncio.sleep(0)

    def stamp(self) -> int | None:
        return None if self.active else super().stamp()

    async def get(self, key: str) -> Entry | None:
        await self._pause()
        return await super().get(key)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | None]:
        await self._pause()
        return await super().get_many(keys)

    async def list(self, prefix: str, **options: Any) -> list[str]:
        await self._pause()
        return await super().list(prefix, **options)

    async def scan(self, prefix: str, **options: Any) -> Pairs:
        await self._pause()
        return await super().scan(prefix, **options)

    async def commit(self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}) -> None:
        await self._pause()
        await super().commit(writes, expect=expect)
