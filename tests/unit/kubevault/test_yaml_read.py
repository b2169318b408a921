"""YAML of others as text."""

import pytest

from strongroom.kubevault.yaml_read import MAX_DEPTH, BadYaml, check_depth, read_texts


def test_scalars_are_text() -> None:
    text = "a: yes\nb: 1_000\n? ~\n: [0x1F, 2024-01-01, !!binary aGk=, *x]\nc: &x {}\n"
    assert read_texts(text.replace("*x", "''").encode()) == [
        {"a": "yes", "b": "1_000", "~": ["0x1F", "2024-01-01", "aGk=", ""], "c": {}}
    ]
    assert read_texts(b"a: &x 1\nb: *x\n---\n- c\n---\n") == [{"a": "1", "b": "1"}, ["c"], ""]
    assert read_texts(b"") == [] and read_texts(b"# nothing\n") == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [", 2),
        ("a:\n  b: c: d", 2),
        ("x: *gone", 1),
        ("x: &a [1]\ny: *a", 2),
        ("a: &a\n  b: *a", 2),
        ("? [1]\n: x", 1),
        ("a: \x01", 0),
        ("a: &x 1\n---\nb: *x", 3),
    ],
)
def test_what_is_not_read(text: str, line: int) -> None:
    with pytest.raises(BadYaml) as caught:
        read_texts(text.encode())
    assert caught.value.line in (line, line - 1)  # the end of the text may count as a line


@pytest.mark.parametrize("text", ["[" * 200_000, "{a: " * 200_000, "- " * 100_000 + "x"])
def test_depth_does_not_end_the_process(text: str) -> None:
    for read in (read_texts, check_depth):
        with pytest.raises(BadYaml):
            read(text.encode())
        read(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    check_depth(b"a: &x [1]\nb: *x\n")


def test_bytes_that_are_no_text() -> None:
    for data in (b"a: \xff", b"\x00", "a: b".encode("utf-16")[:-1]):
        with pytest.raises(BadYaml):
            read_texts(data)
