"""Patterns of ACL files: every rule of docs/kubevault/globs.md, the library's wrong answers mended, and time."""

import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wcmatch import glob as wcmatch

from strongroom.kubevault.globs import MAX_EXPANSIONS, MAX_SIZE, Automaton, Glob, Malformed
from unit.kubevault import glob_oracle

SEMANTICS = [  # pattern, what it matches, what it does not
    ("a/b", ["a/b"], ["a", "a/b/c", "A/b", "a/bc", "xa/b", ""]),
    ("*", ["a", ".env", "a b", "a\n"], ["a/b", "/"]),
    ("a*", ["a", "ab", "a.b"], ["a/b", "ba"]),
    ("a*b", ["ab", "axb", "abb"], ["a/b", "abc"]),
    ("*/x", ["a/x", ".a/x", "/x"], ["x", "a/b/x"]),
    ("a/*/x", ["a/b/x"], ["a/x", "a/b/c/x"]),
    ("?", ["a", "é", "🔑", "\n", "."], ["", "/", "ab"]),
    ("a?b", ["axb", "aéb"], ["a/b", "ab"]),
    ("**", ["a", "a/b", ".a/.b", ""], []),
    ("a/**", ["a/b", "a/b/c", "a/.b"], ["a", "ab", "b/a/c"]),
    ("**/a", ["a", "b/a", "b/c/a"], ["ba", "a/b", "b/ca"]),
    ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb", "xa/b"]),
    ("**/a/**", ["a/b", "x/a/b/c"], ["a", "x/a", "xa/b"]),
    ("**/a/**/b", ["a/b", "x/a/b", "a/x/b", "a/a/b/b"], ["a", "b", "a/xb"]),
    ("**/**/a", ["a", "x/a", "x/y/a"], ["xa"]),
    ("a/**/**", ["a/b", "a/b/c"], ["a"]),
    ("a**", ["a", "ab", "a/b", "ab/c/d"], ["b", "xa"]),
    ("x/a**", ["x/a", "x/ab/c"], ["x/b", "x"]),
    ("**b", ["b", "ab"], ["a/b"]),
    ("a**b", ["ab", "axb"], ["a/b"]),
    ("a/**b/c", ["a/b/c", "a/xb/c"], ["a/x/b/c"]),
    ("a**/b", ["a/b", "ax/b"], ["a/x/b"]),
    ("a**/**", ["a/b", "ax/b/c"], ["a", "ax"]),
    ("**/**b", ["b", "x/ab", "x/y/b"], ["b/x"]),
    ("***", ["a", ""], ["a/b"]),
    ("a***", ["a", "ab"], ["a/b"]),
    ("a****", ["a", "a/b"], ["b"]),
    ("****", ["a", "a/b"], []),
    ("a/****/b", ["a/x/b"], ["a/b", "a/x/y/b"]),
    ("***/b", ["a/b"], ["b", "a/x/b"]),
    ("[ab]", ["a", "b"], ["c", "ab", ""]),
    ("[a-c]x", ["ax", "cx"], ["dx", "-x"]),
    ("[!a]", ["b", "é", "/"], ["a", ""]),
    ("[^a]", ["b", "/"], ["a"]),
    ("[]]", ["]"], ["[", ""]),
    ("[]-a]", ["]", "^", "a"], ["b", "-"]),
    ("[!]]", ["a"], ["]"]),
    ("[a-]", ["a", "-"], ["b"]),
    ("[-a]", ["a", "-"], ["b"]),
    ("[a!^]", ["a", "!", "^"], ["b"]),
    ("[\\]]", ["]"], ["\\"]),
    ("[a\\-c]", ["a", "-", "c"], ["b"]),
    ("[*?{,}]", ["*", "?", "{", ",", "}"], ["a"]),
    ("[[:alpha:]]", [":]", "a]", "[]"], ["b", "x]"]),
    ("a[/]b", ["a/b"], ["axb"]),
    ("a[!x]b", ["a/b", "ayb"], ["axb"]),
    ("a[+-9]b", ["a/b", "a5b"], ["a:b"]),
    ("*[!x]*", ["a/b", "ab", "a/"], ["x", "x/x/x"]),
    ("[/]**", ["/", "/a/b"], ["a"]),
    ("a[/]**/b", ["a//b", "a/x/b"], ["a/b"]),
    ("{a,b}", ["a", "b"], ["c", "{a,b}"]),
    ("{a}", ["a"], ["{a}"]),
    ("a{}b", ["ab"], ["a{}b"]),
    ("x{,y}", ["x", "xy"], ["xyy"]),
    ("{a,b{c,d}}e", ["ae", "bce", "bde"], ["be", "ace"]),
    ("{a,b}{c,d}", ["ac", "ad", "bc", "bd"], ["ab"]),
    ("{a/b,c}/d", ["a/b/d", "c/d"], ["b/d"]),
    ("{[},],a}x", ["}x", ",x", "ax"], ["[x"]),
    ("{[]}],a}", ["]", "}", "a"], ["[]"]),
    ("{a\\,b,c}", ["a,b", "c"], ["a", "b"]),
    ("{\\},a}", ["}", "a"], ["\\"]),
    ("a}b", ["a}b"], ["ab"]),
    ("a,b", ["a,b"], ["a"]),
    ("{a,b}**", ["a/x", "b/x/y", "a"], ["c"]),
    ("{*,?}*", ["a", "a/b"], []),
    ("{!a,b}", ["!a", "b"], ["a"]),
    ("\\*", ["*"], ["a", "\\*"]),
    ("\\a\\z", ["az"], ["\\a\\z", "\az"]),
    ("\\n\\t\\r\\b", ["\n\t\r\b"], ["ntrb"]),
    ("[\\n]", ["\n"], ["n"]),
    ("\\!a", ["!a"], ["a"]),
    ("\\{a\\}", ["{a}"], ["a"]),
    ("**\\/a", ["a", "x/a"], ["xa"]),
    ("a\\/**/b", ["a/b", "a/x/b"], ["ab"]),
    ("!a", ["b", "a/b", ""], ["a"]),
    ("!!a", ["a"], ["b"]),
    ("!{a,b}", ["c"], ["a", "b"]),
    ("!", ["a", "a/b"], [""]),
    ("a!b", ["a!b"], ["a"]),
    ("A", ["A"], ["a"]),
    ("[a-z]", ["k"], ["K", "\u212a"]),
    ("/a", ["/a"], ["a"]),
    ("./a", ["./a"], ["a"]),
    ("a/", ["a/"], ["a", "a/b"]),
    ("a/**/", ["a/"], ["a", "a/b", "a/b/c"]),
    ("@(a|b)", ["@(a|b)"], ["a", "b"]),
    ("{1..3}", ["1..3"], ["1", "2"]),
    ("a.c", ["a.c"], ["abc"]),
    ("é", ["é"], ["e\u0301"]),
    (" a", [" a"], ["a"]),
    ("", [""], ["a"]),
]

