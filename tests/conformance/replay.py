"""Sends recorded requests again, with the ids, tokens and shares of this server in place of the recorded ones."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.areas import area_of
from conformance.wire import EXTRA, MAPS, Answer, decode, differences, send

RECORDED_ROOT = ("root", "testtoken")  # how recordings name the root token they were made with
BOGUS = "hvs.aTokenThatWasNeverIssued00"
LONG = 8  # characters; shorter strings are words, not ids
WORD = re.compile(rf"[\w.:+=-]{{{LONG},}}")
ORDERED = ("sys/init", "sys/rekey", "sys/rotate")  # whose answers hold lists of shares; other lists have no order
MOUNT_TYPES = {"auth/token": "auth/token", "cubbyhole": "cubbyhole"}


@dataclass(frozen=True)
class Entry:
    """One recorded request and its answer."""

    method: str
    path: str
    body: Any
    status: int
    want: Any
    token: str = "root"  # "root", "none" or "other": the newest that an answer showed
    headers: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """What this server made of an entry. ``absent``: what it asks for is not built."""

    entry: Entry
    area: str
    answer: Answer
    absent: bool
    shape: tuple[str, ...]

    @property
    def differs(self) -> tuple[str, ...]:
        """What differs, one text each; () where nothing does or nothing is there to differ."""
        if self.absent or self.same_shape:
            return ()
        return self.shape or (f"{self.entry.status}, not {self.answer.status}",)

    @property
    def same_status(self) -> bool:
        return not self.absent and self.answer.status == self.entry.status

    @property
    def holds_recorded(self) -> bool:
        """Whether every recorded key is there with its type; more keys may be there."""
        return self.same_status and all(text.endswith(EXTRA) for text in self.shape)

    @property
    def same_shape(self) -> bool:
        return self.same_status and not self.shape


def read(path: Path) -> list[Entry]:
    """The entries of a ``golden*.jsonl``."""
    with path.open(encoding="utf-8") as file:
        return [entry(json.loads(line)) for line in file if line.strip()]


def entry(row: Mapping[str, Any]) -> Entry:
    """One line, decoded. ``json`` or ``response`` holds the answer's body."""
    want = row["json"] if row.get("json") is not None else decode(row.get("response") or "")
    token = row.get("token") or ("none" if row.get("note") == "no token" else "root")
    return Entry(
        row["method"],
        row["path"],
        row.get("body"),
        row["status"],
        want,
        token,
        row.get("req_headers") or {},
        row["note"],
    )


