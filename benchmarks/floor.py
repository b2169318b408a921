"""The floor: what a read cannot do without. A bare LMDB get, an AES-GCM open and the answer as JSON, in a loop.

python -m benchmarks.floor
"""

import os
from collections.abc import Callable

import lmdb
import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.figures import Figure, Options, main, microseconds, turns
from benchmarks.vaults import SECRET, folder, median_time

_KEY = b"ns/root/data/0f3c/meta/app/db"
_META = {"created_time": "2026-01-01T00:00:00.000000000Z", "custom_metadata": None, "deletion_time": "",
         "destroyed": False, "version": 1}  # fmt: skip


def bare(path: str) -> tuple[Callable[[], bytes], Callable[[], None]]:
    """``(read, close)``: the bare loop's body over a store in ``path``."""
    env = lmdb.open(path, map_size=1 << 24)
    cipher = AESGCM(os.urandom(32))
    nonce = os.urandom(12)
    stored = nonce + cipher.encrypt(nonce, msgspec.json.encode(SECRET), _KEY)
    with env.begin(write=True) as txn:
        txn.put(_KEY, stored)
    encode, raw = msgspec.json.Encoder().encode, msgspec.Raw

    def read() -> bytes:
        with env.begin() as txn:
            value = txn.get(_KEY)
        assert value is not None
        plain = cipher.decrypt(value[:12], value[12:], _KEY)
        return encode({"request_id": "", "lease_id": "", "renewable": False, "lease_duration": 0,
                       "data": {"data": raw(plain), "metadata": _META},
                       "wrap_info": None, "warnings": None, "auth": None})  # fmt: skip

    return read, env.close


def run(options: Options) -> list[Figure]:
    """The floor itself, beside a get alone."""
    times = 500 if options.small else 50_000
    with folder(options.folder) as path:
        read, close = bare(path)
        env = lmdb.open(os.path.join(path, "get"), map_size=1 << 20)
        with env.begin(write=True) as txn:
            txn.put(_KEY, bytes(200))

        def get() -> None:
            with env.begin() as txn:
                txn.get(_KEY)

        low, alone = turns(options.rounds, lambda: median_time(read, times), lambda: median_time(get, times))
        close()
        env.close()
    beside = f"get alone: {microseconds(alone)}"
    return [Figure(what="floor: get, open and encode", ours=microseconds(low), beside=beside, ratio=low / alone)]


if __name__ == "__main__":
    main(run, __doc__ or "")
