"""``operator migrate``, ``diagnose`` and the offline part of ``generate-root``."""

import base64
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.transcript import Exchange, Run, Stub
from strongroom.cli import diagnosis
from strongroom.cli.operator_root import OTP_LENGTH, decode_token, new_otp
from strongroom.errors import BadRequest
from strongroom.sdk.storage import Write
from strongroom.storage.completion import drive
from strongroom.vault.assemble import open_backend


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Path, Path]:
    """A file store with entries, and the place of an LMDB store to be."""
    source, target = tmp_path / "old", tmp_path / "new"
    store = open_backend({"file": {"path": str(source)}})
    drive(store.commit([Write(f"core/{at}", bytes([at])) for at in range(5)]))
    drive(store.close())
    (tmp_path / "m.hcl").write_text(
        f'storage_source "file" {{ path = "{source}" }}\nstorage_destination "lmdb" {{ path = "{target}" }}\n'
    )
    return source, target


def test_migrate_copies_and_compares(stores: tuple[Path, Path], run: Run) -> None:
    ran = run(["operator", "migrate", "-config=m.hcl"])
    assert (ran.code, ran.out) == (0, "Success! All of the keys have been migrated.\n")
    assert "5 compared" in ran.err
    store = open_backend({"lmdb": {"path": str(stores[1])}})
    assert [(key, entry.value) for key, entry in drive(store.scan(""))] == [
        (f"core/{at}", bytes([at])) for at in range(5)
    ]
    drive(store.close())


def test_migrate_into_a_used_store_is_refused(stores: tuple[Path, Path], run: Run) -> None:
    assert run(["operator", "migrate", "-config=m.hcl"]).code == 0
    again = run(["operator", "migrate", "-config=m.hcl"])
    assert (again.code, again.err) == (1, "error: the target is not empty\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('storage_source "file" { path = "a" }', "storage_destination"),
        ('storage_source "file" { path = "a" }\nstorage_destination "lmdb" { path = "./a/" }', "the same store"),
        ('storage_source "file" { path = "none" }\nstorage_destination "lmdb" { path = "b" }', "no store at"),
        ('storage_source "file" { }\nstorage_destination "lmdb" { path = "b" }', "needs a path"),
        ("{", "m.hcl"),
    ],
)
def test_wrong_migrations(text: str, says: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "m.hcl").write_text(text)
    ran = run(["operator", "migrate", "-config", "m.hcl"])
    assert ran.code == 1 and says in ran.err
    assert not (tmp_path / "none").exists() and not (tmp_path / "b").exists()


def test_migrate_needs_a_configuration(run: Run) -> None:
    assert "-config" in run(["operator", "migrate"]).err


HEALTH = Exchange("GET", "/v1/sys/health", "", 200, "{}")


def diagnose(run: Run, *words: str) -> tuple[int, dict[str, tuple[str, str]]]:
    ran = run(["operator", "diagnose", "-format=json", *words])
    rows = json.loads(ran.out)
    return ran.code, {row["check"]: (row["state"], row["says"]) for row in rows}


def test_a_healthy_installation(run: Run, stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(tmp_path).st_uid or 4711)
    (tmp_path / "c.hcl").write_text(
        f'storage "lmdb" {{ path = "{tmp_path}/data" }}\n'
        'listener "tcp" { address = "127.0.0.1:0"\n tls_disable = true }\n'
        'audit "file" "trail" { file_path = "trail.log" }\n'
    )
    status = '{"initialized":true,"sealed":false,"t":2,"n":3}'
    stub.expected = [HEALTH, Exchange("GET", "/v1/sys/seal-status", "", 200, status)]
    code, found = diagnose(run, "-config=c.hcl")
    assert {check: state for check, (state, _) in found.items() if state != "ok"} == {}
    assert code == 0
    assert "can be made" in found["storage"][1] and not (tmp_path / "data").exists()
    assert "unauthenticated_operator_endpoints" in found["root token"][1]


def test_a_store_that_lets_others_in(stores: tuple[Path, Path], run: Run, stub: Stub, tmp_path: Path) -> None:
    stores[0].chmod(0o755)
    (tmp_path / "c.hcl").write_text(
        f'storage "file" {{ path = "{stores[0]}" }}\nlistener "tcp" {{ address = "127.0.0.1:0"\n tls_disable = 1 }}\n'
    )
    stub.expected = [HEALTH, Exchange("GET", "/v1/sys/seal-status", "", 200, '{"initialized":true,"sealed":true}')]
    ran = run(["operator", "diagnose", "-config=c.hcl"])
    assert ran.code == 1
    assert "[fail] storage:" in ran.out and "hint: chmod 700" in ran.out
    assert "[warn] seal: the vault is sealed" in ran.out and "hint: strongroom operator unseal" in ran.out


def test_a_store_with_a_vault_in_it(stores: tuple[Path, Path]) -> None:
    options = {"path": str(stores[0])}
    assert [says for _, says, *_ in diagnosis._inside("file", dict(options))] == [
        "the file store opens; no vault is initialized in it"
    ]


def test_a_broken_configuration(run: Run, stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "c.hcl").write_text('storage "lmdb" { path = ')
    stub.expected = [HEALTH, Exchange("GET", "/v1/sys/seal-status", "", 200, '{"initialized":false}')]
    code, found = diagnose(run, "-config=c.hcl")
    assert code == 1 and found["configuration"][0] == "fail"
    assert found["seal"] == ("warn", "the vault is not initialized")


def test_clocks_that_differ(run: Run, stub: Stub) -> None:
    stub.expected = [Exchange("GET", "/v1/sys/health", "", 200, '{"server_time_utc": 1}')]
    _, found = diagnose(run, "-skip=seal", "-skip=host")
    assert found["time"][0] == "warn" and set(found) == {"configuration", "time", "root token"}


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40), st.booleans())
def test_decode_undoes_encode(token: str, padded: bool) -> None:
    otp = new_otp(len(token))
    encoded = base64.b64encode(bytes(a ^ b for a, b in zip(token.encode(), otp.encode(), strict=True))).decode()
    assert decode_token(encoded if padded else encoded.rstrip("="), otp) == token


@pytest.mark.parametrize(("encoded", "otp"), [("", ""), ("a", "b"), ("!!!!", "abc"), ("AAAA", "ab"), ("////", "abc")])
def test_what_cannot_be_decoded(encoded: str, otp: str) -> None:
    with pytest.raises(BadRequest):
        decode_token(encoded, otp)


def test_generate_otp_without_a_server(run: Run) -> None:
    ran = run(["operator", "generate-root", "-generate-otp", "-address=http://127.0.0.1:1"])
    assert ran.code == 0 and len(ran.out) == OTP_LENGTH and ran.out.isalnum()
