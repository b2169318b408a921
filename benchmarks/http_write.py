"""Durable kv writes over HTTP: the commit is on disk (fsync) before the answer; file audit and policies on.

    python -m benchmarks.http_write

Beside it RustyVault's kv write with file storage, without policies, versions and audit: its kv is version 1. Ours in
both versions; version 2 reads the secret, and writes its metadata with it.
"""

import copy
import json
import statistics

from benchmarks.figures import PEER_MISSING, WRK_MISSING, Figure, Options, main, rate, skipped, turns
from benchmarks.load import wrk
from benchmarks.servers import Server, fill_rusty, fill_strongroom, rusty, strongroom
from benchmarks.vaults import SECRET

WHAT = "durable kv v2 write over HTTP, file audit on"
SAME = "durable kv v1 write over HTTP, file audit on"
GOAL = "at least 2.0"
SECRETS = 1000  # written in turn


def run(options: Options) -> list[Figure]:
    """Writes a second of both servers, in turns."""
    if not options.wrk:
        return [skipped(WHAT, WRK_MISSING)]
    spent: dict[str, list[float]] = {"ours": [], "plain": [], "theirs": []}
    with strongroom(options.folder) as ours:
        fill_strongroom(ours)
        plain = _version_1(ours)
        if not options.peer:
            mine = statistics.median(_load(options, ours, spent["ours"]) for _ in range(options.rounds))
            return [Figure(what=WHAT, ours=rate(mine), beside="RustyVault: not run", goal=GOAL, note=PEER_MISSING)]
        with rusty(options.peer, options.folder) as theirs:
            fill_rusty(theirs)
            mine, simple, other = turns(
                options.rounds,
                lambda: _load(options, ours, spent["ours"]),
                lambda: _load(options, plain, spent["plain"]),
                lambda: _load(options, theirs, spent["theirs"]),
            )
    ratio = mine / other
    low, middle, high = (statistics.median(spent[side]) for side in ("ours", "plain", "theirs"))
    beside = f"RustyVault, kv v1, no audit, no flush: {rate(other)}"
    return [
        Figure(what=WHAT, ours=rate(mine), beside=beside, ratio=ratio, goal=GOAL, met=ratio >= 2.0),
        Figure(what=SAME, ours=rate(simple), beside=beside, ratio=simple / other, goal=GOAL, met=simple / other >= 2.0),
        Figure(
            what="processor time of one HTTP write",
            ours=f"{low * 1e6:.0f} us, kv v1 {middle * 1e6:.0f} us",
            beside=f"RustyVault: {high * 1e6:.0f} us",
            ratio=low / high,
        ),
    ]


def _version_1(server: Server) -> Server:
    """The same server, with a mount of version 1 to write to."""
    server.call("POST", "sys/mounts/plain", {"type": "kv"})
    rule = 'path "plain/app/*" { capabilities = ["create", "read", "update"] }'
    server.call("PUT", "sys/policies/acl/plain", {"policy": rule})
    made = server.call("POST", "auth/token/create", {"policies": ["plain"], "ttl": "24h"}, token=server.root)
    plain = copy.copy(server)
    plain.token, plain.write_path, plain.write_body = made["auth"]["client_token"], "plain/app/w", json.dumps(SECRET)
    return plain


def _load(options: Options, server: Server, spent: list[float]) -> float:
    method = "POST" if "data" in server.write_body else "PUT"
    load = wrk(
        options.wrk,
        server,
        server.write_path,
        options.seconds,
        method=method,
        body=server.write_body,
        many=SECRETS,
    )
    spent.append(load.processor)
    return load.rate


if __name__ == "__main__":
    main(run, __doc__ or "")
