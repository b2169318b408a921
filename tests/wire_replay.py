"""Replays recorded requests against a vault in the process; tells how the answers differ in status, keys and types."""

import json
import re
from pathlib import Path
from typing import Any

from vault_world import World

VECTORS = Path(__file__).parent / "vectors" / "wire"
_ID = re.compile(r"[A-Za-z0-9.\-_+/=]{16,}")
# maps whose keys are names, not fields
_BY_ID = {"sys/in-flight-req": "", "sys/version-history": ".data.key_info", "sys/loggers": ".data"}


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (VECTORS / name).read_text().splitlines()]


class Translation:
    """Ids, tokens and shares of the recorded server -> ours, learnt from pairs of answers."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def learn(self, theirs: Any, ours: Any, key: str = "") -> None:
        if isinstance(theirs, dict) and isinstance(ours, dict):
            for name in theirs.keys() & ours.keys():
                self.learn(theirs[name], ours[name], name)
        elif isinstance(theirs, list) and isinstance(ours, list) and key in ("keys", "keys_base64"):
            for one, other in zip(theirs, ours, strict=False):
                self.learn(one, other, key)
        elif isinstance(theirs, str) and isinstance(ours, str) and _ID.fullmatch(theirs):
            self.known.setdefault(theirs, ours)

    def put(self, value: Any) -> Any:
        if isinstance(value, str):
            for theirs, ours in self.known.items():
                value = value.replace(theirs, ours)
            return value
        if isinstance(value, dict):
            return {name: self.put(item) for name, item in value.items()}
        return [self.put(item) for item in value] if isinstance(value, list) else value


def kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "bool"
    return "number" if isinstance(value, int | float) else type(value).__name__


def difference(theirs: Any, ours: Any, at: str = "", named: str | None = None) -> list[str]:
    """What differs in keys and types, a line each. Of lists the first items are compared, if both have one."""
    if kind(theirs) != kind(ours):
        return [f"{at or '.'}: {kind(theirs)} became {kind(ours)}"]
    if isinstance(theirs, list):
        return difference(theirs[0], ours[0], at + "[]", named) if theirs and ours else []
    if not isinstance(theirs, dict):
        return []
    if at == named:
        theirs, ours = ({"*": value for value in d.values()} for d in (theirs, ours))
    lines = [f"{at}.{name} is missing" for name in sorted(theirs.keys() - ours.keys())]
    lines += [f"{at}.{name} is extra" for name in sorted(ours.keys() - theirs.keys())]
    for name in sorted(theirs.keys() & ours.keys()):
        lines += difference(theirs[name], ours[name], f"{at}.{name}", named)
    return lines


async def replay(world: World, recorded: list[dict[str, Any]]) -> dict[int, list[str]]:
    """The differences by row; an empty list where there are none."""
    found: dict[int, list[str]] = {}
    ids = Translation()
    for row in recorded:
        who = row["as"]
        token = {"root": world.root, "none": "", "bad": "hvs.not-a-token"}.get(who) or ids.put(who)
        headers = {name: value.replace("<root>", world.root) for name, value in row.get("headers", {}).items()}
        token = "" if who == "none" else token
        status, ours = await world.http(
            row["method"], ids.put(row["path"]), ids.put(row["body"]), token=token, headers=headers
        )
        theirs = row.get("json")
        ids.learn(theirs, ours)
        if not world.root and isinstance(ours, dict):
            world.root = ours.get("root_token", "")
        lines = [] if status == row["status"] else [f"status {row['status']} became {status}"]
        if row.get("json") is not None or not row.get("text"):
            path = row["path"].partition("?")[0]
            bodiless = row["method"] == "HEAD" or status == 204
            lines += difference(theirs, None if bodiless else ours, "", _BY_ID.get(path))
        found[row["row"]] = lines
        world.clock.tick(0.01)
    return found
