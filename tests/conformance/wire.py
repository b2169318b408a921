"""One request, and what may be said of its answer without knowing the server."""

import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TIMEOUT = 15.0  # seconds; an answer that streams has shown its status long before
DATA_KEYS = {
    "<id>": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "<version>": re.compile(r"\d+\.\d+\.\d+\S*"),
}
MAPS = {"sys/loggers": ".data"}  # path -> where its answer holds a map whose keys are names, not fields
EXTRA = ": not in the corpus"  # how a difference ends that breaks no client that reads what was recorded
MOST = 8 * 1024 * 1024  # bytes read of an answer


@dataclass(frozen=True)
class Answer:
    """``body`` is decoded JSON, or text, or None where there is nothing."""

    status: int
    body: Any
    text: str = ""

    @property
    def served(self) -> bool:
        """Whether the route exists for this method: not 405, not one of the 404s that name a missing route."""
        missing = ("unsupported path", "no handler for route")
        return self.status != 405 and not (self.status == 404 and any(word in self.text for word in missing))

    @property
    def unknown_plugin(self) -> bool:
        return self.status == 400 and "plugin not found" in self.text


def send(
    address: str, method: str, path: str, body: Any = None, token: str = "", headers: Mapping[str, str] | None = None
) -> Answer:
    """Send ``/v1/<path>`` to ``http://host:port``. A string body goes out as it is."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=TIMEOUT)
    payload = body if isinstance(body, str) or body is None else json.dumps(body)
    sent = {"X-Vault-Request": "true", **({"X-Vault-Token": token} if token else {}), **(headers or {})}
    if payload is not None and "Content-Type" not in sent and method != "PATCH":
        sent["Content-Type"] = "application/json"
    try:
        connection.request(method, f"/v1/{path}", payload.encode() if payload is not None else None, sent)
        answer = connection.getresponse()
        try:
            raw = answer.read(MOST)
        except TimeoutError:
            raw = b""  # it streams
        return Answer(answer.status, decode(raw), raw.decode("utf-8", "replace"))
    finally:
        connection.close()


def decode(raw: bytes | str) -> Any:
    """JSON where it is JSON, else text; None for nothing."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def kind(value: Any) -> str:
    """The JSON type of a value; whole and broken numbers are both numbers."""
    names = {bool: "bool", int: "number", float: "number", str: "string", list: "list", dict: "object"}
    return "null" if value is None else names[type(value)]


def differences(want: Any, got: Any, where: str = "", names: str | None = None) -> list[str]:
    """Where keys or types differ, as ``.data.keys: string, not null``; [] if nowhere.

    Of two lists the first elements are compared; an empty one says nothing about its elements. ``names``: where there
    is a map whose keys are names, see MAPS.
    """
    if kind(want) != kind(got):
        return [f"{where or 'body'}: {kind(want)}, not {kind(got)}"]
    if isinstance(want, dict):
        want, got = (by_name(one) if where == names else by_kind(one) for one in (want, got))
        out = [f"{where}.{key}: missing" for key in want.keys() - got.keys()]
        out += [f"{where}.{key}{EXTRA}" for key in got.keys() - want.keys()]
        for key in want.keys() & got.keys():
            out += differences(want[key], got[key], f"{where}.{key}", names)
        return sorted(out)
    if isinstance(want, list) and want and got:
        return differences(want[0], got[0], f"{where}[0]", names)
    return []


def by_name(found: Mapping[str, Any]) -> dict[str, Any]:
    """One element in the name of all: two servers of the same kind differ in the keys."""
    return {"<name>": value for value in found.values()}


def by_kind(found: Mapping[str, Any]) -> dict[str, Any]:
    """Keys that are ids or versions under the name of what they are: their values are data, not form."""
    return {next((name for name, form in DATA_KEYS.items() if form.fullmatch(key)), key): found[key] for key in found}
