"""The sync face: what a program does with a ``Vault`` in its process, over every embedded store."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom import SealConfig, Vault
from strongroom.errors import (
    BadRequest,
    NotFound,
    PermissionDenied,
    Sealed,
    StorageFailed,
    UnsupportedPath,
    VaultError,
)
from strongroom.storage.lmdb import open_store
from strongroom.storage.memory import MemoryStore
from unit.vault.vaults import opened, opened_with_keys

KINDS = ("memory", "lmdb", "file")
POLICY = 'path "secret/open" { capabilities = ["read"] }'


@pytest.fixture(params=KINDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return {request.param: {} if request.param == "memory" else {"path": str(tmp_path / "store")}}


@pytest.fixture
def vault() -> Iterator[Vault]:
    with opened() as made:
        made.mount("secret", "kv", options={"version": "2"})
        made.mount("plain", "kv")
        yield made


def test_from_nothing_to_a_secret(backend: dict[str, Any]) -> None:
    vault = Vault(backend, config=None)
    assert vault.sealed
    made = vault.init(SealConfig(secret_shares=5, secret_threshold=3))
    assert len(made.keys) == len(made.keys_base64) == 5
    assert made.root_token.startswith("hvs.") and len(made.root_token) == 28
    assert vault.sealed
    steps = [vault.unseal(share) for share in (made.keys[0], made.keys_base64[1], made.keys[4])]
    assert [(s.sealed, s.t, s.n, s.progress) for s in steps] == [(True, 3, 5, 1), (True, 3, 5, 2), (False, 3, 5, 0)]
    assert not vault.sealed
    vault.set_token(made.root_token)
    vault.mount("secret/", "kv", options={"version": "2"})
    assert vault.write("secret/data/a", {"data": {"x": 1}}).data["version"] == 1  # type: ignore[index]
    found = vault.read("secret/data/a")
    assert found is not None and found.data is not None
    assert found.data["data"] == {"x": 1}
    listed = vault.list("secret/metadata")
    assert listed is not None and listed.data == {"keys": ["a"]}
    vault.seal()
    assert vault.sealed
    with pytest.raises(Sealed):
        vault.read("secret/data/a")
    vault.close()
    vault.close()


def test_a_repeated_share_is_one_share() -> None:
    vault = Vault({"inmem": {}})
    made = vault.init(SealConfig(3, 2))
    assert vault.unseal(made.keys[0]).progress == 1
    assert vault.unseal(made.keys_base64[0]).progress == 1
    assert not vault.unseal(made.keys[1]).sealed


@pytest.mark.parametrize("share", ["", "x", "00" * 32, "é" * 64, "zz" * 33, 7, None, b"00"])
def test_what_is_no_share(share: Any) -> None:
    vault = Vault({"memory": {}})
    vault.init(SealConfig(3, 2))
    with pytest.raises(BadRequest):
        vault.unseal(share)


@pytest.mark.parametrize("config", [SealConfig(0, 0), SealConfig(2, 3), SealConfig(3, 1), SealConfig(256, 2), "5", {}])
def test_share_counts_that_are_refused(config: Any) -> None:
    vault = Vault({"memory": {}})
    with pytest.raises(BadRequest):
        vault.init(config or "none")
    assert vault.init().keys  # nothing was half initialised
    with pytest.raises(BadRequest, match="already initialized"):
        vault.init()


def test_unseal_once_replaces_the_shares(backend: dict[str, Any]) -> None:
    vault = Vault(backend)
    made = vault.init(SealConfig(3, 2))
    fresh = vault.unseal_once(made.keys_base64[:2])
    assert not vault.sealed
    assert len(fresh.keys) == len(fresh.keys_base64) == 3
    assert not set(fresh.keys) & set(made.keys)
    vault.set_token(made.root_token)
    vault.seal()
    vault.unseal(made.keys[0])
    with pytest.raises(BadRequest):
        vault.unseal(made.keys[1])
    assert vault.sealed
    with pytest.raises(BadRequest):
        vault.unseal_once(made.keys[:2])
    with pytest.raises(BadRequest):
        vault.unseal_once(fresh.keys[:1])
    third = vault.unseal_once(fresh.keys[1:])
    assert len(third.keys) == 3
    with pytest.raises(BadRequest):
        vault.unseal_once(third.keys)  # unsealed already
    vault.close()


def test_a_single_share_may_stand_alone() -> None:
    vault = Vault({"memory": {}})
    made = vault.init(SealConfig(1, 1))
    fresh = vault.unseal_once(made.keys[0])  # type: ignore[arg-type]
    assert fresh.keys != made.keys


def test_more_shares_than_needed_do_no_harm() -> None:
    vault = Vault({"memory": {}})
    made = vault.init(SealConfig(5, 3))
    assert len(vault.unseal_once(made.keys).keys) == 5


def test_unseal_once_is_recorded(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    config = {"audit": {"file": {"main": {"file_path": str(log)}}}, "audit_dir": str(tmp_path)}
    vault = Vault({"memory": {}}, config)
    made = vault.init(SealConfig(1, 1))
    fresh = vault.unseal_once(made.keys)
    text = log.read_text()
    assert text.count('"sys/unseal"') == 2
    for secret in (*made.keys, *made.keys_base64, *fresh.keys, *fresh.keys_base64, made.root_token):
        assert secret not in text
    vault.set_token(made.root_token)
    vault.seal()
    with pytest.raises(BadRequest):
        vault.unseal_once(made.keys)
    assert '"error"' in log.read_text().splitlines()[-1]


def test_mounts(vault: Vault) -> None:
    vault.write("plain/a", {"x": 1})
    vault.remount("plain", "moved/here")
    assert vault.read("moved/here/a").data == {"x": 1}  # type: ignore[union-attr]
    with pytest.raises(NotFound):
        vault.read("plain/a")
    vault.unmount("moved/here")
    with pytest.raises(NotFound):
        vault.read("moved/here/a")
    vault.mount("moved/here", "kv")
    assert vault.read("moved/here/a") is None
    with pytest.raises(BadRequest):
        vault.mount("moved/here", "kv")
    with pytest.raises(BadRequest):
        vault.mount("x", "no-such-type")
    with pytest.raises(BadRequest):
        vault.unmount("sys")
    with pytest.raises(BadRequest):
        vault.mount(7, "kv")  # type: ignore[arg-type]
    with pytest.raises(BadRequest):
        vault.mount("x", "kv", options="version=2")  # type: ignore[arg-type]


def test_auth_mounts_and_login(vault: Vault) -> None:
    vault.mount("auth/people", "userpass", options={"description": "us"})
    vault.write("sys/policies/acl/readers", {"policy": POLICY})
    vault.write("auth/people/users/bob", {"password": "builder-of-things", "token_policies": "readers"})
    vault.mount("secret1", "kv")
    with pytest.raises(VaultError):
        vault.login("auth/people/login/bob", {"password": "wrong"})
    assert vault.read("sys/mounts") is not None  # a failed login leaves the token
    answer = vault.login("auth/people/login/bob", {"password": "builder-of-things"})
    assert answer.auth is not None
    own = vault.read("auth/token/lookup-self")
    assert own is not None and own.data is not None
    assert own.data["display_name"] == "people-bob"
    with pytest.raises(PermissionDenied):
        vault.read("secret/data/a")
    vault.set_token("")
    with pytest.raises(PermissionDenied):
        vault.read("auth/token/lookup-self")
    assert vault.read("auth/token/lookup-self", token=answer.auth.client_token) is not None


def test_a_token_for_one_call(vault: Vault) -> None:
    vault.write("sys/policies/acl/readers", {"policy": POLICY})
    child = vault.write("auth/token/create", {"policies": ["readers"]}).auth
    assert child is not None
    vault.write("plain/a", {"x": 1})
    for call in (
        lambda token: vault.read("plain/a", token=token),
        lambda token: vault.list("plain", token=token),
        lambda token: vault.write("plain/b", {"x": 1}, token=token),
        lambda token: vault.patch("secret/data/a", {"data": {}}, token=token),
        lambda token: vault.delete("plain/a", token=token),
        lambda token: vault.mount("more", "kv", token=token),
        lambda token: vault.remount("plain", "more", token=token),
        lambda token: vault.unmount("plain", token=token),
        lambda token: vault.seal(token=token),
    ):
        for token in (child.client_token, "", "hvs.no"):
            with pytest.raises(PermissionDenied):
                call(token)
    assert vault.read("plain/a").data == {"x": 1}  # type: ignore[union-attr]


def test_patch_delete_and_deleted_versions(vault: Vault) -> None:
    vault.write("secret/data/a", {"data": {"x": 1, "y": 2}})
    vault.patch("secret/data/a", {"data": {"y": None, "z": 3}})
    assert vault.read("secret/data/a").data["data"] == {"x": 1, "z": 3}  # type: ignore[union-attr, index]
    assert vault.read("secret/data/a", {"version": 1}).data["data"] == {"x": 1, "y": 2}  # type: ignore[union-attr, index]
    vault.delete("secret/data/a")
    gone = vault.read("secret/data/a")
    assert gone is not None and gone.status == 404 and gone.data is not None
    assert gone.data["data"] is None
    assert vault.read("secret/data/none") is None
    assert vault.list("secret/metadata/none") is None
    vault.delete("secret/data/none")


def test_paths_that_lead_nowhere(vault: Vault) -> None:
    with pytest.raises(NotFound, match="no handler"):
        vault.read("nowhere/a")
    with pytest.raises(UnsupportedPath):
        vault.read("sys/no-such-thing")
    assert vault.read("sys/policies/acl/none") is None


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "secret//a",
        "secret/../sys",
        "./a",
        "secret/data/a/",
        "a\\b",
        "a\x00b",
        "e\u0301",
        "\ud800",
        "x" * 5000,
        7,
        None,
    ],
)
def test_paths_that_no_door_lets_in(vault: Vault, path: Any) -> None:
    for call in (vault.read, vault.write, vault.delete):
        with pytest.raises(BadRequest):
            call(path)


@pytest.mark.parametrize("path", ["plain//", "", "//", "plain/../plain/"])
def test_lists_that_no_door_lets_in(vault: Vault, path: str) -> None:
    with pytest.raises(BadRequest):
        vault.list(path)


def _deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "data",
    ["text", 7, [("a", 1)], {1: 2}, {"a": object()}, {"a": {1, 2}}, {"a": b"raw"}, {"a": float("nan")},
     {"a": [float("inf")]}, {"a": "\ud800"}, {"\ud800": 1}, {"a": _deep(64)}, {"a": [0] * 50_001}],
)  # fmt: skip
def test_data_that_is_no_json(vault: Vault, data: Any) -> None:
    with pytest.raises(BadRequest):
        vault.write("plain/a", data)
    assert vault.read("plain/a") is None


def test_what_was_written_is_a_copy(vault: Vault) -> None:
    inner = [1, 2]
    vault.write("plain/a", {"list": inner, "deep": _deep(62), "big": 2**70})
    inner.append(3)
    found = vault.read("plain/a")
    assert found is not None and found.data is not None
    assert found.data["list"] == [1, 2]


@pytest.mark.parametrize("token", [7, None, b"hvs.", "hvs.\ud800"])
def test_tokens_that_are_no_text(vault: Vault, token: Any) -> None:
    with pytest.raises(BadRequest):
        vault.set_token(token)
    if token is not None:
        with pytest.raises(BadRequest):
            vault.read("plain/a", token=token)


def test_open_again(backend: dict[str, Any]) -> None:
    store: Any = MemoryStore() if "memory" in backend else backend
    first, made = opened_with_keys(store)
    first.mount("secret", "kv")
    first.write("secret/a", {"x": "ä"})
    first.close()
    for call in (lambda: first.read("secret/a"), first.init, lambda: first.unseal(made.keys[0]), first.tidy):
        with pytest.raises(Sealed):
            call()
    assert first.sealed
    with Vault(store) as second:
        second.unseal(made.keys[0])
        assert second.read("secret/a", token=made.root_token).data == {"x": "ä"}  # type: ignore[union-attr]


def test_two_vaults_on_one_lmdb_file(tmp_path: Path) -> None:
    backend = {"lmdb": {"path": str(tmp_path / "store")}}
    first = opened(backend)
    with pytest.raises(StorageFailed, match="already open in this process"):
        Vault(backend)
    first.close()


def test_two_vaults_on_one_store_object(tmp_path: Path) -> None:
    store = open_store({"path": str(tmp_path / "store")})
    first, made = opened_with_keys(store)
    second = Vault(store)
    second.unseal(made.keys[0])
    second.set_token(made.root_token)
    first.mount("secret", "kv")
    second.write("secret/a", {"x": 1})
    assert first.read("secret/a").data == {"x": 1}  # type: ignore[union-attr]
    first.unmount("secret")
    with pytest.raises(NotFound):
        second.read("secret/a")
    child = first.write("auth/token/create", {}).auth
    assert child is not None
    assert second.read("auth/token/lookup-self", token=child.client_token) is not None
    first.write("auth/token/revoke", {"token": child.client_token})
    with pytest.raises(PermissionDenied):
        second.read("auth/token/lookup-self", token=child.client_token)
    first.close()
    assert second.read("sys/mounts") is not None  # the object is the caller's: it stays open
    second.close()
    asyncio.run(store.close())


@pytest.mark.parametrize("backend", [{}, {"a": {}, "b": {}}, {"nope": {}}, {"lmdb": {}}, {"lmdb": []}, {7: {}},
                                     {"memory": {"path": "x"}}, None, 7, "lmdb", object()])  # fmt: skip
def test_what_is_no_store(backend: Any) -> None:
    with pytest.raises(BadRequest):
        Vault(backend)


def test_the_store_may_stand_in_the_configuration(tmp_path: Path) -> None:
    with opened_config({"storage": {"file": {"path": str(tmp_path / "s")}}}) as vault:
        assert repr(vault) == "Vault(file, sealed)"


def opened_config(config: dict[str, Any]) -> Vault:
    return Vault(None, config)


async def test_inside_a_running_loop(backend: dict[str, Any]) -> None:
    """Sync code that happens to be called by a coroutine: it blocks the loop, and works."""
    with opened(backend) as vault:
        vault.mount("secret", "kv")
        vault.write("secret/a", {"x": 1})
        assert vault.read("secret/a").data == {"x": 1}  # type: ignore[union-attr]
        await asyncio.to_thread(vault.write, "secret/b", {"x": 2})
        assert vault.list("secret").data == {"keys": ["a", "b"]}  # type: ignore[union-attr]


def test_threads_end_with_the_vault(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    for backend in ({"lmdb": {"path": str(tmp_path / "l")}}, {"file": {"path": str(tmp_path / "f")}}, {"memory": {}}):
        with opened(backend) as vault:
            vault.mount("secret", "kv")
            vault.add_handler(_Watcher())
            vault.mount("auth/userpass", "userpass")
            vault.write("auth/userpass/users/bob", {"password": "builder-of-things"})
            assert set(threading.enumerate()) - before
        assert set(threading.enumerate()) - before == set()


class _Watcher:
    async def log(self, call: Any, outcome: Any) -> None:
        await asyncio.sleep(0)


def test_version_and_tidy() -> None:
    times = [1_900_000_000.0]
    vault, _ = opened_with_keys(config={"version": "1.15.3"}, now=lambda: times[0])
    assert vault.read("sys/seal-status").data["version"] == "1.15.3"  # type: ignore[union-attr, index]
    child = vault.write("auth/token/create", {"ttl": "1m"}).auth
    assert child is not None
    assert vault.tidy() == 0
    times[0] += 61
    with pytest.raises(PermissionDenied):
        vault.read("auth/token/lookup-self", token=child.client_token)
    assert vault.tidy() == 1
    assert vault.tidy() == 0
