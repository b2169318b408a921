"""YAML that every version reads alike."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from strongroom.kubevault.yaml_text import document, quoted, scalar

ODD = """y Y yes Yes n no NO on Off true True TRUE false null Null ~ 1 1_000 0x1F 0b1 0o7 1e3 .5 1.5 -1 +1 .inf .nan
2024-01-02 1:30 190:20:30 = << - ? : # a# a:b a: :a "a" 'a' [a] {a} a,b &a *a !a |a >a %a @a `a a/b a.b a_b a-b -a a-
Infinity NaN nan inf e1 0 00 007 12:30:45 <<a""".split()


def plain(text: str) -> str:
    """As a reader of YAML 1.1 sees it."""
    found = yaml.safe_load(f"k: {text}")
    return str(found["k"]) if isinstance(found["k"], str) else f"not text: {found['k']!r}"


@pytest.mark.parametrize("text", [*ODD, "", " ", " a", "a ", "a b", "a\nb", "\t", "\0", "\x7f\x85\u2028\ufeff", "é🙂"])
def test_text_stays_the_text_it_is(text: str) -> None:
    assert plain(scalar(text)) == text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_stays_the_text_it_is(text: str) -> None:
    assert plain(scalar(text)) == text
    assert plain(quoted(text)) == text
    assert "\n" not in scalar(text)


def test_what_needs_no_quotes_has_none() -> None:
    for text in ("Secret", "v1", "vault-kvstore", "kubevault:me:read", "a/b.c_d", "rbac.authorization.k8s.io/v1"):
        assert scalar(text) == text
    for text in ("yes", "n", "1", "a:", "1_000", "-a"):
        assert scalar(text) == f'"{text}"'


def test_documents() -> None:
    value = {
        "b": {"y": "1", "x": []},
        "a": ["p", "yes"],
        "c": [{"k": ["v"], "e": {}}, {"k": "v"}],
        "d": {},
        "t": True,
        "n": 5,
        "long": "x" * 300,
    }
    text = document(value)
    assert yaml.safe_load(text) == value
    assert text.startswith('a:\n- p\n- "yes"\nb:\n  x: []\n  "y": "1"\nc:\n- e: {}\n  k:\n  - v\n')


_PAIRS = st.text(alphabet="ab", min_size=1, max_size=2)
trees = st.recursive(
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8) | st.booleans() | st.integers(),
    lambda inner: (
        st.dictionaries(st.text(alphabet="abyn1:", max_size=3), inner, max_size=3)
        | st.lists(st.text(max_size=4, alphabet="ay1 \n"), max_size=3)
        | st.lists(
            st.dictionaries(st.text(alphabet="ab", min_size=1, max_size=2), inner, min_size=1, max_size=3), max_size=3
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(alphabet="abyn1:", max_size=3), trees, max_size=4))
def test_any_object_reads_back(value: dict[str, object]) -> None:
    text = document(value)
    assert yaml.safe_load(text or "{}") == value
    assert json.loads(json.dumps(value)) == value
