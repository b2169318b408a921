"""The API as an OpenAPI 3.0 document, printed from the routes (what ``routes()`` says is what is served)."""

import re
from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from strongroom.core.router import Mounted
from strongroom.sdk import fields
from strongroom.sdk.engine import NoArgs, Route
from strongroom.sdk.request import Op

_METHODS = {
    Op.READ: "get", Op.LIST: "get", Op.SCAN: "get", Op.CREATE: "post", Op.UPDATE: "post", Op.PATCH: "patch",
    Op.DELETE: "delete",
}  # fmt: skip
_TYPES: dict[Any, dict[str, Any]] = {
    fields.Duration: {"type": "string", "format": "seconds"},
    fields.SignedDuration: {"type": "string", "format": "seconds"},
    fields.Flag: {"type": "boolean"},
    fields.Text: {"type": "string"},
    fields.StrList: {"type": "array", "items": {"type": "string"}},
    fields.StrMap: {"type": "object", "format": "kvpairs"},
    fields.AnyMap: {"type": "object", "format": "map"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
}


def document(mounts: Sequence[Mounted], *, version: str, generic: bool) -> dict[str, Any]:
    """The OpenAPI document of ``mounts``.

    Args:
        mounts: what the asker may see.
        version: the reported version.
        generic: paths begin with ``{<type>_mount_path}`` instead of the mount's own path.
    """
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for mount in sorted(mounts, key=lambda m: m.path):
        place = mount.path.rstrip("/")
        fixed = mount.type in ("system", "identity", "cubbyhole", "token")
        if generic and not fixed:
            head = "auth/" if mount.mount_class == "auth" else ""
            place = f"{head}{{{mount.type}_mount_path}}"
        for _, route in mount.routes:
            _add(paths, schemas, mount, place, route)
    return {
        "openapi": "3.0.2",
        "info": {
            "title": "Strongroom API",
            "description": "Every path of this vault that the asker may see; all begin with `/v1/`.",
            "version": version,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _add(paths: dict[str, Any], schemas: dict[str, Any], mount: Mounted, place: str, route: Route) -> None:
    template = re.sub(r"\{(\w+)\.\.\.\}", r"{\1}", route.pattern)
    path = f"/{place}/{template}".replace("//", "/")
    item = paths.setdefault(path, {"description": route.help})
    names = re.findall(r"\{(\w+)\}", path)
    if names:
        item["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if route.sudo:
        item["x-vault-sudo"] = True
    if route.login:
        item["x-vault-unauthenticated"] = True
    if route.exists is not None:
        item["x-vault-createSupported"] = True
    for op in route.ops:
        method = _METHODS.get(op)
        if method is None or method in item:
            continue
        item[method] = _operation(schemas, mount, template, route, op)


def _operation(schemas: dict[str, Any], mount: Mounted, template: str, route: Route, op: Op) -> dict[str, Any]:
    name = route.name or re.sub(r"[^a-z0-9]+", "-", template.lower()).strip("-") or "root"
    operation: dict[str, Any] = {
        "operationId": f"{mount.type}-{op.value}-{name}",
        "summary": route.help,
        "tags": ["system" if mount.type == "system" else "auth" if mount.mount_class == "auth" else "secrets"],
        "responses": {"204": {"description": "empty body"}} if op is Op.DELETE else {"200": {"description": "OK"}},
    }  # fmt: skip
    if op in (Op.LIST, Op.SCAN):
        operation["parameters"] = [
            {"name": op.value, "in": "query", "required": op is Op.LIST, "schema": {"type": "string", "enum": ["true"]}}
        ]
    if op in (Op.UPDATE, Op.CREATE, Op.PATCH) and route.args is not NoArgs:
        title = "".join(part.capitalize() for part in re.split(r"[^a-zA-Z0-9]+", f"{mount.type}-{name}-request"))
        schemas[title] = _schema(route)
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{title}"}}},
        }
    return operation


def _schema(route: Route) -> dict[str, Any]:
    in_path = set(re.findall(r"\{(\w+)(?:\.\.\.)?\}", route.pattern))
    properties: dict[str, Any] = {}
    for field in msgspec.structs.fields(route.args):
        if field.name not in in_path:
            properties[field.encode_name] = dict(_type(field.type))
    return {"type": "object", "properties": properties}


def _type(hint: Any) -> dict[str, Any]:
    if hint in _TYPES:
        return _TYPES[hint]
    for part in get_args(hint):
        if part in _TYPES:
            return _TYPES[part]
    return {"type": "object"}
