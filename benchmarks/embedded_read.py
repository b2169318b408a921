"""The embedded ``Vault.read``: token, policy, decryption, version bookkeeping and two audit records, without a door.

    python -m benchmarks.embedded_read

Beside it the floor (``benchmarks.floor``), in turns.
"""

from benchmarks.figures import Figure, Options, main, microseconds, turns
from benchmarks.floor import bare
from benchmarks.vaults import PATH, embedded, folder, median_time


def run(options: Options) -> list[Figure]:
    """The distance of the embedded read to the floor."""
    times = 500 if options.small else 20_000
    with (
        folder(options.folder) as path,
        embedded(options.folder) as loud,
        embedded(options.folder, audit=False) as mute,
    ):
        read, close = bare(path)
        low, with_audit, without = turns(
            options.rounds,
            lambda: median_time(read, times),
            lambda: median_time(lambda: loud.vault.read(PATH, token=loud.token), times),
            lambda: median_time(lambda: mute.vault.read(PATH, token=mute.token), times),
        )
        close()
    beside = f"bare get, open and encode: {microseconds(low)}"
    return [
        Figure(what="embedded read, median, file audit on", ours=microseconds(with_audit), beside=beside,
               ratio=with_audit / low, goal="at most 40 us", met=with_audit <= 40e-6),
        Figure(what="embedded read, median, no audit", ours=microseconds(without), beside=beside, ratio=without / low),
    ]  # fmt: skip


if __name__ == "__main__":
    main(run, __doc__ or "")
