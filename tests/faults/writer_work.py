"""A program that commits through the host's writer and tells each outcome; ``check`` compares the store with that.

    python writer_work.py PATH SOCKET WHICH COMMITS

Several run beside each other. Prints ``ok N`` or ``failed N`` after commit N; ``counted`` or ``uncertain`` after each
try to count up at a key that all of them count at.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Sequence

from strongroom.errors import Conflict, StorageFailed
from strongroom.sdk.storage import Write
from strongroom.storage.completion import drive
from strongroom.storage.lmdb import LmdbStore, open_store

TOGETHER = 3  # commits at once
LONG = "k" * 700


def tell(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def commit_of(which: int, number: int) -> list[Write]:
    """Keys that belong together; now and then values that take several pages."""
    value = b"%d:%d:" % (which, number) + bytes(9000 if number % 4 == 3 else 50)
    return [Write(f"{which}/{number}", value), Write(f"{which}/{LONG}/{number}", value)]


def opened(path: str) -> LmdbStore:
    store = open_store({"path": path, "map_size": 1 << 16})
    assert isinstance(store, LmdbStore)
    return store


async def put(store: LmdbStore, which: int, number: int) -> None:
    try:
        await store.commit(commit_of(which, number))
        tell("ok", number)
    except StorageFailed:
        tell("failed", number)


async def count(store: LmdbStore) -> None:
    while True:
        entry = await store.get("count")
        now, revision = (int(entry.value), entry.revision) if entry else (0, 0)
        try:
            await store.commit([Write("count", b"%d" % (now + 1))], expect={"count": revision})
            tell("counted")
        except Conflict:
            continue
        except StorageFailed:
            tell("uncertain")
        return


async def work(path: str, link: int, which: int, commits: int) -> None:
    store = opened(path)
    store.write_through(socket.socket(fileno=link))
    for first in range(0, commits, TOGETHER):
        numbers = range(first, min(first + TOGETHER, commits))
        await asyncio.gather(count(store), *(put(store, which, number) for number in numbers))
    await store.close()


def check(path: str, told: Sequence[str], commits: int, *, unsure: bool) -> None:
    """``told`` is what each program printed. ``unsure``: what was said to have failed may be there, whole."""
    store = opened(path)
    try:
        rows = {key: entry.value for key, entry in drive(store.scan("", limit=10**6))}
        for which, text in enumerate(told):
            words = [line.split() for line in text.splitlines()]
            done = {int(rest[0]) for word, *rest in words if word == "ok"}
            failed = {int(rest[0]) for word, *rest in words if word == "failed"}
            assert done | failed == set(range(commits)) and not done & failed, f"{which} told {text}"
            for number in range(commits):
                wanted = {write.key: write.value for write in commit_of(which, number)}
                there = {key: rows[key] for key in wanted if key in rows}
                assert there in ({}, wanted), f"half of {which}/{number}"
                assert there or number in failed, f"lost {which}/{number}"
                assert unsure or not there or number in done, f"shows {which}/{number}, which failed"
        counted = sum(text.count("counted") for text in told)
        uncertain = sum(text.count("uncertain") for text in told)
        value = int(rows.get("count", b"0"))
        assert counted <= value <= counted + (uncertain if unsure else 0), f"counted {counted}, there is {value}"
        drive(store.commit([Write("after", b"1")]))
    finally:
        drive(store.close())


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
