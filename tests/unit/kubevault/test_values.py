"""Files of kvstore: values as their source text, and every problem with its line."""

import pytest

from strongroom.kubevault.values import BadFile, Values, read_values


def read(text: str | bytes, *, b64: bool = False) -> Values:
    return read_values(text if isinstance(text, bytes) else text.encode(), "f", b64=b64)


def wrong(text: str | bytes, *, b64: bool = False) -> list[tuple[int, str]]:
    with pytest.raises(BadFile) as caught:
        read(text, b64=b64)
    return [(problem.line, problem.code) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, text) for text in ("0x1F", "1_000", "1.50", "007", "False", "yes", "2024-01-02", "null", "~", "Null")),
        ("", ""),
        ('""', ""),
        ("''", ""),
        ("'it''s'", "it's"),
        (r'"a\tb\x00\u263a"', "a\tb\0\u263a"),
        ("!!str 5", "5"),
        ("!vault x", "x"),
        ("a b # c", "a b"),
        ("&x hello", "hello"),
        ("|\n  a\n   b\n", "a\n b\n"),
        ("|-\n  a\n", "a"),
        ("|+\n  a\n\n", "a\n\n"),
        (">\n  a\n  b\n\n  c\n", "a b\nc\n"),
        ("🙂 ünï", "🙂 ünï"),
    ],
)
def test_values_are_their_source_text(text: str, value: str) -> None:
    assert read(f"k: {text}").entries == {"k": value}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "\n\n", "---", "---\n", "{}", "--- {}\n", "\ufeff"])
def test_files_without_values(text: str) -> None:
    assert read(text).entries == {}


def test_forms_of_a_map() -> None:
    assert read('{"a": "1", "b": 2}').entries == {"a": "1", "b": "2"}
    assert read(b"a: 1\r\nb: 2\r\n").entries == {"a": "1", "b": "2"}
    assert read("\ufeffa: 1").entries == {"a": "1"}
    assert read("a: 1\n...\n").entries == {"a": "1"}
    assert read("%YAML 1.1\n---\na: 1").entries == {"a": "1"}
    assert list(read("b: 1\na: 2\nB: 3").entries) == ["B", "a", "b"]
    assert read("a: &x 1\nb: *x\n").entries == {"a": "1", "b": "1"}
    assert read("true: 1\n1: 2").entries == {"1": "2", "true": "1"}


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("- a", [(1, "no-map")]),
        ("text", [(1, "no-map")]),
        ("null", [(1, "no-map")]),
        ("A=b\nC=d", [(1, "no-map")]),
        ("$ANSIBLE_VAULT;1.1;AES256\n6162", [(1, "no-map")]),
        ("a: 1\nb:\n  c: 1\nd: [1]\n", [(2, "nested"), (4, "nested")]),
        ("? [a]\n: 1", [(1, "nested")]),
        ("? {a: 1}\n: {b: 2}\nc: 1", [(1, "nested")]),
        ("base: &b {x: 1}\n<<: *b", [(1, "nested"), (2, "nested")]),
        ("a: *nobody", [(1, "yaml")]),
        ("a: 1\n---\nb: 2", [(2, "documents")]),
        ("a: 1\n---\n", [(2, "documents")]),
        ("a: 'x", [(1, "yaml")]),
        ("a: b: c", [(1, "yaml")]),
        ("a:\n\t- x", [(2, "yaml")]),
        ("a: @x", [(1, "yaml")]),
        ("%YAML 2.0\n---\na: 1", [(1, "yaml")]),
        (b"a: caf\xe9", [(1, "not-utf-8")]),
        (b"a: 1\nb: \xff", [(2, "not-utf-8")]),
        ("a: 1".encode("utf-16"), [(1, "not-utf-8")]),
        (b"a: '\x01'", [(0, "yaml")]),
        ("a/b: 1\n'': 2\nc: [", [(1, "key"), (2, "key"), (3, "nested"), (3, "yaml")]),
        ("a: !!binary '*'", [(1, "base64")]),
        ("!!binary aGk=: x", [(1, "key")]),
        (b"\0GITCRYPT\0abc", [(0, "locked")]),
        (b"U2FsdGVkX1+abc=\n", [(0, "locked")]),
        ("[" * 100_000, [(1, "no-map"), (1, "yaml")]),
        ("_kubevault: " + "[" * 100_000, [(1, "nested")]),
        ("_kubevault: {}\n" + "a: " + "{a: " * 50_000, [(2, "nested"), (2, "yaml")]),
    ],
)
def test_what_is_refused_and_where(text: str | bytes, problems: list[tuple[int, str]]) -> None:
    assert wrong(text) == problems


def test_no_problem_tells_a_value() -> None:
    for text in ("a: 's3cret", "a: {b: s3cret}", "- s3cret", "s3cret", "a: b: s3cret", "a: *x s3cret", "a: @s3cret"):
        with pytest.raises(BadFile) as caught:
            read(text)
        assert "s3cret" not in str(caught.value)


def test_the_last_of_two_equal_keys_counts_and_is_told() -> None:
    made = read("a: 1\nb: 2\na: 3")
    assert made.entries == {"a": "3", "b": "2"}
    assert [(problem.line, problem.code) for problem in made.warnings] == [(3, "duplicate")]


def test_binary() -> None:
    assert read("a: !!binary aGk=").entries == {"a": b"hi"}
    assert read("a: !!binary |\n  aG\n  k=\n").entries == {"a": b"hi"}
    assert read("cert.b64: aGk=\nb: 1").entries == {"b": "1", "cert.b64": "aGk="}
    assert read("cert.b64: aGk=\nb: 1", b64=True).entries == {"b": "1", "cert": b"hi"}
    assert read("cert.b64: aGk=\n_kubevault: {b64: true}").entries == {"cert": b"hi"}
    assert wrong("cert.b64: '*'", b64=True) == [(1, "base64")]
    assert wrong("cert: 1\ncert.b64: aGk=", b64=True) == [(2, "base64")]
    assert wrong(".b64: aGk=", b64=True) == [(1, "base64")]


def test_settings_are_no_value() -> None:
    made = read("_kubevault:\n  type: kubernetes.io/tls\n  labels: {app: x}\n  immutable: true\na: 1\n")
    assert made.entries == {"a": "1"}
    assert made.settings.type == "kubernetes.io/tls"
    assert made.settings.labels == {"app": "x"}
    assert made.settings.immutable is True
    assert wrong("a: 1\n_kubevault: {nonsense: 1, immutable: maybe}") == [(2, "settings"), (2, "settings")]
