"""The names of the keys in the store (docs/house.md, "Keys in the store"). Nobody else spells them."""

FORMAT = "core/format"  # clear
SEAL_CONFIG = "core/seal-config"  # clear
SEAL_ROOT = "core/seal/root"  # the root key under the unseal key
SEAL_KEYRING_KEY = "core/seal/keyring-key"  # the keyring key under the root key
KEYRING = "core/keyring"  # the terms under the keyring key
CLUSTER = "core/cluster"
UNFINISHED = "core/unfinished/"  # <nsid>: work in a namespace that tidying must finish
CLIENT_TRUST = "core/client-trust/"  # <nsid>/<mount uuid>/<name>: certificates that an auth mount trusts
LEADER = "core/leader"  # see core/leader.py
LEADER_BEAT = "core/leader-beat"
AUDIT_TARGETS = "core/audit-targets"  # clear
AUDIT_LEFT = "core/audit-left/"  # <writer>, clear: see core/audit_left.py

LAYOUT_VERSION = 1  # of core/format

RESERVED = frozenset({FORMAT, SEAL_CONFIG, SEAL_ROOT, SEAL_KEYRING_KEY, KEYRING})  # written by the seal alone
CLEAR = frozenset({AUDIT_TARGETS})  # others may write these beside the barrier


def client_trust(ns: str, uuid: str) -> str:
    """What the mount ``uuid`` trusts of TLS clients (the prefix of its notes)."""
    return f"{CLIENT_TRUST}{ns}/{uuid}/"


def namespace_prefix(ns: str) -> str:
    """Everything of one namespace."""
    return f"ns/{ns}/"


def epoch(ns: str) -> str:
    """The key whose revision moves with every change of mounts, policies, audit devices and settings."""
    return f"ns/{ns}/epoch"


def child_prefix(ns: str) -> str:
    """The namespaces directly below one."""
    return f"ns/{ns}/namespace/"


def child(ns: str, name: str) -> str:
    """The entry of the namespace ``name`` below ``ns``."""
    return f"ns/{ns}/namespace/{name}"


def place(ns: str) -> str:
    """Where the namespace with that id is: the ids and names on the way to it."""
    return f"core/namespace/{ns}"


def abroad(ns: str, token_id: str) -> str:
    """The ids of the namespaces below ``ns`` in which something hangs on a token of ``ns``."""
    return f"ns/{ns}/token/abroad/{token_id}/"


def mount_prefix(ns: str) -> str:
    return f"ns/{ns}/mount/"


def mount(ns: str, uuid: str) -> str:
    return f"ns/{ns}/mount/{uuid}"


def policy_prefix(ns: str) -> str:
    return f"ns/{ns}/policy/"


def policy(ns: str, name: str) -> str:
    return f"ns/{ns}/policy/{name}"


def cedar_epoch(ns: str) -> str:
    """The key whose revision moves with every change of a Cedar policy; there is none before the first."""
    return f"ns/{ns}/cedar-epoch"


def cedar_prefix(ns: str) -> str:
    return f"ns/{ns}/cedar/"


def cedar(ns: str, name: str) -> str:
    return f"ns/{ns}/cedar/{name}"


def token_prefix(ns: str) -> str:
    return f"ns/{ns}/token/"


def lease_prefix(ns: str) -> str:
    return f"ns/{ns}/lease/"


def identity_prefix(ns: str) -> str:
    return f"ns/{ns}/identity/"


def audit_prefix(ns: str) -> str:
    return f"ns/{ns}/audit/"


def audit(ns: str, path: str) -> str:
    """One audit device; ``path`` is its mount path, with or without the trailing slash."""
    return f"ns/{ns}/audit/{path.rstrip('/')}"


def audit_heads(ns: str, path: str) -> str:
    """How far the chains of an audit device had come, and the last checkpoint that was signed over them."""
    return f"ns/{ns}/audit-heads/{path.rstrip('/')}"


def config_prefix(ns: str) -> str:
    return f"ns/{ns}/config/"


def config(ns: str, what: str) -> str:
    """Settings of a namespace: ``cors``, ``ui-headers``, ``audited-headers`` and the like."""
    return f"ns/{ns}/config/{what}"


def data_prefix(ns: str, uuid: str) -> str:
    """Where the engine of the mount ``uuid`` keeps what it has (the prefix of its View)."""
    return f"ns/{ns}/data/{uuid}/"
