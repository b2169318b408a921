"""Audit without the rest of the house: calls by hand, sinks in memory, a store of two layers in a dict."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from strongroom.errors import AuditFailed, BadRequest, Conflict
from strongroom.sdk.engine import Call, Match, Route
from strongroom.sdk.request import Caller, Op, Request
from strongroom.sdk.storage import Entry, Pairs, Write

TOKEN = "hvs.needleTokenAAAAAAAAAAAAAAA"
ACCESSOR = "needleAccessorBBBBBBBBBB"


class Clock:
    def __init__(self, time: float = 1_800_000_000.5) -> None:
        self.time = time

    def __call__(self) -> float:
        return self.time


class ListSink:
    """Keeps its lines; ``broken`` makes it refuse requests ("request"), responses ("response") or both ("all")."""

    def __init__(self, *, broken: str = "") -> None:
        self.lines: list[bytes] = []
        self.broken = broken
        self.closed = self.reopened = self.synced = 0
        self.moved = False
        self.sync_fails = False

    def request(self, line: bytes) -> None:
        self._take(line, "request")

    def response(self, line: bytes) -> None:
        self._take(line, "response")

    def _take(self, line: bytes, kind: str) -> None:
        if self.closed:
            raise ValueError("closed")
        if self.broken in (kind, "all"):
            raise AuditFailed("broken")
        assert line.endswith(b"\n")
        self.lines += line.splitlines(keepends=True)

    def reopen(self) -> None:
        if self.broken == "reopen":
            raise AuditFailed("cannot")
        self.reopened += 1

    async def sync(self) -> None:
        self.synced += 1
        if self.sync_fails:
            raise AuditFailed("disk")

    def close(self) -> None:
        self.closed += 1

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    def records(self) -> list[dict[str, Any]]:
        """Of calls: without gap markers and checkpoints."""
        return [line for line in self.all() if line["type"] in ("request", "response")]


class Sinks:
    """An ``open_sink`` that remembers what it opened, by file_path. Targets in ``refused`` cannot be opened."""

    def __init__(self) -> None:
        self.made: dict[str, ListSink] = {}
        self.opened: list[str] = []
        self.refused: set[str] = set()

    def __call__(self, kind: str, options: Mapping[str, str]) -> ListSink:
        if kind != "file":
            raise BadRequest(f"unknown audit device type {kind!r}")
        path = options["file_path"]
        if path in self.refused:
            raise BadRequest("target refused")
        self.opened.append(path)
        if path not in self.made or self.made[path].closed:
            self.made[path] = ListSink()
        return self.made[path]


class Store:
    """The barrier's face over a dict; ``clear`` holds what went beside it."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.clear: dict[str, Entry] = {}
        self.revision = 0
        self.conflicts = 0  # so many commits fail first

    async def get(self, key: str) -> Entry | None:
        return self.entries.get(key)

    async def scan(self, prefix: str, *, after: str = "", until: str = "", limit: int = 1000) -> Pairs:
        found = sorted(key for key in self.entries if key.startswith(prefix))
        return [(key[len(prefix) :], self.entries[key]) for key in found][:limit]

    async def commit(
        self, writes: Sequence[Write], *, expect: Mapping[str, int] = {}, clear: Sequence[Write] = ()
    ) -> None:
        if self.conflicts:
            self.conflicts -= 1
            raise Conflict("busy")
        for key, revision in expect.items():
            if (self.entries[key].revision if key in self.entries else 0) != revision:
                raise Conflict("moved")
        self.revision += 1
        for write in writes:
            if write.value is None:
                self.entries.pop(write.key, None)
            else:
                self.entries[write.key] = Entry(write.value, self.revision)
        for write in clear:
            self.clear[write.key] = Entry(write.value or b"", self.revision)

    def below(self) -> "Below":
        return Below(self)


class Below:
    """The store under the barrier."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, key: str) -> Entry | None:
        return self._store.clear.get(key)


def caller(**changes: Any) -> Caller:
    fields: dict[str, Any] = {
        "accessor": ACCESSOR, "policies": ("app", "default"), "display_name": "userpass-bob", "token_id": "id-of-token",
        "token_policies": ("app", "default"), "entity_id": "entity-1", "ttl": 3600, "issue_time": 1_799_999_000.0,
        "metadata": {"username": "needleMetaCCC"}, "path": "auth/userpass/login/bob",
    }  # fmt: skip
    return Caller(**{**fields, **changes})


def call(op: Op = Op.READ, path: str = "secret/data/a", *, who: Caller | None = None, **changes: Any) -> Call:
    match = Match(
        "secret/", Route(pattern="data/{path...}", ops={}), {}, None, "kv", "kv_1234abcd", "secret", "uuid-of-mount"
    )
    fields: dict[str, Any] = {"token": TOKEN, "remote": "192.0.2.7", "remote_port": 4711, **changes}
    results = {"allowed": True, "granting_policies": [{"name": "app", "namespace_id": "root", "type": "acl"}]}
    return Call(Request(id="req-1", op=op, path=path, **fields), match, who, policy_results=results if who else None)
