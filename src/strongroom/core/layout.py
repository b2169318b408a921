"""The names of the keys in the store (docs/house.md, "Keys in the store"). Nobody else spells them."""

FORMAT = "core/format"  # clear
SEAL_CONFIG = "core/seal-config"  # clear
SEAL_ROOT = "core/seal/root"  # the root key under the unseal key
SEAL_KEYRING_KEY = "core/seal/keyring-key"  # the keyring key under the root key
KEYRING = "core/keyring"  # the terms under the keyring key
CLUSTER = "core/cluster"
LEADER = "core/leader"  # see core/leader.py
LEADER_BEAT = "core/leader-beat"
AUDIT_TARGETS = "core/audit-targets"  # clear

LAYOUT_VERSION = 1  # of core/format

RESERVED = frozenset({FORMAT, SEAL_CONFIG, SEAL_ROOT, SEAL_KEYRING_KEY, KEYRING})  # written by the seal alone
CLEAR = frozenset({AUDIT_TARGETS})  # others may write these beside the barrier


def namespace_prefix(ns: str) -> str:
    """Everything of one namespace."""
    return f"ns/{ns}/"


def epoch(ns: str) -> str:
    """The key whose revision moves with every change of mounts, policies, audit devices and settings."""
    return f"ns/{ns}/epoch"


def mount_prefix(ns: str) -> str:
    return f"ns/{ns}/mount/"


def mount(ns: str, uuid: str) -> str:
    return f"ns/{ns}/mount/{uuid}"


def policy_prefix(ns: str) -> str:
    return f"ns/{ns}/policy/"


def policy(ns: str, name: str) -> str:
    return f"ns/{ns}/policy/{name}"


def token_prefix(ns: str) -> str:
    return f"ns/{ns}/token/"


def lease_prefix(ns: str) -> str:
    return f"ns/{ns}/lease/"


def audit_prefix(ns: str) -> str:
    return f"ns/{ns}/audit/"


def audit(ns: str, path: str) -> str:
    """One audit device; ``path`` is its mount path, with or without the trailing slash."""
    return f"ns/{ns}/audit/{path.rstrip('/')}"


def config_prefix(ns: str) -> str:
    return f"ns/{ns}/config/"


def config(ns: str, what: str) -> str:
    """Settings of a namespace: ``cors``, ``ui-headers``, ``audited-headers`` and the like."""
    return f"ns/{ns}/config/{what}"


def data_prefix(ns: str, uuid: str) -> str:
    """Where the engine of the mount ``uuid`` keeps what it has (the prefix of its View)."""
    return f"ns/{ns}/data/{uuid}/"
