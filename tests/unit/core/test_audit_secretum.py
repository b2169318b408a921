"""The shape ``format = "secretum"``: field by field, and without a secret."""

import hashlib
import hmac
import json
from typing import Any

import pytest

from contracts.audit_harness import ACCESSOR, TOKEN, Clock, Sinks, Store, call, caller
from strongroom.core.audit import Audit
from strongroom.core.audit_secretum import SecretumLines, status_of
from strongroom.errors import NotFound, PermissionDenied
from strongroom.sdk.request import Auth, Op, Response

SALT = b"s" * 32


def _mac(text: str) -> str:
    return hmac.new(SALT, text.encode(), hashlib.sha256).hexdigest()


def _pair(of: Any, outcome: Any, lines: SecretumLines | None = None) -> list[dict[str, Any]]:
    lines = lines or SecretumLines(SALT)
    part = lines.who_and_what(of)
    made = [lines.request(part, 1_800_000_000.5), lines.response(part, 1_800_000_001.0, of, outcome)]
    assert all(line.endswith(b"}\n") and line.count(b"\n") == 1 for line in made)
    return [json.loads(line) for line in made]


def test_the_shape() -> None:
    request, response = _pair(call(who=caller()), Response(data={"secret": "needle"}))
    assert request == {
        "timestamp": "2027-01-15T08:00:00.500000000Z",
        "type": "request",
        "auth": {
            "client_token": "sha256:" + _mac(TOKEN),
            "accessor": "hmac:" + _mac(ACCESSOR),
            "display_name": "userpass-bob",
            "policies": ["app", "default"],
            "entity_id": "entity-1",
        },
        "request": {"operation": "read", "path": "secret/data/a", "remote_address": "192.0.2.7", "id": "req-1"},
    }
    assert response == {
        **request,
        "timestamp": "2027-01-15T08:00:01.000000000Z",
        "type": "response",
        "response": {"status": 200},
    }
    assert list(response) == ["timestamp", "type", "auth", "request", "response"]


def test_a_token_is_never_hashed_without_the_salt() -> None:
    text = json.dumps(_pair(call(who=caller()), Response()))
    assert hashlib.sha256(TOKEN.encode()).hexdigest() not in text
    assert TOKEN not in text and ACCESSOR not in text
    other = SecretumLines(b"t" * 32)
    assert _pair(call(who=caller()), Response(), other)[0]["auth"]["client_token"] not in text


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Response(), 204),
        (Response(data={}), 200),
        (Response(auth=Auth()), 200),
        (Response(raw=b""), 200),
        (Response(status=429, data={}), 429),
        (PermissionDenied(), 403),
        (NotFound(), 404),
        (RuntimeError("needle"), 500),
    ],
)
def test_the_status_is_the_doors(outcome: Any, status: int) -> None:
    assert status_of(outcome) == status
    record = _pair(call(who=caller()), outcome)[1]
    assert record["response"] == {"status": status}
    assert ("error" in record) == isinstance(outcome, BaseException)
    assert "needle" not in json.dumps(record)


def test_cedar_is_named_only_where_it_decided() -> None:
    of = call(who=caller())
    assert "cedar_policy" not in _pair(of, Response())[1]
    of.policy_results = {"allowed": False, "cedar": {"decision": "forbid", "policy_id": "prod#2", "errors": []}}
    assert _pair(of, PermissionDenied())[1]["cedar_policy"] == {"decision": "forbid", "policy_id": "prod#2"}
    for undecided in ("none", "exempt"):
        of.policy_results = {"allowed": True, "cedar": {"decision": undecided, "policy_id": ""}}
        assert "cedar_policy" not in _pair(of, Response())[1]
    of.policy_results = {"allowed": True, "cedar": None}
    assert "cedar_policy" not in _pair(of, Response())[1]


def test_accessors_in_clear_and_callers_without_a_token() -> None:
    lines = SecretumLines(SALT, hmac_accessor=False)
    assert _pair(call(who=caller()), Response(), lines)[0]["auth"]["accessor"] == ACCESSOR
    assert _pair(call(Op.UNKNOWN, token=""), NotFound(), lines)[0]["auth"] == {}
    again = _pair(call(who=caller(display_name="eve")), Response(), lines)[0]["auth"]
    assert again["display_name"] == "eve", "a caller that changed is not taken from the cache"


async def test_each_device_has_its_own_shape() -> None:
    sinks = Sinks()
    audit = Audit(Store(), open_sink=sinks, now=Clock())
    await audit.enable("one", "file", options={"file_path": "1", "format": "secretum", "chain": "false"})
    await audit.enable("two", "file", options={"file_path": "2", "format": "json", "chain": "false"})
    of = call(who=caller())
    await audit.request(of, None)
    await audit.response(of, Response())
    one, two = sinks.made["1"].records(), sinks.made["2"].records()
    assert [set(record) >= {"timestamp"} for record in one] == [True, True]
    assert [set(record) >= {"time"} for record in two] == [True, True]
    assert audit.hash("one", TOKEN).removeprefix("hmac-sha256:") == one[0]["auth"]["client_token"][7:]
