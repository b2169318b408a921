"""The lines: their shape, what is hidden in them and what is not."""

import datetime
import hashlib
import hmac
import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.audit_harness import ACCESSOR, TOKEN, call, caller
from strongroom.core.audit_record import MAX_DEPTH, LineMaker, Rules, error_text, salted
from strongroom.errors import BadRequest, NotFound, PermissionDenied
from strongroom.sdk.engine import Call
from strongroom.sdk.fields import Duration, Flag, StrList, Text
from strongroom.sdk.request import Auth, Op, Request, Response, WrapInfo

SALT = bytes(range(32))
NOW = 1_800_000_000.25


def _hmac(text: str | bytes) -> str:
    raw = text.encode() if isinstance(text, str) else text
    return "hmac-sha256:" + hmac.new(SALT, raw, hashlib.sha256).hexdigest()


@pytest.fixture
def lines() -> LineMaker:
    return LineMaker(SALT)


def _request(
    lines: LineMaker, of: Call, refusal: BaseException | None = None, rules: Rules = Rules()
) -> dict[str, Any]:
    line = lines.request(lines.who_and_what(of, rules), NOW, refusal)
    assert line.endswith(b"}\n")
    return json.loads(line)


def _response(lines: LineMaker, of: Call, outcome: Response | BaseException, rules: Rules = Rules()) -> dict[str, Any]:
    return json.loads(lines.response(lines.who_and_what(of, rules), NOW, of, outcome, rules))


def test_the_shape_of_a_request_record(lines: LineMaker) -> None:
    record = _request(lines, call(who=caller()))
    assert record == {
        "time": "2027-01-15T08:00:00.250000000Z",
        "type": "request",
        "auth": {
            "client_token": _hmac(TOKEN),
            "accessor": _hmac(ACCESSOR),
            "display_name": "userpass-bob",
            "policies": ["app", "default"],
            "token_policies": ["app", "default"],
            "metadata": {"username": _hmac("needleMetaCCC")},
            "entity_id": "entity-1",
            "token_type": "service",
            "token_ttl": 3600,
            "token_issue_time": "2027-01-15T07:43:20Z",
            "policy_results": {
                "allowed": True,
                "granting_policies": [{"name": "app", "namespace_id": "root", "type": "acl"}],
            },
        },
        "request": {
            "id": "req-1",
            "client_id": "entity-1",
            "operation": "read",
            "mount_point": "secret/",
            "mount_type": "kv",
            "mount_accessor": "kv_1234abcd",
            "mount_class": "secret",
            "client_token": _hmac(TOKEN),
            "client_token_accessor": _hmac(ACCESSOR),
            "namespace": {"id": "root"},
            "path": "secret/data/a",
            "remote_address": "192.0.2.7",
            "remote_port": 4711,
        },
    }


def test_the_shape_of_a_response_record(lines: LineMaker) -> None:
    of = call(Op.UPDATE, who=caller(), data={"data": {"password": "p"}, "cas": 3}, wrap_ttl=60)
    record = _response(
        lines,
        of,
        Response(
            data={
                "value": "v",
                "list": ["a", 1, None, True],
                "when": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
            },
            warnings=("careful",),
            lease_id="secret/creds/x/abc",
            auth=Auth(
                client_token="t2", accessor="a2", display_name="d", token_policies=("p",), metadata={"k": "m"}, ttl=5
            ),
            wrap_info=WrapInfo(token="w", accessor="wa", ttl=60, creation_time="T", creation_path="secret/data/a"),
        ),
    )
    assert list(record) == ["time", "type", "auth", "request", "response"]
    assert record["type"] == "response"
    assert record["request"]["data"] == {"data": {"password": _hmac("p")}, "cas": 3}
    assert record["request"]["wrap_ttl"] == 60
    assert record["response"] == {
        "mount_point": "secret/",
        "mount_type": "kv",
        "mount_accessor": "kv_1234abcd",
        "mount_class": "secret",
        "auth": {
            "client_token": _hmac("t2"),
            "accessor": _hmac("a2"),
            "display_name": "d",
            "policies": ["p"],
            "token_policies": ["p"],
            "metadata": {"k": _hmac("m")},
            "token_ttl": 5,
        },
        "wrap_info": {
            "token": _hmac("w"),
            "accessor": _hmac("wa"),
            "ttl": 60,
            "creation_time": "T",
            "creation_path": "secret/data/a",
        },
        "secret": {"lease_id": "secret/creds/x/abc"},
        "data": {"value": _hmac("v"), "list": [_hmac("a"), 1, None, True], "when": "2026-01-02T00:00:00+00:00"},
        "warnings": ["careful"],
    }


def test_a_refused_stranger(lines: LineMaker) -> None:
    of = call()
    of.policy_results = {"allowed": False}
    record = _request(lines, of, PermissionDenied())
    assert record["error"] == "permission denied"
    assert record["auth"] == {"policy_results": {"allowed": False}}
    assert record["request"]["client_token"] == _hmac(TOKEN)
    assert "client_token_accessor" not in record["request"]


