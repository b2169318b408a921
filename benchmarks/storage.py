"""What the embedded stores do on this machine: reads, durable commits alone and in groups, several processes at once.

    python benchmarks/storage.py [--folder DIR] [--seconds 2] [lmdb|file ...]

Each line stands beside a floor taken in the same run: bare LMDB for a read, one small write and fdatasync for a commit.
"""

import argparse
import asyncio
import importlib
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import lmdb

from strongroom.sdk.storage import Backend, Write
from strongroom.storage.completion import drive


def opened(kind: str, folder: str) -> Backend:
    store: Backend = importlib.import_module(f"strongroom.storage.{kind}").open_store({"path": folder})
    return store


async def load(store: Backend, waiters: int, seconds: float, tag: str = "") -> tuple[float, float, float]:
    """Commits a second, median and worst milliseconds, of ``waiters`` tasks that each commit one key at a time."""
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def one(name: int) -> None:
        turn = 0
        while (start := time.perf_counter()) < end:
            await store.commit([Write(f"k/{tag}{name}/{turn % 1000}", bytes(200))])
            took.append(time.perf_counter() - start)
            turn += 1

    await asyncio.gather(*(one(i) for i in range(waiters)))
    return len(took) / seconds, statistics.median(took) * 1e3, max(took) * 1e3


def child(kind: str, folder: str, waiters: int, seconds: float, tag: str, results: Any, barrier: Any) -> None:
    store = opened(kind, folder)
    barrier.wait()
    results.put(asyncio.run(load(store, waiters, seconds, tag)))
    drive(store.close())


def flushes(folder: str, seconds: float) -> float:
    fd = os.open(os.path.join(folder, "floor"), os.O_RDWR | os.O_CREAT, 0o600)
    count, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        os.pwrite(fd, bytes(4096), 0)
        os.fdatasync(fd)
        count += 1
    os.close(fd)
    return count / seconds


def reads(kind: str, store: Backend, folder: str) -> None:
    drive(store.commit([Write("a/b", bytes(208))]))
    times = 200_000 if kind == "lmdb" else 10_000

    async def get() -> float:
        start = time.perf_counter()
        for _ in range(times):
            await store.get("a/b")
        return (time.perf_counter() - start) / times * 1e6

    ours = min(asyncio.run(get()) for _ in range(3))
    os.mkdir(os.path.join(folder, "bare"))
    with lmdb.open(os.path.join(folder, "bare"), max_spare_txns=1) as env:
        with env.begin(write=True) as txn:
            txn.put(b"a/b", bytes(216))
        start = time.perf_counter()
        for _ in range(times):
            env.begin().get(b"a/b")
        floor = (time.perf_counter() - start) / times * 1e6
    print(f"{kind:5} get                        {ours:8.2f} us   bare LMDB {floor:.2f} us, ratio {ours / floor:.1f}")


def commits(kind: str, path: str, seconds: float, floor: float) -> None:
    store = opened(kind, path)
    for waiters in (1, 32, 256):
        rate, median, worst = asyncio.run(load(store, waiters, seconds))
        print(f"{kind:5} commit, {waiters:3} waiting        {rate:8.0f} /s   {rate / floor:5.2f} x flush/s", end="")
        print(f"   median {median:.2f} ms, worst {worst:.1f} ms")
    drive(store.close())
    context = multiprocessing.get_context("spawn")
    for loads in ((1, 1), (32, 32), (1, 256), (32, 32, 32, 32)):
        results, barrier = context.Queue(), context.Barrier(len(loads))
        processes = [
            context.Process(target=child, args=(kind, path, waiters, seconds, f"{i}-", results, barrier))
            for i, waiters in enumerate(loads)
        ]
        for process in processes:
            process.start()
        found: Sequence[tuple[float, float, float]] = [results.get() for _ in processes]
        for process in processes:
            process.join()
        each = ", ".join(f"{rate:.0f}/s worst {worst:.1f} ms" for rate, _, worst in sorted(found))
        print(f"{kind:5} {len(loads)} processes, waiting {loads!s:17} {sum(f[0] for f in found):8.0f} /s   {each}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=["lmdb", "file"])
    parser.add_argument("--folder", default=".", help="where the stores are made; the disk that is measured")
    parser.add_argument("--seconds", type=float, default=2)
    given = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="bench-storage-", dir=given.folder)
    try:
        floor = flushes(folder, given.seconds)
        print(f"floor: {floor:.0f} writes of 4 KiB with fdatasync a second")
        for kind in given.kinds:
            part = os.path.join(folder, kind)
            os.mkdir(part)
            store = opened(kind, os.path.join(part, "store"))
            reads(kind, store, part)
            drive(store.close())
            commits(kind, os.path.join(part, "store"), given.seconds, floor)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
