"""No ``repr`` of anything that a vault gives out or is made of shows a secret."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from strongroom import AsyncVault, SealConfig, Vault
from strongroom.errors import VaultError
from strongroom.sdk import Response

CANARY = "canary-4711-of-the-secret"
_LEAVES = (str, bytes, int, float, bool, type(None), type)


def parts(thing: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of ``thing``, however it keeps them, and the members of containers."""
    yield from getattr(thing, "__dict__", {}).items()
    for kind in type(thing).__mro__:
        slots = getattr(kind, "__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(thing, name):
                yield name, getattr(thing, name)
    for name in getattr(type(thing), "__struct_fields__", ()):
        yield name, getattr(thing, name)


def graph(root: Any, most: int = 20_000) -> Iterator[tuple[str, Any]]:
    """Everything that hangs on ``root`` as an attribute of an object of the house, with its path."""
    queue, known = [("vault", root)], {id(root)}
    keep = [root]
    while queue and len(known) < most:
        path, thing = queue.pop(0)
        yield path, thing
        if isinstance(thing, dict):
            inner = [(f"[{n}]", part) for n, part in enumerate(thing.values())]
        elif isinstance(thing, list | tuple | set | frozenset):
            inner = [(f"[{n}]", part) for n, part in enumerate(thing)]
        elif type(thing).__module__.startswith("strongroom"):
            inner = list(parts(thing))
        else:
            continue
        for name, part in inner:
            if id(part) not in known and not isinstance(part, _LEAVES):
                known.add(id(part))
                keep.append(part)
                queue.append((f"{path}.{name}", part))
            elif isinstance(part, str | bytes):
                yield f"{path}.{name}", part


def check(things: Any, secrets: list[str]) -> list[str]:
    needles = [form for text in secrets for form in (text, repr(text.encode())[2:-1])]
    return [path for path, thing in things if any(needle in shown(thing) for needle in needles)]


def shown(thing: Any) -> str:
    return repr(thing) + str(thing)


def test_repr_of_a_vault_and_all_it_is_made_of(tmp_path: Path) -> None:
    vault, results, secrets = worked(tmp_path)
    leaks = check(graph(vault), secrets)
    assert not leaks
    assert not check(((type(r).__name__, r) for r in results), secrets)
    seen = [path for path, _ in graph(vault)]
    assert len(seen) > 100, seen  # the walk walks
    assert any("barrier" in path for path in seen) and any("tokens" in path for path in seen)
    # The control: a secret that is held in plain sight is found.
    vault.left_about = secrets[0]  # type: ignore[attr-defined]
    assert check(graph(vault), secrets)
    vault.close()


def worked(tmp_path: Path) -> tuple[Vault, list[Any], list[str]]:
    """A vault with a day's work behind it, what it gave out, and what must not show."""
    log = tmp_path / "audit.log"
    config = {"audit": {"file": {"main": {"file_path": str(log)}}}, "audit_dir": str(tmp_path)}
    vault = Vault({"lmdb": {"path": str(tmp_path / "s")}}, config)
    made = vault.init(SealConfig(3, 2))
    fresh = vault.unseal_once(made.keys[:2])
    vault.set_token(made.root_token)
    vault.mount("secret", "kv", options={"version": "2"})
    vault.mount("auth/userpass", "userpass")
    results: list[Any] = [made, fresh]
    results.append(vault.write("secret/data/a", {"data": {"password": CANARY}}))
    results.append(vault.read("secret/data/a"))
    results.append(vault.write("auth/userpass/users/bob", {"password": CANARY}))
    results.append(vault.write("auth/token/create", {"ttl": "1h"}))
    login = vault.login("auth/userpass/login/bob", {"password": CANARY})
    results.append(login)
    assert login.auth is not None and results[5].auth is not None
    vault.read("auth/token/lookup-self")
    results.append(vault.read("auth/token/lookup-self", token=made.root_token))
    secrets = [made.root_token, CANARY, login.auth.client_token, results[5].auth.client_token]
    for shares in (made, fresh):
        secrets += [*shares.keys, *shares.keys_base64]
    try:
        vault.write("secret/data/a", {"data": {"password": CANARY}, "options": {"cas": 99}}, token=made.root_token)
    except VaultError as error:
        results += [error, error.args, error.__cause__, error.messages]
    rekey = vault.write("sys/rekey/init", {"secret_shares": 1, "secret_threshold": 1}, token=made.root_token)
    results.append(rekey)
    nonce = rekey.data["nonce"]  # type: ignore[index]
    results.append(vault.write("sys/rekey/update", {"key": fresh.keys[0], "nonce": nonce}, token=made.root_token))
    return vault, results, secrets


def test_repr_of_answers_does_not_depend_on_the_printer() -> None:
    vault = Vault({"memory": {}})
    made = vault.init(SealConfig(1, 1))
    vault.unseal(made.keys[0])
    answer = Response(data={"x": CANARY})
    for printed in (repr(answer), str(answer), f"{answer!r:>5}", f"{answer}"):
        assert CANARY not in printed
    assert CANARY not in repr(msgspec.structs.replace(answer, warnings=("w",)))
    assert made.root_token not in f"{made}{made!r}{made!s}"
    vault.close()


async def test_repr_of_an_async_vault() -> None:
    vault = AsyncVault({"memory": {}})
    made = await vault.init(SealConfig(1, 1))
    await vault.unseal(made.keys[0])
    vault.set_token(made.root_token)
    await vault.mount("secret", "kv")
    await vault.write("secret/a", {"x": CANARY})
    secrets = [made.root_token, CANARY, *made.keys, *made.keys_base64]
    leaks = check(graph(vault), secrets)
    assert not leaks
    await vault.close()


@pytest.mark.parametrize("kind", ["memory", "lmdb"])
def test_sealing_forgets_the_keys(kind: str, tmp_path: Path) -> None:
    """The keyring key and the terms are gone from locked memory, and no cipher is left."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    vault = Vault({kind: {} if kind == "memory" else {"path": str(tmp_path / "s")}})
    made = vault.init(SealConfig(1, 1))
    vault.unseal(made.keys[0])
    barrier = vault._core.barrier
    assert barrier is not None
    keeper = barrier._keyring
    piece, ciphers = keeper._key.view(), len([o for o in gc.get_objects() if isinstance(o, AESGCM)])
    assert any(piece) and keeper.ciphers  # the control
    del ciphers
    vault.seal(token=made.root_token)
    gc.collect()
    assert not any(piece)
    assert keeper._key.closed and not keeper.ciphers and keeper.active is None
    assert not vault._core.spaces and vault._core.barrier is None
    vault.close()


@pytest.fixture
def watched() -> Iterator[tuple[Vault, Any, list[str]]]:
    """An unsealed vault, what its init gave, and every ``args`` that its handlers saw, printed."""
    seen: list[str] = []

    class Watcher:
        async def log(self, call: Any, outcome: Any) -> None:
            seen.append(f"{call.args!r} {call.args}")

    vault = Vault({"memory": {}})
    vault.add_handler(Watcher())
    made = vault.init(SealConfig(1, 1))
    vault.unseal(made.keys[0])
    vault.set_token(made.root_token)
    vault.mount("secret", "kv", options={"version": "2"})
    yield vault, made, seen
    vault.close()


def test_what_handlers_see_of_the_fields_shows_no_secret(watched: tuple[Vault, Any, list[str]]) -> None:
    vault, made, seen = watched
    otp = "otp-canary-of-28-characters!"
    calls = [
        ("secret/data/a", {"data": {"password": CANARY}}),
        ("auth/token/create", {"id": CANARY}),
        ("auth/token/lookup", {"token": CANARY}),
        ("auth/token/renew", {"token": CANARY}),
        ("sys/capabilities", {"token": CANARY, "path": "a"}),
        ("sys/wrapping/lookup", {"token": CANARY}),
        ("sys/wrapping/unwrap", {"token": CANARY}),
        ("sys/unseal", {"key": made.keys[0]}),
        ("sys/generate-root/attempt", {"otp": otp}),
        ("sys/generate-root/update", {"key": made.keys[0], "nonce": "n"}),
        ("sys/decode-token", {"encoded_token": CANARY, "otp": otp}),
        ("sys/rekey/update", {"key": made.keys[0], "nonce": "n"}),
    ]
    for path, data in calls:
        try:
            vault.write(path, data)
        except VaultError:
            pass
    assert len([line for line in seen if "None" not in line]) >= len(calls), "the watcher saw fields"
    assert [line for line in seen if any(secret in line for secret in (CANARY, made.keys[0], otp))] == []
