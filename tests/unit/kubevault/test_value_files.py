"""Files of kvstore as pull writes them: each reads back as what it was made of."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.kubevault.value_files import render
from strongroom.kubevault.values import read_values

ODD = ["", " ", "\n", "\n\n", "a\n", "a\nb", "a\nb\n", "a\nb\n\n\n", " a\nb", "\na\nb", "a\n\n  b\n", "a \nb\n",
       "\ta\nb\n",       "a\r\nb", "a\x00b", "\x85", "a\u2028b\nc", "é\nü\n", "\ufeffa\nb", "# a\nb", "---\na\n...\n",
       "- a\nb: c\n", "yes",       "1_000", "*x", "&x y", "!!binary aGk=", '"\n\'', "\\n", "|\n>", "a\n \nb", "a\n  ",
       "%YAML 1.1\nx", "\U0001f600\nx"]  # fmt: skip


@pytest.mark.parametrize("text", ODD)
def test_texts(text: str) -> None:
    assert read_values(render({"k": text, "l": "after"}, {}).encode(), "x").entries == {"k": text, "l": "after"}


@settings(max_examples=400, deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[-_a-zA-Z0-9][-._a-zA-Z0-9]{0,20}", fullmatch=True).filter(lambda key: key != "_kubevault"),
        st.text(st.characters(exclude_categories=["Cs"])) | st.text("ab \n\t-:#") | st.binary(),
        max_size=4,
    )
)
def test_anything(entries: dict[str, str | bytes]) -> None:
    assert read_values(render(entries, {}).encode(), "x").entries == entries


def test_a_text_of_several_lines_can_be_read_by_people() -> None:
    assert render({"key": "-----BEGIN\nabc\n"}, {}) == "key: |\n  -----BEGIN\n  abc\n"
    assert render({"a": "x", "b": b"\x00" * 60}, {}) == f'a: "x"\nb: !!binary |\n  {"A" * 76}\n  AAAA\n'
    assert render({}, {}) == "{}\n"


def test_settings() -> None:
    given: dict[str, Any] = {"type": "t/u", "labels": {"a": "yes"}, "annotations": {"b": "1\n2"}, "immutable": False}
    back = read_values(render({"k": "v"}, given).encode(), "x").settings
    assert (back.type, back.labels, back.annotations, back.immutable) == ("t/u", {"a": "yes"}, {"b": "1\n2"}, False)


def test_long_keys() -> None:
    key = "k" * 253
    assert read_values(render({key: "v"}, {}).encode(), "x").entries == {key: "v"}