# What the original's library (glob-match 0.2.1) answers no to. Behind a "!" each no let somebody read the secret.
LEAKS = [
    ("**/*_key", "api_v1/db_key"),
    ("**/*password*", "prod/db_password"),
    ("**/*-prod", "team-a/db-prod"),
    ("**/*/c", "x/y/c"),
    ("**/*b", "xbb/b"),
    ("**/a*", "aa/a"),
    ("**/***", "b/x/x"),
    ("a**/***", "a/x"),
    ("**/**b", "x/ab"),
    ("*[!a]*", "bb/xb"),
    ("**/*/[!a]", "x/b"),
    ("**\\/a", "x/a"),
    ("x{,y}", "x"),
    ("{ab,a}bc", "abc"),
    ("{**/x,b}", "a/x"),
    ("{**,x}", "a/b"),
    ("**/foo{bar,b*z}", "foobuzz"),
    ("{*,?}*", "a/b"),
    ("?", "é"),
    ("[é]", "é"),
]

MALFORMED = [
    ("[a", "closes the class"),
    ("[", "closes the class"),
    ("[]", "closes the class"),
    ("[!]", "closes the class"),
    ("[a-", "closes the class"),
    ("[c-a]", "c-a is reversed"),
    ("a\\", "backslash"),
    ("[a\\", "backslash"),
    ("{a", "never closed"),
    ("{a,{b}", "never closed"),
    ("{a,[b}c]", "never closed"),
    ("!{a", "never closed"),
    ("{" * 11 + "a" + "}" * 11, "deeper than 10"),
    ("{a,b}" * 11, "more than 1024"),
    ("{" + "," * 1024 + "}", "more than 1024"),
    ("a" * (MAX_SIZE + 1), "longer than"),
    ("{a,b}" * 10 + "c" * 60, "longer than"),
]


@pytest.mark.parametrize(("pattern", "good", "bad"), SEMANTICS, ids=[repr(row[0]) for row in SEMANTICS])
def test_each_rule_of_the_specification(pattern: str, good: list[str], bad: list[str]) -> None:
    glob = Glob(pattern)
    assert [path for path in good + bad if glob.matches(path)] == good
    assert [path for path in good + bad if glob_oracle.matches(pattern, path)] == good


@pytest.mark.parametrize(("pattern", "path"), LEAKS)
def test_what_the_original_let_through_is_matched(pattern: str, path: str) -> None:
    assert Glob(pattern).matches(path)
    assert glob_oracle.matches(pattern, path)


@pytest.mark.parametrize(("pattern", "words"), MALFORMED, ids=[row[0][:16] for row in MALFORMED])
def test_what_is_no_pattern_is_told(pattern: str, words: str) -> None:
    with pytest.raises(Malformed, match=re.escape(words)):
        Glob(pattern)


