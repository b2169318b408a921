"""Which devices a request is recorded on, while the vault is sealed, opened and sealed again."""

import json
from pathlib import Path
from typing import Any

import pytest

from strongroom import Vault
from strongroom.errors import AuditFailed, BadRequest, Sealed, VaultError
from strongroom.storage.memory import MemoryStore
from unit.vault.vaults import opened_with_keys


def records(path: Path) -> list[dict[str, Any]]:
    """What calls left, without checkpoints."""
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return [line for line in lines if line["type"] != "checkpoint"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


def enabled(log: Path, store: MemoryStore | None = None) -> tuple[Vault, Any]:
    vault, made = opened_with_keys(store or MemoryStore(), {"audit_dir": str(log.parent)})
    vault.write("sys/audit/main", {"type": "file", "options": {"file_path": str(log)}})
    return vault, made


def test_a_device_enabled_by_a_call_goes_on_after_the_seal(log: Path) -> None:
    store = MemoryStore()
    vault, made = enabled(log, store)
    vault.mount("secret", "kv")
    vault.write("secret/a", {"x": "canary"})
    vault.seal()
    count = len(records(log))
    with pytest.raises(Sealed):
        vault.read("secret/a")
    vault.close()
    again = Vault(store, {"audit_dir": str(log.parent)})
    with pytest.raises(BadRequest):
        again.unseal("00" * 32)
    again.unseal(made.keys[0])
    seen = records(log)[count:]
    assert [r["type"] for r in seen] == ["request", "response"] * 3
    assert [r["request"]["path"] for r in seen[::2]] == ["secret/a", "sys/unseal", "sys/unseal"]
    assert all("auth" not in r and "data" not in r["request"] for r in seen)
    assert "canary" not in log.read_text() and made.root_token not in log.read_text()
    assert again.read("secret/a", token=made.root_token) is not None
    assert records(log)[-1]["auth"]["client_token"].startswith("hmac-sha256:")
    again.close()


def test_hash_list_and_disable(log: Path) -> None:
    vault, made = enabled(log)
    listed = vault.read("sys/audit")
    assert listed is not None and listed.data is not None
    assert listed.data["main/"]["type"] == "file"
    hashed = vault.write("sys/audit-hash/main", {"input": made.root_token}).data
    assert hashed is not None
    assert hashed["hash"] == records(log)[-1]["auth"]["client_token"]
    vault.delete("sys/audit/main")
    size = log.stat().st_size
    vault.read("sys/mounts")
    assert log.stat().st_size == size
    vault.seal()
    with pytest.raises(VaultError):
        vault.read("sys/audit")
    vault.close()


def test_reopen_after_the_file_was_moved_away(log: Path) -> None:
    vault, _ = enabled(log)
    log.rename(log.with_suffix(".1"))
    vault.read("sys/mounts")
    assert not log.exists()
    vault._made.audit.reopen()
    vault.read("sys/mounts")
    assert len(records(log)) == 2
    assert vault._made.audit.failures == 0
    vault.close()


class _Full:
    """A sink whose disk is full."""

    def request(self, line: bytes) -> None:
        raise AuditFailed("full")

    response = request

    def reopen(self) -> None: ...

    async def sync(self) -> None: ...

    def close(self) -> None: ...


def test_no_record_no_effect(log: Path) -> None:
    vault, _ = enabled(log)
    vault.mount("secret", "kv")
    device = vault._made.audit._devices().devices[0]
    sink, device.sink = device.sink, _Full()
    with pytest.raises(AuditFailed):
        vault.write("secret/a", {"x": 1})
    assert vault._made.audit.failures == 1
    device.sink = sink
    assert vault.read("secret/a") is None
    vault.close()


def test_devices_of_a_sealed_vault() -> None:
    vault = Vault({"memory": {}})
    for ask in (vault._made.audit.devices, lambda: vault._made.audit.hash("main", "x")):
        with pytest.raises(BadRequest):
            ask()
    vault.close()
