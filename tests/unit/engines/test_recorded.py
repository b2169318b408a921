"""The kv and cubbyhole answers recorded from a real server, replayed: status and body equal but for times and ids."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from engine_harness import Harness
from strongroom.engines.cubbyhole import Cubbyhole
from strongroom.engines.kv import factory

VECTORS = Path(__file__).parents[2] / "vectors" / "wire" / "kv.jsonl"
ROWS: list[dict[str, Any]] = [json.loads(line) for line in VECTORS.read_text().splitlines()]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")


def plain(value: Any, key: str = "") -> Any:
    """``value`` without what differs from run to run, and without the names of the two products' command lines."""
    if isinstance(value, dict):
        return {k: plain(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if key == "request_id":
        return "<id>"
    if isinstance(value, str):
        return TIME.sub("<time>", value).replace("OpenBao CLI", "Vault CLI").replace("'bao kv", "'vault kv")
    return value


async def replay(rows: list[dict[str, Any]]) -> list[str]:
    """What differs, a line a row."""
    engines = {
        "secret": Harness(factory, path="secret/", options={"version": "2"}),
        "kv1": Harness(factory, path="kv1/", options={"version": "1"}, default_lease_ttl=3600),
        "cubbyhole": Harness(Cubbyhole, path="cubbyhole/", kind="cubbyhole"),
    }
    for harness in engines.values():
        await harness.start()
    wrong = []
    for row in rows:
        mount, _, below = row["path"].partition("/")
        engines[mount].clock.tick(0.002)
        status, body = await engines[mount].http(row["method"], below, row["body"])
        if (status, plain(body)) != (row["status"], plain(row["json"])):
            wrong.append(f"row {row['row']}: {row['method']} {row['path']}: {status} {body} != {row['json']}")
    return wrong


async def test_every_recorded_answer_is_ours_too():
    assert len(ROWS) == 52
    assert await replay(ROWS) == []


@pytest.mark.parametrize("row", [90, 109, 121])
async def test_the_replay_notices_a_changed_answer(row: int):
    rows = json.loads(json.dumps(ROWS))
    changed = next(r for r in rows if r["row"] == row)
    changed["json"]["data"] = {"other": 1}
    assert [line.split(":")[0] for line in await replay(rows)] == [f"row {row}"]
