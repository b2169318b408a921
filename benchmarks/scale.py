"""A store with a million secrets and a million unexpired tokens beside one with a thousand of each.

    python -m benchmarks.scale [--small]

Start-up, reads, memory and lists, each taken in a fresh process, the two stores in turns. The stores are filled
through the barrier, in commits as large as they may be; building the large one takes minutes and about 3 GB.
"""

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from benchmarks.figures import WRK_MISSING, Figure, Options, main, mebibytes, microseconds, skipped
from benchmarks.load import wrk
from benchmarks.servers import anonymous, strongroom
from benchmarks.vaults import POLICY, SECRET, folder, median_time
from strongroom import AsyncVault, SealConfig, Vault
from strongroom.core import layout
from strongroom.core.names import service_token
from strongroom.core.token_entry import TokenEntry
from strongroom.engines.kv.ledger import META
from strongroom.engines.kv.plain import pack
from strongroom.engines.kv.secret import Config, add_version, new_secret
from strongroom.sdk.storage import Write

GOAL = 1.25
NAMES = 1000  # secrets in a folder
_GROUP = 60  # writes in a commit
_WAITING = 64  # commits on their way
_STEP = 514_229  # a prime: reads go all over the store, and come to each secret before they come to one again


class Store(msgspec.Struct):
    """What a probe needs to know."""

    count: int
    share: str
    root: str
    token: str  # may read all secrets
    tokens: list[str]  # some of the many, all over the store


def path_of(number: int) -> str:
    return f"app/{number // NAMES:04d}/{number % NAMES:03d}"


async def _build(place: str, count: int) -> Store:
    vault = AsyncVault({"lmdb": {"path": os.path.join(place, "data"), "sync": False, "map_size": 8 << 30}})
    keys = await vault.init(SealConfig(secret_shares=1, secret_threshold=1))
    await vault.unseal(keys.keys[0])
    vault.set_token(keys.root_token)
    await vault.mount("secret", "kv", options={"version": "2"})
    await vault.write("sys/policies/acl/app", {"policy": POLICY})
    made = await vault.write("auth/token/create", {"policies": ["app"], "ttl": "24h"})
    assert made.auth is not None
    core = vault._core
    space, barrier = core.space(), core.barrier
    assert barrier is not None
    waiting: set[asyncio.Task[None]] = set()

    async def put(groups: Iterator[list[Write]]) -> None:
        for writes in groups:
            if len(waiting) >= _WAITING:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.ensure_future(barrier.commit(writes))
            waiting.add(task)
            task.add_done_callback(waiting.discard)
        await asyncio.gather(*waiting)

    await put(_secrets(layout.data_prefix("root", space.mounts.entries["secret/"].uuid) + META, count))
    some: list[str] = []
    await put(_tokens(space.tokens, keys.root_token, count, some))
    await vault.close()
    return Store(count, keys.keys[0], keys.root_token, made.auth.client_token, some)


def _secrets(prefix: str, count: int) -> Iterator[list[Write]]:
    now, data = time.time_ns(), pack(SECRET)
    writes: list[Write] = []
    for number in range(count):
        edit = add_version(new_secret(now), data, now=now, config=Config())
        writes.append(Write(prefix + path_of(number), msgspec.json.encode(edit.secret)))
        if len(writes) == _GROUP:
            yield writes
            writes = []
    yield writes


