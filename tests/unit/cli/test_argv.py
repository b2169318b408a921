"""Command lines in all the forms Vault takes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.cli.argv import UnknownFlag, nearest, normalise
from strongroom.errors import BadRequest

SWITCHES = {"force": "force", "f": "force", "tls-skip-verify": "tls-skip-verify"}
VALUED = {"field": "field", "format": "format", "mount": "mount"}


@pytest.mark.parametrize(
    ("line", "flags", "arguments"),
    [
        ("", [], []),
        ("a b", [], ["a", "b"]),
        ("-field=x a", ["--field=x"], ["a"]),
        ("--field=x a", ["--field=x"], ["a"]),
        ("-field x a", ["--field=x"], ["a"]),
        ("--field x a", ["--field=x"], ["a"]),
        ("a -field x", ["--field=x"], ["a"]),
        ("-field= a", ["--field="], ["a"]),
        ("-field=a=b", ["--field=a=b"], []),
        ("-field -x", ["--field=-x"], []),
        ("-force a", ["--force"], ["a"]),
        ("-f a", ["--force"], ["a"]),
        ("--f a", ["--force"], ["a"]),
        ("-tls-skip-verify=true a", ["--tls-skip-verify"], ["a"]),
        ("-tls-skip-verify=false a", ["--no-tls-skip-verify"], ["a"]),
        ("-force=0 a", ["--no-force"], ["a"]),
        ("--no-force a -no-force", ["--no-force", "--no-force"], ["a"]),
        ("a -", [], ["a", "-"]),
        ("a -1", [], ["a", "-1"]),
        ("a -1.5", [], ["a", "-1.5"]),
        ("a k=-v", [], ["a", "k=-v"]),
        ("a -- -k=v -field x", [], ["a", "-k=v", "-field", "x"]),
    ],
)
def test_forms(line: str, flags: list[str], arguments: list[str]) -> None:
    assert normalise(line.split(), SWITCHES, VALUED) == [*flags, "--", *arguments]


@pytest.mark.parametrize("line", ["-h", "--help", "-help", "a -h", "a b --h"])
def test_help_wins(line: str) -> None:
    assert normalise(line.split(), SWITCHES, VALUED) == ["--help"]


def test_a_flag_named_like_help_is_the_commands_own() -> None:
    assert normalise(["-h=x"], {}, {"h": "host"}) == ["--host=x", "--"]


@pytest.mark.parametrize("line", ["-field", "a -mount", "-force=maybe", "-tls-skip-verify=yes"])
def test_wrong_values_are_refused(line: str) -> None:
    with pytest.raises(BadRequest):
        normalise(line.split(), SWITCHES, VALUED)


def test_an_unknown_flag_names_the_nearest() -> None:
    with pytest.raises(UnknownFlag) as caught:
        normalise(["-feild=hunter2"], SWITCHES, VALUED)
    assert caught.value.near == "field"
    assert "hunter2" not in str(caught.value)


def test_nearest_may_be_nothing() -> None:
    assert nearest("zzzz", SWITCHES) == ""


WORD = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@given(st.lists(WORD.filter(lambda word: not word.startswith("-")), max_size=5), WORD, st.booleans(), st.booleans())
def test_every_spelling_means_the_same(arguments: list[str], text: str, one_dash: bool, equals: bool) -> None:
    dash = "-" if one_dash else "--"
    flag = [f"{dash}field={text}"] if equals else [f"{dash}field", text]
    expected = [f"--field={text}", "--", *arguments]
    assert normalise([*flag, *arguments], SWITCHES, VALUED) == expected
    assert normalise([*arguments, *flag], SWITCHES, VALUED) == expected


@given(st.lists(WORD, max_size=6))
def test_whatever_is_typed_is_taken_or_refused(words: list[str]) -> None:
    try:
        result = normalise(words, SWITCHES, VALUED)
    except BadRequest:
        return
    assert result == ["--help"] or "--" in result


@given(st.lists(WORD, max_size=6))
def test_behind_two_dashes_nothing_is_touched(words: list[str]) -> None:
    assert normalise(["--", *words], SWITCHES, VALUED) == ["--", *words]
