"""The async face: many calls at once, and calls that are given up half-way."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from strongroom import AsyncVault, SealConfig
from strongroom.errors import BadRequest, PermissionDenied, Sealed
from unit.vault.vaults import opened_async

KINDS = ("memory", "lmdb", "file")


def place(kind: str, folder: Path) -> dict[str, Any]:
    return {kind: {} if kind == "memory" else {"path": str(folder / "store")}}


@pytest.mark.parametrize("kind", KINDS)
async def test_from_nothing_to_a_secret(kind: str, tmp_path: Path) -> None:
    async with AsyncVault(place(kind, tmp_path)) as vault:
        made = await vault.init(SealConfig(3, 2))
        assert (await vault.unseal(made.keys[0])).progress == 1
        assert not (await vault.unseal(made.keys_base64[2])).sealed
        assert not vault.sealed
        vault.set_token(made.root_token)
        await vault.mount("secret", "kv", options={"version": "2"})
        await vault.write("secret/data/a", {"data": {"x": 1}})
        await vault.patch("secret/data/a", {"data": {"y": 2}})
        found = await vault.read("secret/data/a")
        assert found is not None and found.data is not None
        assert found.data["data"] == {"x": 1, "y": 2}
        assert (await vault.list("secret/metadata")).data == {"keys": ["a"]}  # type: ignore[union-attr]
        await vault.delete("secret/data/a")
        await vault.remount("secret", "moved")
        assert await vault.read("moved/data/b") is None
        await vault.unmount("moved")
        await vault.mount("auth/userpass", "userpass")
        await vault.write("auth/userpass/users/bob", {"password": "builder-of-things"})
        await vault.login("auth/userpass/login/bob", {"password": "builder-of-things"})
        with pytest.raises(PermissionDenied):
            await vault.read("sys/mounts/x/tune")
        assert await vault.tidy() == 0
        await vault.seal(token=made.root_token)
        fresh = await vault.unseal_once(made.keys[:2])
        with pytest.raises(BadRequest):
            await vault.unseal_once(fresh.keys)
    with pytest.raises(Sealed):
        await vault.read("sys/mounts")
    await vault.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_thousand_at_once(kind: str, tmp_path: Path) -> None:
    vault, _ = await opened_async(place(kind, tmp_path))
    await vault.mount("secret", "kv")
    many = 1000 if kind != "file" else 200
    await asyncio.gather(*(vault.write(f"secret/{n}", {"n": n}) for n in range(many)))
    found = await asyncio.gather(*(vault.read(f"secret/{n}") for n in range(many)))
    assert [f.data["n"] for f in found if f is not None and f.data is not None] == list(range(many))
    await vault.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_every_cas_counts(kind: str, tmp_path: Path) -> None:
    """A counter under check-and-set: as many increments as writers were told of."""
    vault, _ = await opened_async(place(kind, tmp_path))
    await vault.mount("secret", "kv", options={"version": "2"})
    await vault.write("secret/data/n", {"data": {"n": 0}})

    async def count() -> int:
        done = 0
        for _ in range(5):
            found = await vault.read("secret/data/n")
            assert found is not None and found.data is not None
            try:
                version = found.data["metadata"]["version"]
                await vault.write(
                    "secret/data/n", {"data": {"n": found.data["data"]["n"] + 1}, "options": {"cas": version}}
                )
                done += 1
            except BadRequest:
                pass
        return done

    total = sum(await asyncio.gather(*(count() for _ in range(10))))
    found = await vault.read("secret/data/n")
    assert found is not None and found.data is not None
    assert found.data["data"]["n"] == total > 0
    await vault.close()


async def test_calls_that_are_given_up(tmp_path: Path) -> None:
    """Each acknowledged write is there, each other one is whole or absent, and the vault goes on."""
    vault, made = await opened_async(place("lmdb", tmp_path))
    await vault.mount("secret", "kv", options={"version": "2"})
    told: set[int] = set()

    async def write(number: int) -> None:
        await vault.write(f"secret/data/{number}", {"data": {"n": number}})
        told.add(number)

    async def other(number: int) -> None:
        child = await vault.write("auth/token/create", {"ttl": "1h"})
        assert child.auth is not None
        await vault.mount(f"m/{number}", "kv")
        await vault.write("auth/token/revoke", {"token": child.auth.client_token})

    tasks = [asyncio.ensure_future((write if n % 4 else other)(n)) for n in range(200)]
    for round_ in range(20):
        await asyncio.sleep(0.002)
        for task in tasks[round_::40]:
            task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(r) for r in results} <= {type(None), asyncio.CancelledError}
    assert any(isinstance(r, asyncio.CancelledError) for r in results)
    listed = await vault.list("secret/metadata")
    assert listed is not None and listed.data is not None
    for name in listed.data["keys"]:
        found = await vault.read(f"secret/data/{name}")
        assert found is not None and found.data is not None
        assert found.data["data"] == {"n": int(name)}
    assert {str(n) for n in told} <= set(listed.data["keys"])
    await vault.mount("after", "kv")
    await vault.seal()
    await vault.unseal(made.keys[0])
    assert await vault.read("after/a") is None
    await vault.close()


async def test_shares_reach_who_asked_for_them(tmp_path: Path) -> None:
    """Cancelled in the middle, init and unseal_once still give out what cannot be had a second time."""
    vault = AsyncVault(place("lmdb", tmp_path))
    made = await given_up(vault.init(SealConfig(1, 1)))
    fresh = await given_up(vault.unseal_once(made.keys))
    await vault.seal(token=made.root_token)
    assert not (await vault.unseal(fresh.keys[0])).sealed
    await vault.close()


async def given_up(work: Any) -> Any:
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    task.cancel()
    return await task


async def test_an_unseal_that_was_cancelled_can_be_done_again(tmp_path: Path) -> None:
    vault = AsyncVault(place("lmdb", tmp_path))
    made = await vault.init(SealConfig(1, 1))
    for _ in range(3):
        task = asyncio.ensure_future(vault.unseal(made.keys[0]))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not vault.sealed:
            await vault.seal(token=made.root_token)
    assert not (await vault.unseal(made.keys[0])).sealed
    assert await vault.read("sys/mounts", token=made.root_token) is not None
    await vault.close()
