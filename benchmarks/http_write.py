"""Durable kv version 2 writes over HTTP: the commit is on disk (fsync) before the answer; file audit and policies on.

    python -m benchmarks.http_write

Beside it RustyVault's kv write with file storage, without policies, versions and audit.
"""

import statistics

from benchmarks.figures import PEER_MISSING, WRK_MISSING, Figure, Options, main, rate, skipped, turns
from benchmarks.load import wrk
from benchmarks.servers import Server, fill_rusty, fill_strongroom, rusty, strongroom

WHAT = "durable kv v2 write over HTTP, file audit on"
GOAL = "at least 2.0"
SECRETS = 1000  # written in turn


def run(options: Options) -> list[Figure]:
    """Writes a second of both servers, in turns."""
    if not options.wrk:
        return [skipped(WHAT, WRK_MISSING)]
    spent: dict[str, list[float]] = {"ours": [], "theirs": []}
    with strongroom(options.folder) as ours:
        fill_strongroom(ours)
        if not options.peer:
            mine = statistics.median(_load(options, ours, spent["ours"]) for _ in range(options.rounds))
            return [Figure(what=WHAT, ours=rate(mine), beside="RustyVault: not run", goal=GOAL, note=PEER_MISSING)]
        with rusty(options.peer, options.folder) as theirs:
            fill_rusty(theirs)
            mine, other = turns(
                options.rounds,
                lambda: _load(options, ours, spent["ours"]),
                lambda: _load(options, theirs, spent["theirs"]),
            )
    ratio = mine / other
    low, high = (statistics.median(spent[side]) for side in ("ours", "theirs"))
    return [
        Figure(
            what=WHAT,
            ours=rate(mine),
            beside=f"RustyVault, kv v1, no audit, no flush: {rate(other)}",
            ratio=ratio,
            goal=GOAL,
            met=ratio >= 2.0,
        ),
        Figure(
            what="processor time of one HTTP write",
            ours=f"{low * 1e6:.0f} us",
            beside=f"RustyVault: {high * 1e6:.0f} us",
            ratio=low / high,
        ),
    ]


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
