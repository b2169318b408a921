"""Every request the command line makes, as functions that return a ``Call``: names in, (method, path, body) out.

Paths and methods are those of the Vault HTTP API (wire facts A.1). Nothing here sends anything.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from strongroom.client.messages import Call

Body = Mapping[str, Any]
_LIST = {"list": "true"}


# -- any path ------------------------------------------------------------------------------------------------------


def read(path: str, query: Mapping[str, str] = {}) -> Call:
    return Call("GET", path, query=query)


def write(path: str, body: Body) -> Call:
    return Call("PUT", path, body)


def patch(path: str, body: Body) -> Call:
    return Call("PATCH", path, body)


def delete(path: str, query: Mapping[str, str] = {}) -> Call:
    return Call("DELETE", path, query=query)


def list_keys(path: str) -> Call:
    return Call("GET", path, query=_LIST)


def path_help(path: str) -> Call:
    return Call("GET", path, query={"help": "1"})


# -- status, init and seal -----------------------------------------------------------------------------------------


def seal_status() -> Call:
    return Call("GET", "sys/seal-status")


def leader() -> Call:
    return Call("GET", "sys/leader")


def init_status() -> Call:
    return Call("GET", "sys/init")


def init(shares: int, threshold: int) -> Call:
    return Call("PUT", "sys/init", {"secret_shares": shares, "secret_threshold": threshold})


def unseal(key: str) -> Call:
    return Call("PUT", "sys/unseal", {"key": key})


def unseal_reset() -> Call:
    return Call("PUT", "sys/unseal", {"reset": True})


def seal() -> Call:
    return Call("PUT", "sys/seal")


def rotate() -> Call:
    return Call("PUT", "sys/rotate")


def key_status() -> Call:
    return Call("GET", "sys/key-status")


def generate_root_status() -> Call:
    return Call("GET", "sys/generate-root/attempt")


def generate_root_start(otp: str) -> Call:
    return Call("PUT", "sys/generate-root/attempt", {"otp": otp} if otp else {})


def generate_root_cancel() -> Call:
    return Call("DELETE", "sys/generate-root/attempt")


def generate_root_key(key: str, nonce: str) -> Call:
    return Call("PUT", "sys/generate-root/update", {"key": key, "nonce": nonce})


def rekey_status(*, verify: bool = False) -> Call:
    return Call("GET", "sys/rekey/verify" if verify else "sys/rekey/init")


def rekey_start(shares: int, threshold: int, *, verification: bool) -> Call:
    return Call(
        "PUT",
        "sys/rekey/init",
        {"secret_shares": shares, "secret_threshold": threshold, "require_verification": verification},
    )


def rekey_cancel(nonce: str = "", *, verify: bool = False) -> Call:
    body = {"nonce": nonce} if nonce else None
    return Call("DELETE", "sys/rekey/verify" if verify else "sys/rekey/init", body)


def rekey_key(key: str, nonce: str, *, verify: bool = False) -> Call:
    return Call("PUT", "sys/rekey/verify" if verify else "sys/rekey/update", {"key": key, "nonce": nonce})


# -- tokens --------------------------------------------------------------------------------------------------------


def token_create(fields: Body, *, role: str = "", orphan: bool = False) -> Call:
    path = "auth/token/create-orphan" if orphan else "auth/token/create"
    return Call("POST", f"auth/token/create/{role}" if role else path, fields)


def token_lookup(token: str = "", accessor: str = "") -> Call:
    if accessor:
        return Call("POST", "auth/token/lookup-accessor", {"accessor": accessor})
    return Call("POST", "auth/token/lookup", {"token": token}) if token else Call("GET", "auth/token/lookup-self")


def token_renew(token: str = "", accessor: str = "", increment: str = "") -> Call:
    more = {"increment": increment} if increment else {}
    if accessor:
        return Call("POST", "auth/token/renew-accessor", {"accessor": accessor, **more})
    if token:
        return Call("PUT", "auth/token/renew", {"token": token, **more})
    return Call("PUT", "auth/token/renew-self", more)


def token_revoke(token: str = "", accessor: str = "", *, orphan: bool = False) -> Call:
    """Revoke ``token``, the token of ``accessor``, or the caller's own when neither is given."""
    if accessor:
        return Call("POST", "auth/token/revoke-accessor", {"accessor": accessor})
    if token:
        return Call("PUT", "auth/token/revoke-orphan" if orphan else "auth/token/revoke", {"token": token})
    return Call("PUT", "auth/token/revoke-self", {})


