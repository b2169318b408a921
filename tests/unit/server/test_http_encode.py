"""Answers in Vault's shapes, byte for byte where clients look."""

import json
from typing import Any

import pytest

from strongroom.errors import BadRequest, NotFound, QuotaExceeded, UnsupportedOperation
from strongroom.sdk.fields import Duration, Flag, StrList, Text
from strongroom.sdk.request import Auth, Response, WrapInfo
from strongroom.server.http_encode import Answer, answer, refusal

KEYS = ["request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth"]


def body(response: Response) -> Any:
    return json.loads(answer(response, "id").body)


def test_envelope() -> None:
    got = answer(Response(data={"a": 1}), "id")
    assert got.status == 200
    assert got.body == (
        b'{"request_id":"id","lease_id":"","renewable":false,"lease_duration":0,"data":{"a":1},'
        b'"wrap_info":null,"warnings":null,"auth":null}'
    )
    full = body(Response(data={}, warnings=("w",), lease_id="l", lease_duration=9, renewable=True))
    assert (full["warnings"], full["lease_id"], full["lease_duration"], full["renewable"]) == (["w"], "l", 9, True)


def test_nothing_is_204() -> None:
    got = answer(Response(), "id")
    assert (got.status, got.body) == (204, b"")
    raw = got.bytes(b"", head_only=False, keep=b"")
    assert raw.startswith(b"HTTP/1.1 204 No Content\r\n") and b"Content-Length" not in raw
    assert answer(Response(status=204), "id").status == 204


@pytest.mark.parametrize("response", [Response(warnings=("w",)), Response(status=200), Response(status=202)])
def test_envelope_without_data(response: Response) -> None:
    got = answer(response, "id")
    assert got.status == (response.status or 200) and json.loads(got.body)["data"] is None


def test_flat_repeats_the_data_beside_but_never_over_the_envelope() -> None:
    got = body(Response(data={"x": 1, "request_id": "forged"}, flat=True))
    assert got["x"] == 1 and got["data"]["x"] == 1 and got["request_id"] == "id"
    assert list(got)[:8] == KEYS


def test_bare_and_raw() -> None:
    assert body(Response(data={"sealed": False}, bare=True)) == {"sealed": False}
    assert answer(Response(data={}, bare=True, status=503), "id").status == 503
    got = answer(Response(raw=b"# HELP", content_type="text/plain; version=0.0.4"), "id")
    assert b"Content-Type: text/plain; version=0.0.4\r\n" in got.headers and got.body == b"# HELP"
    empty = answer(Response(raw=b"", status=404), "id")
    assert (empty.status, empty.body) == (404, b"")


def test_auth_shape() -> None:
    auth = Auth(
        client_token="hvs.t",
        accessor="acc",
        token_policies=("default", "p"),
        identity_policies=("i",),
        metadata={"username": "bob"},
        ttl=3600,
        token_type="service",
        num_uses=2,
    )
    got = body(Response(auth=auth))["auth"]
    assert got == {
        "client_token": "hvs.t",
        "accessor": "acc",
        "policies": ["default", "i", "p"],
        "token_policies": ["default", "p"],
        "identity_policies": ["i"],
        "metadata": {"username": "bob"},
        "lease_duration": 3600,
        "renewable": True,
        "entity_id": "",
        "token_type": "service",
        "orphan": True,
        "mfa_requirement": None,
        "num_uses": 2,
    }
    assert list(got)[:4] == ["client_token", "accessor", "policies", "token_policies"]
    bare = body(Response(auth=Auth(client_token="t", token_policies=("default",))))["auth"]
    assert "identity_policies" not in bare and bare["metadata"] is None


def test_wrapped_answer_tells_nothing_else() -> None:
    wrap = WrapInfo(token="hvs.w", accessor="a", ttl=60, creation_time="t", creation_path="p")
    got = body(Response(data={"secret": "s"}, auth=Auth(client_token="x"), wrap_info=wrap))
    assert got["request_id"] == "" and got["data"] is None and got["auth"] is None
    assert got["wrap_info"] == {
        "token": "hvs.w",
        "accessor": "a",
        "ttl": 60,
        "creation_time": "t",
        "creation_path": "p",
    }


def test_field_types_in_answers() -> None:
    data = {"ttl": Duration(5), "on": Flag(1), "name": Text("n"), "list": StrList(("a",))}
    assert body(Response(data=data))["data"] == {"ttl": 5, "on": True, "name": "n", "list": ["a"]}
    with pytest.raises(NotImplementedError) as caught:
        answer(Response(data={"x": object()}), "id")
    assert str(caught.value) == "object"


def test_refusals() -> None:
    assert refusal(BadRequest("a", "b"), "id").body == b'{"errors":["a","b"]}'
    assert refusal(NotFound(), "id").body == b'{"errors":[]}'
    assert refusal(UnsupportedOperation(""), "id").status == 405
    deleted = refusal(NotFound(data={"data": None, "metadata": {"version": 1}}), "id")
    assert deleted.status == 404 and list(json.loads(deleted.body)) == KEYS
    warned = json.loads(refusal(NotFound(warnings=("Invalid path",)), "id").body)
    assert warned["data"] is None and warned["warnings"] == ["Invalid path"]
    assert b"Retry-After: 3\r\n" in refusal(QuotaExceeded("q", retry_after=3), "id").headers


def test_header_lines_cannot_be_broken() -> None:
    got = Answer(200, b"")
    got.add("X", "a\r\nY: b")
    assert b"Y:" not in got.headers
    assert Answer(599, b"x").bytes(b"", head_only=True, keep=b"").startswith(b"HTTP/1.1 599 \r\n")
