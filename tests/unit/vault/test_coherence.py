"""Two vaults on one store: what one takes away, the other does not grant any more, from its next request on."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from strongroom import SealConfig, Vault
from strongroom.errors import PermissionDenied

RULE = 'path "secret/data/*" { capabilities = ["read"] }'
OTHER = """
import sys
from strongroom import Vault
from strongroom.errors import PermissionDenied
vault = Vault({sys.argv[1]: {"path": sys.argv[2]}})
vault.unseal(sys.argv[3])
for line in sys.stdin:
    try:
        vault.read("secret/data/a", token=line.strip())
        print("read", flush=True)
    except PermissionDenied:
        print("denied", flush=True)
vault.close()
"""


@pytest.fixture(params=["lmdb", "file"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A vault here, and another process with a vault on the same folder that reads with the tokens it is given."""
    kind, folder = request.param, str(tmp_path / "data")
    with Vault({kind: {"path": folder}}) as vault:
        made = vault.init(SealConfig(1, 1))
        vault.unseal(made.keys[0])
        vault.set_token(made.root_token)
        vault.mount("secret", "kv", options={"version": "2"})
        vault.write("secret/data/a", {"data": {"x": "1"}})
        vault.write("sys/policies/acl/p", {"policy": RULE})
        command = [sys.executable, "-c", OTHER, kind, folder, made.keys[0]]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdin is not None and other.stdout is not None
            stdin, stdout = other.stdin, other.stdout

            def ask(token: str) -> str:
                stdin.write(token + "\n")
                stdin.flush()
                return stdout.readline().strip()

            yield vault, ask
            stdin.close()
            other.wait(20)


def token(vault: Vault) -> str:
    auth = vault.write("auth/token/create", {"policies": ["p"], "ttl": "1h"}).auth
    assert auth is not None
    return auth.client_token


def test_a_revoked_token_is_refused_at_once(pair: Any) -> None:
    vault, ask = pair
    held = token(vault)
    assert [ask(held) for _ in range(3)] == ["read"] * 3
    vault.write("auth/token/revoke", {"token": held})
    assert ask(held) == "denied"


def test_a_policy_that_changed_decides_at_once(pair: Any) -> None:
    vault, ask = pair
    held = token(vault)
    assert [ask(held) for _ in range(3)] == ["read"] * 3
    vault.write("sys/policies/acl/p", {"policy": RULE.replace("read", "list")})
    assert ask(held) == "denied"
    vault.write("sys/policies/acl/p", {"policy": RULE})
    assert ask(held) == "read"


def test_a_parent_that_went_takes_the_child_along(pair: Any) -> None:
    vault, ask = pair
    vault.write("sys/policies/acl/maker", {"policy": 'path "auth/token/create" { capabilities = ["update", "sudo"] }'})
    parent = vault.write("auth/token/create", {"policies": ["maker"], "ttl": "1h"}).auth
    assert parent is not None
    child = vault.write("auth/token/create", {"policies": ["p"]}, token=parent.client_token).auth
    assert child is not None
    assert ask(child.client_token) == "read"
    vault.write("auth/token/revoke", {"token": parent.client_token})
    assert ask(child.client_token) == "denied"
    with pytest.raises(PermissionDenied):
        vault.read("secret/data/a", token=child.client_token)
