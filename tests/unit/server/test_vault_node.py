"""The vault as a worker sees it: two nodes over one store, as two workers are."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from strongroom.sdk.request import Op, Request
from strongroom.server import vault_node
from strongroom.server.config import ServerConfig, Storage
from strongroom.server.vault_node import VaultNode, open_node


class Host:
    """The process around it."""

    lockouts: Any = None

    def metrics_text(self) -> bytes:
        return b""

    def metrics_json(self) -> dict[str, Any]:
        return {}

    async def in_flight(self) -> dict[str, Any]:
        return {"elsewhere": {"request_path": "/v1/there"}}


async def _node(path: Path) -> VaultNode:
    node = await open_node(ServerConfig(storage=Storage(kind="file", options={"path": str(path)})))
    node.attach(Host())
    return node


async def test_settings_that_another_worker_changed(tmp_path: Path) -> None:
    first, one, two = [await _node(tmp_path / "store") for _ in range(3)]
    two.renew_settings()  # sealed: nothing to follow, and no error
    made = await first.initialize(1, 1)
    await first.unseal(made.keys[0])
    for node in (one, two):
        await node.start_unsealed(first.keyring_key())
    cors = {"allowed_origins": ["https://a"]}
    await one.handle(Request(id="1", op=Op.UPDATE, path="sys/config/cors", data=cors, token=made.root_token))
    assert one.door_settings().cors_origins == ("https://a",) and two.door_settings().cors_origins == ()
    two.renew_settings()
    assert two.door_settings().cors_origins == ("https://a",)
    for node in (first, one, two):
        await node.close()


async def test_requests_in_flight_are_those_of_all_workers(tmp_path: Path) -> None:
    node = await _node(tmp_path / "store")
    made = await node.initialize(1, 1)
    await node.unseal(made.keys[0])
    assert node.in_flight() == {}
    request = Request(id="1", op=Op.READ, path="sys/in-flight-req", token=made.root_token)
    shown = (await node.handle(request)).data
    assert shown is not None and shown["elsewhere"] == {"request_path": "/v1/there"}
    assert set(shown) == {"elsewhere", "1"} and shown["1"]["request_path"] == "/v1/sys/in-flight-req"
    assert made.root_token not in str(shown)
    await node.close()


async def test_every_worker_writes_back_how_often_it_used_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_node, "COUNT_EVERY", 0.01)
    first, one, two = [await _node(tmp_path / "store") for _ in range(3)]
    made = await first.initialize(1, 1)
    await first.unseal(made.keys[0])
    for node in (one, two):
        await node.start_unsealed(first.keyring_key())

    async def encryptions(node: VaultNode) -> int:
        answer = await node.handle(Request(id="1", op=Op.READ, path="sys/key-status", token=made.root_token))
        assert answer.data is not None
        return int(answer.data["encryptions"])

    before = await encryptions(two)
    for n in range(20):
        data = {"x": n}
        await one.handle(Request(id="1", op=Op.UPDATE, path="cubbyhole/a", data=data, token=made.root_token))
    for _ in range(300):
        if await encryptions(two) >= before + 20:
            break
        await asyncio.sleep(0.01)
    assert await encryptions(two) >= before + 20
    for node in (first, one, two):
        await node.close()