def _tokens(store: Any, root: str, count: int, some: list[str]) -> Iterator[list[Write]]:
    """Tokens as ``auth/token/create`` makes them, children of the root token; each expires at another second."""
    parent = store.hash(root)
    writes: list[Write] = []
    for number in range(count):
        entry = TokenEntry(accessor="", policies=("app", "default"), path="auth/token/create", parent=parent,
                           ttl=30 * 24 * 3600 + number % 100_000)  # fmt: skip
        token = service_token()
        if number % max(1, count // 1000) == 0:
            some.append(token)
        added = store._writes(store.hash(token), store.draft(entry))
        if len(writes) + len(added) > _GROUP:
            yield writes
            writes = []
        writes += added
    yield writes


def _probe(place: str, store: Store, times: int) -> dict[str, float]:
    """Start, read, list and tidy in this process. Seconds and bytes."""
    pick = random.Random(7)
    begun = time.perf_counter()
    vault = Vault({"lmdb": {"path": os.path.join(place, "data")}})
    vault.unseal(store.share)
    vault.read("secret/data/" + path_of(0), token=store.token)
    start = time.perf_counter() - begun
    tokens: Sequence[str] = store.tokens

    def anywhere(token: str) -> None:
        vault.read("secret/data/" + path_of(pick.randrange(store.count)), token=token)

    for token in tokens:
        anywhere(token)
    found = {
        "start": start,
        "one": median_time(lambda: vault.read("secret/data/" + path_of(0), token=store.token), times),
        "any": median_time(lambda: anywhere(store.token), times),
        "tokens": median_time(lambda: anywhere(pick.choice(tokens)), times),
        "memory": float(anonymous(os.getpid())),
    }
    vault.set_token(store.root)
    first = path_of(0).rpartition("/")[0]
    page = {"after": "499", "limit": 100}
    found["folder"] = median_time(lambda: vault.list("secret/metadata/" + first), 20)
    found["page"] = median_time(lambda: vault.list("secret/metadata/" + first, page), 50)
    found["tidy"] = median_time(vault.tidy, 10)
    found["after"] = float(anonymous(os.getpid()))
    vault.close()
    return found


def _serve(place: str, store: Store, options: Options) -> dict[str, float]:
    """Seconds from the start of a server process to the first read, and of a read of any secret under load."""
    with strongroom(place=place) as server:
        begun = time.perf_counter()
        server.call("PUT", "sys/unseal", {"key": store.share})
        server.call("GET", "secret/data/" + path_of(0), token=store.token)
        found = {"serve": server.started + time.perf_counter() - begun}
        if options.wrk:
            load = {"many": store.count, "step": _STEP, "form": "%04d/%03d", "token": store.token}
            wrk(options.wrk, server, "secret/data/app/", 1, **load)
            found["http"] = 1 / wrk(options.wrk, server, "secret/data/app/", options.seconds, **load).rate
        return found


def _child(*arguments: str) -> Any:
    command = [sys.executable, "-m", "benchmarks.scale", *arguments]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def run(options: Options) -> list[Figure]:
    """Build both stores, probe them in turns, compare."""
    few, many, times = (1000, 4000, 300) if options.small else (1000, 1_000_000, 20_000)
    with folder(options.folder) as small, folder(options.folder) as large:
        places = {small: few, large: many}
        stores = {p: msgspec.convert(_child("--build", p, str(count)), Store) for p, count in places.items()}
        probes: dict[str, list[dict[str, float]]] = {small: [], large: []}
        for _ in range(options.rounds):
            for place, store in stores.items():
                told = os.path.join(place, "told")
                with open(told, "wb") as file:
                    file.write(msgspec.json.encode(store))
                found = _child("--probe", place, str(times))
                probes[place].append(found | _serve(place, store, options))
        size = os.path.getsize(os.path.join(large, "data", "data.mdb"))
    result = [
        _figure(*line, probes[small], probes[large], few, many)
        if line[0] in probes[small][0]
        else skipped(line[1], WRK_MISSING)
        for line in _LINES
    ]
    result.append(Figure(what=f"the store with {many:,} of each, on disk", ours=mebibytes(size)))
    return result


_LINES = (
    ("start", "open, unseal and first read, embedded"),
    ("serve", "server start, unseal and first read over HTTP"),
    ("one", "read of one secret, median"),
    ("any", "read of any secret, one token, median"),
    ("tokens", "read of any secret, any of 1,000 tokens, median"),
    ("http", "read of any secret over HTTP, under load"),
    ("memory", "memory after the reads"),
    ("folder", "LIST of a folder of 1,000"),
    ("page", "LIST of a page of 100"),
    ("tidy", "a look for what has expired"),
    ("after", "memory after lists and tidy"),
)


def _figure(key: str, what: str, small: Any, large: Any, few: int, many: int) -> Figure:
    low, high = (statistics.median(probe[key] for probe in probes) for probes in (small, large))
    show = mebibytes if key in ("memory", "after") else microseconds
    return Figure(
        what=f"{what}, {many:,} secrets and tokens",
        ours=show(high),
        beside=f"with {few:,}: {show(low)}",
        ratio=high / low,
        goal="at most 1.25",
        met=high / low <= GOAL,
    )


def _entry(arguments: list[str]) -> bool:
    """The child processes' side."""
    if arguments[:1] == ["--build"]:
        print(msgspec.json.encode(asyncio.run(_build(arguments[1], int(arguments[2])))).decode())
    elif arguments[:1] == ["--probe"]:
        with open(os.path.join(arguments[1], "told"), "rb") as file:
            store = msgspec.json.decode(file.read(), type=Store)
        print(json.dumps(_probe(arguments[1], store, int(arguments[2]))))
    else:
        return False
    return True


if __name__ == "__main__" and not _entry(sys.argv[1:]):
    main(run, __doc__ or "")
