"""Notices workers whose event loop no longer turns: stopped, or caught in something that never ends.

Each worker raises a counter in the shared board once a second. Time in which the watcher itself did not run (the
machine slept, all processes were stopped) counts for nobody.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

EVERY = 1.0  # seconds between two looks, and between two beats
_LATE = 2.0  # seconds a look may be late before the watcher takes itself for what stood still
_GRACE = 5.0  # seconds for the others after one was ended: they may have waited for a lock that it held
LEAST = 3  # seconds: a shorter limit would end workers that are only busy

Key = TypeVar("Key", bound=Hashable)


class Watch(Generic[Key]):
    """See the module. A key stands for one process.

    Args:
        clock: seconds that pass while the machine runs.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._seen: dict[Key, tuple[int, float]] = {}  # the last count, and when it was new

    def look(self, beats: Mapping[Key, int], limit: float) -> tuple[Key, float] | None:
        """The process that has been silent longest, and for how many seconds, if that is ``limit`` or more (0: never).

        ``beats`` are the counts as they are now, of all processes to be watched.
        """
        now = self._clock()
        if now - self._last > EVERY + _LATE:
            self._seen.clear()
        self._last = now
        before = self._seen
        self._seen = {
            key: old if (old := before.get(key)) is not None and old[0] == beat else (beat, now)
            for key, beat in beats.items()
        }
        if not limit or not self._seen:
            return None
        key = min(self._seen, key=self.heard)
        silence = now - self.heard(key)
        return (key, silence) if silence >= limit else None

    def heard(self, key: Key) -> float:
        """When its count was last seen to move; long ago if it is not watched."""
        return self._seen[key][1] if key in self._seen else float("-inf")

    def silence(self, key: Key) -> float:
        """Seconds since its count was seen to move; 0 if it is not watched (yet)."""
        return self._clock() - self._seen[key][1] if key in self._seen else 0.0

    def spare_others(self, ended: Key, limit: float) -> None:
        """``ended`` is being ended: the others have a moment to go on, if it was what kept them."""
        self._seen.pop(ended, None)
        least = self._clock() - limit + min(_GRACE, limit)
        self._seen = {key: (beat, max(since, least)) for key, (beat, since) in self._seen.items()}

    async def run(
        self,
        beats: Callable[[], Mapping[Key, int]],
        limit: Callable[[], float],
        stuck: Callable[[Key, float], bool],
    ) -> None:
        """Look until cancelled. ``stuck(process, seconds of silence)`` ends it and says whether it did."""
        while True:
            await asyncio.sleep(EVERY)
            found = self.look(beats(), limit())
            if found is not None and stuck(*found):
                self.spare_others(found[0], limit())


def waits_for_disk(pid: int, proc: str = "/proc") -> bool:
    """Whether a thread of ``pid`` is in uninterruptible sleep (proc(5): state D), as in a slow fsync."""
    folder = f"{proc}/{pid}/task"
    with contextlib.suppress(OSError):
        for thread in os.listdir(folder):
            with contextlib.suppress(OSError), open(f"{folder}/{thread}/stat", "rb") as stat:
                if stat.read().rpartition(b") ")[2][:1] == b"D":
                    return True
    return False
