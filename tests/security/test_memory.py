"""Threat section D: what a seal leaves in memory. Of a server, nothing at all; of an embedded vault, no key."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from security.memory_scan import allowed, descendants, held, held_by, keys_of, share_needles
from server_fixture import Server, running

pytestmark = pytest.mark.skipif(not allowed, reason="only root may read the memory of undumpable processes")


def canary(what: str) -> str:
    return f"{what}-{os.urandom(12).hex()}"


def ok(server: Server, method: str, path: str, data: Any = None, **more: Any) -> Any:
    status, body = server.call(method, path, data, **more)
    assert 200 <= status < 300, (path, status, body)
    return body


def until(holds: Callable[[], bool], what: str, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def a_days_work(server: Server) -> dict[str, bytes]:
    """Secrets of every sort go through the server; what must be gone after the seal."""
    value, patched, password = canary("value"), canary("patched"), canary("password")
    ok(server, "POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
    for number in range(8):
        ok(server, "POST", f"kv/data/{number}", {"data": {"v": value}})
        ok(server, "GET", f"kv/data/{number}")
    ok(server, "POST", "cubbyhole/x", {"v": patched})
    ok(server, "POST", "sys/auth/userpass", {"type": "userpass"})
    ok(server, "POST", "auth/userpass/users/bob", {"password": password})
    login = ok(server, "POST", "auth/userpass/login/bob", {"password": password}, token="")["auth"]["client_token"]
    ok(server, "GET", "auth/token/lookup-self", token=login)
    child = ok(server, "POST", "auth/token/create", {"ttl": "1h"})["auth"]["client_token"]
    batch = ok(server, "POST", "auth/token/create", {"ttl": "1h", "type": "batch", "policies": ["default"]})
    ok(server, "POST", "sys/auth/approle", {"type": "approle"})
    ok(server, "POST", "auth/approle/role/r", {"token_policies": "default"})
    secret_id = ok(server, "POST", "auth/approle/role/r/secret-id")["data"]["secret_id"]
    texts = {
        "root token": server.token, "value": value, "patched": patched, "password": password, "login": login,
        "child token": child, "batch token": batch["auth"]["client_token"], "secret id": secret_id,
    }  # fmt: skip
    return {name: text.encode() for name, text in texts.items()}


def rekeyed(server: Server) -> list[str]:
    """New shares in the old ones' place."""
    begun = ok(server, "PUT", "sys/rekey/init", {"secret_shares": 3, "secret_threshold": 2})
    for share in server.shares[:2]:
        answer = ok(server, "PUT", "sys/rekey/update", {"key": share, "nonce": begun["nonce"]})
    return list(answer["keys"])


def test_sec_d_server_memory_after_seal(tmp_path: Path) -> None:
    """No share (old or new), no token, no key, no secret in any process of the tree; before, all of them were."""
    with running(tmp_path, workers=2, audit={"file": {"a": {"file_path": str(tmp_path / "audit.log")}}}) as server:
        needles = a_days_work(server)
        fresh = rekeyed(server)
        ok(server, "PUT", "sys/rotate")
        needles |= share_needles(server.shares, "old share") | share_needles(fresh, "new share")
        keys = keys_of(tmp_path / "data", fresh[:2])
        assert {"term 1", "term 2", "keyring key", "root key"} <= set(keys)
        needles |= keys
        pids = descendants(server.process.pid)
        for _ in range(10):
            ok(server, "GET", "kv/data/0")
        before = held_by(pids, needles)
        assert {"root token", "value", "keyring key", "term 1", "term 2"} <= before, "the positive control"
        assert any(name.startswith("new share") for name in before)
        assert held(server.process.pid, needles) == set(), "the supervisor never saw any of it"
        writers = [pid for pid in pids if b"strongroom.server.writer" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert [held(pid, needles) for pid in writers] == [set()], "the writer sees sealed values only, and may live on"
        workers = set(pids) - {server.process.pid, *writers}
        ok(server, "PUT", "sys/seal")
        assert ok(server, "GET", "sys/seal-status", token="")["sealed"]
        until(lambda: len(workers & set(descendants(server.process.pid))) <= 1, "the old workers end")
        until(lambda: not held_by(descendants(server.process.pid), needles), "memory is free of secrets", 3)
        for share in fresh[:2]:  # one worker sees a share again: the unseal works with what is stored alone
            ok(server, "PUT", "sys/unseal", {"key": share}, token="")
        assert ok(server, "GET", "kv/data/0")["data"]["data"]["v"].encode() == needles["value"]


def test_sec_d_an_unseal_attempt_given_up(tmp_path: Path) -> None:
    """A share that was given and then reset away is not kept by any process."""
    with running(tmp_path, unseal=False, workers=2) as server:
        server.initialize()
        given = share_needles(server.shares[:1], "share")
        for _ in range(3):
            ok(server, "PUT", "sys/unseal", {"key": server.shares[0]}, token="")
        raw = {name: needle for name, needle in given.items() if name.endswith("raw")}
        assert held_by(descendants(server.process.pid), raw), "the positive control"
        assert ok(server, "PUT", "sys/unseal", {"reset": True}, token="")["progress"] == 0
        assert held_by(descendants(server.process.pid), raw) == set()


EMBEDDED = """
import gc, json, sys
from strongroom import SealConfig, Vault
vault = Vault({"lmdb": {"path": sys.argv[1]}})
made = vault.init(SealConfig(3, 2))
for share in made.keys[:2]:
    vault.unseal(share)
vault.set_token(made.root_token)
vault.mount("secret", "kv")
vault.write("secret/a", {"x": "y"})
vault.write("sys/rotate")
vault.write("secret/a", {"x": vault.read("secret/a").data["x"]})
print(json.dumps(list(made.keys)), flush=True)
sys.stdin.readline()
vault.seal()
gc.collect()
print("sealed", flush=True)
sys.stdin.readline()
"""


def test_sec_d_embedded_memory_after_seal(tmp_path: Path) -> None:
    """The keys are gone from the program that embeds a vault. (Python's own strings cannot be wiped.)"""
    argv = [sys.executable, "-c", EMBEDDED, str(tmp_path / "data")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None and child.stdout is not None
        shares = json.loads(child.stdout.readline())
        keys = keys_of(tmp_path / "data", shares[:2])
        assert {"keyring key", "term 1", "term 2"} <= held(child.pid, keys), "the positive control"
        assert not {"unseal key", "root key"} & held(child.pid, keys), "those live only while shares are checked"
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "sealed\n"
        assert held(child.pid, keys) == set()
        child.stdin.close()
    assert child.returncode == 0
