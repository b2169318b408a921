"""kv version 2 reads over HTTP: default workers, LMDB, a token that is not root, policies and the file audit on.

    python -m benchmarks.http_read

Beside it RustyVault's kv read with file storage, without policies and without audit. Below the goal it is printed
where the microseconds go.
"""

import statistics

from benchmarks import where_time_goes
from benchmarks.figures import PEER_MISSING, WRK_MISSING, Figure, Options, main, rate, skipped, turns
from benchmarks.floor import bare
from benchmarks.load import Load, wrk
from benchmarks.servers import Server, fill_rusty, fill_strongroom, rusty, strongroom
from benchmarks.vaults import folder, median_time

WHAT = "kv v2 read over HTTP, file audit on"
GOAL = "at least 1.0 (aim: 1.2)"


def run(options: Options) -> list[Figure]:
    """Reads a second of both servers, in turns."""
    if not options.wrk:
        return [skipped(WHAT, WRK_MISSING)]
    with strongroom(options.folder) as ours:
        fill_strongroom(ours)
        if not options.peer:
            loads = [_load(options, ours) for _ in range(options.rounds)]
            mine = statistics.median(load.rate for load in loads)
            figure = Figure(what=WHAT, ours=rate(mine), beside="RustyVault: not run", goal=GOAL, note=PEER_MISSING)
            return [figure, *_floor(options, mine, loads)]
        with rusty(options.peer, options.folder) as theirs:
            fill_rusty(theirs)
            loads, peer = [], []

            def read() -> float:
                loads.append(_load(options, ours))
                return loads[-1].rate

            def read_peer() -> float:
                peer.append(_load(options, theirs))
                return peer[-1].rate

            mine, other = turns(options.rounds, read, read_peer)
    ratio = mine / other
    figure = Figure(
        what=WHAT,
        ours=rate(mine),
        beside=f"RustyVault, kv v1, no policies, no audit: {rate(other)}",
        ratio=ratio,
        goal=GOAL,
        met=ratio >= 1.0,
        note="" if ratio >= 1.2 else "where the microseconds go:\n\n" + where_time_goes.text(options),
    )
    return [figure, *_floor(options, mine, loads, peer)]


def _load(options: Options, server: Server) -> Load:
    return wrk(options.wrk, server, server.read_path, options.seconds)


def _floor(options: Options, mine: float, loads: list[Load], peer: list[Load] | None = None) -> list[Figure]:
    with folder(options.folder) as path:
        read, close = bare(path)
        low = median_time(read, 500 if options.small else 20_000)
        close()
    spent = statistics.median(load.processor for load in loads)
    figures = [
        Figure(
            what="processor time of one HTTP read",
            ours=f"{spent * 1e6:.0f} us",
            beside=f"floor (bare get, open, encode): {low * 1e6:.1f} us",
            ratio=spent / low,
        )
    ]
    if peer:
        other = statistics.median(load.processor for load in peer)
        figures.append(
            Figure(
                what="processor time of one HTTP read",
                ours=f"{spent * 1e6:.0f} us",
                beside=f"RustyVault: {other * 1e6:.0f} us",
                ratio=spent / other,
            )
        )
    return figures


if __name__ == "__main__":
    main(run, __doc__ or "")
