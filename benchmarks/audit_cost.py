"""What the audit costs of one kv read over HTTP: both records, their HMACs and their chain. (A checkpoint a second is
one signature and one commit, whatever the number of requests.)

    python -m benchmarks.audit_cost

The same reads through the door, in turns, with a file device, with one whose lines are not chained, and with none. The
network is left out, so the read that the audit is compared with is cheaper than any real one.
"""

from benchmarks.figures import Figure, Options, main, microseconds, turns
from benchmarks.vaults import embedded, median_time
from benchmarks.where_time_goes import door


def run(options: Options) -> list[Figure]:
    """The share of the audit in a read, and that of the chain."""
    times = 500 if options.small else 20_000
    with (
        embedded(options.folder) as loud,
        embedded(options.folder, chain=False) as plain,
        embedded(options.folder, audit=False) as mute,
    ):
        serve = [door(world) for world in (loud, plain, mute)]
        whole, unchained, without = turns(
            options.rounds,
            lambda: median_time(serve[0], times),
            lambda: median_time(serve[1], times),
            lambda: median_time(serve[2], times),
        )
    cost, share = whole - without, (whole - without) / whole
    return [
        Figure(what="the whole audit of one kv read over HTTP", ours=microseconds(cost),
               beside=f"the read with it: {microseconds(whole)}", ratio=share, goal="at most 0.25", met=share <= 0.25),
        Figure(what="of that the chain", ours=microseconds(whole - unchained),
               beside=f"the read without it: {microseconds(unchained)}", ratio=(whole - unchained) / whole),
    ]  # fmt: skip


if __name__ == "__main__":
    main(run, __doc__ or "")
