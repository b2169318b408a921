"""Anonymous memory of each worker after 100,000 requests (``RssAnon``: LMDB's mapped pages are not ours).

python -m benchmarks.memory
"""

from benchmarks.figures import PEER_MISSING, WRK_MISSING, Figure, Options, main, mebibytes, skipped
from benchmarks.load import wrk
from benchmarks.servers import Server, anonymous, fill_rusty, fill_strongroom, rusty, strongroom

REQUESTS = 100_000
GOAL = 70 * 2**20  # bytes
WHAT = "memory of the largest worker"
_LONGEST = 600.0  # seconds; a slow machine still ends


def run(options: Options) -> list[Figure]:
    """The largest worker after reads and writes, before and after; beside it the peer's process."""
    if not options.wrk:
        return [skipped(WHAT, WRK_MISSING)]
    wanted = 2000 if options.small else REQUESTS
    with strongroom(options.folder) as ours:
        fill_strongroom(ours)
        fresh = _largest(ours)
        count = _work(options, ours, wanted)
        after = _largest(ours)
    beside, ratio, note = "RustyVault: not run", None, PEER_MISSING
    if options.peer:
        with rusty(options.peer, options.folder) as theirs:
            fill_rusty(theirs)
            _work(options, theirs, wanted)
            other = _largest(theirs)
        beside, ratio, note = f"RustyVault, one process: {mebibytes(other)}", after / other, ""
    return [
        Figure(what=WHAT + ", fresh", ours=mebibytes(fresh)),
        Figure(what=f"{WHAT}, after {count:,} requests", ours=mebibytes(after), beside=beside, ratio=ratio,
               goal="at most 70 MiB", met=after <= GOAL, note=note),
    ]  # fmt: skip


def _largest(server: Server) -> int:
    return max(anonymous(pid) for pid in server.workers())


def _work(options: Options, server: Server, wanted: int) -> int:
    """At least ``wanted`` requests: one in ten turns writes, to a thousand secrets."""
    done, spent, turn = 0, 0.0, 0
    while done < wanted and spent < _LONGEST:
        if turn % 10 == 0:
            method = "POST" if "data" in server.write_body else "PUT"
            load = wrk(options.wrk, server, server.write_path, 1, method=method, body=server.write_body, many=1000)
        else:
            load = wrk(options.wrk, server, server.read_path, 1)
        done, spent, turn = done + load.count, spent + 1, turn + 1
    return done


if __name__ == "__main__":
    main(run, __doc__ or "")
