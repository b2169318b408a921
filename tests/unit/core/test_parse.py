"""Bodies, within bounds."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.core.parse import MAX_DEPTH, MAX_TOKENS, Parse, parse_body
from strongroom.core.router import nowhere
from strongroom.errors import BadRequest, NotFound
from strongroom.sdk.engine import Call
from strongroom.sdk.request import Op, Request

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "content_type", "data"),
    [
        (b'{"a": 1, "b": {"c": [null, true, 1.5, "x"]}}', "", {"a": 1, "b": {"c": [None, True, 1.5, "x"]}}),
        (b'{"a": 1}', "text/plain", {"a": 1}),
        (b'  {"a": 1}', FORM, {"a": 1}),  # what ``curl -d`` sends
        (b"a=1&b=x%20y&a=2&c=", FORM, {"a": "1", "b": "x y", "c": ""}),
        (b"a=1", FORM + "; charset=utf-8", {"a": "1"}),
        (b"null", "", {}),
        (b" \n", "", {}),
        (b'{"a": "{\\"b\\": [1, 2, {"}', "", {"a": '{"b": [1, 2, {'}),
        (b'{"a\\"b": "c:d,e"}', "", {'a"b': "c:d,e"}),
        ('{"ä": "€"}'.encode(), "", {"ä": "€"}),
    ],
)
def test_what_is_read(body: bytes, content_type: str, data: dict[str, Any]):
    assert parse_body(body, content_type) == data


NEEDLE = "hunter2"


@pytest.mark.parametrize(
    "body",
    [
        b"hunter2", b'{"a": hunter2}', b'["hunter2"]', b'"hunter2"', b"1", b'{"a": "hunter2"', b'{"a": NaN}',
        b'{"a": Infinity}', b'{"hunter2": 1, "hunter2": 2}', b'{"x": {"hunter2": 1, "hunter2": 2}}',
        b'{"a": 1}{"b": 2}',
        b'{"a": "\xff"}', b"\xef\xbb\xbf{}", b"{'a': 1}", b'{"a": 01}', b'{"a": 1,}', b'{"a": "hunter2\n"}', b"{]",
        b'{"a": ' + b"[" * 65 + b"]" * 65 + b"}", b'{"a": 1e999}', b'{"a": "\\ud800"}',
    ],
)  # fmt: skip
def test_what_is_refused_without_being_quoted(body: bytes):
    with pytest.raises(BadRequest) as caught:
        parse_body(body)
    assert NEEDLE not in str(caught.value) and str(caught.value).startswith("failed to ")


def test_depth_and_number_of_values_are_bounded():
    deep = MAX_DEPTH - 1
    assert parse_body(b'{"a": ' + b"[" * deep + b"]" * deep + b"}")
    wide = json.dumps({"a": [0] * (MAX_TOKENS - 100)}).encode()
    assert len(parse_body(wide)["a"]) == MAX_TOKENS - 100
    with pytest.raises(BadRequest, match="too many values"):
        parse_body(json.dumps({"a": [0] * (MAX_TOKENS + 1)}).encode())
    with pytest.raises(BadRequest):
        parse_body(b"&".join(b"a%d=1" % i for i in range(MAX_TOKENS)), FORM)


@pytest.mark.parametrize(
    "body",
    [b'"' * 2_000_000, b'{"' + b"\\" * 2_000_000, b"[" * 2_000_000, b'{"a":"' * 300_000, b" " * 2_000_000 + b"x"],
)
def test_bad_bodies_cost_little_time(body: bytes):
    began = time.process_time()
    with pytest.raises(BadRequest):
        parse_body(body)
    assert time.process_time() - began < 2


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=6), values, max_size=6))
def test_every_object_comes_back_as_it_was(data: dict[str, Any]):
    assert parse_body(json.dumps(data).encode()) == data
    assert parse_body(json.dumps(data, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass")) == data


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_give_an_object_or_a_bad_request(body: bytes):
    for content_type in ("", FORM):
        try:
            assert isinstance(parse_body(body, content_type), dict)
        except BadRequest:
            pass


@pytest.mark.parametrize("op", list(Op))
async def test_only_what_changes_something_has_a_body(op: Op):
    call = Call(Request(id="1", op=op, path="x", body=b'{"a": 1}', data={"q": "2"}), nowhere(NotFound()))
    await Parse().pre_route(call)
    writes = op in (Op.CREATE, Op.UPDATE, Op.PATCH, Op.DELETE)  # the door keeps the bodies of nearly all DELETEs out
    assert call.request.data == ({"q": "2", "a": 1} if writes else {"q": "2"}) and call.request.body == b""


async def test_what_a_broken_body_asked_is_unknown():
    call = Call(Request(id="1", op=Op.UPDATE, path="x", body=b'{"a": '), nowhere(NotFound()))
    with pytest.raises(BadRequest):
        await Parse().pre_route(call)
    assert (call.request.op, call.request.body, call.request.path) == (Op.UNKNOWN, b"", "x")
