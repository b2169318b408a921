import datetime
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.engines.kv.plain import MAX_DEPTH, merge, pack, structure, unpack
from strongroom.errors import BadRequest, IntegrityError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)


def exact(value):
    """A form in which 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return {k: exact(v) for k, v in value.items()}
    if isinstance(value, list):
        return [exact(v) for v in value]
    return (type(value).__name__, repr(value))


@given(OBJECTS)
def test_a_secret_comes_back_as_it_was(data):
    assert exact(unpack(pack(data))) == exact(data)


@pytest.mark.parametrize("text", ["9007199254740993", "18446744073709551616", "-1", "123456789012345678901234567890"])
def test_integers_of_any_size_survive(text):
    assert unpack(pack(msgspec.json.decode(f'{{"n":{text}}}'.encode()))) == {"n": int(text)}


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, b"bytes", datetime.datetime.now(tz=datetime.UTC), object(), {1: "x"}, "\ud800", {1, 2}],
    ids=["nan", "inf", "bytes", "date", "object", "number as key", "half a character", "set"],
)
def test_what_json_cannot_hold_is_refused_and_not_quoted(value):
    with pytest.raises(BadRequest) as caught:
        pack({"deep": [{"hunter2": value}]})
    assert "hunter2" not in str(caught.value)


def test_nesting_is_bounded():
    fits, deep = {}, {}
    for _ in range(MAX_DEPTH - 1):
        fits, deep = {"a": fits}, {"a": deep}
    assert unpack(pack(fits)) == fits
    with pytest.raises(BadRequest):
        pack({"a": {"a": deep}})


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b'{"a":', b"\xff"])
def test_damaged_text_is_an_integrity_error(text):
    with pytest.raises(IntegrityError):
        unpack(text)


# RFC 7396, appendix A: the whole table
RFC_7396 = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), RFC_7396)
def test_merge_follows_the_rfc(target, patch, result):
    assert merge(target, patch) == result


@given(OBJECTS, OBJECTS)
def test_merging_alters_neither_side(target, patch):
    before = exact(target), exact(patch)
    merge(target, patch)
    assert (exact(target), exact(patch)) == before


@pytest.mark.parametrize(
    ("depth", "result"),
    [
        (0, {"a": None, "b": {"c": {"d": None}}, "e": None, "f": None}),
        (1, {"a": None, "b": None, "e": None, "f": None}),
        (2, {"a": None, "b": {"c": None}, "e": None, "f": None}),
        (3, {"a": None, "b": {"c": {"d": None}}, "e": None, "f": None}),
    ],
)
def test_structure_shows_keys_and_no_value(depth, result):
    assert structure({"a": "1", "b": {"c": {"d": "2"}}, "e": {}, "f": [{"g": "3"}]}, depth) == result
