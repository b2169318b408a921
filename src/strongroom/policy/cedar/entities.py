"""Callers and secrets as Cedar's engine takes them."""

from collections.abc import Iterator
from typing import Any

import cedarpy
import msgspec

from strongroom.sdk.policy import Principal

GROUP, SECRET = "Group", "Secret"


def folders(path: str) -> Iterator[str]:
    """Every folder that ``path`` lies in, the nearest first: "a/b/c" -> "a/b", "a"."""
    while (end := path.rfind("/")) > 0:
        path = path[:end]
        yield path


def entities_of(principal: Principal, path: str) -> cedarpy.Entities:
    """The entities of one question: the principal below its groups, the secret below its folders."""
    rows = [_row((principal.kind, principal.name), [(GROUP, name) for name in dict.fromkeys(principal.groups)])]
    child = path
    for folder in folders(path):
        rows.append(_row((SECRET, child), [(SECRET, folder)]))
        child = folder
    rows.append(_row((SECRET, child), []))
    return cedarpy.Entities.from_json_str(msgspec.json.encode(rows).decode())


def _row(uid: tuple[str, str], parents: list[tuple[str, str]]) -> dict[str, Any]:
    return {"uid": _uid(uid), "attrs": {}, "parents": [_uid(parent) for parent in parents]}


def _uid(uid: tuple[str, str]) -> dict[str, str]:
    return {"type": uid[0], "id": uid[1]}
