"""The reserved key ``_kubevault`` of a file: type, labels, annotations, immutable, b64."""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from strongroom.kubevault.names import BadName, check_label_value, check_qualified

RESERVED = "_kubevault"
OPAQUE = "Opaque"
# What the API server wants in a Secret of these types (kubernetes.io, "Secret types").
_NEEDED = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
TOKEN_TYPE = "kubernetes.io/service-account-token"
ACCOUNT = "kubernetes.io/service-account.name"  # annotation of such a Secret
_ANNOTATION_LIMIT = 256 * 1024  # bytes of all annotations together
OURS = "kubevault.chezmoi.sh/"
# With kubectl apply --server-side these travel unescaped in what the API server reads as YAML: it refuses all of them
# but U+0085, out of which it makes a blank (seen with Kubernetes 1.36, kubectl 1.32).
UNSENT = re.compile("[\x7f-\x9f\ufffe\uffff]")


class Settings(NamedTuple):
    """How the Secret of a file is made."""

    type: str = OPAQUE
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    immutable: bool | None = None
    b64: bool = False


def missing_keys(settings: Settings, keys: Mapping[str, Any]) -> list[str]:
    """The keys that a Secret of this type must have and ``keys`` lacks."""
    if settings.type == "kubernetes.io/basic-auth" and not ("username" in keys or "password" in keys):
        return ["username or password"]
    return [key for key in _NEEDED.get(settings.type, ()) if key not in keys]


_JSON = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}


def not_json(settings: Settings, entries: Mapping[str, str | bytes]) -> str:
    """The key whose value the API server wants to be a JSON object, if it is none; else the empty string."""
    key = _JSON.get(settings.type, "")
    if key not in entries:
        return ""
    try:
        value = json.loads(entries[key], parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return key
    return "" if isinstance(value, dict | None) else key


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is Python's, not JSON's")


def read_settings(given: Any) -> tuple[Settings, list[str]]:
    """The settings that the value of ``_kubevault`` makes, and what is wrong with it."""
    if given in ("", None):
        return Settings(), []
    if not isinstance(given, dict):
        return Settings(), [f"{RESERVED} must be a map"]
    wrong: list[str] = []
    made: dict[str, Any] = {}
    for name, value in given.items():
        reader = _READERS.get(name)
        if reader is None:
            wrong.append(f"{RESERVED} knows {', '.join(_READERS)}; not {name[:40]!r}")
            continue
        try:
            made[name] = reader(value)
        except ValueError as error:
            wrong.append(f"{RESERVED}.{name}: {error}")
    return Settings(**made), wrong


def _type(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > 253 or not value.isprintable():
        raise ValueError("must be the type of a Secret, as Opaque or kubernetes.io/tls")
    if value == TOKEN_TYPE:
        raise ValueError("would make the cluster put a token into it; users get theirs from access_control")
    return value


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError("must be a map of names to text")
    for name in value:
        check_qualified(name)
    return dict(value)


def _labels(value: Any) -> dict[str, str]:
    labels = _texts(value)
    for text in labels.values():
        check_label_value(text)
    return labels


def _annotations(value: Any) -> dict[str, str]:
    annotations = _texts(value)
    if own := [name for name in annotations if name.startswith(OURS)]:
        raise ValueError(f"{own[0]} is set by kubevault itself")
    if any(UNSENT.search(text) for text in annotations.values()):
        raise ValueError("annotations cannot hold control characters from U+007F to U+009F, U+FFFE or U+FFFF")
    if sum(len(name) + len(text.encode()) for name, text in annotations.items()) > _ANNOTATION_LIMIT - 1024:
        raise ValueError("annotations may take 256 KiB together")
    return annotations


def _switch(value: Any) -> bool:
    if value not in ("true", "false"):
        raise ValueError("must be true or false")
    return bool(value == "true")


_READERS = {"type": _type, "labels": _labels, "annotations": _annotations, "immutable": _switch, "b64": _switch}
assert issubclass(BadName, ValueError)  # what the readers above raise besides
