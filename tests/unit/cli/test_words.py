"""key=value words."""

from pathlib import Path

import pytest

from strongroom.cli.words import Stdin, parse_data, parse_pairs, parse_texts
from strongroom.errors import BadRequest


def stdin(text: str = "") -> Stdin:
    return Stdin(lambda: text)


def test_values_stay_text() -> None:
    assert parse_data(["a=1", "b=true", "c=", "d=x=y"], stdin()) == {"a": "1", "b": "true", "c": "", "d": "x=y"}


def test_repeated_keys_become_lists() -> None:
    assert parse_data(["a=1", "a=2", "a=3"], stdin()) == {"a": ["1", "2", "3"]}


def test_files_and_stdin(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text('{"x": [1, {"y": null}]}')
    assert parse_data([f"@{file}", "k=v"], stdin()) == {"x": [1, {"y": None}], "k": "v"}
    assert parse_data([f"k=@{file}"], stdin()) == {"k": '{"x": [1, {"y": null}]}'}
    assert parse_data(["k=-"], stdin("text\n")) == {"k": "text\n"}
    assert parse_data(["k=\\@x", "l=\\-"], stdin()) == {"k": "@x", "l": "-"}


@pytest.mark.parametrize("text", ["", "[]", "{", "1", "[" * 100_000])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_data(["-"], stdin(text))


def test_sec_errors_quote_no_value(tmp_path: Path) -> None:
    for words in (["hunter2"], ["k=@" + str(tmp_path / "none")], ["-"]):
        with pytest.raises(BadRequest) as caught:
            parse_data(words, stdin("hunter2"))
        assert "hunter2" not in str(caught.value)
    with pytest.raises(BadRequest) as caught:
        parse_pairs(["hunter2"], "metadata")
    assert "hunter2" not in str(caught.value)


def test_texts_must_be_texts() -> None:
    with pytest.raises(BadRequest, match="a must be given once"):
        parse_texts(["a=1", "a=2"], stdin())


def test_a_file_must_be_text(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"\xff\xfe")
    with pytest.raises(BadRequest, match="UTF-8"):
        parse_data([f"k=@{tmp_path / 'f'}"], stdin())
