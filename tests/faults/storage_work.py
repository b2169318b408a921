"""A program for the shim: commits to a store and tells each outcome; ``check`` compares the store with what it told.

    python storage_work.py KIND PATH COMMITS [FIRST [given] [unsafe]]

Prints ``ok N`` or ``failed N`` after commit N (from FIRST to COMMITS - 1), at once. A commit that failed is not tried
again. ``given``: also prints ``given R``, the greatest revision so far. ``unsafe`` opens the store without flushes: the
control for tests of what survives a power cut.
"""

import sys
from collections.abc import Collection

from strongroom.errors import StorageFailed
from strongroom.sdk.storage import Backend, Write
from strongroom.storage.completion import drive

LONG = "k" * 700


def open_store(kind: str, path: str, *, sync: bool = True) -> Backend:
    import importlib

    module = importlib.import_module(f"strongroom.storage.{kind}")
    options = {"path": path, "sync": sync} | ({"map_size": 1 << 16} if kind == "lmdb" else {})
    store: Backend = module.open_store(options)
    return store


def commit_of(number: int) -> list[Write]:
    """Several keys that belong together, one of them long, one that takes the place of others."""
    value = b"%d:" % number + bytes([number % 251]) * (6000 if number % 5 == 4 else 40)
    return [
        Write(f"x/{number}/deep", value),
        Write(f"y/{number}", value),
        Write(f"z/{LONG}/{number}", value),
        Write("last", value),
        Write(f"x/{number - 2}/deep", None),
    ]


def work(kind: str, path: str, commits: int, first: int = 0, *, given: bool = False, sync: bool = True) -> None:
    try:
        store = open_store(kind, path, sync=sync)
    except StorageFailed:
        print("closed", flush=True)
        return
    for number in range(first, commits):
        try:
            drive(store.commit(commit_of(number)))
            if given:
                print("given", store.last_revision(), flush=True)  # type: ignore[attr-defined]
            print("ok", number, flush=True)
        except StorageFailed:
            print("failed", number, flush=True)
    drive(store.close())


def check(
    kind: str, path: str, told: str, commits: int, *, unsure: bool = False, under_way: Collection[int] = ()
) -> None:
    """Compare the store with what ``work`` told before it ended.

    ``unsure``: commits reported as failed may be there (the disk failed for good, so nothing could be taken back).
    ``under_way``: commits that were under way besides the one after the last that was told.
    """
    lines = [line.split() for line in told.splitlines()]
    given = max((int(number) for word, *rest in lines for number in rest if word == "given"), default=0)
    done = {int(n) for word, *rest in lines for n in rest if word == "ok"}
    refused = {int(n) for word, *rest in lines for n in rest if word == "failed"}
    store = open_store(kind, path)
    try:
        rows = dict(drive(store.scan("", limit=10**6)))
        there = {n for n in range(commits) if f"y/{n}" in rows}
        assert done <= there, f"lost {sorted(done - there)}"
        in_flight = {max(done | refused, default=-1) + 1}
        allowed = done | in_flight | {*under_way} | (refused if unsure else set())
        assert there <= allowed, f"shows {sorted(there - allowed)}, which failed"
        expected: dict[str, bytes | None] = {}
        for number in sorted(there):
            expected.update((write.key, write.value) for write in commit_of(number))
        assert {key: entry.value for key, entry in rows.items()} == {k: v for k, v in expected.items() if v is not None}
        assert len({entry.revision for key, entry in rows.items() if key.startswith("y/")}) == len(there)
        drive(store.commit([Write("after", b"1")]))
        after = drive(store.get("after"))
        assert after is not None
        assert after.revision > max((entry.revision for entry in rows.values()), default=0)
        assert after.revision > given, "a revision was given twice"
    finally:
        drive(store.close())


if __name__ == "__main__":
    work(*sys.argv[1:3], *map(int, sys.argv[3:5]), given="given" in sys.argv[5:], sync="unsafe" not in sys.argv[5:])
