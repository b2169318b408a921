"""What a configuration may say to the vault, and what comes of it."""

import json
import warnings
from pathlib import Path
from typing import Any

import msgspec
import pytest

from strongroom import Vault
from strongroom.core import layout
from strongroom.core.mount_entry import MountEntry
from strongroom.errors import AuditFailed, BadRequest, IntegrityError, NotFound
from strongroom.sdk.storage import Write
from strongroom.vault.config import VaultConfig, read_config
from unit.vault.vaults import opened, opened_with_keys

SAID = {
    "default_lease_ttl": ("1h", 3600),
    "max_lease_ttl": (7200, 7200),
    "max_entry_size": ("65536", 65536),
    "mount_entry_hmac_level": ("high", "high"),
    "mounts_monitor_interval": (0.5, 0.5),
    "version": ("1.2.3", "1.2.3"),
    "cluster_name": ("here", "here"),
    "storage_type": ("shown", "shown"),
    "api_addr": ("http://127.0.0.1:1", "http://127.0.0.1:1"),
    "unauthenticated_operator_endpoints": ("true", True),
    "audit": ([], ()),
    "audit_dir": (Path("/tmp"), "/tmp"),
    "audit_required": (True, True),
    "allowed_private_hosts": ("a.example", ("a.example",)),
    "sanitized": ({"a": 1}, {"a": 1}),
}


def test_every_name() -> None:
    assert set(SAID) == set(VaultConfig.__struct_fields__)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = read_config({name: given for name, (given, _) in SAID.items()})
        read_config({"storage": {}, "listener": [], "disable_mlock": True, "ui": False, "log_level": "info"})
        assert read_config(dict.fromkeys(SAID)) == read_config(None) == VaultConfig()
    for name, (_, meant) in SAID.items():
        assert getattr(made, name) == meant, name
    assert repr(made) == "VaultConfig()"


def test_unknown_names_warn() -> None:
    with pytest.warns(UserWarning, match="unknown configuration name 'colour'"):
        Vault({"memory": {}}, {"colour": "red"})


@pytest.mark.parametrize(
    "config",
    ["text", 7, [], {"default_lease_ttl": "soon"}, {"default_lease_ttl": -1}, {"max_lease_ttl": []},
     {"default_lease_ttl": 10, "max_lease_ttl": 5}, {"max_entry_size": "1m"}, {"max_entry_size": True},
     {"max_entry_size": 10}, {"max_entry_size": 1 << 30}, {"mount_entry_hmac_level": "low"},
     {"mount_entry_hmac_level": []}, {"mounts_monitor_interval": "x"}, {"mounts_monitor_interval": -1.0},
     {"mounts_monitor_interval": float("nan")}, {"version": 1}, {"cluster_name": []}, {"audit_dir": 7},
     {"unauthenticated_operator_endpoints": "perhaps"}, {"audit_required": 2}, {"audit": "file"}, {"audit": 7},
     {"audit": [7]}, {"audit": {"file": 7}}, {"audit": [{"type": 7, "path": "x"}]}, {"audit": [{"path": "x"}]},
     {"audit": [{"type": "file", "path": "x", "options": 7}]}, {"sanitized": 7}, {"api_addr": 7}],
)  # fmt: skip
def test_wrong_values(config: Any) -> None:
    with pytest.raises(BadRequest):
        Vault({"memory": {}}, config)


def test_lease_times_and_entry_size_hold() -> None:
    vault = opened(config={"default_lease_ttl": "1m", "max_lease_ttl": "2m", "max_entry_size": 4096})
    vault.mount("secret", "kv")
    child = vault.write("auth/token/create", {"policies": ["default"]}).auth
    assert child is not None and child.ttl == 60
    child = vault.write("auth/token/create", {"ttl": "1h", "policies": ["default"]}).auth
    assert child is not None and child.ttl == 120
    with pytest.raises(BadRequest):
        vault.write("secret/a", {"x": "y" * 5000})


# -- tampered mount entries -------------------------------------------------------------------------------------------


def entry_of(vault: Vault, path: str) -> MountEntry:
    return vault._core.space().mounts.entries[path]


def tamper(vault: Vault, mount: str, *, mac: bytes | None = None, **changes: Any) -> None:
    """What somebody who has the keyring could do: another entry in a mount's place, with no move of the epoch."""
    entry = msgspec.structs.replace(entry_of(vault, mount), **changes)
    if mac is not None:
        entry = msgspec.structs.replace(entry, mac=mac)
    key = layout.mount("root", entry.uuid)
    vault._run(vault._core.barrier.commit([Write(key, msgspec.msgpack.encode(entry))]))  # type: ignore[union-attr]


