"""From the start of the process to the first HTTP answer, and for ``-dev`` to the first answer that is unsealed.

python -m benchmarks.startup
"""

import os
import sys
import time

from benchmarks.figures import Figure, Options, main, microseconds, turns
from benchmarks.servers import free_port, process, rusty, strongroom
from benchmarks.vaults import folder

GOAL = 1.0  # seconds


def run(options: Options) -> list[Figure]:
    """Ours with LMDB and in memory, beside the start of a bare interpreter and, if it is there, the peer's."""
    sides = [lambda: _server(options), lambda: _dev(options), _interpreter]
    if options.peer:
        sides.append(lambda: _peer(options))
    lmdb, dev, bare, *other = turns(options.rounds, *sides)
    beside = f"a Python interpreter: {microseconds(bare)}"
    figures = [
        Figure(what="server answers after its start, LMDB", ours=microseconds(lmdb), beside=beside,
               ratio=lmdb / bare, goal="within 1 s", met=lmdb <= GOAL),
        Figure(what="`-dev` serves unsealed after its start", ours=microseconds(dev), beside=beside,
               ratio=dev / bare, goal="within 1 s", met=dev <= GOAL),
    ]  # fmt: skip
    if other:
        beside = f"RustyVault: {microseconds(other[0])}"
        figures.append(
            Figure(what="server answers after its start", ours=microseconds(lmdb), beside=beside, ratio=lmdb / other[0])
        )
    return figures


def _server(options: Options) -> float:
    with strongroom(options.folder) as server:
        return server.started


def _peer(options: Options) -> float:
    with rusty(options.peer, options.folder) as server:
        return server.started


def _dev(options: Options) -> float:
    port = free_port()
    with folder(options.folder) as place:
        begun = time.perf_counter()
        command = [sys.executable, "-m", "strongroom", "server", "-dev", "-dev-no-store-token"]
        with process([*command, f"-dev-listen-address=127.0.0.1:{port}"], port, place) as server:
            while server.call("GET", "sys/seal-status")["sealed"]:
                time.sleep(0.002)
            return time.perf_counter() - begun


def _interpreter() -> float:
    begun = time.perf_counter()
    os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ), 0)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main(run, __doc__ or "")
