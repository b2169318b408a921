"""Several programs on one folder, each with a ``Vault`` of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom import Vault
from strongroom.errors import NotFound, PermissionDenied, Sealed
from unit.vault.test_threads import increment
from unit.vault.vaults import opened_with_keys

OTHER = """
import sys
sys.path.insert(0, sys.argv[5])
from strongroom import Vault
from unit.vault.test_threads import increment
vault = Vault({sys.argv[1]: {"path": sys.argv[2], "sync": False}})
vault.unseal(sys.argv[3])
vault.set_token(sys.argv[4])
print("ready", flush=True)
sys.stdin.readline()
print(sum(increment(vault) for _ in range(60)), flush=True)
sys.stdin.readline()
vault.unmount("doomed")
vault.write("auth/token/revoke", {"token": sys.stdin.readline().strip()})
vault.write("sys/rotate")
vault.write("secret/data/after", {"data": {"x": 1}})
print("done", flush=True)
vault.close()
"""


@pytest.mark.parametrize("kind", ["lmdb", "file"])
def test_two_programs(kind: str, tmp_path: Path) -> None:
    """No write is lost between them, and what one ends is over for the other at once."""
    store = {kind: {"path": str(tmp_path / "s"), "sync": False}}
    vault, made = opened_with_keys(store)
    vault.mount("secret", "kv", options={"version": "2"})
    vault.mount("doomed", "kv")
    vault.write("secret/data/n", {"data": {"n": 0}})
    child = vault.write("auth/token/create", {"ttl": "1h", "policies": ["default"]}).auth
    assert child is not None
    tests = str(Path(__file__).resolve().parents[2])
    argv = [sys.executable, "-c", OTHER, kind, str(tmp_path / "s"), made.keys[0], made.root_token, tests]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("\n")
        ours = sum(increment(vault) for _ in range(60))
        theirs = int(other.stdout.readline())
        assert vault.read("secret/data/n").data["data"]["n"] == ours + theirs > 0  # type: ignore[union-attr, index]
        assert vault.read("auth/token/lookup-self", token=child.client_token) is not None
        assert vault.read("doomed/a") is None
        other.stdin.write(f"\n{child.client_token}\n")
        assert other.stdout.readline() == "done\n"
        with pytest.raises(PermissionDenied):
            vault.read("auth/token/lookup-self", token=child.client_token)
        with pytest.raises(NotFound):
            vault.read("doomed/a")
        assert vault.read("secret/data/after") is not None  # under a term that this process had not seen
        assert vault.read("sys/key-status").data["term"] == 2  # type: ignore[union-attr, index]
    assert other.returncode == 0
    vault.close()
    assert isinstance(vault, Vault)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # a fork is what is tested
@pytest.mark.parametrize("custom", [False, True], ids=["direct", "loop"])
def test_a_forked_child_has_no_vault(custom: bool, tmp_path: Path) -> None:
    """It is told so at once: it has neither the writer thread nor the keys."""
    vault, made = opened_with_keys({"lmdb": {"path": str(tmp_path / "s")}})
    vault.mount("secret", "kv")
    if custom:
        vault.add_handler(type("Passer", (), {"log": staticmethod(_pass)})())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert vault.sealed
            for call in (lambda: vault.write("secret/a", {"x": 1}), lambda: vault.unseal(made.keys[0]), vault.tidy):
                with pytest.raises(Sealed, match="forked"):
                    call()
            vault.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    vault.write("secret/a", {"x": 2})
    assert vault.read("secret/a").data == {"x": 2}  # type: ignore[union-attr]
    vault.close()


async def _pass(*_: object) -> None: ...
