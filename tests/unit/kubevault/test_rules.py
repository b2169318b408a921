"""ACL files: lines, the last match that wins, an index that finds what trying every path finds, and its review."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.kubevault.globs import Glob
from strongroom.kubevault.rules import Index, Rule, broken_denials, parse_rules
from unit.kubevault import glob_oracle

PATHS = sorted(
    [
        "README",
        "ops/root_key",
        "ops/users/alice/mail",
        "ops/users/bob/mail",
        "prod/api_v1/db_key",
        "prod/api_v1/password",
        "prod/db",
        "prod/x1/a",
        "prod-eu/db",
        "prod/x2/b_key",
        "staging/a # b",
        "staging/db",
        "staging/é",
    ],
    key=lambda path: path.split("/"),
)


def allowed(text: str, paths: list[str] = PATHS) -> list[str]:
    return [paths[at] for at in Index(paths).allowed(parse_rules(text))]


# Lines.


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", []),
        ("a\n!b\n", [(1, "a", False), (2, "!b", True)]),
        ("# c\n\n a \t\n\n!b", [(3, "a", False), (5, "!b", True)]),
        ("a\r\n\r\n!b\r\n", [(1, "a", False), (3, "!b", True)]),
        ("  # c\na # c\n#a", [(1, "# c", False), (2, "a # c", False)]),
        ("   \n!\n", [(1, "", False), (2, "!", True)]),
        ("!!a\n! a\n", [(1, "!!a", True), (2, "! a", True)]),
        ("a\rb", [(1, "a\rb", False)]),
        ("\ufeff# c\na", [(2, "a", False)]),
        ("\ufeff!a", [(1, "!a", True)]),
        ("\u3000a\u00a0\n\x1ca\x1c\n\ufeffb", [(1, "a", False), (2, "\x1ca\x1c", False), (3, "\ufeffb", False)]),
        ("a\u2028b", [(1, "a\u2028b", False)]),
    ],
)
def test_lines(text: str, rules: list[tuple[int, str, bool]]) -> None:
    assert [(rule.line, rule.text, rule.denies) for rule in parse_rules(text)] == rules


def test_one_exclamation_mark_denies_and_the_rest_is_the_pattern() -> None:
    rules = parse_rules("a*\n!a*\n!!a*\n!\n  \n")
    assert [rule.glob for rule in rules] == [Glob("a*"), Glob("a*"), Glob("!a*"), None, None]
    assert not [rule.wrong for rule in rules if rule.wrong]


def test_malformed_rules_are_told_apart() -> None:
    rules = parse_rules("[a\n!{b\n!c")
    assert [(rule.glob is None, bool(rule.wrong)) for rule in rules] == [(True, True), (True, True), (False, False)]
    assert broken_denials(rules) == [rules[1]]
    assert "closed" in rules[1].wrong


@settings(max_examples=300, deadline=1000)
@given(st.one_of(st.text(st.sampled_from("ab/*?[]{},!^-\\# \n\r"), max_size=60), st.text(max_size=60)))
def test_any_text_is_an_acl_file(text: str) -> None:
    rules = parse_rules(text)
    index = Index(PATHS)
    assert set(index.allowed(rules)) <= set(range(len(PATHS)))
    assert {finding.code for finding in index.review(rules)} <= {"malformed", "no-match", "shadowed"}


# Evaluation.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("# nothing", []),
        ("!**", []),
        ("prod/db", ["prod/db"]),
        ("prod/**\n!prod/x*/**", ["prod/api_v1/db_key", "prod/api_v1/password", "prod/db"]),
        ("prod/x*/**\n!**/*_key\nprod/x2/*", ["prod/x1/a", "prod/x2/b_key"]),
        ("!prod/db\nprod/db", ["prod/db"]),
        ("*/users/**\n!*/users/**\n*/users/alice/**", ["ops/users/alice/mail"]),
        ("**\n!!prod/**", ["prod/api_v1/db_key", "prod/api_v1/password", "prod/db", "prod/x1/a", "prod/x2/b_key"]),
        ("**\n!!", []),
        ("**\n!\n! prod/**\n\n  \n!{prod,[/**", PATHS),
        ("staging/a # b\nstaging/?", ["staging/a # b", "staging/é"]),
        ("*/db", ["prod/db", "prod-eu/db", "staging/db"]),
    ],
)
def test_the_last_match_wins(text: str, expected: list[str]) -> None:
    assert allowed(text) == expected
    rules = parse_rules(text)
    index = Index(PATHS)
    deciding = {path: index.deciding(rules, path) for path in PATHS}
    assert [path for path, rule in deciding.items() if rule is not None and not rule.denies] == expected


def test_the_deciding_rule_is_the_last_that_matches() -> None:
    rules = parse_rules("# all\n**\n!prod/**\nprod/db\n[\n")
    index = Index(PATHS)
    lines = {path: index.deciding(rules, path) for path in ("README", "prod/x1/a", "prod/db", "prod/not there", "new")}
    assert [rule and rule.line for rule in lines.values()] == [2, 3, 4, 3, 2]
    assert index.deciding([], "README") is None and index.deciding(parse_rules("a"), "b") is None


def test_denials_that_the_original_does_not_make() -> None:
    hidden = {"prod/api_v1/db_key", "prod/x2/b_key", "ops/root_key"}
    assert set(PATHS) - set(allowed("**\n!**/*_key")) == hidden
    assert "prod/api_v1/password" not in allowed("**\n!**/*password*")


def test_paths_must_stand_in_path_order() -> None:
    assert Index(["a/b", "a-b"]).paths == ["a/b", "a-b"]
    assert Index([]).allowed(parse_rules("**")) == []
    for wrong in (["a-b", "a/b"], ["b", "a"], ["a", "a"]):
        with pytest.raises(ValueError, match="path order"):
            Index(wrong)


SEGMENTS = [
    "a",
    "b",
    "ab",
    "*",
    "**",
    "a*",
    "*b",
    "b_key",
    "{a,b}",
    "{a,**}",
    "[!a]*",
    "a**",
    "{ab,b}_key",
    "\\a",
    ".a",
]


def test_the_index_finds_what_trying_every_path_finds() -> None:
    rng = random.Random(22)
    names = ["a", "b", "ab", "ba", "a-b", "a.b", "b_key", ".a", "é", "\U0010ffff"]
    made = {"/".join(rng.choice(names) for _ in range(rng.randint(1, 4))) for _ in range(500)}
    paths = sorted(made, key=lambda path: path.split("/"))
    index = Index(paths)
    hits = 0
    for _ in range(300):
        text = "!" * rng.choice([0, 0, 0, 1]) + "/".join(rng.choice(SEGMENTS) for _ in range(rng.randint(1, 4)))
        rule = Rule(1, text, False, Glob(text))
        oracle = glob_oracle.Pattern(text)
        found = list(index.matching(rule))
        assert found == [at for at, path in enumerate(paths) if oracle.matches(path)], text
        hits += bool(found)
    assert hits > 100


def test_evaluation_against_the_plainest_loop() -> None:
    rng = random.Random(23)
    index = Index(PATHS)
    for _ in range(300):
        lines = [
            "!" * rng.choice([0, 0, 1, 2])
            + rng.choice(["**", "prod/**", "*/db", "**/*_key", "*/users/**", "prod/x?/*", "[", ""])
            for _ in range(rng.randint(0, 6))
        ]
        state = dict.fromkeys(PATHS, False)
        for line in lines:
            for path in PATHS:
                try:
                    hit = line not in ("", "!") and glob_oracle.matches(line.removeprefix("!"), path)
                except glob_oracle.Bad:
                    hit = False
                if hit:
                    state[path] = not line.startswith("!")
        assert [PATHS[at] for at in index.allowed(parse_rules("\n".join(lines)))] == [p for p in PATHS if state[p]], (
            lines
        )


# Review.


def review(text: str) -> list[tuple[int, str, str]]:
    return [(finding.rule.line, finding.code, finding.text) for finding in Index(PATHS).review(parse_rules(text))]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nothing", "matches no secret"),
        ("!nothing/**", "matches no secret"),
        ("/prod/db", "matches no secret: paths do not begin with /; prod/db would match"),
        ("./prod/db", "matches no secret: paths do not begin with ./; prod/db would match"),
        ("/prod", "matches no secret: paths do not begin with /, it names a folder; prod/** would match"),
        ("prod/", "matches no secret: paths do not end in /, it names a folder; prod/** would match"),
        ("prod", "matches no secret: it names a folder; prod/** would match"),
        ("!*/users/alice", "matches no secret: it names a folder; !*/users/alice/** would match"),
        ("ops/*/*", "matches no secret: * stays in its folder; ops/*/** would match"),
        ("prod/db # the database", "matches no secret: a comment needs a line of its own; prod/db would match"),
        ("prod # x", "matches no secret: a comment needs a line of its own, it names a folder; prod/** would match"),
        ("! prod/db", "matches no secret: the blanks in front belong to the pattern; !prod/db would match"),
        ("/nothing/", "matches no secret: paths do not begin with /, paths do not end in /"),
        ("  # prod/db", "matches no secret: a comment has its # in the first column of the line"),
        ("   ", "matches no secret: it is empty"),
        ("!", "matches no secret: it is empty"),
        ("[a] /x{ #", None),
    ],
)
def test_a_rule_that_matches_nothing(text: str, says: str | None) -> None:
    if says is None:
        assert review(text) == [(1, "malformed", "grants nothing: a { is never closed")]
    else:
        assert review(text) == [(1, "no-match", says)]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("prod/db\nprod/**", 1, "every secret it matches is decided by line 2"),
        ("**\n!ops/**\n!**", 1, "every secret it matches is decided by line 3"),
        ("*/db\n!staging/db\nprod/*\nprod-eu/db", 1, "every secret it matches is decided by lines 2, 3 and 4"),
        ("!prod/**\nops/**", 1, "denies nothing: no rule above allows what it matches"),
        ("ops/**\n!prod/**", 2, "denies nothing: no rule above allows what it matches"),
        ("prod/**\nprod/db", 2, "allows nothing new: rules above allow what it matches"),
    ],
)
def test_a_rule_that_changes_nothing(text: str, line: int, says: str) -> None:
    assert (line, "shadowed", says) in review(text)


def test_rules_that_do_their_part_are_not_mentioned() -> None:
    assert review("# all but keys\n**\n!**/*_key\nprod/x2/*\nstaging/a # b") == [
        (5, "shadowed", "allows nothing new: rules above allow what it matches")
    ]
    assert review("prod/**\n!prod/x*/**\n!*/users/**\n*/users/alice/**") == [
        (3, "shadowed", "denies nothing: no rule above allows what it matches")
    ]
    assert review("**\n!*/users/**\n*/users/alice/**") == []


def test_malformed_rules_in_a_review() -> None:
    assert review("[a\n!{b\n") == [(1, "malformed", "grants nothing: no ] closes the class [a")]
    assert Index([]).review(parse_rules("**"))[0].code == "no-match"


def test_what_is_shadowed_can_be_left_out() -> None:
    """Taking a rule away that a review names, one at a time, never changes what is allowed."""
    rng = random.Random(24)
    index = Index(PATHS)
    pool = ["**", "prod/**", "prod/db", "*/db", "**/*_key", "*/users/**", "ops/**", "prod/x?/*", "nothing", "README"]
    named = 0
    for _ in range(300):
        lines = ["!" * rng.choice([0, 0, 1]) + rng.choice(pool) for _ in range(rng.randint(1, 6))]
        before = index.allowed(parse_rules("\n".join(lines)))
        for finding in index.review(parse_rules("\n".join(lines))):
            rest = [line for number, line in enumerate(lines, 1) if number != finding.rule.line]
            assert index.allowed(parse_rules("\n".join(rest))) == before, (lines, finding)
            named += 1
    assert named > 100


def test_many_users_over_many_paths() -> None:
    """10,000 paths and 100 users of five rules: a few hundredths of a second on an idle machine."""
    paths = [
        f"folder{number % 100:02}/x{number % 7}/secret{number}{'_key' * (number % 5 == 0)}" for number in range(10_000)
    ]
    paths.sort(key=lambda path: path.split("/"))
    users = [
        f"folder{user:02}/**\nfolder{99 - user:02}/**\n{paths[user]}\n**/*{user}_key\n!folder{user:02}/x{user % 7}*/**"
        for user in range(100)
    ]
    start = time.process_time()
    index = Index(paths)
    total = sum(len(index.allowed(parse_rules(text))) for text in users)
    assert time.process_time() - start < 1.5
    assert 15_000 < total < 25_000