def capabilities(path: str, token: str = "", accessor: str = "") -> Call:
    if accessor:
        return Call("POST", "sys/capabilities-accessor", {"accessor": accessor, "paths": [path]})
    if token:
        return Call("POST", "sys/capabilities", {"token": token, "paths": [path]})
    return Call("POST", "sys/capabilities-self", {"paths": [path]})


def unwrap(token: str = "") -> Call:
    return Call("PUT", "sys/wrapping/unwrap", {"token": token} if token else {})


# -- mounts, auth methods, audit devices, policies, leases, namespaces ---------------------------------------------


def mount_of(path: str) -> Call:
    """Ask which mount serves ``path`` and with which options (the KV commands' first step)."""
    return Call("GET", f"sys/internal/ui/mounts/{path}")


def mounts() -> Call:
    return Call("GET", "sys/mounts")


def mount(path: str, fields: Body) -> Call:
    return Call("POST", f"sys/mounts/{path}", fields)


def unmount(path: str) -> Call:
    return Call("DELETE", f"sys/mounts/{path}")


def mount_tune(path: str, fields: Body) -> Call:
    return Call("POST", f"sys/mounts/{path}/tune", fields)


def remount(source: str, destination: str) -> Call:
    return Call("POST", "sys/remount", {"from": source, "to": destination})


def remount_status(migration: str) -> Call:
    return Call("GET", f"sys/remount/status/{migration}")


def auth_methods() -> Call:
    return Call("GET", "sys/auth")


def auth_enable(path: str, fields: Body) -> Call:
    return Call("POST", f"sys/auth/{path}", fields)


def auth_disable(path: str) -> Call:
    return Call("DELETE", f"sys/auth/{path}")


def audit_devices() -> Call:
    return Call("GET", "sys/audit")


def audit_enable(path: str, fields: Body) -> Call:
    return Call("PUT", f"sys/audit/{path}", fields)


def audit_disable(path: str) -> Call:
    return Call("DELETE", f"sys/audit/{path}")


def audit_proof(path: str) -> Call:
    """Public key and last checkpoint of an audit device."""
    return Call("GET", f"sys/audit-proof/{path}")


def policies(language: str = "acl") -> Call:
    """``language`` is ``acl`` or ``cedar``, here and below."""
    return list_keys(f"sys/policies/{language}")


def policy_read(name: str, language: str = "acl") -> Call:
    return Call("GET", f"sys/policies/{language}/{name}")


def policy_write(name: str, text: str, tests: str | None = None, language: str = "acl") -> Call:
    return Call(
        "PUT", f"sys/policies/{language}/{name}", {"policy": text} | ({} if tests is None else {"tests": tests})
    )


def policy_delete(name: str, language: str = "acl") -> Call:
    return Call("DELETE", f"sys/policies/{language}/{name}")


def policy_ask(what: str, body: Mapping[str, Any]) -> Call:
    """explain, who-can, reach."""
    return Call("PUT", f"sys/policies/{what}", body)


def lease_lookup(lease: str) -> Call:
    return Call("PUT", "sys/leases/lookup", {"lease_id": lease})


def lease_renew(lease: str, increment: int = 0) -> Call:
    return Call("PUT", "sys/leases/renew", {"lease_id": lease, "increment": increment})


def lease_revoke(lease: str, *, prefix: bool = False, force: bool = False, sync: bool = False) -> Call:
    if force:
        return Call("PUT", f"sys/leases/revoke-force/{lease}", {})
    if prefix:
        return Call("PUT", f"sys/leases/revoke-prefix/{lease}", {"sync": sync})
    return Call("PUT", "sys/leases/revoke", {"lease_id": lease, "sync": sync})


def namespaces() -> Call:
    return list_keys("sys/namespaces")


def namespace(method: str, path: str, body: Body | None = None) -> Call:
    return Call(method, f"sys/namespaces/{path}", body)


# -- KV ------------------------------------------------------------------------------------------------------------


def kv_path(mount_path: str, area: str, key: str) -> str:
    """``secret/`` + ``data`` + ``a/b`` -> ``secret/data/a/b``; an empty ``area`` is KV version 1."""
    return "/".join(part for part in (mount_path.strip("/"), area, key.strip("/")) if part)


def kv_versions(path: str, versions: Sequence[int]) -> Call:
    """``path`` is below ``delete``, ``undelete`` or ``destroy``."""
    return Call("PUT", path, {"versions": list(versions)})
