"""The operations to send: from an OpenAPI document, or from the project's own list."""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.areas import area_of

OWN_LIST = Path(__file__).with_name("routes.tsv")
NAME = "conformance"  # put where a path asks for a name
METHODS = ("get", "post", "put", "patch", "delete", "head")

# What would end the run for the others: sent last, to a server of their own, sealing at the very end.
DESTRUCTIVE = re.compile(
    r"sys/(seal$|unseal$|init$|step-down|rekey|rotat|generate-|raw|storage/|config/reload|decode)|auth/token/revoke-self"
)

# Where a document says {kv_v2_mount_path}: the place on our server, and the type that its paths are counted under.
PLACES = {
    "kv_v1": ("kv1", "kv-v1"),
    "kv1b": ("secret", "kv-v2"),
    "kv_v2": ("secret", "kv-v2"),
    "secret": ("secret", "kv-v2"),
}
AUTH_TYPES = {"oidc": "jwt"}  # served by the same method


@dataclass(frozen=True)
class Operation:
    """``path`` as sent, ``pattern`` as listed; ``mount`` is the place to be mounted first, with its type."""

    method: str
    path: str
    pattern: str
    area: str
    mount: str = ""
    type: str = ""

    @property
    def destructive(self) -> bool:
        return DESTRUCTIVE.search(self.pattern.lstrip("/")) is not None


def from_openapi(document: Mapping[str, Any]) -> Iterator[Operation]:
    """Every operation of an OpenAPI document with generic mount paths."""
    for pattern, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield operation(method.upper(), pattern, listing(item, item[method]))


def listing(item: Mapping[str, Any], details: Mapping[str, Any]) -> bool:
    """Whether GET is documented as a list only."""
    fields = [*item.get("parameters", ()), *details.get("parameters", ())]
    return any(field.get("name") == "list" and field.get("required") for field in fields)


def operation(method: str, pattern: str, lists: bool = False) -> Operation:
    """An operation whose path parameters are filled in."""
    path, mount, kind = pattern.lstrip("/"), "", ""
    found = re.match(r"(auth/)?\{(\w+)_mount_path\}", path)
    if found:
        name = found[2]
        place, kind = PLACES.get(name, (name.replace("_", "-"),) * 2)
        head = found[1] or ""
        mount = head + place
        counted = head + kind + path[found.end() :]
        path = mount + path[found.end() :]
        kind = AUTH_TYPES.get(kind, kind) if head else kind
    else:
        counted = path
    path = re.sub(r"\{[^}]*\}", NAME, path)
    return Operation(method, path + "?list=true" * lists, pattern, area_of(counted), mount, kind)


def own_list() -> list[Operation]:
    """``routes.tsv``: method, pattern. LIST is sent as such."""
    with OWN_LIST.open(encoding="utf-8", newline="") as file:
        rows = csv.reader((line for line in file if not line.startswith("#")), delimiter="\t")
        return [operation(method, pattern) for method, pattern in rows]


def from_corpus(folder: Path) -> list[Operation]:
    """The operations of every ``openapi*.json`` in ``folder``, each once."""
    seen: dict[tuple[str, str], Operation] = {}
    for path in sorted(folder.glob("openapi*.json")):
        for one in from_openapi(json.loads(path.read_text(encoding="utf-8"))):
            seen.setdefault((one.method, one.pattern), one)
    return list(seen.values())
