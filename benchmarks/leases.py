"""A million leases: unseal, memory, and reads while a thousand leases a second expire.

    python -m benchmarks.leases [--small]

The store is filled through the barrier, in commits as large as they may be, beside one with a thousand leases. The
leases that expire during the run are of a kv mount, whose engine has nothing to undo: what is measured is the vault.
"""

import asyncio
import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from benchmarks.figures import Figure, Options, main, mebibytes, microseconds, rate
from benchmarks.servers import Server, anonymous, strongroom
from benchmarks.vaults import PATH, POLICY, SECRET, folder
from strongroom import AsyncVault, SealConfig, Vault
from strongroom.core.lease_entry import LeaseEntry, LeaseKeys
from strongroom.core.leases import Leases
from strongroom.sdk.storage import Write

RATE = 1000  # leases that expire in a second
READY = 1.0  # seconds
GOAL = 1.5
_GROUP = 20  # leases in a commit, 3 writes each
_WAITING = 64  # commits on their way
_READERS = 4
_PAUSE = 0.002  # seconds between two reads of a reader: reads that wait for each other would measure themselves


class Store(msgspec.Struct):
    """What the other side needs to know."""

    share: str
    root: str
    token: str
    mount: str


async def _open(place: str, share: str) -> AsyncVault:
    options = {"path": os.path.join(place, "data"), "sync": False, "map_size": 4 << 30}
    vault = AsyncVault({"lmdb": options}, {"audit_dir": place})
    if share:
        await vault.unseal(share)
    return vault


async def _build(place: str, count: int) -> Store:
    vault = await _open(place, "")
    keys = await vault.init(SealConfig(secret_shares=1, secret_threshold=1))
    await vault.unseal(keys.keys[0])
    vault.set_token(keys.root_token)
    await vault.write("sys/audit/file", {"type": "file", "options": {"file_path": os.path.join(place, "audit.log")}})
    await vault.mount("secret", "kv", options={"version": "2"})
    await vault.write("sys/policies/acl/app", {"policy": POLICY})
    await vault.write(PATH, {"data": SECRET})
    made = await vault.write("auth/token/create", {"policies": ["app"], "ttl": "24h"})
    assert made.auth is not None
    mount = vault._core.space().mounts.entries["secret/"].uuid
    soon = time.time() + 24 * 3600
    await _put(vault, mount, ((f"secret/data/far/{n}", soon + n % 2_000_000) for n in range(count)))
    await vault.close()
    return Store(keys.keys[0], keys.root_token, made.auth.client_token, mount)


async def _more(place: str, store: Store, seconds: int, later: float) -> float:
    """Leases of which ``RATE`` expire in each of ``seconds`` seconds, beginning ``later`` seconds after they were
    written (negative: they are due already); when that is."""
    vault = await _open(place, store.share)
    many = RATE * seconds
    at = float(int(time.time() + later + (many / 3000 if later > 0 else 0)))  # writing them takes less
    await _put(vault, store.mount, ((f"secret/data/near/{n}", at + n / RATE) for n in range(many)))
    await vault.close()
    return at


async def _put(vault: AsyncVault, mount: str, leases: Iterator[tuple[str, float]]) -> None:
    core = vault._core
    barrier, keys, now = core.barrier, core.space().leases.keys, time.time()
    assert barrier is not None
    holder = core.space().tokens.hash("holder")
    waiting: set[asyncio.Task[None]] = set()
    for writes in _groups(keys, mount, holder, now, leases):
        if len(waiting) >= _WAITING:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        task = asyncio.ensure_future(barrier.commit(writes))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
    await asyncio.gather(*waiting)


def _groups(
    keys: LeaseKeys, mount: str, holder: str, now: float, leases: Iterator[tuple[str, float]]
) -> Iterator[list[Write]]:
    writes: list[Write] = []
    for lease_id, expires in leases:
        entry = LeaseEntry(token=holder, issued=now, expires=expires, ttl=3600, max_ttl=7200, mount=mount)
        writes += keys.put(lease_id, entry)
        if len(writes) >= _GROUP * 3:
            yield writes
            writes = []
    if writes:
        yield writes