class Replay:
    """Entries in order against one server. ``root`` is its root token, "" until init gives one."""

    def __init__(self, address: str, root: str = "") -> None:
        self._address = address
        self._ours = dict.fromkeys(RECORDED_ROOT[1:], root) if root else {}
        self._root, self._newest = root, BOGUS
        self._types = {
            "secret": "kv-v2",
            "auth/userpass": "auth/userpass",
            "auth/approle": "auth/approle",
        } | MOUNT_TYPES
        self._absent: set[str] = set()
        self._identity = True  # until a request for it leads nowhere

    def run(self, entries: list[Entry]) -> Iterator[Outcome]:
        """Send them all."""
        for one in entries:
            yield self.send(one)

    def send(self, one: Entry) -> Outcome:
        """Send one, and remember what its answer says of later ones."""
        token = {"root": self._root, "none": "", "other": self._newest}.get(one.token, one.token)
        path = "/".join(self._mapped(part) for part in one.path.split("/"))
        body = self._mapped(one.body)
        headers = {name: self._mapped(value) for name, value in one.headers.items()}
        answer = send(self._address, one.method, path, body, token, headers)
        area = self._area(one)
        self._mounts(one, answer)
        absent = self._is_absent(one, answer)
        names = MAPS.get(one.path)
        shape = () if answer.status != one.status else tuple(differences(one.want, answer.body, names=names))
        if answer.status == one.status:
            self._learn(one.want, answer.body, ordered=one.path.startswith(ORDERED))
        return Outcome(one, area, answer, absent, shape)

    def _mapped(self, value: Any) -> Any:
        if isinstance(value, str):
            if value in self._ours:
                return self._ours[value]
            for theirs in WORD.findall(value):
                if theirs in self._ours:
                    value = value.replace(theirs, self._ours[theirs])
            return value
        if isinstance(value, dict):
            return {key: self._mapped(inner) for key, inner in value.items()}
        return [self._mapped(inner) for inner in value] if isinstance(value, list) else value

    def _learn(self, want: Any, got: Any, *, ordered: bool) -> None:
        """Recorded strings and ours stand at the same places; what was learnt first stays."""
        if isinstance(want, dict) and isinstance(got, dict):
            for key in want.keys() & got.keys():
                if key in ("client_token", "token", "root_token") and isinstance(got[key], str) and got[key]:
                    self._newest = got[key]
                    if key == "root_token":
                        self._root = got[key]
                self._learn(want[key], got[key], ordered=ordered)
        elif isinstance(want, list) and isinstance(got, list) and ordered:
            for theirs, ours in zip(want, got, strict=False):
                self._learn(theirs, ours, ordered=ordered)
        elif isinstance(want, str) and isinstance(got, str) and want != got and WORD.fullmatch(want.rpartition("/")[2]):
            self._ours.setdefault(want, got)

    def _mounts(self, one: Entry, answer: Answer) -> None:
        """Follow which place has which engine, in the recording."""
        found = re.fullmatch(r"sys/(mounts|auth)/([\w-]+)", one.path)
        if found and one.method in ("POST", "PUT") and one.status < 300 and isinstance(one.body, dict):
            place = found[2] if found[1] == "mounts" else f"auth/{found[2]}"
            kind = str(one.body.get("type", ""))
            if kind == "kv":
                kind = f"kv-v{(one.body.get('options') or {}).get('version', '1')}"
            self._types[place] = f"auth/{kind}" if found[1] == "auth" else kind
            if answer.unknown_plugin:
                self._absent.add(place)
        if one.path == "sys/remount" and one.status < 300:
            self._types[one.body["to"]] = self._types.get(one.body["from"], "")

    def _place(self, path: str) -> str:
        return max((p for p in self._types if path == p or path.startswith((p + "/", p + "?"))), key=len, default="")

    def _area(self, one: Entry) -> str:
        path = one.path.removeprefix("ns1/")
        if one.status == 429:
            return area_of("sys/quotas")
        if "X-Vault-Namespace" in one.headers or one.path != path:
            return area_of("sys/namespaces")
        place = self._place(path)
        if found := re.fullmatch(r"sys/(mounts|auth)/([\w-]+)", path):
            kind = one.body.get("type", "") if isinstance(one.body, dict) else ""
            if one.method in ("POST", "PUT") and one.status < 300 and kind not in ("kv", "userpass", "approle"):
                return area_of(f"auth/{kind}" if found[1] == "auth" else f"{kind}/")
        return area_of(self._types[place] + path[len(place) :] if place else path)

    def _is_absent(self, one: Entry, answer: Answer) -> bool:
        """What is recorded as served and here leads nowhere, or hangs on an engine that could not be mounted."""
        if answer.unknown_plugin and one.status < 300:
            return True
        if self._place(one.path) in self._absent or any(f"{place}/" in json.dumps(one.body) for place in self._absent):
            return True
        if not self._identity and isinstance(one.want, dict) and (one.want.get("auth") or {}).get("identity_policies"):
            return True  # recorded for an entity that could not be made here
        missing = not answer.served and Answer(one.status, one.want, json.dumps(one.want)).served
        if missing and answer.status != 405:
            self._identity = self._identity and not one.path.startswith("identity/")
            return True
        return False
