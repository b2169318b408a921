"""bao, OpenBao's command line, unchanged, against a real server process (``make test-clients`` installs it)."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server_fixture import Server, environment, running

PROGRAM = shutil.which("bao", path=str(Path(sys.executable).parent)) or shutil.which("bao")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="bao is not installed")
POLICY = 'path "secret/data/app/*" { capabilities = ["read"] }\n'


class Bao:
    """The program with a server, a token and a home of its own."""

    def __init__(self, server: Server, token: str | None = None) -> None:
        self.env = environment() | {"BAO_ADDR": server.address, "HOME": str(server.folder), "BAO_MAX_RETRIES": "0"}
        self.env["BAO_TOKEN"] = server.token if token is None else token

    def run(self, *words: str, code: int = 0, text: str | None = None) -> str:
        """What it prints; fails the test unless it ends with ``code``."""
        done = subprocess.run(
            [str(PROGRAM), *words], env=self.env, input=text, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout

    def json(self, *words: str) -> Any:
        """The same, as JSON: the flag stands before the first argument that is none."""
        first = next((n for n, word in enumerate(words) if word.startswith("-") or "/" in word), len(words))
        return json.loads(self.run(*words[:first], "-format=json", *words[first:]))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("bao")) as one:
        yield one


@pytest.fixture(scope="module")
def bao(server: Server) -> Bao:
    one = Bao(server)
    one.run("secrets", "enable", "-path=secret", "-version=2", "kv")
    return one


def test_initialise_and_unseal(tmp_path: Path) -> None:
    with running(tmp_path, unseal=False) as server:
        bao = Bao(server)
        bao.run("status", code=2)
        made = bao.json("operator", "init", "-key-shares=3", "-key-threshold=2")
        for key in made["unseal_keys_b64"][:2]:
            bao.run("operator", "unseal", key)
        assert bao.json("status")["sealed"] is False
        bao.env["BAO_TOKEN"] = made["root_token"]
        bao.run("operator", "rotate-keys", "-init", "-key-shares=1", "-key-threshold=1")
        bao.run("operator", "rotate-keys", "-cancel")
        bao.run("operator", "seal")
        bao.run("status", code=2)


def test_kv(bao: Bao) -> None:
    bao.run("kv", "put", "-mount=secret", "app/db", "user=ann", "password=x")
    bao.run("kv", "patch", "-mount=secret", "app/db", "password=y")
    assert bao.run("kv", "get", "-field=password", "secret/app/db").strip() == "y"
    assert "db" in bao.run("kv", "list", "secret/app")
    bao.run("kv", "metadata", "put", "-custom-metadata=owner=ann", "secret/app/db")
    assert "owner" in bao.run("kv", "metadata", "get", "secret/app/db")
    bao.run("kv", "rollback", "-version=1", "secret/app/db")
    assert bao.run("kv", "get", "-field=password", "secret/app/db").strip() == "x"
    bao.run("kv", "delete", "secret/app/db")
    bao.run("kv", "undelete", "-versions=3", "secret/app/db")
    bao.run("kv", "destroy", "-versions=1", "secret/app/db")
    assert bao.json("kv", "get", "-version=1", "secret/app/db")["data"]["metadata"]["destroyed"]
    bao.run("kv", "get", "secret/app/none", code=2)
    bao.run("secrets", "enable", "-path=plain", "-version=1", "kv")
    bao.run("kv", "put", "plain/x", "a=b")
    assert bao.run("kv", "get", "-field=a", "plain/x").strip() == "b"
    bao.run("kv", "enable-versioning", "plain")
    bao.run("secrets", "disable", "plain")


def test_policies_logins_and_tokens(bao: Bao, server: Server) -> None:
    bao.run("policy", "write", "app", "-", text=POLICY)
    assert "app" in bao.run("policy", "list") and POLICY.strip() in bao.run("policy", "read", "app")
    bao.run("auth", "enable", "userpass")
    bao.run("write", "auth/userpass/users/ann", "password=correct horse", "policies=app")
    token = bao.run("login", "-token-only", "-method=userpass", "username=ann", "password=correct horse").strip()
    bao.run("kv", "put", "secret/app/shared", "a=b")
    ann = Bao(server, token)
    assert ann.run("kv", "get", "-field=a", "secret/app/shared").strip() == "b"
    ann.run("kv", "put", "secret/app/shared", "a=c", code=2)
    assert ann.run("token", "capabilities", "secret/data/app/shared").strip() == "read"
    assert "app" in ann.run("token", "lookup")
    bao.run("token", "revoke", token)
    ann.run("token", "lookup", code=2)
    bao.run("auth", "enable", "approle")
    bao.run("write", "auth/approle/role/ci", "token_policies=app", "secret_id_num_uses=1")
    role = bao.run("read", "-field=role_id", "auth/approle/role/ci/role-id").strip()
    secret = bao.run("write", "-f", "-field=secret_id", "auth/approle/role/ci/secret-id").strip()
    login = ["write", "-field=token", "auth/approle/login", f"role_id={role}", f"secret_id={secret}"]
    assert Bao(server, bao.run(*login).strip()).run("token", "lookup")
    bao.run(*login, code=2)
    made = bao.run("token", "create", "-policy=app", "-ttl=1h", "-field=token").strip()
    bao.run("token", "renew", made)
    bao.run("token", "revoke", "-mode=orphan", made)
    assert "ann" in bao.run("list", "auth/userpass/users")


def test_wrapping_audit_and_mounts(bao: Bao, server: Server) -> None:
    wrapped = bao.run("read", "-wrap-ttl=5m", "-field=wrapping_token", "secret/data/app/shared").strip()
    assert "a" in bao.run("unwrap", wrapped)
    bao.run("unwrap", wrapped, code=2)
    bao.run("audit", "enable", "-path=trail", "file", f"file_path={server.folder / 'bao.log'}")
    assert "trail/" in bao.run("audit", "list")
    bao.run("audit", "disable", "trail")
    bao.run("secrets", "enable", "-path=one", "-description=first", "kv")
    bao.run("secrets", "tune", "-default-lease-ttl=1h", "one")
    bao.run("secrets", "move", "one", "two")
    assert "two/" in bao.run("secrets", "list", "-detailed")
    bao.run("secrets", "disable", "two")
    assert "userpass/" in bao.run("auth", "list")
    assert bao.run("path-help", "secret/")


def test_keys(bao: Bao, server: Server) -> None:
    assert "Key Term" in bao.run("operator", "key-status")
    bao.run("operator", "rotate")
    otp = bao.run("operator", "generate-root", "-generate-otp").strip()
    nonce = bao.json("operator", "generate-root", "-init", f"-otp={otp}")["nonce"]
    for share in server.shares[:2]:
        said = bao.run("operator", "generate-root", f"-nonce={nonce}", share)
    encoded = said.split("Encoded Token")[1].split()[0]
    token = bao.run("operator", "generate-root", f"-decode={encoded}", f"-otp={otp}").strip()
    assert Bao(server, token).run("token", "lookup")
