"""What a vault does, for the shim: each workflow tells every step that is done, and may be killed at any moment.

    python workflow_work.py WORKFLOW KIND FOLDER     (facts about the prepared store: FOLDER/facts.json)

A told step is a JSON line on stdout: ``{"done": name, ...}``. ``{"pending": [shares]}`` says, before they are stored,
which shares are about to become the valid ones. ``prepare`` makes the store that a workflow begins with.
"""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from strongroom import SealConfig, Vault
from strongroom.core import rekey, seal

SECRETS = 4
CHILDREN = 4
OTHER = {"lmdb": "file", "file": "lmdb"}


def place(kind: str, folder: Path, name: str = "store", **more: Any) -> dict[str, Any]:
    return {kind: {"path": str(folder / name), **more}}


def tell(**fact: Any) -> None:
    os.write(1, json.dumps(fact).encode() + b"\n")


def told_in_advance() -> None:
    """Shares are told before they are stored, so that they can be tried whatever happens after."""
    real = seal.new_shares

    def new_shares(*args: Any, **more: Any) -> Any:
        writes, shares = real(*args, **more)
        tell(pending=list(shares.keys))
        return writes, shares

    seal.new_shares = rekey.new_shares = new_shares


def unsealed(kind: str, folder: Path, facts: dict[str, Any], **config: Any) -> Vault:
    vault = Vault(place(kind, folder), config)
    for share in facts["keys"][:2]:
        vault.unseal(share)
    vault.set_token(facts["root"])
    return vault


def prepare(workflow: str, kind: str, folder: Path) -> dict[str, Any]:
    """The store before the workflow, and what is known of it."""
    if workflow == "init":
        return {}
    vault = Vault(place(kind, folder, sync=False))
    made = vault.init(SealConfig(3, 2))
    facts: dict[str, Any] = {"keys": list(made.keys), "root": made.root_token}
    for share in made.keys[:2]:
        vault.unseal(share)
    vault.set_token(made.root_token)
    vault.mount("secret", "kv", options={"version": "2"})
    vault.write("secret/data/base", {"data": {"x": "base"}})
    if workflow == "unmount":
        for number in range(3):
            vault.mount(f"m{number}", "kv")
            for entry in range(70):
                vault.write(f"m{number}/{entry}", {"n": entry})
    if workflow == "revoke":
        facts["trees"] = [tree(vault) for _ in range(3)]
    if workflow == "migrate":
        for entry in range(100):
            vault.write(f"secret/data/before{entry}", {"data": {"n": entry}})
    vault.close()
    return facts


def tree(vault: Vault) -> list[str]:
    """A token, its children and a grandchild of each, with leases and cubbyholes."""
    top = vault.write("auth/token/create", {"ttl": "2h", "policies": ["root"]}).auth
    assert top is not None
    out = [top.client_token]
    for _ in range(CHILDREN):
        child = vault.write("auth/token/create", {"ttl": "1h", "policies": ["root"]}, token=top.client_token).auth
        assert child is not None
        grand = vault.write("auth/token/create", {"ttl": "1h", "policies": ["default"]}, token=child.client_token).auth
        assert grand is not None
        vault.write("cubbyhole/x", {"x": 1}, token=grand.client_token)
        out += [child.client_token, grand.client_token]
    return out


# -- workflows --------------------------------------------------------------------------------------------------------


def init(kind: str, folder: Path, facts: dict[str, Any]) -> None:
    told_in_advance()
    vault = Vault(place(kind, folder))
    made = vault.init(SealConfig(3, 2))
    tell(done="init", keys=list(made.keys), root=made.root_token)
    vault.close()


def unseal(kind: str, folder: Path, facts: dict[str, Any]) -> None:
    for number in range(4):
        vault = unsealed(kind, folder, facts, version=f"1.2.{number}")
        vault.write(f"secret/data/{number}", {"data": {"x": number}})
        tell(done=f"secret/data/{number}", value=number)
        vault.close()


def unseal_once(kind: str, folder: Path, facts: dict[str, Any]) -> None:
    told_in_advance()
    keys = facts["keys"]
    vault = Vault(place(kind, folder))
    for _ in range(4):
        keys = list(vault.unseal_once(keys[:2]).keys)
        tell(done="shares", keys=keys)
        vault.seal(token=facts["root"])
    vault.close()