def test_no_token_at_all(lines: LineMaker) -> None:
    record = _request(lines, call(Op.UNKNOWN, "x", token=""), BadRequest("failed to decode JSON input"))
    assert record["auth"] == {}
    assert record["request"]["operation"] == "unknown"
    assert "client_token" not in record["request"]


def test_a_caller_is_not_mistaken_for_another(lines: LineMaker) -> None:
    first = _request(lines, call(who=caller()))
    changed = _request(lines, call(who=caller(display_name="renewed")))
    without = _request(lines, call(who=caller(), token=""))
    other = _request(lines, call(who=caller(token_id="other"), token="hvs.other"))
    assert first["auth"]["client_token"] == _hmac(TOKEN)
    assert changed["auth"]["display_name"] == "renewed"
    assert "client_token" not in without["auth"]
    assert other["auth"]["client_token"] == _hmac("hvs.other") == other["request"]["client_token"]


def test_the_cache_of_callers_is_bounded(lines: LineMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strongroom.core.audit_record._CACHED_CALLERS", 3)
    for n in range(10):
        _request(lines, call(who=caller(token_id=f"id{n}"), token=f"t{n}"))
    assert len(lines._callers) <= 3
    assert not any("hvs." in key or TOKEN in key for key in lines._callers)


def test_an_error_record_shows_our_words_and_never_a_defects(lines: LineMaker) -> None:
    known = _response(lines, call(), NotFound(data={"data": None, "metadata": {"deletion_time": "x"}}, warnings=("w",)))
    assert known["error"] == "NotFound"
    assert known["response"]["data"] == {"data": None, "metadata": {"deletion_time": _hmac("x")}}
    assert known["response"]["warnings"] == ["w"]
    defect = _response(lines, call(), ValueError("needle"))
    assert defect["error"] == "internal error (ValueError)"
    assert error_text(BadRequest("a", "b")) == "a; b"


def test_exempt_keys_stay_in_clear_at_any_depth(lines: LineMaker) -> None:
    rules = Rules(request_keys=frozenset({"role"}), response_keys=frozenset({"ttl_text"}))
    of = call(data={"role": "r", "in": {"role": ["x", {"y": "z"}], "other": "o"}})
    record = _response(lines, of, Response(data={"ttl_text": "1h", "role": "r"}), rules)
    assert record["request"]["data"] == {"role": "r", "in": {"role": ["x", {"y": "z"}], "other": _hmac("o")}}
    assert record["response"]["data"] == {"ttl_text": "1h", "role": _hmac("r")}


def test_headers_only_as_configured(lines: LineMaker) -> None:
    of = call(headers={"x-app": "app", "x-key": "k", "authorization": "Bearer needle"})
    record = _request(lines, of, rules=Rules(headers={"x-app": False, "x-key": True, "x-absent": False}))
    assert record["request"]["headers"] == {"x-app": ["app"], "x-key": [_hmac("k")]}
    assert "headers" not in _request(lines, of)["request"]


def test_options_of_a_device() -> None:
    of = call(Op.LIST, "secret/metadata/", who=caller())
    answer = Response(data={"keys": ["a", "b"], "key_info": {"a": {}}, "note": "n"})
    elided = _response(LineMaker(SALT, elide_lists=True, hmac_accessor=False), of, answer)
    assert elided["response"]["data"] == {"keys": 2, "key_info": 1, "note": _hmac("n")}
    assert elided["auth"]["accessor"] == elided["request"]["client_token_accessor"] == ACCESSOR
    assert elided["auth"]["client_token"] == _hmac(TOKEN)
    shown = _response(LineMaker(SALT), of, answer)
    assert shown["response"]["data"]["keys"] == [_hmac("a"), _hmac("b")]


def test_a_raw_body_is_not_recorded(lines: LineMaker) -> None:
    record = _response(lines, call(), Response(raw=b"needle", content_type="text/plain"))
    assert "data" not in record["response"]


class _Point(msgspec.Struct):
    x: str
    y: int


def test_odd_values(lines: LineMaker) -> None:
    data = {
        "bytes": b"\xff\x00", "text": Text("t"), "list": StrList(("a",)), "duration": Duration(5), "flag": Flag(1),
        "nan": math.nan, "inf": -math.inf, "big": 2**80, "struct": _Point("p", 1), "set": {"s"}, "obj": Op.READ,
        "half": "\ud800", "k\ud800": 1, 7: 8,
    }  # fmt: skip
    found = _request(lines, call(data=data))["request"]["data"]
    assert found["bytes"] == _hmac(b"\xff\x00")
    assert (found["text"], found["list"], found["set"]) == (_hmac("t"), [_hmac("a")], [_hmac("s")])
    assert (found["duration"], found["flag"], found["big"], found["7"]) == (5, 1, 2**80, 8)
    assert found["nan"] is None
    assert found["inf"] is None
    assert found["struct"] == {"x": _hmac("p"), "y": 1}
    assert found["half"].startswith("hmac-sha256:")
    assert found["k?"] == 1


def test_depth_is_bounded(lines: LineMaker) -> None:
    deep: Any = "needle"
    for _ in range(20_000):
        deep = {"a": deep} if isinstance(deep, list) else [deep]
    line = lines.request(lines.who_and_what(call(data={"deep": deep})), NOW)
    assert b"needle" not in line
    assert line.count(b"[") < MAX_DEPTH + 10
    rules = Rules(request_keys=frozenset({"deep"}))
    assert b"too deeply" in lines.request(lines.who_and_what(call(data={"deep": deep}), rules), NOW)
    while isinstance(deep, list | dict):  # let it go level by level
        deep = deep.pop() if isinstance(deep, list) else deep.pop("a")


def test_text_that_json_cannot_carry_is_replaced(lines: LineMaker) -> None:
    of = call(path="secret/\udcff", who=caller(display_name="d\ud800"))
    of.policy_results = {"allowed": True, "odd": {1, 2}}
    record = _request(lines, of, BadRequest("bad \ud800"))
    assert record["request"]["path"] == "secret/?"
    assert record["error"] == "bad ?"


@pytest.mark.parametrize("key", [b"", b"k", bytes(64), bytes(65), bytes(range(200))])
def test_salted_is_hmac_sha256(key: bytes) -> None:
    for text in ("", "x", "ü" * 100):
        assert salted(key)(text) == "hmac-sha256:" + hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(), _json_values, max_size=4))