class Readers:
    """Reads a secret on several connections until it is stopped; how long each answer took."""

    def __init__(self, server: Server, token: str) -> None:
        self._server, self._token = server, token
        self._stop = threading.Event()
        self.taken: list[tuple[float, float]] = []  # when it began, seconds
        self._threads = [threading.Thread(target=self._read) for _ in range(_READERS)]

    def __enter__(self) -> "Readers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def p99(self, begin: float, end: float) -> float:
        """Of the reads that began between two times."""
        taken = sorted(spent for at, spent in self.taken if begin <= at < end)
        return taken[len(taken) * 99 // 100]

    def _read(self) -> None:
        connection = http.client.HTTPConnection(self._server.address.removeprefix("http://"))
        headers = {"X-Vault-Token": self._token}
        while not self._stop.wait(_PAUSE):
            at, begun = time.time(), time.perf_counter()
            connection.request("GET", f"/v1/{PATH}", headers=headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"a read was answered {answer.status}")
            self.taken.append((at, time.perf_counter() - begun))


def _ready(place: str, store: Store) -> tuple[float, float]:
    """Seconds from the last share to the first read, and the largest worker's memory."""
    with strongroom(place=place) as server:
        begun = time.perf_counter()
        server.call("PUT", "sys/unseal", {"key": store.share})
        server.call("GET", PATH, token=store.token)
        spent = time.perf_counter() - begun
        return spent, max(anonymous(pid) for pid in server.workers())


def _expiring(place: str, store: Store, seconds: int) -> dict[str, float]:
    """p99 of reads before and while leases expire, the rate of expiry, and memory before and after."""
    with strongroom(place=place) as server:
        server.call("PUT", "sys/unseal", {"key": store.share})
        at = float(_child("--more", place, str(seconds), str(2 + seconds))["at"])
        with Readers(server, store.token) as readers:
            _sleep_until(at - 0.5)
            before = max(anonymous(pid) for pid in server.workers())
            _sleep_until(at + seconds + 3)
            after = max(anonymous(pid) for pid in server.workers())
        early = min(begun for begun, _ in readers.taken)
    left = float(_child("--left", place)["left"])
    quiet, busy = readers.p99(early + 0.2, at - 0.2), readers.p99(at, at + seconds)
    return {"quiet": quiet, "busy": busy, "before": before, "after": after, "rate": RATE - left / seconds}


def _sleep_until(at: float) -> None:
    time.sleep(max(0.0, at - time.time()))


def _left(place: str, store: Store) -> int:
    """Leases that should have expired by now and have not."""
    with Vault({"lmdb": {"path": os.path.join(place, "data")}}, {"audit_dir": place}) as vault:
        vault.unseal(store.share)
        leases: Leases = vault._core.space().leases
        count, after = 0, ""
        while rows := vault._run(leases.page("secret/data/near/", after=after, limit=1000)):
            count += len(rows)
            after = rows[-1][0]
        return count


def _backlog(place: str, store: Store, count: int) -> float:
    """Leases a second that one process ends when a backlog of ``count`` is due, each commit flushed."""
    _child("--more", place, str(max(1, count // RATE)), "-3600")
    with Vault({"lmdb": {"path": os.path.join(place, "data")}}, {"audit_dir": place}) as vault:
        vault.unseal(store.share)
        begun, done = time.perf_counter(), 0
        while step := vault.tidy():
            done += step
        return done / (time.perf_counter() - begun)


def _told(place: str) -> Store:
    with open(os.path.join(place, "told"), "rb") as file:
        return msgspec.json.decode(file.read(), type=Store)


def _child(*arguments: str) -> Any:
    command = [sys.executable, "-m", "benchmarks.leases", *arguments]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def run(options: Options) -> list[Figure]:
    """Both stores: ready and memory in turns; then expiry under reads, and a backlog."""
    few, many, seconds = (100, 4000, 2) if options.small else (1000, 1_000_000, 15)
    with folder(options.folder) as small, folder(options.folder) as large:
        for place, count in ((small, few), (large, many)):
            store = _child("--build", place, str(count))
            with open(os.path.join(place, "told"), "w") as file:
                json.dump(store, file)
        ready: dict[str, list[tuple[float, float]]] = {small: [], large: []}
        for _ in range(options.rounds):
            for place, taken in ready.items():
                taken.append(_ready(place, _told(place)))
        found = [_expiring(large, _told(large), seconds) for _ in range(min(options.rounds, 3))]
        backlog = _backlog(large, _told(large), 2 * RATE if options.small else 20 * RATE)
    start, room = ([statistics.median(row[at] for row in ready[place]) for place in (small, large)] for at in (0, 1))
    middle = {key: statistics.median(row[key] for row in found) for key in found[0]}
    named = f"{many:,} leases"
    ratio = middle["busy"] / middle["quiet"]
    return [
        Figure(what=f"last share to first read over HTTP, {named}", ours=microseconds(start[1]),
               beside=f"with {few:,}: {microseconds(start[0])}", ratio=start[1] / start[0], goal="within 1 s",
               met=start[1] <= READY),
        Figure(what=f"memory of the largest worker, {named}", ours=mebibytes(room[1]),
               beside=f"with {few:,}: {mebibytes(room[0])}", ratio=room[1] / room[0], goal="at most 1.25",
               met=room[1] / room[0] <= 1.25),
        Figure(what=f"p99 of reads while {RATE:,} leases a second expire", ours=microseconds(middle["busy"]),
               beside=f"before: {microseconds(middle['quiet'])}", ratio=ratio, goal="at most 1.5", met=ratio <= GOAL),
        Figure(what="leases that expired in time, a second", ours=rate(middle["rate"]), goal=f"{RATE:,}/s",
               met=middle["rate"] >= RATE),
        Figure(what=f"memory after {RATE * seconds:,} expiries", ours=mebibytes(middle["after"]),
               beside=f"before: {mebibytes(middle['before'])}", ratio=middle["after"] / middle["before"]),
        Figure(what="a backlog of expired leases, embedded, each commit flushed", ours=rate(backlog)),
    ]  # fmt: skip


def _entry(arguments: list[str]) -> bool:
    """The child processes' side."""
    if arguments[:1] == ["--build"]:
        print(msgspec.json.encode(asyncio.run(_build(arguments[1], int(arguments[2])))).decode())
    elif arguments[:1] == ["--more"]:
        place = arguments[1]
        at = asyncio.run(_more(place, _told(place), int(arguments[2]), float(arguments[3])))
        print(json.dumps({"at": at}))
    elif arguments[:1] == ["--left"]:
        print(json.dumps({"left": _left(arguments[1], _told(arguments[1]))}))
    else:
        return False
    return True


if __name__ == "__main__" and not _entry(sys.argv[1:]):
    main(run, __doc__ or "")