def rekeyed(kind: str, folder: Path, facts: dict[str, Any]) -> None:
    told_in_advance()
    vault, keys = unsealed(kind, folder, facts), facts["keys"]
    for number in range(4):
        config = {"secret_shares": 3, "secret_threshold": 2, "require_verification": number % 2 == 1}
        nonce = vault.write("sys/rekey/init", config).data["nonce"]  # type: ignore[index]
        vault.write("sys/rekey/update", {"key": keys[0], "nonce": nonce})
        answer = vault.write("sys/rekey/update", {"key": keys[1], "nonce": nonce}).data
        assert answer is not None
        keys = list(answer["keys"])
        if number % 2:
            for key in keys[:2]:
                vault.write("sys/rekey/verify", {"key": key, "nonce": answer["verification_nonce"]})
        tell(done="shares", keys=keys)
    vault.close()


def rotate(kind: str, folder: Path, facts: dict[str, Any]) -> None:
    vault = unsealed(kind, folder, facts)
    for number in range(5):
        vault.write("sys/rotate")
        tell(done="rotate")
        vault.write(f"secret/data/{number}", {"data": {"x": number}})
        tell(done=f"secret/data/{number}", value=number)
    vault.close()


def put(kind: str, folder: Path, facts: dict[str, Any]) -> None:
    vault = unsealed(kind, folder, facts)
    for number in range(4 * SECRETS):
        path = f"secret/data/{number % SECRETS}"
        vault.write(path, {"data": {"x": number, "long": "y" * (5000 if number % 3 == 2 else 5)}})
        tell(done=path, value=number)
    vault.close()


def create(kind: str, folder: Path, facts: dict[str, Any]) -> None:
    vault = unsealed(kind, folder, facts)
    for number in range(8):
        auth = vault.write("auth/token/create", {"ttl": "1h", "policies": ["default"], "num_uses": 0}).auth
        assert auth is not None
        tell(done="token", token=auth.client_token, accessor=auth.accessor)
    vault.close()


def revoke(kind: str, folder: Path, facts: dict[str, Any]) -> None:
    vault = unsealed(kind, folder, facts)
    for number, tokens in enumerate(facts["trees"]):
        vault.write("auth/token/revoke", {"token": tokens[0]})
        tell(done="revoke", tree=number)
    vault.close()


def mount(kind: str, folder: Path, facts: dict[str, Any]) -> None:
    vault = unsealed(kind, folder, facts)
    for number in range(4):
        vault.mount(f"m{number}", "kv", options={"version": str(1 + number % 2)})
        tell(done="mount", path=f"m{number}/")
        vault.write(f"sys/mounts/m{number}/tune", {"description": "tuned"})
        tell(done="tune", path=f"m{number}/")
        vault.remount(f"m{number}", f"moved{number}")
        tell(done="move", path=f"moved{number}/")
    vault.close()


def unmount(kind: str, folder: Path, facts: dict[str, Any]) -> None:
    vault = unsealed(kind, folder, facts)
    for number in range(3):
        vault.unmount(f"m{number}")
        tell(done="unmount", path=f"m{number}/")
    vault.close()


def migrate(kind: str, folder: Path, facts: dict[str, Any]) -> None:
    vault = unsealed(kind, folder, facts)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            vault.write(f"secret/data/{number % SECRETS}", {"data": {"x": number}})
            tell(done=f"secret/data/{number % SECRETS}", value=number)
            number += 1
            stop.wait(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    vault.core.migrate(place(kind, folder), place(OTHER[kind], folder, "target"))
    tell(done="migrate")
    stop.set()
    writer.join()
    vault.close()


WORKFLOWS = {
    "init": init, "unseal": unseal, "unseal_once": unseal_once, "rekey": rekeyed, "rotate": rotate, "put": put,
    "create": create, "revoke": revoke, "mount": mount, "unmount": unmount, "migrate": migrate,
}  # fmt: skip


if __name__ == "__main__":
    where = Path(sys.argv[3])
    WORKFLOWS[sys.argv[1]](sys.argv[2], where, json.loads((where / "facts.json").read_text()))
