"""HCL1 and its JSON form: what is read, what is refused and where, and that nothing worse than BadRequest comes out."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.errors import BadRequest
from strongroom.policy.hcl import Body, attributes, blocks, parse, to_plain
from strongroom.policy.hcl_tokens import MAX_TEXT


def value(text: str) -> object:
    return to_plain(parse(f"v = {text}"))["v"]


VALUES = [
    ("1", 1),
    ("-12", -12),
    ("0", 0),
    ("0x1F", 31),
    ("-0x10", -16),
    ("010", 8),
    ("1.5", 1.5),
    ("1e3", 1000.0),
    ("-2.5E-1", -0.25),
    ("9223372036854775807", 2**63 - 1),
    ("true", True),
    ("false", False),
    ('""', ""),
    ('"a b"', "a b"),
    (r'"q\"\\\n\t\r"', 'q"\\\n\t\r'),
    (r'"\u00e9\U0001F600\x41\101"', "é😀AA"),
    ('"cost $5 and ${x "y" {z}}"', 'cost $5 and ${x "y" {z}}'),
    ('"é{{identity.entity.id}}"', "é{{identity.entity.id}}"),
    ("[]", []),
    ("[1, 2,]", [1, 2]),
    ('["a", [true, ["b"]]]', ["a", [True, ["b"]]]),
    ("[{ a = 1 }, { a = 2 },]", [{"a": 1}, {"a": 2}]),
    ("[ # c\n 1, // d\n /* e */ 2 ]", [1, 2]),
    ("<<EOF\none\n  two\nEOF\n", "one\n  two\n"),
    ("<<EOF\nEOF", ""),
    ("<<EOF\r\none\r\nEOF\r\n", "one\n"),
    ("<<-EOF\n    one\n      two\n    EOF\n", "one\n  two\n"),
    ("<<-EOF\n one\n  EOF\n", " one\n"),
    ('<<E\na = "not read" { \\n\nE\n', 'a = "not read" { \\n\n'),
]


@pytest.mark.parametrize(("text", "expected"), VALUES)
def test_values(text: str, expected: object) -> None:
    read = value(text)
    assert read == expected and type(read) is type(expected)


STRUCTURE = [
    ("", {}),
    ("\ufeff# only a comment", {}),
    ("a = 1 b = 2, c = 3", {"a": 1, "b": 2, "c": 3}),
    ('"quoted key" = 1', {"quoted key": 1}),
    ("größe-1.b = 1", {"größe-1.b": 1}),
    ("a { }", {"a": [{}]}),
    ("a = { b = 1 }", {"a": [{"b": 1}]}),
    ('storage "lmdb" { path = "x" }', {"storage": [{"lmdb": [{"path": "x"}]}]}),
    ("l x { n = 1 } l x { n = 2 }", {"l": [{"x": [{"n": 1}]}, {"x": [{"n": 2}]}]}),
    (
        'audit "file" "main" { options { file_path = "/x" } }',
        {"audit": [{"file": [{"main": [{"options": [{"file_path": "/x"}]}]}]}]},
    ),
    ('control_group = { factor "a" { n = 1 } }', {"control_group": [{"factor": [{"a": [{"n": 1}]}]}]}),
    ("a /* x */ = // y\n 1", {"a": 1}),
]


@pytest.mark.parametrize(("text", "expected"), STRUCTURE)
def test_structure(text: str, expected: object) -> None:
    assert to_plain(parse(text)) == expected


@pytest.mark.parametrize(
    ("hcl", "as_json"),
    [
        ('backend "inmem" {}', {"backend": {"inmem": {}}}),
        ('listener "tcp" { address = "a" }', {"listener": {"tcp": {"address": "a"}}}),
        ('listener = { "tcp" = { address = "a" } }', {"listener": [{"tcp": {"address": "a"}}]}),
        ('l "t" { n = 1 } l "t" { n = 2 }', {"l": [{"t": {"n": 1}}, {"t": {"n": 2}}]}),
        ('x = true\ny = "768h" z = 1.5', {"x": True, "y": "768h", "z": 1.5}),
    ],
)
def test_json_means_the_same(hcl: str, as_json: object) -> None:
    assert (
        to_plain(parse(hcl)) == to_plain(parse(json.dumps(as_json))) == to_plain(parse(json.dumps(as_json, indent=2)))
    )


@pytest.mark.parametrize(
    "text",
    [
        'p "a" { n = 1 } p "b" { n = 2 }',
        'p = { "a" = { n = 1 } "b" = { n = 2 } }',
        'p { "a" { n = 1 } b { n = 2 } }',
        '{"p": {"a": {"n": 1}, "b": {"n": 2}}}',
        '{"p": [{"a": {"n": 1}}, {"b": {"n": 2}}]}',
        '{"p": {"a": [{"n": 1}], "b": {"n": 2}}}',
        '{"p": {"a": {"n": 1}}, "p": {"b": {"n": 2}}}',
    ],
)
def test_blocks_are_found_however_they_are_written(text: str) -> None:
    found = [(block.labels, to_plain(block.body)) for block in blocks(parse(text), "p", labels=1)]
    assert found == [(("a",), {"n": 1}), (("b",), {"n": 2})]


@pytest.mark.parametrize("text", ["p = 1", 'p "a" "b" { }', 'p "a" { b = 1 } p = "x"', '{"p": {"a": 1}}', '{"p": "x"}'])
def test_what_is_no_block_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        list(blocks(parse(text), "p", labels=1))


REFUSED = [
    ("not hcl {{", 1, 10),
    ("a = ", 1, 5),
    ("a\n= x", 2, 3),
    ('a = "open', 1, 5),
    ('a = "line\nbreak"', 1, 5),
    ('x = 1\na = "bad \\q"', 2, 10),
    ("/* never", 1, 1),
    ("a = <<EOF\nx\n", 1, 5),
    ("a = [1 2]", 1, 8),
    ("a = [1", 1, 7),
    ("a { b = 1", 1, 10),
    ("a = 1 }", 1, 7),
    ('a "b" = 1', 1, 7),
    ("a b c", 1, 6),
    ("= 1", 1, 1),
    ("a = 1x", 1, 5),
    ("a = 089", 1, 5),
    ("a = 1e999", 1, 5),
    ("a = 9223372036854775808", 1, 5),
    ("a = " + "1" * 5000, 1, 5),
    ('a = "\\ud800"', 1, 5),
    ('a = "\\U00110000"', 1, 6),
    ("a = 'x'", 1, 5),
    ("a: 1", 1, 2),
    ("/ a = 1", 1, 1),
    ('{"a": }', 1, 7),
    ('{"a": 1} x', 1, 10),
    ("{'a': 1}", 1, 2),
    ('{\n"a": 1,\n}', None, None),
]


@pytest.mark.parametrize(("text", "line", "column"), REFUSED)
def test_errors_say_where(text: str, line: int | None, column: int | None) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(text, what="thing")
    assert str(caught.value).startswith("thing: line " if line is None else f"thing: line {line}, column {column}: ")


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', '{"a": 1e999}', '{"a": 99999999999999999999}', '{"a": "\\ud800"}', '{"\\u0000": 1}']
)
def test_json_values_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse(text)


@pytest.mark.parametrize(
    "text", ['password = "hunter2" "', 'password = "hunter2\\q"', '{"password": "hunter2", }', "p = hunter2"]
)
def test_no_message_quotes_the_text(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(text)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(parse('password = "hunter2"').items)


@pytest.mark.parametrize("opening", ["a { ", "[", "[{ a = ", '{"a": ', '{"a": ['])
def test_depth_is_bounded(opening: str) -> None:
    with pytest.raises(BadRequest, match="deeper"):
        parse("a = " * opening.startswith("[") + opening * 5_000)


def test_sixty_four_levels_are_fine() -> None:
    assert parse("a { " * 64 + "}" * 64).items
    assert parse('{"a":' * 64 + "1" + "}" * 64).items


def test_size_is_bounded() -> None:
    with pytest.raises(BadRequest, match="longer"):
        parse("#" * (MAX_TEXT + 1))
    with pytest.raises(BadRequest, match="words"):
        parse("a=1," * 100_000)
    with pytest.raises(BadRequest, match="words"):
        parse('{"a":[' + "1," * 300_000 + "1]}")


@pytest.mark.parametrize(
    "text",
    [
        'a = "' + "\\n" * 200_000 + '"',
        'a = "' + "${" * 100_000,
        "#\n" * 250_000,
        " " * 500_000 + "a = 1",
        "a = <<E\n" + "x\n" * 200_000 + "E\n",
        "/*" * 250_000,
        '{"a":"' + "\\\\" * 200_000 + '"}',
    ],
)
def test_long_texts_take_time_in_proportion(text: str) -> None:
    started = time.process_time()
    try:
        parse(text)
    except BadRequest:
        pass
    assert time.process_time() - started < 2


def test_an_attribute_stands_once() -> None:
    body = parse("a = 1\nb = 2\na = 3")
    assert isinstance(body, Body)
    for use in (attributes, to_plain):
        with pytest.raises(BadRequest, match="line 3: 'a' is set twice"):
            use(body)


FRAGMENTS = [
    "path",
    '"a/*"',
    "{",
    "}",
    "[",
    "]",
    "=",
    ",",
    "1",
    "-",
    "0x",
    "true",
    "#",
    "//",
    "/*",
    "*/",
    "<<E\n",
    "E",
    "\n",
    '"',
    "\\",
    "${",
    " ",
    "é",
    ":",
    "null",
    "\r",
]


@settings(max_examples=600, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    for candidate in (text, "{" + text, "a = " + text):
        try:
            body = parse(candidate)
        except BadRequest as refusal:
            assert str(refusal).startswith("configuration: ")
        else:
            try:
                to_plain(body)
            except BadRequest as refusal:
                assert "twice" in str(refusal)


json_values = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), json_values, max_size=4)
)
def test_json_scalars_come_back(document: dict[str, object]) -> None:
    assert to_plain(parse(json.dumps(document))) == document
