"""Vaults to measure: embedded, over LMDB, with a policy, a token that is not root, and the file audit on."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator

import msgspec

from strongroom import SealConfig, Vault

SECRET = {"username": "svc-db", "password": "s3cr3t-" + "x" * 20, "host": "db1.internal"}
POLICY = 'path "secret/data/app/*" { capabilities = ["create", "read", "update"] }'
PATH = "secret/data/app/db"


class World(msgspec.Struct, frozen=True):
    """An unsealed vault with one secret at ``PATH``, and a token that may read it."""

    vault: Vault
    folder: str
    token: str
    root: str
    share: str


@contextlib.contextmanager
def folder(parent: str = "") -> Iterator[str]:
    """A private folder that is gone afterwards."""
    path = tempfile.mkdtemp(prefix="strongroom-bench-", dir=parent or None)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def embedded(parent: str = "", *, audit: bool = True, chain: bool = True) -> Iterator[World]:
    """A vault in this process. ``chain``: whether its audit lines are chained."""
    with folder(parent) as path:
        vault = Vault({"lmdb": {"path": os.path.join(path, "data")}}, {"audit_dir": path})
        keys = vault.init(SealConfig(secret_shares=1, secret_threshold=1))
        vault.unseal(keys.keys[0])
        vault.set_token(keys.root_token)
        if audit:
            options = {"file_path": os.path.join(path, "audit.log"), "chain": str(chain).lower()}
            vault.write("sys/audit/file", {"type": "file", "options": options})
        vault.mount("secret", "kv", options={"version": "2"})
        vault.write("sys/policies/acl/app", {"policy": POLICY})
        vault.write(PATH, {"data": SECRET})
        made = vault.write("auth/token/create", {"policies": ["app"], "ttl": "24h"})
        assert made.auth is not None
        try:
            yield World(vault, path, made.auth.client_token, keys.root_token, keys.keys[0])
        finally:
            vault.close()


def median_time(work: Callable[[], object], times: int) -> float:
    """The median of ``times`` calls, in seconds."""
    clock = time.perf_counter_ns
    taken = []
    for _ in range(times):
        start = clock()
        work()
        taken.append(clock() - start)
    taken.sort()
    return taken[times // 2] / 1e9
