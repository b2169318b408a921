"""The Kubernetes objects of a vault, as plain maps.

A file becomes a Secret. A user becomes a ServiceAccount, a Secret with its token (unless tokens are off), and a Role
with its RoleBinding whose ``resourceNames`` are exactly the secrets it may read; a Role too large for ``kubectl apply``
becomes several. A user that may read nothing gets a Role without rules: an empty ``resourceNames`` would mean all.
"""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any, NamedTuple

from strongroom.kubevault.names import token_name
from strongroom.kubevault.settings import ACCOUNT, OURS, TOKEN_TYPE, UNSENT
from strongroom.kubevault.tree import Content, SecretFile, Tree, User

Object = dict[str, Any]
RBAC = "rbac.authorization.k8s.io"
# Bytes of names in one Role: kubectl apply keeps the object as JSON in an annotation, and annotations hold 256 KiB.
ROLE_LIMIT = 160 * 1024
_RULES_LIMIT = 64 * 1024  # bytes of rules kept as an annotation


class Options(NamedTuple):
    """How manifests are made."""

    namespace: str
    string_data: bool = False
    tokens: bool = True


class Group(NamedTuple):
    """Objects that belong together: one file of an output folder, ``<stem>.yaml``."""

    stem: str
    objects: list[Object]


def secrets(tree: Tree, contents: list[Content], options: Options) -> Iterator[Group]:
    """The Secrets of a vault in order of their names, each by itself."""
    for secret, content in by_name(tree, contents):
        yield Group(f"secret-{secret.name}", [secret_object(secret, content, options)])


def by_name(tree: Tree, contents: list[Content]) -> list[tuple[SecretFile, Content]]:
    """The secrets of a vault with their contents, in order of their names."""
    return sorted(zip(tree.secrets, contents, strict=True), key=lambda pair: pair[0].name)


def secret_object(secret: SecretFile, content: Content, options: Options) -> Object:
    """The Secret of one file."""
    settings = content.settings
    metadata: Object = {
        "annotations": {**settings.annotations, f"{OURS}source": noted(secret.path)},
        "name": secret.name,
        "namespace": secret.namespace,
    }
    if settings.labels:
        metadata["labels"] = dict(settings.labels)
    made: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": settings.type}
    if settings.immutable is not None:
        made["immutable"] = settings.immutable
    if options.string_data:
        texts = {
            key: value for key, value in content.entries.items() if isinstance(value, str) and not UNSENT.search(value)
        }
        made["stringData"] = texts
        if len(texts) < len(content.entries):
            made["data"] = {key: base64(value) for key, value in content.entries.items() if key not in texts}
    else:
        made["data"] = {key: base64(value) for key, value in content.entries.items()}
    return made


def noted(text: str) -> str:
    """``text`` for an annotation, without what would keep the object from being applied or come out changed."""
    return UNSENT.sub("\ufffd", text)


def base64(value: str | bytes) -> str:
    """Text (as UTF-8) or bytes in base64."""
    return b64encode(value if isinstance(value, bytes) else value.encode()).decode()


def access(tree: Tree, options: Options) -> Iterator[Group]:
    """What the users of a vault need, one group for each, in order of their names."""
    for user in tree.users:
        yield Group(f"access-control-{user.name}", list(user_objects(tree, user, options)))


def user_objects(tree: Tree, user: User, options: Options) -> Iterator[Object]:
    """ServiceAccount, token, Roles and RoleBindings of one user."""
    home = options.namespace
    yield {
        "apiVersion": "v1",
        "automountServiceAccountToken": False,
        "kind": "ServiceAccount",
        "metadata": {"name": user.name, "namespace": home},
    }
    if options.tokens:
        yield {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "annotations": {ACCOUNT: user.name},
                "name": token_name(user.name),
                "namespace": home,
            },
            "type": TOKEN_TYPE,
        }
    rules = "\n".join(rule.text for rule in user.rules)
    annotations = {f"{OURS}rules": noted(rules)} if len(rules.encode()) <= _RULES_LIMIT else {}
    for namespace, names in _by_namespace(tree, user, home).items():
        for number, part in enumerate(_parts(names), 1):
            name = f"kubevault:{user.name}:read" + (f"-{number}" if number > 1 else "")
            yield role(name, namespace, part, annotations)
            yield binding(name, namespace, user.name, home)


def _by_namespace(tree: Tree, user: User, home: str) -> dict[str, list[str]]:
    """namespace -> names of Secrets, in order of their paths; never empty."""
    found: dict[str, list[str]] = {}
    for secret in tree.allowed(user):
        found.setdefault(secret.namespace, []).append(secret.name)
    return found or {home: []}


def _parts(names: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    size = 0
    for name in names:
        size += len(name) + 3
        if size > ROLE_LIMIT:
            yield part
            part, size = [], len(name) + 3
        part.append(name)
    yield part


def role(name: str, namespace: str, names: list[str], annotations: dict[str, str]) -> Object:
    """A Role to read exactly the Secrets ``names``."""
    metadata: Object = {"name": name, "namespace": namespace}
    if annotations:
        metadata["annotations"] = annotations
    rule = {"apiGroups": [""], "resourceNames": names, "resources": ["secrets"], "verbs": ["get", "list"]}
    return {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": [rule] if names else []}


def binding(name: str, namespace: str, user: str, home: str) -> Object:
    """The RoleBinding of a Role to the ServiceAccount ``user`` of the namespace ``home``."""
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": user, "namespace": home}],
    }