def test_any_data_keeps_its_shape_and_loses_its_text(data: dict[str, Any]) -> None:
    lines = LineMaker(SALT)
    if data:
        found = _request(lines, call(data=data))["request"]["data"]
        _same_shape(data, found)


def _same_shape(sent: Any, found: Any) -> None:
    if isinstance(sent, str | bytes):
        raw = sent.encode("utf-8", "surrogatepass") if isinstance(sent, str) else sent
        assert found == _hmac(raw)
    elif isinstance(sent, dict):
        assert isinstance(found, dict)
        if len(found) == len(sent):  # names that JSON cannot carry may fall together
            for one, other in zip(sent.values(), found.values(), strict=True):
                _same_shape(one, other)
    elif isinstance(sent, list):
        assert len(sent) == len(found)
        for one, other in zip(sent, found, strict=True):
            _same_shape(one, other)
    elif isinstance(sent, float) and not math.isfinite(sent):
        assert found is None
    else:
        assert sent == found


_WHO = [caller(), caller(token_id="id-of-another", display_name="other"), caller(policies=("app",)), None]
_WHERE = [call(path=path, who=_WHO[0]) for path in ("secret/data/a", "secret/data/b")]
_CALLS = st.fixed_dictionaries(
    {
        "who": st.sampled_from(_WHO),
        "match": st.sampled_from([of.match for of in _WHERE]),
        "results": st.sampled_from([_WHERE[0].policy_results, {"allowed": False}, None]),
        "op": st.sampled_from([Op.READ, Op.LIST]),
        "path": st.sampled_from(["secret/data/a", "secret/data/b"]),
        "id": st.sampled_from(["1", "2", 'a"\\b\u2028', ""]),
        "token": st.sampled_from([TOKEN, ""]),
        "remote": st.sampled_from(["192.0.2.7", "192.0.2.8"]),
        "remote_port": st.integers(1, 2),
        "namespace_path": st.sampled_from(["", "team/"]),
        "wrap_ttl": st.sampled_from([0, 60]),
        "data": st.sampled_from([{}, {"a": "b"}]),
        "headers": st.sampled_from([{}, {"x-seen": "v"}]),
        "rules": st.sampled_from([Rules(), Rules(headers={"x-seen": False})]),
    }
)


@given(st.lists(_CALLS, min_size=1, max_size=12))
def test_what_is_kept_of_earlier_calls_shows_in_no_line(given_calls: list[dict[str, Any]]) -> None:
    used = LineMaker(SALT)
    for one in given_calls:
        fields = dict(one)
        rules, match, results, who = (fields.pop(name) for name in ("rules", "match", "results", "who"))
        of = Call(Request(**fields), match, who, policy_results=results)
        assert used.who_and_what(of, rules) == LineMaker(SALT).who_and_what(of, rules)


def test_a_call_that_was_made_before_is_not_spelt_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    used, of = LineMaker(SALT), call(who=caller())
    first = used.who_and_what(of)
    monkeypatch.setattr(LineMaker, "_who_and_what", lambda *_: pytest.fail("made anew"))
    assert used.who_and_what(of) == first
    other = Call(
        msgspec.structs.replace(of.request, id="another"), of.match, of.caller, policy_results=of.policy_results
    )
    assert used.who_and_what(other) == first.replace(b'"req-1"', b'"another"')