LEVELS = [("none", "changed", False), ("none", "unsigned", False), ("compat", "changed", True),
          ("compat", "unsigned", False), ("high", "changed", True), ("high", "unsigned", True)]  # fmt: skip


@pytest.mark.parametrize(("level", "how", "refused"), LEVELS)
def test_tampered_mount_entries(level: str, how: str, refused: bool, tmp_path: Path) -> None:
    store = {"file": {"path": str(tmp_path / "s")}}
    vault, made = opened_with_keys(store, {"mount_entry_hmac_level": level})
    vault.mount("secret", "kv")
    vault.write("secret/a", {"x": 1})
    vault.read("secret/a")
    tamper(vault, "secret/", path="other/", mac=b"" if how == "unsigned" else None)
    assert vault.read("secret/a") is not None  # not read again yet
    vault.close()
    again = Vault(store, {"mount_entry_hmac_level": level})
    if refused:
        with pytest.raises(IntegrityError, match="tampered"):
            again.unseal(made.keys[0])
        assert again.sealed
    else:
        again.unseal(made.keys[0])
        assert again.read("other/a", token=made.root_token) is not None
    again.close()


def test_mounts_are_read_again_in_time() -> None:
    """``mounts_monitor_interval``: a change that nobody announced is noticed, and a tampered one stops requests."""
    times = [1_900_000_000.0]
    config = {"mounts_monitor_interval": 10, "mount_entry_hmac_level": "high"}
    vault, _ = opened_with_keys(config=config, now=lambda: times[0])
    vault.mount("secret", "kv")
    vault.write("secret/a", {"x": 1})
    times[0] += 11
    vault.read("secret/a")
    tamper(vault, "secret/", description="mine now")
    assert vault.read("secret/a") is not None
    times[0] += 9
    assert vault.read("secret/a") is not None
    times[0] += 2
    with pytest.raises(IntegrityError):
        vault.read("secret/a")


def test_without_an_interval_only_changes_count() -> None:
    times = [1_900_000_000.0]
    vault, _ = opened_with_keys(config={"mount_entry_hmac_level": "high"}, now=lambda: times[0])
    vault.mount("secret", "kv")
    vault.read("secret/a")
    tamper(vault, "secret/", description="mine now")
    times[0] += 10_000
    assert vault.read("secret/a") is None
    with pytest.raises(IntegrityError):
        vault.mount("more", "kv")


# -- audit ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [lambda f: {"file": {"main": {"file_path": f}}}, lambda f: {"file": {"main": {"options": {"file_path": f}}}},
     lambda f: {"file": {"file_path": f}}, lambda f: {"file": {"path": "main", "options": {"file_path": f}}},
     lambda f: {"file": [{"main": {"file_path": f}}]}, lambda f: {"file": {"main": {"options": {"path": f}}}},
     lambda f: [{"type": "file", "path": "main", "options": {"file_path": f, "log_raw": False}}]],
)  # fmt: skip
def test_forms_of_an_audit_device(form: Any, tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    vault = opened(config={"audit": form(str(log)), "audit_dir": str(tmp_path)})
    vault.mount("secret", "kv")
    vault.write("secret/a", {"x": "canary-value"})
    vault.read("secret/a")
    vault.close()
    records = [line for line in map(json.loads, log.read_text().splitlines()) if line["type"] != "checkpoint"]
    paths = [record["request"]["path"] for record in records]
    assert {"sys/init", "sys/unseal", "sys/mounts/secret", "secret/a"} <= set(paths)
    assert len(records) % 2 == 0
    assert "canary-value" not in log.read_text()


def test_audit_files_stay_beside_the_data(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    store = {"file": {"path": str(tmp_path / "data")}}
    vault = opened(store, {"audit": {"file": {"main": {"file_path": str(log)}}}})
    vault.close()
    assert log.stat().st_size
    with pytest.raises((BadRequest, AuditFailed)):
        opened({"file": {"path": str(tmp_path / "x" / "data")}}, {"audit": {"file": {"m": {"file_path": str(log)}}}})


def test_audit_required(tmp_path: Path) -> None:
    vault = Vault({"memory": {}}, {"audit_required": True})
    with pytest.raises(AuditFailed):
        vault.init()
    config = {
        "audit_required": "true",
        "audit_dir": str(tmp_path),
        "audit": {"file": {"file_path": str(tmp_path / "a")}},
    }
    vault = opened(config=config)
    vault.mount("secret", "kv")
    with pytest.raises(NotFound):
        vault.read("nowhere/a")
