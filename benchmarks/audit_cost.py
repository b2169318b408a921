"""What the whole audit costs of one kv read over HTTP: both records, their HMACs, their chain and the checkpoints.

    python -m benchmarks.audit_cost

Processor time of three servers under the same load, in turns: with a file device, with one whose lines are not chained,
and with none. Without the load generator the same reads go through the door in this process; the network is missing
there, so the read that the audit is compared with is cheaper than any real one.
"""

import contextlib
import statistics
from collections.abc import Callable, Iterator

from benchmarks.figures import Figure, Options, main, microseconds, turns
from benchmarks.load import wrk
from benchmarks.servers import CHAINED, UNCHAINED, Server, fill_strongroom, strongroom
from benchmarks.vaults import embedded, median_time
from benchmarks.where_time_goes import door

Side = Callable[[], float]  # one turn: seconds for each read


def run(options: Options) -> list[Figure]:
    """The share of the audit in a read, and that of the chain."""
    over_http = bool(options.wrk) and not options.small
    with (_servers if over_http else _doors)(options) as sides:
        whole, unchained, without = turns(options.rounds, *sides)
    cost, share = whole - without, (whole - without) / whole
    what = "one kv read over HTTP" if over_http else "one kv read through the door, without a network"
    met = share <= 0.25 if over_http else None
    return [
        Figure(what=f"the whole audit of {what}", ours=microseconds(cost), beside=f"with it: {microseconds(whole)}",
               ratio=share, goal="at most 0.25" if over_http else "", met=met),
        Figure(what="of that the chain", ours=microseconds(whole - unchained),
               beside=f"without it: {microseconds(unchained)}", ratio=(whole - unchained) / whole),
    ]  # fmt: skip


@contextlib.contextmanager
def _servers(options: Options) -> Iterator[list[Side]]:
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(strongroom(options.folder, audit=audit)) for audit in (CHAINED, UNCHAINED, "")]
        for server in made:
            fill_strongroom(server)
        yield [_loaded(options, server) for server in made]


def _loaded(options: Options, server: Server) -> Side:
    return lambda: wrk(options.wrk, server, server.read_path, options.seconds).processor


@contextlib.contextmanager
def _doors(options: Options) -> Iterator[list[Side]]:
    times = 500 if options.small else 20_000
    with (
        embedded(options.folder) as loud,
        embedded(options.folder, chain=False) as plain,
        embedded(options.folder, audit=False) as mute,
    ):
        yield [_served(door(world), times) for world in (loud, plain, mute)]


def _served(serve: Callable[[], None], times: int) -> Side:
    return lambda: statistics.median(median_time(serve, times // 5) for _ in range(5))


if __name__ == "__main__":
    main(run, __doc__ or "")
