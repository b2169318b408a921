"""The answers recorded from a real server, replayed: status, keys and types are ours too, but for what is listed here.

Each line of ``ON_PURPOSE`` stands in docs/differs-from-vault.md with its reason.
"""

import re
from typing import Any

import pytest

from vault_world import World
from wire_replay import replay, rows

_ACL = r"\.data\.(allow_\w+_in_identity_templates|cas_required|modified|version) is missing"
# path of the request (whole, a regular expression) -> the difference (a regular expression)
ON_PURPOSE: list[tuple[str, str]] = [
    (r"sys/health.*", r"\.performance_standby is extra"),
    (r"sys/(seal-status|unseal)", r"\.build_date is extra"),
    (r"sys/version-history.*", r"\.data\.key_info\.\*\.build_date is extra"),
    (r"sys/config/state/sanitized", r"\.data\.\w+(\.\w+)* is missing|\.data\.[\w.]+: .* became .*"),
    (r"sys/policies/acl/(default|root|p1)", _ACL),
    (r"sys/(generate-root/attempt|rekey/init)", r"status 405 became 200|\..* is (missing|extra)"),
    (r"sys/internal/counters/activity", r"status 404 became 204|\.: dict became null"),
    (r"secret/data/\.\./x", r"status 307 became 400|\.: null became dict"),
    (r"sys/mounts/kv1b", r"status 400 became 200|\..* is (missing|extra)"),
]


def unexplained(recorded: list[dict[str, Any]], found: dict[int, list[str]]) -> tuple[list[str], set[str]]:
    """Differences that are not on purpose, and the entries of the list that were met."""
    wrong, met = [], set()
    for row in recorded:
        for line in found[row["row"]]:
            hits = {p + d for p, d in ON_PURPOSE if re.fullmatch(p, row["path"]) and re.fullmatch(d, line)}
            met |= hits
            if not hits:
                wrong.append(f"row {row['row']}: {row['method']} {row['path']}: {line}")
    return wrong, met


async def served() -> World:
    """A vault as the recording found it: kv 2 at secret/, kv 1 at kv1/, and metrics, which a server lends."""
    world = await World.unsealed(token="testtoken")
    kv2 = {"type": "kv", "options": {"version": "2"}, "description": "key/value secret storage"}
    await world.ok("POST", "sys/mounts/secret", kv2)

    async def metrics(form: str) -> tuple[str, bytes]:
        return "text/plain", b"# none\n"

    world.core.door.metrics = metrics
    return world


async def test_answers_below_sys_and_auth_are_as_recorded():
    recorded = rows("sys.jsonl")
    found = await replay(await served(), recorded)
    sealed = rows("seal.jsonl")
    life = await replay(World(), sealed)
    wrong, met = unexplained(recorded, found)
    more, also = unexplained(sealed, life)
    assert wrong + more == []
    assert [d for p, d in ON_PURPOSE if p + d not in met | also] == []  # nothing is excused that does not happen


@pytest.mark.parametrize(("row", "change"), [(150, {"json": {"data": None}}), (86, {"status": 200})])
async def test_a_changed_answer_is_noticed(row: int, change: dict[str, Any]):
    recorded = rows("sys.jsonl")
    next(r for r in recorded if r["row"] == row).update(change)
    wrong, _ = unexplained(recorded, await replay(await served(), recorded))
    assert {line.partition(":")[0] for line in wrong} == {f"row {row}"}
