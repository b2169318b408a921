"""Namespaces in the library, without and with an event loop: a path prefix leads into them."""

from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import NotFound, PermissionDenied
from unit.vault.vaults import opened_async, opened_with_keys


@pytest.mark.parametrize("kind", ["memory", "lmdb", "file"])
def test_a_path_prefix_leads_into_a_namespace(kind: str, tmp_path: Path) -> None:
    backend: dict[str, Any] = {kind: {} if kind == "memory" else {"path": str(tmp_path / "store")}}
    vault, _ = opened_with_keys(backend)
    with vault:
        vault.write("sys/namespaces/team")
        vault.write("team/sys/mounts/secret", {"type": "kv"})
        vault.write("team/secret/a", {"k": "v"})
        found = vault.read("team/secret/a")
        assert found is not None and found.data == {"k": "v"}
        assert vault.read("team/secret/b") is None
        with pytest.raises(NotFound):
            vault.read("team/nothing/a")
        with pytest.raises(NotFound):
            vault.read("nobody/secret/a")
        made = vault.write("team/auth/token/create", {"policies": ["root"]}).auth
        assert made is not None
        inside = vault.read("team/secret/a", token=made.client_token)
        assert inside is not None and inside.data == {"k": "v"}
        with pytest.raises(PermissionDenied):
            vault.read("sys/mounts", token=made.client_token)
        names = vault.list("team/secret")
        assert names is not None and names.data == {"keys": ["a"]}
        assert vault.delete("sys/namespaces/team").data == {"status": "complete"}
        with pytest.raises(NotFound):
            vault.read("team/secret/a")
        assert vault.tidy() == 0


async def test_the_same_on_a_loop() -> None:
    vault, _ = await opened_async()
    async with vault:
        await vault.write("sys/namespaces/team")
        await vault.write("team/sys/mounts/secret", {"type": "kv"})
        await vault.write("team/secret/a", {"k": "v"})
        found = await vault.read("team/secret/a")
        assert found is not None and found.data == {"k": "v"}
        assert await vault.read("team/secret/b") is None
