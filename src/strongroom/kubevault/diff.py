"""Two states of a vault's objects compared, without showing a value.

A ``State`` is made of objects from anywhere (generated, files, a cluster). Values are kept only as marks: a keyed hash
under a key drawn for one comparison, so that equal values have equal marks and a mark says nothing afterwards.
"""

import base64
import binascii
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from strongroom.kubevault.manifests import RBAC
from strongroom.kubevault.names import token_name
from strongroom.kubevault.settings import ACCOUNT, OURS, TOKEN_TYPE

KINDS = ("Secret", "ServiceAccount", "Role", "RoleBinding", "ExternalSecret", "PushSecret")
RULES, SOURCE = f"{OURS}rules", f"{OURS}source"
EVERYTHING = "*"  # in an access: every secret of the namespace
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"  # holds the values in clear
# Labels and annotations that clusters and what applies manifests add by themselves.
_FOREIGN = (
    "kubectl.kubernetes.io/",
    "kubernetes.io/",
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "config.kubernetes.io/",
    "internal.config.kubernetes.io/",
    "kapp.k14s.io/",
)
_FOREIGN_FIELD = re.compile(rf"metadata\.(labels|annotations)\.({'|'.join(map(re.escape, _FOREIGN))})")


class Ref(NamedTuple):
    """Which object: as ``Secret vault-kvstore/db``."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class Thing(NamedTuple):
    """What is compared of one object."""

    values: dict[str, bytes]  # key -> mark
    names: frozenset[str]  # what a Role lets read
    rules: tuple[str, ...]  # the ACL file, line by line
    fields: dict[str, str]  # everything else: "metadata.labels.team" -> text


class State(NamedTuple):
    """All objects of one side. ``access``: user -> (namespace, secret)."""

    things: dict[Ref, Thing]
    access: dict[str, set[tuple[str, str]]]


class Change(NamedTuple):
    """What differs in one object. ``sign`` is ``+``, ``-`` or ``~``; the lists hold (sign, text)."""

    sign: str
    ref: Ref
    keys: list[tuple[str, str]]
    names: list[tuple[str, str]]
    rules: list[tuple[str, str]]
    fields: list[tuple[str, str]]


class Difference(NamedTuple):
    """``access``: (user, sign, namespace, secret) for each right that is gained or lost."""

    changes: list[Change]
    access: list[tuple[str, str, str, str]]

    def __bool__(self) -> bool:
        return bool(self.changes or self.access)


def state_of(objects: Iterable[Mapping[str, Any]], key: bytes, namespace: str = "") -> State:
    """The state that ``objects`` make; of two with one name the later counts.

    Args:
        objects: manifests, with scalars of any type. Kinds other than ``KINDS`` are passed over.
        key: 16 to 64 random bytes, the same for both sides.
        namespace: of objects that name none.
    """
    things: dict[Ref, Thing] = {}
    roles: dict[tuple[str, str], frozenset[str]] = {}
    bindings: list[Mapping[str, Any]] = []
    for given in objects:
        kind = str(given.get("kind"))
        if kind not in KINDS:
            continue
        metadata = _map(given.get("metadata"))
        ref = Ref(kind, str(metadata.get("namespace") or namespace), str(metadata.get("name")))
        things[ref] = _thing(kind, given, metadata, key)
        if kind == "Role":
            roles[ref.namespace, ref.name] = things[ref].names
        elif kind == "RoleBinding":
            bindings.append(given)
    return State(things, _access(bindings, roles, namespace))


def ours(objects: Iterable[Mapping[str, Any]], others: State) -> list[Mapping[str, Any]]:
    """Of objects in a cluster those that a vault made, and those that bear the name of one in ``others``.

    A Secret is known by the annotation with its source; Role and RoleBinding by a name as ``kubevault:alice:read``;
    ServiceAccount and token Secret by the users that these name.
    """
    listed = [thing for thing in objects if thing.get("kind") in KINDS]
    users = {
        _user_of(str(_map(thing.get("metadata")).get("name")))
        for thing in listed
        if thing.get("kind") in ("Role", "RoleBinding")
    }
    return [thing for thing in listed if _is_ours(thing, users, others)]


def _is_ours(thing: Mapping[str, Any], users: set[str], others: State) -> bool:
    metadata = _map(thing.get("metadata"))
    kind, name = str(thing.get("kind")), str(metadata.get("name"))
    if Ref(kind, str(metadata.get("namespace")), name) in others.things:
        return True
    annotations = _map(metadata.get("annotations"))
    if kind in ("Role", "RoleBinding"):
        return bool(_user_of(name))
    if kind == "ServiceAccount":
        return name in users
    if thing.get("type") == TOKEN_TYPE:
        user = str(annotations.get(ACCOUNT))
        return user in users and name in (token_name(user), user)  # the original gives it the user's name
    return SOURCE in annotations


def _user_of(role: str) -> str:
    """The user in ``kubevault:<user>:read`` and ``kubevault:<user>:read-2``; empty for other names."""
    parts = role.split(":")
    if len(parts) != 3 or parts[0] != "kubevault":
        return ""
    verb, _, number = parts[2].partition("-")
    return parts[1] if verb == "read" and (not number or number.isdigit()) else ""


def compare(old: State, new: State) -> Difference:
    """What ``new`` would change if it took the place of ``old``, sorted."""
    changes = []
    for ref in sorted(old.things.keys() | new.things.keys()):
        before, after = old.things.get(ref), new.things.get(ref)
        if before is None:
            changes.append(_whole("+", ref, new.things[ref]))
        elif after is None:
            changes.append(_whole("-", ref, before))
        elif (change := _changed(ref, before, after)) is not None:
            changes.append(change)
    return Difference(changes, list(_rights(old, new)))


def _rights(old: State, new: State) -> Iterable[tuple[str, str, str, str]]:
    for user in sorted(old.access.keys() | new.access.keys()):
        before, after = old.access.get(user, set()), new.access.get(user, set())
        for namespace, name in sorted(before ^ after):
            gained = (namespace, name) in after
            # Who reads everything there neither gains nor loses a name.
            if name == EVERYTHING or (namespace, EVERYTHING) not in (before if gained else after):
                yield user, "+" if gained else "-", namespace, name


def _whole(sign: str, ref: Ref, thing: Thing) -> Change:
    return Change(
        sign,
        ref,
        [(sign, key) for key in sorted(thing.values)],
        [(sign, name) for name in sorted(thing.names)],
        [(sign, rule) for rule in thing.rules],
        [],
    )


def _changed(ref: Ref, before: Thing, after: Thing) -> Change | None:
    if before == after:
        return None
    fields = []
    for name in sorted(before.fields.keys() | after.fields.keys()):
        old, new = before.fields.get(name), after.fields.get(name)
        if old is None:
            fields.append(("+", f"{name}: {new}"))
        elif new is None:
            if not _FOREIGN_FIELD.match(name):
                fields.append(("-", f"{name}: {old}"))
        elif old != new:
            fields.append(("~", f"{name}: {old} -> {new}"))
    keys = []
    for key in sorted(before.values.keys() | after.values.keys()):
        mark, other = before.values.get(key), after.values.get(key)
        if mark != other:
            keys.append(("+" if mark is None else "-" if other is None else "~", key))
    names = [("+" if name in after.names else "-", name) for name in sorted(before.names ^ after.names)]
    change = Change("~", ref, keys, names, _lines(before.rules, after.rules), fields)
    return change if any(change[2:]) else None


def _lines(before: tuple[str, ...], after: tuple[str, ...]) -> list[tuple[str, str]]:
    from difflib import ndiff

    if before == after:
        return []
    return [(line[0], line[2:]) for line in ndiff(before, after) if line[0] in "+-"]


def _thing(kind: str, given: Mapping[str, Any], metadata: Mapping[str, Any], key: bytes) -> Thing:
    annotations = {str(name): _text(value) for name, value in _map(metadata.get("annotations")).items()}
    rules = annotations.pop(RULES, None)
    values: dict[str, bytes] = {}
    names: frozenset[str] = frozenset()
    skipped = {"apiVersion", "kind", "metadata", "status"}
    if kind == "Secret":
        skipped |= {"data", "stringData"}
        if _text(given.get("type")) != TOKEN_TYPE:
            values = _values(given, key)
    elif kind == "Role":
        skipped.add("rules")
        names = _names(given)
    elif kind == "ServiceAccount":
        skipped |= {"secrets", "imagePullSecrets"}  # the cluster's own
    fields: dict[str, str] = {}
    for part, held in (("labels", _map(metadata.get("labels"))), ("annotations", annotations)):
        for name, value in held.items():
            if name != _LAST_APPLIED:
                fields[f"metadata.{part}.{name}"] = _text(value)
    for name, value in given.items():
        if name not in skipped:
            _flatten(str(name), value, fields)
    if kind == "Secret":
        fields.setdefault("type", "Opaque")
    if kind == "Role":
        fields |= _odd_rules(given)
    return Thing(values, names, tuple(rules.split("\n")) if rules else (), fields)


def _values(given: Mapping[str, Any], key: bytes) -> dict[str, bytes]:
    """Marks of the values; ``stringData`` wins over ``data``, as in the cluster."""
    found = {}
    for name, value in _map(given.get("data")).items():
        text = _text(value)
        try:
            found[str(name)] = _mark(base64.b64decode("".join(text.split()), validate=True), key)
        except (binascii.Error, ValueError):
            found[str(name)] = _mark(b"not base64\0" + text.encode("utf-8", "surrogatepass"), key)
    for name, value in _map(given.get("stringData")).items():
        found[str(name)] = _mark(_text(value).encode("utf-8", "surrogatepass"), key)
    return found


def _mark(value: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(value, key=key, digest_size=20).digest()


def _reads_secrets(rule: Mapping[str, Any]) -> bool:
    groups, resources, verbs = (_list(rule.get(name)) for name in ("apiGroups", "resources", "verbs"))
    return (
        bool({"", "*"} & set(groups))
        and bool({"secrets", "*"} & set(resources))
        and bool({"get", "list", "*"} & set(verbs))
    )


def _names(role: Mapping[str, Any]) -> frozenset[str]:
    """The secrets that a Role lets read. A rule without names lets read everything."""
    found: set[str] = set()
    for rule in _maps(role.get("rules")):
        if _reads_secrets(rule):
            found |= set(_list(rule.get("resourceNames"))) or {EVERYTHING}
    return frozenset(found)


def _odd_rules(role: Mapping[str, Any]) -> dict[str, str]:
    """Rules of a Role other than those a vault makes."""
    fields: dict[str, str] = {}
    for number, rule in enumerate(_maps(role.get("rules"))):
        plain = {name: rule.get(name) for name in ("apiGroups", "resources", "verbs")}
        if not _reads_secrets(rule) or plain != {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}:
            _flatten(f"rules[{number}]", {**plain, "resourceNames": rule.get("resourceNames")}, fields)
    return fields


def _access(
    bindings: Iterable[Mapping[str, Any]], roles: Mapping[tuple[str, str], frozenset[str]], namespace: str
) -> dict[str, set[tuple[str, str]]]:
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for binding in bindings:
        home = str(_map(binding.get("metadata")).get("namespace") or namespace)
        ref = _map(binding.get("roleRef"))
        if ref.get("kind") != "Role" or ref.get("apiGroup") not in (RBAC, None):
            continue
        names = roles.get((home, str(ref.get("name"))), frozenset())
        for subject in _maps(binding.get("subjects")):
            if subject.get("kind") == "ServiceAccount":
                found[str(subject.get("name"))] |= {(home, name) for name in names}
    return dict(found)


def _flatten(name: str, value: Any, into: dict[str, str]) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _flatten(f"{name}.{key}", inner, into)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _flatten(f"{name}[{number}]", inner, into)
    elif value is not None and value != "":
        into[name] = _text(value)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _maps(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _list(value: object) -> list[str]:
    return [_text(item) for item in value] if isinstance(value, list) else []
