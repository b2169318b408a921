"""The store under a vault: its name, objects of other makers, and half a copy."""

import os
from pathlib import Path
from typing import Any

import pytest

from strongroom import SealConfig, Vault
from strongroom.errors import BadRequest
from strongroom.sdk.storage import Write
from strongroom.storage.completion import drive
from strongroom.storage.memory import MemoryStore
from strongroom.storage.migrate import UNFINISHED
from strongroom.vault import plugins
from strongroom.vault.stores import StoreName, fit, needs_loop, open_backend


def test_names_of_one_store(tmp_path: Path) -> None:
    os.symlink(tmp_path, tmp_path / "link")
    plain = StoreName({"file": {"path": str(tmp_path / "s")}})
    assert plain.same_as(StoreName({"file": {"path": tmp_path / "link" / "s", "sync": False}}))
    assert not plain.same_as(StoreName({"lmdb": {"path": str(tmp_path / "s")}}))
    assert not plain.same_as(StoreName({"file": {"path": str(tmp_path / "t")}}))
    assert StoreName({"inmem": None}).same_as(StoreName({"memory": {}}))
    assert repr(StoreName({"etcd": {"password": "p"}})) == "StoreName(etcd)"


def test_a_whole_backend_is_used_as_it_is() -> None:
    store = MemoryStore()
    assert fit(store) is open_backend(store) is store
    assert not needs_loop(store)


class Bare:
    """What is asked at least, and nothing more."""

    def __init__(self) -> None:
        inner = MemoryStore()
        self.get, self.get_many, self.list = inner.get, inner.get_many, inner.list
        self.scan, self.commit, self.close = inner.scan, inner.commit, inner.close


async def test_what_was_left_out_is_filled_in() -> None:
    store = fit(Bare())
    assert store.kind == "Bare" and store.stamp() is None and needs_loop(store)
    await store.commit([Write("a", b"1")])
    entry = await store.get("a")
    assert entry is not None and entry.value == b"1"
    with pytest.raises(BadRequest):
        async for _ in store.watch(""):
            pass
    assert repr(store) == "Store(Bare)"


@pytest.mark.parametrize("name", ["get", "get_many", "list", "scan", "commit", "close"])
def test_each_missing_method_is_named(name: str) -> None:
    store = Bare()
    delattr(store, name)
    with pytest.raises(BadRequest, match=f"Bare has no {name} "):
        fit(store)


def test_half_a_copy_is_no_vault() -> None:
    store = MemoryStore()
    made = Vault(store).init(SealConfig(1, 1))
    drive(store.commit([Write(UNFINISHED, b"{}")]))
    vault = Vault(store)
    tries: list[Any] = [vault.init, lambda: vault.unseal(made.keys[0]), lambda: vault.unseal_once(made.keys)]
    for attempt in tries:
        with pytest.raises(BadRequest, match="unfinished copy"):
            attempt()
    assert vault.sealed
    assert vault.read("sys/seal-status") is not None
    drive(store.commit([Write(UNFINISHED, None)]))
    assert not vault.unseal(made.keys[0]).sealed


def test_plug_ins_by_name() -> None:
    assert {"kv", "cubbyhole"} <= set(plugins.names("engines"))
    assert plugins.foreign("storage") == []
    with pytest.raises(BadRequest, match="no plug-in 'nope'"):
        plugins.load("storage", "nope")