def test_what_is_just_within_the_limits() -> None:
    assert Glob("{" * 10 + "a" + "}" * 10).literal == "a"
    assert Glob("{a,b}" * 10).matches("ab" * 5)
    assert len(Glob("{" + ",".join(map(str, range(MAX_EXPANSIONS))) + "}").branches) == MAX_EXPANSIONS
    assert Glob("a" * MAX_SIZE).matches("a" * MAX_SIZE)


@pytest.mark.parametrize(
    ("pattern", "prefix", "literal"),
    [
        ("a/b", "a/b", "a/b"),
        ("a/**", "a/", None),
        ("a*", "a", None),
        ("**/a", "", None),
        ("a\\*/[b]\\tx*", "a*/b\tx", None),
        ("{prod,pre}/x", "pr", None),
        ("{a}", "a", "a"),
        ("{a,a}/b", "a/b", "a/b"),
        ("{a,b}", "", None),
        ("!a", "", None),
        ("!!a", "a", "a"),
        ("a[/]b", "a", None),
        ("", "", ""),
    ],
)
def test_what_narrows_a_search(pattern: str, prefix: str, literal: str | None) -> None:
    assert (Glob(pattern).prefix, Glob(pattern).literal) == (prefix, literal)


def test_a_pattern_is_a_value() -> None:
    glob = Glob("a*")
    assert glob == Glob("a*") != Glob("a**") and glob != "a*"
    assert {glob: 1}[Glob("a*")] == 1
    assert repr(glob) == "Glob('a*')"
    with pytest.raises(AttributeError):
        glob.prefix = "b"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del glob.prefix


# The oracle.

PIECES = [
    "a",
    "b",
    "/",
    "/",
    "*",
    "*",
    "**",
    "?",
    "[ab]",
    "[!a]",
    "[/a]",
    "[^/b]",
    "[a-]",
    "\\a",
    "\\*",
    "\\/",
    "}",
    ",",
]
ODD = [*PIECES, "{", "{", "!", "[", "]", "-", "\\", "é"]
SEGMENTS = ["a", "b", "ab", "*", "**", "**", "a*", "*b", "?", "[ab]", "*a*", "a**", "**b", "***", "****", "[!a]", "a?"]
BRACES = ["{a,b}", "{a,}b", "{ab,a}b", "x{,y}", "{*,b}", "{a,**}", "{a/b,b}", "{**/a,b}", "{a{b,*},**}", "{[!a],*}*"]
CROSSING = ["[!a]*", "*[!b]*", "[!a][!b]*[!a]*[!b]", "[/b]*[!a]", "*[!x]"]


