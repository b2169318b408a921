"""What operators do: init, unseal, seal, rekey, a policy write; and how many tokens a second can be made over HTTP.

python -m benchmarks.operations
"""

import os
import statistics
import time
from collections.abc import Callable

import lmdb

from benchmarks.figures import PEER_MISSING, WRK_MISSING, Figure, Options, main, microseconds, rate, skipped, turns
from benchmarks.load import wrk
from benchmarks.servers import Server, fill_rusty, fill_strongroom, rusty, strongroom
from benchmarks.vaults import POLICY, embedded, folder, median_time

TOKENS = 5000.0  # a second


def run(options: Options) -> list[Figure]:
    """Tokens over HTTP, then the rest over HTTP and embedded."""
    return [*_tokens(options), *_over_http(options), *_embedded(options)]


def _tokens(options: Options) -> list[Figure]:
    what = "token create over HTTP, durable, file audit on"
    if not options.wrk:
        return [skipped(what, WRK_MISSING)]
    beside, ratio, note = "RustyVault: not run", None, PEER_MISSING
    with strongroom(options.folder) as ours:
        fill_strongroom(ours)
        if options.peer:
            with rusty(options.peer, options.folder) as theirs:
                fill_rusty(theirs)
                mine, other = turns(options.rounds, lambda: _create(options, ours), lambda: _create(options, theirs))
            beside, ratio, note = f"RustyVault, no audit: {rate(other)}", mine / other, ""
        else:
            mine = statistics.median(_create(options, ours) for _ in range(options.rounds))
    return [Figure(what=what, ours=rate(mine), beside=beside, ratio=ratio, goal="at least 5,000/s",
                   met=mine >= TOKENS, note=note)]  # fmt: skip


def _create(options: Options, server: Server) -> float:
    body = '{"policies":["app"],"ttl":"24h"}'
    return wrk(options.wrk, server, "auth/token/create", options.seconds, method="POST", body=body,
               token=server.root).rate  # fmt: skip


def _over_http(options: Options) -> list[Figure]:
    """Init, unseal and seal of a server: until the answer, the change of processes included."""
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        with strongroom(options.folder) as server:
            _life(server, ours)
        if options.peer:
            with rusty(options.peer, options.folder) as server:
                _life(server, theirs)
    figures = []
    for name, taken in ours.items():
        mine = statistics.median(taken)
        other = statistics.median(theirs[name]) if options.peer else None
        figures.append(
            Figure(
                what=f"{name} over HTTP",
                ours=microseconds(mine),
                beside=f"RustyVault: {microseconds(other)}" if other else "RustyVault: not run",
                ratio=mine / other if other else None,
            )
        )
    return figures


def _life(server: Server, taken: dict[str, list[float]]) -> None:
    def step(name: str, work: Callable[[], object]) -> None:
        begun = time.perf_counter()
        work()
        taken.setdefault(name, []).append(time.perf_counter() - begun)

    def init() -> None:
        keys = server.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        server.share, server.root = keys["keys"][0], keys["root_token"]

    step("init", init)
    step("unseal", lambda: server.call("PUT", "sys/unseal", {"key": server.share}))
    step("seal", lambda: server.call("PUT", "sys/seal"))


def _embedded(options: Options) -> list[Figure]:
    """What is no more than a few commits, beside one bare durable commit."""
    times = 20 if options.small else 300
    with embedded(options.folder) as world, folder(options.folder) as place:
        vault, share = world.vault, world.share
        env = lmdb.open(os.path.join(place, "floor"), map_size=1 << 24)

        def commit() -> None:
            with env.begin(write=True) as txn:
                txn.put(b"key", os.urandom(200))

        def seal() -> None:
            vault.seal()
            vault.unseal(share)

        def rekey() -> None:
            nonlocal share
            started = vault.write("sys/rekey/init", {"secret_shares": 1, "secret_threshold": 1})
            nonce = dict(started.data or {})["nonce"]
            done = vault.write("sys/rekey/update", {"key": share, "nonce": nonce})
            share = dict(done.data or {})["keys"][0]

        names = ["seal and unseal", "rekey, one share", "policy write", "token create", "kv v2 write"]
        works: list[Callable[[], object]] = [
            seal,
            rekey,
            lambda: vault.write("sys/policies/acl/other", {"policy": POLICY}),
            lambda: vault.write("auth/token/create", {"policies": ["app"], "ttl": "24h"}),
            lambda: vault.write("secret/data/app/other", {"data": {"a": "1"}}),
        ]
        sides = [lambda work=work: median_time(work, max(times // options.rounds, 3)) for work in [commit, *works]]
        floor, *results = turns(options.rounds, *sides)
        env.close()
    beside = f"one bare durable commit: {microseconds(floor)}"
    return [
        Figure(what=f"{name}, embedded", ours=microseconds(taken), beside=beside, ratio=taken / floor)
        for name, taken in zip(names, results, strict=True)
    ]


if __name__ == "__main__":
    main(run, __doc__ or "")
