"""``vault.core.migrate``: a running vault changes its store and loses nothing."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from strongroom import Vault
from strongroom.errors import BadRequest, Conflict, NotFound, PermissionDenied, StorageFailed, VaultError
from strongroom.storage.completion import drive
from strongroom.storage.memory import MemoryStore
from strongroom.vault import migration, plugins
from strongroom.vault.stores import open_backend
from unit.vault.vaults import opened, opened_async, opened_with_keys

MOVES = [("memory", "lmdb"), ("lmdb", "file"), ("file", "lmdb"), ("lmdb", "lmdb"), ("file", "memory")]


def place(kind: str, folder: Path, name: str) -> dict[str, Any]:
    return {kind: {} if kind == "memory" else {"path": str(folder / name), "sync": False}}


def rows(spec: dict[str, Any]) -> dict[str, bytes]:
    store = open_backend(spec)
    try:
        return {key: entry.value for key, entry in drive(store.scan("", limit=10**6))}
    finally:
        drive(store.close())


class Writers:
    """Threads that write, and remember what they were told is done."""

    def __init__(self, vault: Vault, threads: int = 4) -> None:
        self.vault, self.stop = vault, threading.Event()
        self.told: list[dict[str, int]] = [{} for _ in range(threads)]
        self.counted = [0] * threads
        self.errors: list[BaseException] = []
        self.running = [threading.Thread(target=self._run, args=(n,)) for n in range(threads)]

    def __enter__(self) -> "Writers":
        for thread in self.running:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.running:
            thread.join(30)
            assert not thread.is_alive()

    def _run(self, number: int) -> None:
        vault, step = self.vault, 0
        try:
            while not self.stop.is_set():
                step += 1
                path = f"plain/{number}/{step % 50}"
                vault.write(path, {"step": step})
                self.told[number][path] = step
                assert vault.read(path).data == {"step": step}  # type: ignore[union-attr]
                self._count(number)
                self.stop.wait(0.002)
                if step % 10 == 0:
                    vault.mount(f"m/{number}", "kv")
                    vault.unmount(f"m/{number}")
        except BaseException as error:
            self.errors.append(error)

    def _count(self, number: int) -> None:
        found = self.vault.read("secret/data/n")
        assert found is not None and found.data is not None
        version = found.data["metadata"]["version"]
        try:
            self.vault.write("secret/data/n", {"data": {"n": found.data["data"]["n"] + 1}, "options": {"cas": version}})
            self.counted[number] += 1
        except BadRequest:
            pass


@pytest.mark.parametrize(
    ("old", "new", "custom"), [(*move, False) for move in MOVES] + [(*MOVES[0], True), (*MOVES[1], True)]
)
def test_while_threads_write(old: str, new: str, custom: bool, tmp_path: Path) -> None:
    source, target = place(old, tmp_path, "old"), place(new, tmp_path, "new")
    vault, made = opened_with_keys(source, shares=3, threshold=2)
    if custom:
        vault.add_handler(type("Passer", (), {"log": staticmethod(_pass)})())
    vault.mount("secret", "kv", options={"version": "2"})
    vault.mount("plain", "kv")
    vault.write("secret/data/n", {"data": {"n": 0}})
    for number in range(200):
        vault.write(f"plain/before/{number}", {"n": number})
    with Writers(vault) as writers:
        time.sleep(0.1)
        report = vault.core.migrate(source, target)
        assert report.entries >= 200 and (report.source, report.target) == (old, new)
        copied = rows(source) if old != "memory" else {}
        time.sleep(0.1)
    assert not writers.errors
    assert copied == (rows(source) if old != "memory" else {})  # nothing is written to the source any more
    before, after = sum(writers.counted), vault.read("secret/data/n").data["data"]["n"]  # type: ignore[union-attr, index]
    assert before == after > 0
    assert vault.read("sys/seal-status").data["storage_type"] == new  # type: ignore[union-attr, index]
    _same(vault, writers)
    vault.close()
    if new != "memory":
        again = Vault(target)
        for share in made.keys[1:]:
            again.unseal(share)
        again.set_token(made.root_token)
        _same(again, writers)
        again.close()


async def _pass(*_: Any) -> None: ...


def _same(vault: Vault, writers: Writers) -> None:
    for told in writers.told:
        assert told
        for path, step in told.items():
            found = vault.read(path)
            assert found is not None and found.data is not None
            assert found.data["step"] >= step, path
    assert vault.list("plain/before").data["keys"] == sorted(str(n) for n in range(200))  # type: ignore[union-attr, index]


def test_everything_works_on_the_other_side(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    source, target = place("file", tmp_path, "old"), place("lmdb", tmp_path, "new")
    vault, made = opened_with_keys(source, {"audit": {"file": {"main": {"file_path": str(log)}}}})
    vault.mount("secret", "kv", options={"version": "2"})
    vault.mount("auth/userpass", "userpass")
    vault.write("auth/userpass/users/bob", {"password": "builder-of-things"})
    vault.write("secret/data/a", {"data": {"x": 1}})
    child = vault.write("auth/token/create", {"ttl": "1h", "policies": ["default"]}).auth
    doomed = vault.write("auth/token/create", {"ttl": "1h", "policies": ["default"]}).auth
    assert child is not None and doomed is not None
    for token in (child.client_token, doomed.client_token):
        vault.read("auth/token/lookup-self", token=token)  # now in the cache
    vault.core.migrate(source, target)
    assert vault.read("auth/token/lookup-self", token=child.client_token) is not None
    vault.write("auth/token/revoke", {"token": doomed.client_token})
    with pytest.raises(PermissionDenied):
        vault.read("auth/token/lookup-self", token=doomed.client_token)
    assert vault.write("secret/data/a", {"data": {"x": 2}, "options": {"cas": 1}}).data is not None
    vault.write("sys/rotate")
    vault.unmount("secret")
    with pytest.raises(NotFound):
        vault.read("secret/data/a")
    vault.mount("secret", "kv")
    vault.write("secret/b", {"x": 3})
    size = log.stat().st_size
    vault.read("secret/b")
    assert log.stat().st_size > size
    vault.seal()
    vault.unseal(made.keys[0])
    vault.login("auth/userpass/login/bob", {"password": "builder-of-things"})
    assert vault.read("secret/b", token=made.root_token).data == {"x": 3}  # type: ignore[union-attr]
    vault.core.migrate(target, place("file", tmp_path, "third"))  # and on
    assert vault.read("secret/b", token=made.root_token).data == {"x": 3}  # type: ignore[union-attr]
    vault.close()
    old = Vault(source)  # what was, as it was
    old.unseal(made.keys[0])
    assert old.read("secret/data/a", token=made.root_token).data["data"] == {"x": 1}  # type: ignore[union-attr, index]
    old.close()


def test_a_sealed_vault_moves_too(tmp_path: Path) -> None:
    source, target = place("file", tmp_path, "old"), place("lmdb", tmp_path, "new")
    vault, made = opened_with_keys(source)
    vault.seal()
    vault.core.migrate(source, target)
    assert vault.sealed and not vault.unseal(made.keys[0]).sealed
    vault.close()


def test_what_cannot_be_moved(tmp_path: Path) -> None:
    source, other = place("file", tmp_path, "old"), place("lmdb", tmp_path, "other")
    full = place("file", tmp_path, "full")
    opened(full).close()
    vault = opened(source)
    for from_, to in (
        (other, place("file", tmp_path, "new")), (source, source), (source, full), (source, {"nope": {}}),
        (source, {"lmdb": {}}), (source, "lmdb"), ({}, other), (None, other), (place("file", tmp_path, "no"), other),
    ):  # fmt: skip
        with pytest.raises(BadRequest):
            vault.core.migrate(from_, to)  # type: ignore[arg-type]
    vault.mount("still", "kv")
    vault.core.migrate(source, other)
    vault.close()


class Failing(MemoryStore):
    """Fails at one of its commits."""

    kind = "failing"
    at, count = 0, 0

    async def commit(self, *args: Any, **more: Any) -> None:
        type(self).count += 1
        if type(self).count == self.at:
            raise StorageFailed("the target failed")
        await super().commit(*args, **more)


def test_a_failure_at_any_point_leaves_the_source_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = plugins.load
    monkeypatch.setattr(plugins, "load", lambda g, n: (lambda options: Failing()) if n == "failing" else real(g, n))
    source = place("lmdb", tmp_path, "old")
    vault = opened(source)
    vault.mount("secret", "kv")
    for number in range(100):
        vault.write(f"secret/{number}", {"n": number})
    failed = 0
    for at in range(1, 50):
        Failing.at, Failing.count = at, 0
        try:
            vault.core.migrate(source, {"failing": {}})
            break
        except StorageFailed:
            failed += 1
        vault.write("secret/0", {"n": at})
        assert vault.read("secret/0").data == {"n": at}  # type: ignore[union-attr]
        assert repr(vault) == "Vault(lmdb, unsealed)"
    assert failed >= 3
    assert repr(vault) == "Vault(failing, unsealed)"
    assert vault.read("secret/0").data == {"n": failed}  # type: ignore[union-attr]
    vault.close()


def test_a_store_object_stays_its_owners(tmp_path: Path) -> None:
    store = MemoryStore()
    vault, made = opened_with_keys(store)
    vault.mount("secret", "kv")
    vault.core.migrate({"memory": {}}, place("lmdb", tmp_path, "new"))
    vault.write("secret/a", {"x": 1})
    vault.close()
    old = Vault(store)
    old.unseal(made.keys[0])
    assert old.read("secret/a", token=made.root_token) is None
    old.close()


def test_one_migration_at_a_time(tmp_path: Path) -> None:
    source = place("memory", tmp_path, "")
    vault = opened(source)
    vault._ground.moving = True
    with pytest.raises(Conflict):
        vault.core.migrate(source, place("lmdb", tmp_path, "new"))
    with pytest.raises(Conflict):
        vault.close()
    vault._ground.moving = False
    vault.close()


async def test_awaited(tmp_path: Path) -> None:
    source, target = place("lmdb", tmp_path, "old"), place("file", tmp_path, "new")
    vault, _ = await opened_async(source)
    await vault.mount("secret", "kv")
    told: dict[str, int] = {}
    stop = asyncio.Event()

    async def write(number: int) -> None:
        step = 0
        while not stop.is_set():
            step += 1
            path = f"secret/{number}/{step % 20}"
            await vault.write(path, {"step": step})
            told[path] = step

    tasks = [asyncio.ensure_future(write(n)) for n in range(8)]
    await asyncio.sleep(0.05)
    report = await vault.core.migrate(source, target)
    await asyncio.sleep(0.05)
    stop.set()
    await asyncio.gather(*tasks)
    assert report.entries > 10 and told
    for path, step in told.items():
        found = await vault.read(path)
        assert found is not None and found.data == {"step": step}
    await vault.close()


async def test_a_migration_that_is_given_up(tmp_path: Path) -> None:
    source, target = place("lmdb", tmp_path, "old"), place("file", tmp_path, "new")
    vault, _ = await opened_async(source)
    await vault.mount("secret", "kv")
    await asyncio.gather(*(vault.write(f"secret/{n}", {"n": n}) for n in range(200)))
    task = asyncio.ensure_future(vault.core.migrate(source, target))
    await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await vault.write("secret/0", {"n": "after"})
    await vault.core.migrate(source, target)  # goes on with what is there
    found = await vault.read("secret/0")
    assert found is not None and found.data == {"n": "after"}
    assert len((await vault.list("secret")).data["keys"]) == 200  # type: ignore[union-attr, index]
    await vault.close()


def test_reports_print_no_place() -> None:
    assert "password" not in repr(migration.StoreName({"x": {"password": "p"}}))
    assert isinstance(VaultError(), Exception)