def some_pattern(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.3:
        return "".join(rng.choice(PIECES) for _ in range(rng.randint(1, 8)))
    if kind < 0.5:
        return "".join(rng.choice(ODD) for _ in range(rng.randint(1, 8)))
    return "/".join(rng.choice(SEGMENTS * 2 + BRACES + CROSSING) for _ in range(rng.randint(1, 5)))


def some_path(rng: random.Random, expansion: str) -> str:
    """A path that has nothing to do with the expansion, or one that it may well match, with or without a change."""
    if rng.random() < 0.3:
        return "/".join("".join(rng.choice("abx") for _ in range(rng.randint(1, 3))) for _ in range(rng.randint(1, 5)))
    made, at = "", 0
    while at < len(expansion):
        end = glob_oracle.unit_end(expansion, at)
        part = expansion[at:end]
        if part == "*":
            made += rng.choice(["", "", "a", "b", "ab", "x", "x/a" if expansion[at : at + 2] == "**" else "a"])
        else:
            made += rng.choice("ab/x") if part[0] in "[?" else part[-1]
        at = end
    if made and rng.random() < 0.4:
        at = rng.randrange(len(made))
        made = made[:at] + rng.choice(["", "a", "/", "b/"]) + made[at + rng.randint(0, 1) :]
    return made


def test_an_independent_matcher_agrees() -> None:
    rng = random.Random(20)
    pairs = hits = malformed = 0
    while pairs < 120_000:
        pattern = some_pattern(rng)
        try:
            oracle = glob_oracle.Pattern(pattern)
        except glob_oracle.Bad:
            malformed += 1
            with pytest.raises(Malformed):
                Glob(pattern)
            continue
        glob = Glob(pattern)
        automaton = Automaton([branch.items for branch in glob.branches])
        for number in range(10):
            path = some_path(rng, rng.choice(oracle.expansions))
            expected = oracle.matches(path)
            assert glob.matches(path) is expected, (pattern, path)
            assert not expected or path.startswith(glob.prefix), (pattern, path)
            assert glob.literal is None or (path == glob.literal) is expected, (pattern, path)
            if number == 0:  # the automaton serves few patterns, so it is tried on all
                assert (automaton.matches(path) is not glob.negated) is expected, (pattern, path)
            pairs += 1
            hits += expected
    assert 0.25 < hits / pairs < 0.75, hits / pairs
    assert malformed > 500


# A second opinion. Left out, each for a reason:
#   runs of three or more stars, a last ** behind other text: one star in bash; here they follow the original
#   classes that match a slash: bash ends a segment at every slash
#   a last "**/": bash means folders by it, here no path ends in a slash
#   braces that make ** out of two stars, and braces of one or of none: bash keeps {a} and {} as they are
SANE = ["a", "b", "ab", "*", "**", "a*", "*b", "?", "??", "[ab]", "[a-b]x", "*a*", "a*b", ".*", "*.b", "\\a", "a\\*"]
SANE_BRACES = ["{a,b}", "{ab,a}b", "{a,b}x", "{a*,b}", "{a/b,b}", "{**/a,b}/b", "{a,{b,x}}", "x{a,b{a,b}}"]


def test_wcmatch_agrees_on_the_sane_part() -> None:
    rng = random.Random(21)
    flags = wcmatch.GLOBSTAR | wcmatch.BRACE | wcmatch.DOTGLOB
    pairs = hits = 0
    for _ in range(2_500):
        pattern = "/".join(rng.choice(SANE + SANE_BRACES) for _ in range(rng.randint(1, 4)))
        glob, other = Glob(pattern), wcmatch.compile(pattern, flags=flags)
        for _ in range(8):
            path = some_path(rng, rng.choice(glob_oracle.Pattern(pattern).expansions)).strip("/")
            if not path or "//" in path:  # no path has an empty segment
                continue
            assert glob.matches(path) is other.match(path), (pattern, path)
            pairs += 1
            hits += glob.matches(path)
    assert pairs > 15_000 and 0.25 < hits / pairs < 0.75, (pairs, hits)


# Never anything but Malformed, and never long.

ALPHABET = st.text(st.sampled_from("ab/*?[]{},!^-\\é\n"), max_size=40)


@settings(max_examples=400, deadline=1000)
@given(st.one_of(ALPHABET, st.text(max_size=60)), st.one_of(ALPHABET, st.text(max_size=60)))
def test_any_text_is_a_pattern_or_malformed(pattern: str, path: str) -> None:
    try:
        glob = Glob(pattern)
    except Malformed as error:
        assert str(error)
        return
    assert glob.matches(path) in (True, False)
    assert not glob.matches(path) or path.startswith(glob.prefix)


LONG = ["a" * 4000, "a/" * 2000, "aa/" * 1333 + "x", "a" * 2000 + "/" + "a" * 1999]
HOSTILE = [
    "*a" * 7 + "*b",
    "*a" * 1000 + "*b",
    "**/*a/" * 8 + "b",
    "**/*a/" * 300 + "b",
    "**/*a*a*a/" * 100 + "*b",
    "**/a/" * 500 + "b",
    "**/" + "*/" * 900 + "b",
    "**/" + "?" * 1000 + "b",
    "*" + "a" * 1000 + "b*",
    "**/" + "a/" * 900 + "b*/**/b",
    "*[!b]" * 3 + "*b",
    "*[!b]" * 200 + "b",
    "[!b]*" * 3 + "**/*b",
    "**/*[!b]*/" * 100 + "b",
    "{*a,*b}" * 9 + "*c",
    "{**/*a/,*b}" * 9 + "**/c",
    "{[!b]*a,*}" * 10 + "c",
    "{" + ",".join("*a" * 10 + "b" for _ in range(1024)) + "}",
    "{a}" * 20_000,
]


@pytest.mark.parametrize("pattern", HOSTILE, ids=[f"{one[:16]}...{len(one)}" for one in HOSTILE])
def test_no_pattern_takes_long_on_any_path(pattern: str) -> None:
    start = time.process_time()
    glob = Glob(pattern)
    glob.matches("")
    compiled = time.process_time()
    assert not any(glob.matches(path) for path in LONG)
    assert compiled - start < 1.5
    assert (
        time.process_time() - compiled < 0.5
    )  # tens of milliseconds on an idle machine; hours for a plain translation


def test_a_plain_translation_would_take_long() -> None:
    """The control of the test above: the same matcher with groups that may be tried again."""
    pattern, path = "*a" * 5 + "*b", "a" * 60
    plain = re.compile(pattern.replace("*", "[^/]*"))
    glob = Glob(pattern)
    glob.matches("")
    start = time.process_time()
    assert plain.fullmatch(path) is None
    naive = time.process_time() - start
    start = time.process_time()
    assert not any(glob.matches(path) for _ in range(100))
    assert naive > 10 * (time.process_time() - start) / 100
