"""What goes to a server and what comes back, as plain values: this file opens no socket.

A ``Call`` says what is asked for, an ``Answer`` what was said, and ``check`` turns a refusal into an exception that
keeps the status, the server's own words and whatever body came with it.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from strongroom.errors import VaultError

MERGE_PATCH = "application/merge-patch+json"  # RFC 7396


class Call(NamedTuple):
    """One request. ``path`` is below ``/v1/``, unescaped; ``body`` is sent as JSON when it is not None."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Call({self.method} {self.path})"

    def content(self) -> bytes | None:
        """The body as it goes over the wire."""
        if self.body is None:
            return None
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape")


class Answer(NamedTuple):
    """One response. ``body`` is the decoded JSON object, or None when there was no JSON object in it."""

    status: int
    body: dict[str, Any] | None = None
    raw: bytes = b""
    headers: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Answer({self.status}, {len(self.raw)} bytes)"

    @property
    def data(self) -> dict[str, Any]:
        """The ``data`` object of an enveloped answer; empty when there is none."""
        inner = (self.body or {}).get("data")
        return inner if isinstance(inner, dict) else {}

    @property
    def warnings(self) -> list[str]:
        return [str(line) for line in (self.body or {}).get("warnings") or []]

    @property
    def carries_something(self) -> bool:
        """Whether a 404 still has something to show (a deleted KV version, or a warning)."""
        body = self.body or {}
        return bool(body.get("data") or body.get("warnings"))


class Refused(VaultError):
    """The server answered, and the answer is an error (status 400 or above)."""

    def __init__(self, call: Call, answer: Answer) -> None:
        self.code = answer.status
        self.call = call
        self.without_token = False  # set by the transport
        self.answer = answer
        super().__init__(*error_texts(answer), data=(answer.body or {}).get("data"), warnings=tuple(answer.warnings))


class Unreachable(VaultError):
    """No usable answer came: no connection, a broken one, a timeout, or something that is not this API.

    ``kind`` is "refused", "timeout", "tls", "plain" (the server speaks plain HTTP), "broken" or "other"; ``sent``
    tells whether the request may have reached the server.
    """

    def __init__(self, message: str, *, kind: str = "other", sent: bool = True) -> None:
        super().__init__(message)
        self.kind = kind
        self.sent = sent

    def may_repeat(self, call: Call) -> bool:
        """Whether sending ``call`` again cannot do its work twice."""
        return self.kind in ("refused", "timeout", "broken") and (not self.sent or call.method == "GET")

    @classmethod
    def from_cause(cls, error: Exception, url: str, *, sent: bool) -> "Unreachable":
        """The failure of a connection in words. Nothing of the request is quoted."""
        name = type(error).__name__
        text = str(getattr(error, "verify_message", "") or getattr(error, "strerror", "") or "").strip()
        if name == "SSLCertVerificationError":
            return cls(f"the certificate of {url} is not trusted: {text}", kind="tls", sent=False)
        if "SSL" in name:
            plain = "WRONG_VERSION_NUMBER" in str(error) or "HTTP_REQUEST" in str(error)
            reason = "it speaks plain HTTP" if plain else "the TLS handshake failed"
            return cls(f"no TLS connection to {url}: {reason}", kind="plain" if plain else "tls", sent=False)
        if isinstance(error, TimeoutError):
            return cls(f"no answer from {url} in time", kind="timeout", sent=sent)
        if isinstance(error, ConnectionRefusedError | FileNotFoundError):
            return cls(f"nothing listens at {url}", kind="refused", sent=False)
        if not sent:
            return cls(f"no connection to {url}" + (f": {text.lower()}" if text else ""), kind="broken", sent=False)
        return cls(f"the connection to {url} broke before an answer came", kind="broken")


def error_texts(answer: Answer) -> list[str]:
    """The server's error lines, one per item, with the ``N errors occurred`` wrapping taken off."""
    raw = (answer.body or {}).get("errors")
    lines: list[str] = []
    for item in raw if isinstance(raw, list) else []:
        text = str(item).strip()
        head, _, rest = text.partition("\n")
        if head.endswith("occurred:"):
            lines += [line.strip().removeprefix("* ") for line in rest.splitlines() if line.strip()]
        elif text:
            lines.append(text)
    if not lines and answer.body is None and answer.raw:
        lines.append("the answer is not from this API (no JSON object in it)")
    return lines


def decode(status: int, raw: bytes, headers: Mapping[str, str]) -> Answer:
    """An ``Answer`` from the bytes of a response; a body that is not a JSON object gives ``body=None``."""
    body: dict[str, Any] | None = None
    if raw[:256].lstrip()[:1] == b"{":
        try:
            loaded = json.loads(raw)
        except (ValueError, RecursionError):
            loaded = None
        body = loaded if isinstance(loaded, dict) else None
    return Answer(status, body, raw, headers)


def check(call: Call, answer: Answer) -> Answer:
    """``answer`` itself, or ``Refused`` for a status of 400 and above."""
    if answer.status >= 400:
        raise Refused(call, answer)
    return answer
