"""The vault as a worker sees it: two nodes over one store, as two workers are."""

from pathlib import Path
from typing import Any

from strongroom.sdk.request import Op, Request
from strongroom.server.config import ServerConfig, Storage
from strongroom.server.vault_node import VaultNode, open_node


class Host:
    """The process around it."""

    lockouts: Any = None

    def metrics_text(self) -> bytes:
        return b""

    def metrics_json(self) -> dict[str, Any]:
        return {}

    def in_flight(self) -> dict[str, dict[str, Any]]:
        return {}


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
