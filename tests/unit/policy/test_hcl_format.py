"""Formatting: the shape, and the two promises (twice is once, the meaning stays)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.errors import BadRequest
from strongroom.policy.hcl import Body, Value, parse
from strongroom.policy.hcl_format import format as formatted

BEFORE = """# top
path   "secret/*" { capabilities=["read","list"] } path "a" { # why
allowed_parameters={ "*"=[]
 "foo" = [
 "x", # ex
 "y"] }   min_wrapping_ttl = "1s" // t
 max_wrapping_ttl =5



 x = 1 /* z */, longer = <<EOF
  abc
EOF
}
path /* odd */ "b" {}
path "c" {}
# end"""

AFTER = """# top
path "secret/*" {
  capabilities = ["read", "list"]
}

path "a" {
  # why
  allowed_parameters = {
    "*" = []

    "foo" = [
      "x", # ex
      "y",
    ]
  }

  min_wrapping_ttl = "1s" // t
  max_wrapping_ttl = 5

  x = 1 /* z */

  longer = <<EOF
  abc
EOF
}

/* odd */
path "b" {}
path "c" {}
# end
"""


def test_the_shape() -> None:
    assert formatted(BEFORE) == AFTER


def test_names_are_aligned_on_consecutive_lines_only() -> None:
    assert formatted("a=1\nbbb=2\n\ncc=3\nd { }\neeee=4") == "a   = 1\nbbb = 2\n\ncc = 3\nd {}\neeee = 4\n"


def test_nothing_stays_nothing() -> None:
    assert formatted("") == formatted(" \r\n\n") == ""
    assert formatted("\ufeffa=1\r\nb=2\r\n") == "a = 1\nb = 2\n"


@pytest.mark.parametrize("text", ["a = ", '{"path": {}}', "path {"])
def test_what_is_no_hcl_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        formatted(text)


def meaning(value: Value) -> object:
    if isinstance(value, Body):
        return [(item.key, item.labels, meaning(item.value)) for item in value.items]
    return [meaning(element) for element in value] if isinstance(value, list) else value


def comments(text: str) -> int:
    return text.count("note")


gap = st.sampled_from(
    [" ", "\n", "\n\n\n", " # note\n", "\n// note\n", " /* note */ ", "\n/* note\n more */\n", "\r\n"]
)
name = st.sampled_from(["a", "path", '"q k"', "b-1"])
scalar = st.sampled_from(["1", '"x"', "true", "[]", "<<E\n  h\nE\n", "<<-E\n  h\n  E\n", '"${a}"', "-1.5"])


def joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


def values(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    element = scalar | joined(st.just("{"), gap, items, gap, st.just("}"))
    ending = st.sampled_from(["", ","])
    several = st.lists(joined(gap, element, gap), min_size=1, max_size=3).map(",".join)
    return element | joined(st.just("["), several, ending, gap, st.just("]"))


def items_of(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    attribute = joined(name, gap, st.just("="), gap, values(inner))
    block = joined(
        name, st.just(" "), gap, st.sampled_from(["", '"l" ', '"l" "m" ']), st.just("{"), gap, inner, gap, st.just("}")
    )
    return st.lists(joined(attribute | block, gap, st.sampled_from(["", ","]), gap), max_size=3).map("".join)


documents = joined(gap, items_of(items_of(st.just(""))), gap)


@settings(max_examples=300, deadline=None)
@given(documents)
def test_twice_is_once_and_the_meaning_and_the_comments_stay(text: str) -> None:
    once = formatted(text)
    assert meaning(parse(once)) == meaning(parse(text))
    assert comments(once) == comments(text)
    assert formatted(once) == once
    assert not any(line != line.rstrip() for line in once.split("\n"))
