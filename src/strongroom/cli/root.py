"""The table of commands."""

from strongroom.cli.command import Group

_OPERATOR = {
    "init": "operator_init:init",
    "unseal": "operator_init:unseal",
    "seal": "operator_init:seal",
    "rotate": "operator_keys:rotate",
    "key-status": "operator_keys:key_status",
    "rekey": "operator_rekey:rekey",
    "generate-root": "operator_root:generate_root",
    "members": "inventory:members",
    "step-down": "inventory:step_down",
    "migrate": "operator_migrate:migrate",
    "diagnose": "operator_diagnose:diagnose",
}
OPERATOR = Group("operator", _OPERATOR, "Start, open, close and look after a server.")

ROOT = Group(
    "strongroom",
    {
        "server": "server:server",
        "status": "status:status",
        "operator": "root:OPERATOR",
        "login": "login:login",
        "token": "token:TOKEN",
        "kv": "kv:KV",
        "secrets": "secrets:SECRETS",
        "auth": "auth:AUTH",
        "policy": "policy:POLICY",
        "audit": "audit:AUDIT",
        "lease": "lease:LEASE",
        "kubevault": "kubevault:KUBEVAULT",
        "namespace": "namespace:NAMESPACE",
        "plugin": "inventory:PLUGIN",
        "version-history": "inventory:version_history",
        "read": "data:read",
        "write": "data:write",
        "patch": "data:patch",
        "delete": "data:delete",
        "list": "data:list_keys",
        "unwrap": "data:unwrap",
        "path-help": "data:path_help",
        "print": "tokens_print:PRINT",
        "completion": "completion:completion",
        "version": "completion:version",
    },
    "Strongroom keeps secrets. Flags may be written with one dash or two.",
)
