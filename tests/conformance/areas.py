"""Which area of the API a path belongs to, and which areas are built."""

# Paths below a mount are named by the mount's type: "kv-v2/data/x", "auth/approle/role/x". Longest prefix wins.
SEAL = "sys: seal, init, health, HA"
KEYS = "sys: rekey, rotate, generate-root"
MOUNTS = "sys: mounts, auth, remount, UI support"
POLICIES = "sys: policies, capabilities"
LEASES = "sys: leases, wrapping, tools"
CONFIG = "sys: audit, config, metrics, loggers"
TOKEN = "auth: token"
APPROLE = "auth: approle"
USERPASS = "auth: userpass"
KV1 = "engine: kv v1"
KV2 = "engine: kv v2"
CUBBYHOLE = "engine: cubbyhole"
BUILT = (
    SEAL, KEYS, MOUNTS, POLICIES, LEASES, CONFIG, TOKEN, APPROLE, USERPASS, KV1, KV2, CUBBYHOLE,
    "auth: cert", "auth: kubernetes", "identity: entities, groups, aliases, lookup", "sys: namespaces", "sys: quotas",
)  # fmt: skip

_PREFIXES = {
    SEAL: "ha-status health host-info in-flight-req init leader seal step-down unseal version-history",
    KEYS: "generate-root key-status rekey rotate rotation decode-token",
    MOUNTS: "auth mounts remount internal/specs internal/ui internal/inspect internal/counters",
    POLICIES: "capabilities policies policy",
    LEASES: "leases wrapping tools locked-users renew revoke",
    CONFIG: "audit config metrics loggers monitor",
    "sys: recovery keys": "generate-recovery rekey-recovery rekey/recovery rotate/recovery rotation/recovery",
    "sys: raw store access": "raw",
    "sys: profiles": "pprof",
    "sys: password policies": "policies/password",
    "sys: control groups": "control-group",
    "sys: login MFA": "mfa",
    "sys: quotas": "quotas",
    "sys: namespaces": "namespaces internal/ui/namespaces",
    "sys: plugins": "plugins",
    "sys: raft storage": "storage/raft",
    "sys: workflows, external keys": "workflows external-keys",
    "sys: Enterprise and others": "",
}
AREAS: dict[str, str] = {
    f"sys/{word}": area for area, words in _PREFIXES.items() for word in (words.split() or [""])
} | {
    "auth/token": TOKEN,
    "auth/approle": APPROLE,
    "auth/userpass": USERPASS,
    "kv-v1/": KV1,
    "kv-v2/": KV2,
    "cubbyhole": CUBBYHOLE,
    "identity/": "identity: entities, groups, aliases, lookup",
    "identity/oidc": "identity: OIDC tokens and provider",
    "identity/mfa": "identity: login MFA",
    **{f"auth/{kind}": f"auth: {kind}" for kind in ("cert", "jwt", "kubernetes", "ldap", "kerberos", "radius")},
    "auth/oidc": "auth: jwt",
    **{
        f"{kind}/": f"engine: {kind}"
        for kind in ("transit", "pki", "ssh", "totp", "database", "kubernetes", "rabbitmq", "ldap")
    },
}
ORDER = (*BUILT, *sorted({area for area in AREAS.values() if area not in BUILT}))


def area_of(path: str) -> str:
    """The area of a path without ``/v1/`` whose mount is named by its type."""
    found = max((prefix for prefix in AREAS if path.startswith(prefix)), key=len, default="")
    return AREAS.get(found, AREAS["sys/"])
