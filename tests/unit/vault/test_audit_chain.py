"""Verified logs of a whole embedded vault: over seals, rotations and what went wrong."""

import base64
from pathlib import Path
from typing import Any

import pytest

from scripts.transcript import Run
from strongroom import Vault
from strongroom.audit.verify import Verifier
from strongroom.errors import VaultError
from strongroom.sdk.storage import Write
from strongroom.storage.completion import drive
from strongroom.storage.memory import MemoryStore
from unit.vault.vaults import opened_with_keys


class Clock:
    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def __call__(self) -> float:
        self.time += 0.4
        return self.time


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


def _proof(vault: Vault) -> tuple[bytes, str]:
    answer = vault.read("sys/audit-proof/main")
    assert answer is not None and answer.data is not None
    assert answer.data["algorithm"] == "ed25519"
    return base64.b64decode(answer.data["public_key"]), str(answer.data["checkpoint"])


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_a_log_over_seals_restarts_and_a_rotation_is_proved_whole(log: Path) -> None:
    store, config = MemoryStore(), {"audit_dir": str(log.parent)}
    vault, made = opened_with_keys(store, config)
    vault.write("sys/audit/main", {"type": "file", "options": {"file_path": "audit.log"}})
    vault.mount("secret", "kv")
    vault.write("secret/a", {"x": "1"})
    public, _ = _proof(vault)
    vault.seal()
    with pytest.raises(VaultError):
        vault.read("secret/a")
    vault.unseal(made.keys[0])
    vault.read("secret/a")
    vault.close()
    again = Vault(store, config)
    with pytest.raises(VaultError):
        again.unseal("00" * 32)
    again.unseal(made.keys[0])
    again.set_token(made.root_token)
    assert again.read("secret/a") is not None
    old = log.with_suffix(".1")
    log.rename(old)
    again._made.audit.reopen()
    assert again.read("secret/a") is not None
    again.seal()
    again.unseal(made.keys[0])
    again.set_token(made.root_token)
    key, until = _proof(again)
    assert key == public, "the key stays with the device"
    again.close()
    report = Verifier(public).files([_lines(old), _lines(log)], until=until)
    assert report.bad is None, (report.bad, report.why)
    assert (report.strange, report.from_start) == (0, True)
    assert report.lines - report.proved <= 8
    new = Verifier(public).files([_lines(log)])
    assert new.bad is None and not new.from_start, new.why
    cut = _lines(old)
    for at in range(len(cut)):
        assert Verifier(public).files([[*cut[:at], *cut[at + 1 :]], _lines(log)]).bad is not None, at


@pytest.mark.parametrize("noted", [True, False])
def test_the_lines_of_a_sealed_process_that_ended_are_signed_by_who_unseals(log: Path, noted: bool) -> None:
    store, config = MemoryStore(), {"audit_dir": str(log.parent)}
    vault, made = opened_with_keys(store, config)
    vault.write("sys/audit/main", {"type": "file", "options": {"file_path": "audit.log"}})
    public, _ = _proof(vault)
    vault.close()
    for _ in range(3):
        sealed = Vault(store, config)
        with pytest.raises(VaultError):
            sealed.unseal("00" * 32)
        sealed.close()
    notes = [key for key in store._entries if key.startswith("core/audit-left/")]
    assert len(notes) == 3
    if not noted:  # as if the processes had been killed
        drive(store.commit([Write(key, None) for key in notes]))
    again = Vault(store, config)
    again.unseal(made.keys[0])
    again.close()
    report = Verifier(public).files([_lines(log)])
    assert (report.bad, report.strange) == (None, 0 if noted else 6)
    if not noted:
        return
    assert not [key for key in store._entries if key.startswith("core/audit-left/")]
    lines = _lines(log)
    forged = [*lines[:5], lines[5].replace(b"sys/unseal", b"sys/health"), *lines[6:]]
    changed = [Verifier(public).files([[*lines[:at], *lines[at + 1 :]]]).bad for at in range(len(lines) - 1)]
    assert all(changed) and Verifier(public).files([forged]).bad is not None


def test_a_note_that_is_none_stops_nobody(log: Path) -> None:
    store = MemoryStore()
    vault, made = opened_with_keys(store, {"audit_dir": str(log.parent)})
    vault.write("sys/audit/main", {"type": "file", "options": {"file_path": "audit.log"}})
    vault.seal()
    drive(store.commit([Write("core/audit-left/00", b"\xff"), Write("core/audit-left/01", b"{}")]))
    vault.unseal(made.keys[0])
    vault.set_token(made.root_token)
    assert vault.read("sys/mounts") is not None
    vault.close()


def test_checkpoints_come_once_a_second_and_never_without_lines(log: Path) -> None:
    clock = Clock()
    vault, _ = opened_with_keys(MemoryStore(), {"audit_dir": str(log.parent)}, now=clock)
    vault.write("sys/audit/main", {"type": "file", "options": {"file_path": "audit.log"}})
    for _ in range(5):
        clock.time = int(clock.time) + 10.0
        vault.read("sys/mounts")
    text = log.read_text()
    assert 4 <= text.count('"type":"checkpoint"') <= 7
    vault.close()


def test_chains_can_be_left_out(log: Path) -> None:
    vault, _ = opened_with_keys(MemoryStore(), {"audit_dir": str(log.parent)})
    vault.write("sys/audit/main", {"type": "file", "options": {"file_path": "audit.log", "chain": "false"}})
    vault.read("sys/mounts")
    vault.close()
    assert '"chain":{"w"' not in log.read_text() and '"type":"checkpoint"' not in log.read_text()


def test_the_command(log: Path, run: Run) -> None:
    vault, _ = opened_with_keys(MemoryStore(), {"audit_dir": str(log.parent)})
    vault.write("sys/audit/main", {"type": "file", "options": {"file_path": "audit.log"}})
    vault.read("sys/mounts")
    key = base64.b64encode(_proof(vault)[0]).decode()
    vault.close()
    good = run(["audit", "verify", f"-key={key}", str(log)])
    assert good.code == 0, good.err
    assert good.out.startswith("Proved: ")
    lines = log.read_bytes().splitlines(keepends=True)
    changed = log.with_suffix(".changed")
    changed.write_bytes(b"".join([lines[0], lines[1].replace(b'"read"', b'"list"', 1), *lines[2:]]))
    bad = run(["audit", "verify", f"-key={key}", str(changed)])
    assert bad.code == 2 and f"{changed}:2: " in bad.err
    shown = run(["audit", "verify", "-format=json", f"-key={key}", str(changed)])
    assert shown.code == 2 and '"bad": "' in shown.out
    strange = log.with_suffix(".strange")
    strange.write_bytes(b"".join([lines[0], b'{"time":"x"}\n', *lines[1:]]))
    assert run(["audit", "verify", f"-key={key}", str(strange)]).code == 1
    assert run(["audit", "verify", "-key=AA==", str(log)]).code == 1
    assert run(["audit", "verify", f"-key={key}", str(log) + "x"]).code == 1


@pytest.fixture
def run(monkeypatch: Any, capsys: Any) -> Run:
    from scripts.transcript import Ran
    from strongroom.cli.main import main

    def go(words: list[str], stdin: str = "") -> Ran:
        capsys.readouterr()
        code = main(words)
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return go
