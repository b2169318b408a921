"""What 1,000 Cedar policies cost a kv version 2 read: embedded, and over HTTP with default workers.

    python -m benchmarks.cedar

The same read without and with them, in turns. Some of the policies are about the secret that is read: in the first
pair none of those reads the time, so a decision is remembered; in the second one does, and each read is evaluated.
"""

import statistics
from collections.abc import Iterator

from benchmarks.figures import WRK_MISSING, Figure, Options, main, microseconds, rate, skipped, turns
from benchmarks.load import wrk
from benchmarks.servers import Server, fill_strongroom, strongroom
from benchmarks.vaults import PATH, embedded, median_time

MANY = 1000
GOAL = "at least 0.75"
_TIMED = 'forbid(principal, action, resource in Secret::"secret/app") when { context.now < datetime("2020-01-01") };'


def policies() -> Iterator[tuple[str, str]]:
    """Name and text of each: teams with their folders, some forbidden, and a few about the secret that is read."""
    for n in range(MANY - 10):
        effect = "forbid" if n % 10 == 0 else "permit"
        action = ("read", "write", "list", "delete")[n % 4]
        scope = (
            f'principal in Group::"team{n}", action == Action::"{action}", resource in Secret::"secret/team{n % 97}"'
        )
        yield f"p{n}", f'{effect}({scope}) when {{ context.mfa || context.auth_method != "userpass" }};'
    for n in range(10):
        action = ("read", "write")[n % 2]
        yield f"own{n}", f'permit(principal, action == Action::"{action}", resource in Secret::"secret/app");'


def run(options: Options) -> list[Figure]:
    """The rate with 1,000 policies against the rate with none."""
    return [*_embedded(options), *_http(options)]


def _embedded(options: Options) -> list[Figure]:
    times = 500 if options.small else 20_000
    with embedded(options.folder) as none, embedded(options.folder) as many, embedded(options.folder) as timed:
        for world in (many, timed):
            for name, text in policies():
                world.vault.write(f"sys/policies/cedar/{name}", {"policy": text})
        timed.vault.write("sys/policies/cedar/timed", {"policy": _TIMED})
        bare, kept, asked = turns(
            options.rounds,
            lambda: median_time(lambda: none.vault.read(PATH, token=none.token), times),
            lambda: median_time(lambda: many.vault.read(PATH, token=many.token), times),
            lambda: median_time(lambda: timed.vault.read(PATH, token=timed.token), times),
        )
    beside = f"without: {microseconds(bare)}"
    return [
        Figure(what=f"embedded read, {MANY:,} Cedar policies", ours=microseconds(kept), beside=beside,
               ratio=bare / kept, goal=GOAL, met=bare / kept >= 0.75),
        Figure(what="embedded read, one of them reads the time", ours=microseconds(asked), beside=beside,
               ratio=bare / asked, note="evaluated by Cedar's engine at each read; nothing can be remembered"),
    ]  # fmt: skip


def _http(options: Options) -> list[Figure]:
    what = f"kv v2 read over HTTP, {MANY:,} Cedar policies"
    if not options.wrk:
        return [skipped(what, WRK_MISSING)]
    rates: list[list[float]] = [[], [], []]
    with strongroom(options.folder) as none, strongroom(options.folder) as many, strongroom(options.folder) as timed:
        for server in (none, many, timed):
            fill_strongroom(server)
        for server in (many, timed):
            for name, text in policies():
                server.call("POST", f"sys/policies/cedar/{name}", {"policy": text})
        timed.call("POST", "sys/policies/cedar/timed", {"policy": _TIMED})

        def side(server: Server, into: list[float]) -> float:
            into.append(wrk(options.wrk, server, server.read_path, options.seconds).rate)
            return into[-1]

        turns(
            options.rounds,
            lambda: side(none, rates[0]),
            lambda: side(many, rates[1]),
            lambda: side(timed, rates[2]),
        )
    bare, kept, asked = (statistics.median(found) for found in rates)
    beside = f"without: {rate(bare)}"
    return [
        Figure(what=what, ours=rate(kept), beside=beside, ratio=kept / bare, goal=GOAL, met=kept / bare >= 0.75),
        Figure(what="the same, one of them reads the time", ours=rate(asked), beside=beside, ratio=asked / bare),
    ]


if __name__ == "__main__":
    main(run, __doc__ or "")
