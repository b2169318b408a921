"""What must hold of a store whose vault was killed in the middle of a workflow (workflow_work.py)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults.workflow_work import CHILDREN, OTHER, SECRETS, place, unsealed
from strongroom import SealConfig, Vault
from strongroom.errors import BadRequest, PermissionDenied, VaultError

Facts = dict[str, Any]


def lines(stdout: str) -> list[Facts]:
    return [json.loads(line) for line in stdout.splitlines() if line.endswith("}")]


def check(workflow: str, kind: str, folder: Path, facts: Facts, stdout: str) -> None:
    """Raises AssertionError if something acknowledged is lost or something half done shows."""
    said = lines(stdout)
    CHECKS[workflow](kind, folder, facts, said)


def done(said: list[Facts], name: str) -> list[Facts]:
    return [line for line in said if line.get("done") == name]


def values(vault: Vault, said: list[Facts]) -> None:
    """Every told secret has its last told value, or that of the step in flight; every version there is reads well."""
    told: dict[str, list[int]] = {}
    for line in said:
        if "value" in line:
            told.setdefault(line["done"], []).append(line["value"])
    for path, written in told.items():
        found = vault.read(path)
        assert found is not None and found.data is not None, path
        value = found.data["data"]["x"]
        assert value >= written[-1], (path, value, written)
    listed = vault.list("secret/metadata")
    assert listed is not None and listed.data is not None and "base" in listed.data["keys"]
    for name in listed.data["keys"]:
        facts = vault.read(f"secret/metadata/{name}")
        assert facts is not None and facts.data is not None
        assert facts.data["current_version"] == max(int(v) for v in facts.data["versions"])
        for version in facts.data["versions"]:
            whole = vault.read(f"secret/data/{name}", {"version": version})
            assert whole is not None and whole.data is not None and whole.data["data"]
            length = len(whole.data["data"].get("long", "y" * 5))
            assert length in (5, 5000)


def works(vault: Vault) -> None:
    """The vault goes on after the crash, and what was begun is finished."""
    while vault.tidy():
        pass
    vault.write("secret/data/after", {"data": {"x": 1}})
    assert vault.read("secret/data/after") is not None
    child = vault.write("auth/token/create", {"ttl": "1h"}).auth
    assert child is not None
    vault.write("auth/token/revoke", {"token": child.client_token})
    vault.mount("after", "kv")
    vault.unmount("after")
    tokens_hang_together(vault)


def tokens_hang_together(vault: Vault) -> None:
    """No accessor without its token."""
    accessors = vault.list("auth/token/accessors")
    assert accessors is not None and accessors.data is not None
    for accessor in accessors.data["keys"]:
        assert vault.write("auth/token/lookup-accessor", {"accessor": accessor}).data is not None


def check_init(kind: str, folder: Path, facts: Facts, said: list[Facts]) -> None:
    with Vault(place(kind, folder, sync=False)) as vault:
        status = vault.read("sys/seal-status")
        assert status is not None and status.data is not None
        acknowledged = done(said, "init")
        if not status.data["initialized"]:
            assert not acknowledged
            made = vault.init(SealConfig(3, 2))
            keys, root = list(made.keys), made.root_token
        else:
            pending = [line["pending"] for line in said if "pending" in line]
            assert (status.data["n"], status.data["t"]) == (3, 2)
            keys = acknowledged[0]["keys"] if acknowledged else pending[-1]
            root = acknowledged[0]["root"] if acknowledged else None
        for key in keys[1:]:
            vault.unseal(key)
        assert not vault.sealed
        if root is not None:
            vault.mount("secret", "kv", options={"version": "2"}, token=root)
            vault.set_token(root)
            works(vault)


def check_values(kind: str, folder: Path, facts: Facts, said: list[Facts]) -> None:
    with unsealed(kind, folder, facts) as vault:
        values(vault, said)
        works(vault)


def check_shares(kind: str, folder: Path, facts: Facts, said: list[Facts]) -> None:
    """Exactly one set of shares unseals: the last told, or the one that was about to follow it."""
    told = [line["keys"] for line in done(said, "shares")]
    current = told[-1] if told else facts["keys"]
    candidates = [line["pending"] for line in said if "pending" in line]
    in_flight = [keys for keys in candidates if keys not in told]
    known = [facts["keys"], *candidates]
    with Vault(place(kind, folder, sync=False)) as vault:
        good = [keys for keys in known if opens(vault, keys, facts["root"])]
        assert len(good) == 1, f"{len(good)} sets of shares unseal"
        assert good[0] in [current, *in_flight[-1:]]
        vault.unseal(good[0][0])
        vault.unseal(good[0][1])
        vault.set_token(facts["root"])
        values(vault, [])
        works(vault)


def opens(vault: Vault, keys: list[str], root: str) -> bool:
    try:
        for key in keys[:2]:
            vault.unseal(key)
    except BadRequest:
        return False
    vault.seal(token=root)
    return True


def check_rotate(kind: str, folder: Path, facts: Facts, said: list[Facts]) -> None:
    with unsealed(kind, folder, facts) as vault:
        values(vault, said)
        status = vault.read("sys/key-status")
        assert status is not None and status.data is not None
        rotations = len(done(said, "rotate"))
        assert status.data["term"] in (rotations + 1, rotations + 2)
        works(vault)


def check_create(kind: str, folder: Path, facts: Facts, said: list[Facts]) -> None:
    with unsealed(kind, folder, facts) as vault:
        tokens = done(said, "token")
        for line in tokens:
            own = vault.read("auth/token/lookup-self", token=line["token"])
            assert own is not None and own.data is not None
            assert own.data["accessor"] == line["accessor"]
        listed = vault.list("auth/token/accessors")
        assert listed is not None and listed.data is not None
        assert len(tokens) + 1 <= len(listed.data["keys"]) <= len(tokens) + 2
        tokens_hang_together(vault)
        leases = vault.list("sys/leases/lookup/auth/token/create")
        names = leases.data["keys"] if leases is not None and leases.data is not None else []
        assert len(names) == len(listed.data["keys"]) - 1
        works(vault)


def check_revoke(kind: str, folder: Path, facts: Facts, said: list[Facts]) -> None:
    """A tree lives whole or is gone whole, also before anybody tidies."""
    ended = {line["tree"] for line in done(said, "revoke")}
    with unsealed(kind, folder, facts) as vault:
        alive = 1
        for number, tokens in enumerate(facts["trees"]):
            lives = [alive_now(vault, token) for token in tokens]
            assert len(set(lives)) == 1, lives
            assert not (lives[0] and number in ended)
            alive += sum(lives)
        works(vault)
        listed = vault.list("auth/token/accessors")
        assert listed is not None and listed.data is not None
        assert len(listed.data["keys"]) == alive
        assert len(facts["trees"][0]) == 2 * CHILDREN + 1


def alive_now(vault: Vault, token: str) -> bool:
    try:
        return vault.read("auth/token/lookup-self", token=token) is not None
    except PermissionDenied:
        return False


def mounts(vault: Vault) -> dict[str, Any]:
    found = vault.read("sys/mounts")
    assert found is not None and found.data is not None
    return {path: entry for path, entry in found.data.items() if path.startswith("m")}


def check_mount(kind: str, folder: Path, facts: Facts, said: list[Facts]) -> None:
    with unsealed(kind, folder, facts) as vault:
        now = mounts(vault)
        for number in range(4):
            before, after = f"m{number}/", f"moved{number}/"
            assert not (before in now and after in now)
            told = {line["done"] for line in said if line.get("path") in (before, after)}
            at = after if after in now else before
            if told:
                assert at in now
            assert not ("move" in told and at == before)
            if "tune" in told:
                assert now[at]["description"] == "tuned"
            if at not in now:
                vault.mount(at, "kv", options={"version": str(1 + number % 2)})
            body: dict[str, Any] = {"data": {"x": 1}} if number % 2 else {"x": 1}
            vault.write(f"{at}data/a" if number % 2 else f"{at}a", body)
        works(vault)


def check_unmount(kind: str, folder: Path, facts: Facts, said: list[Facts]) -> None:
    gone = {line["path"] for line in done(said, "unmount")}
    with unsealed(kind, folder, facts) as vault:
        now = mounts(vault)
        assert not gone & set(now)
        for number in range(3):
            path = f"m{number}/"
            if path in now:
                listed = vault.list(path)
                assert listed is not None and listed.data is not None and len(listed.data["keys"]) == 70
        works(vault)
        uuids = {entry["uuid"] for entry in mounts(vault).values()}
        left = vault._run(vault._core.barrier.list("ns/root/data/"))  # type: ignore[union-attr]
        data = {name.rstrip("/") for name in left}
        known = {entry.uuid for entry in vault._core.space().mounts.entries.values()}
        assert data <= known and uuids <= known  # nothing of a removed mount stays
        for number in range(3):
            if f"m{number}/" not in now:
                vault.mount(f"m{number}", "kv")
                assert vault.list(f"m{number}") is None


def check_migrate(kind: str, folder: Path, facts: Facts, said: list[Facts]) -> None:
    """The source holds all that was told, or the target does and is whole; half a target is not opened."""
    target = place(OTHER[kind], folder, "target", sync=False)
    refused = False
    if (folder / "target").exists():
        refused = not holds(target, facts, said)
    else:
        refused = True
    if refused:
        assert not done(said, "migrate")
        assert holds(place(kind, folder, sync=False), facts, said)
        with unsealed(kind, folder, facts) as vault:
            vault.core.migrate(place(kind, folder), target)
            values(vault, said)
        assert holds(target, facts, said)


def holds(spec: Facts, facts: Facts, said: list[Facts]) -> bool:
    """Whether the store opens; it must hold everything then."""
    with Vault(spec) as vault:
        status = vault.read("sys/seal-status")
        assert status is not None and status.data is not None
        try:
            for key in facts["keys"][:2]:
                vault.unseal(key)
        except VaultError:
            return False
        vault.set_token(facts["root"])
        values(vault, said)
        listed = vault.list("secret/metadata")
        assert listed is not None and listed.data is not None
        assert {f"before{n}" for n in range(100)} <= set(listed.data["keys"])
        works(vault)
        return True


CHECKS: dict[str, Callable[[str, Path, Facts, list[Facts]], None]] = {
    "init": check_init, "unseal": check_values, "unseal_once": check_shares, "rekey": check_shares,
    "rotate": check_rotate, "put": check_values, "create": check_create, "revoke": check_revoke, "mount": check_mount,
    "unmount": check_unmount, "migrate": check_migrate,
}  # fmt: skip
assert SECRETS
