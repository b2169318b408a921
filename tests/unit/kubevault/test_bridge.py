"""What push and pull agree on: places, marks, policies."""

import pytest

from strongroom.errors import BadRequest
from strongroom.kubevault.bridge import (
    MAX_CUSTOM,
    PIECE,
    Place,
    UserPolicy,
    hcl,
    head_of,
    is_mark,
    is_marked,
    marked,
    marks,
    place_of,
    readable,
    unfit,
)

PLACE = Place("secret", "team/", "kubevault-")


def test_places() -> None:
    assert place_of("/kv/a/", "team", "kv-") == Place("kv/a", "team/", "kv-")
    assert place_of("secret", "", "kubevault-").data("a/b") == "secret/data/a/b"
    assert PLACE.metadata("") == "secret/metadata/team/" and PLACE.policy("ann") == "kubevault-ann"
    for wrong in (("", "", "p"), ("+", "", "p"), ("kv", "a/+", "p"), ("kv", "..", "p"), ("kv", "a//b", "p")):
        with pytest.raises(BadRequest):
            place_of(*wrong)
    for prefix in ("", "A", "a b", "a/b", "x" * 65):
        with pytest.raises(BadRequest, match="--policy-prefix"):
            place_of("kv", "", prefix)
    with pytest.raises(BadRequest, match="--prefix may have"):
        place_of("kv", "/".join(["x" * 99] * 6), "p")


@pytest.mark.parametrize(
    "path",
    ["a/+/b", "a*b", "a/*/b", "a/b{{x}}c", "a}}b", "a${b", "a\\b", "a/../b", "a//b", "a\nb", "a\x00b",
     "a\u2028b", "e\u0301", "a/..;x/b"],
)  # fmt: skip
def test_paths_that_a_policy_or_a_server_would_read_otherwise(path: str) -> None:
    assert unfit(path)


@pytest.mark.parametrize(
    "path", ["a", "a/b.c", 'a"b', "a b", "a+b", "+a/b", "a/.env", "é", "a{b}", "a$b", "a?b#c%25d", "A"]
)
def test_paths_that_mean_themselves(path: str) -> None:
    assert unfit(path) == ""
    policy = UserPolicy("ann", "ann", [], [path]).text(PLACE)
    others = [path, path + "x", path + "/x", path.upper() + "1", "b", "x/" + path]
    assert readable(policy, PLACE, others) == {path}


def test_marks_go_on_in_pieces() -> None:
    binary = [f"key-{number:03}-{'x' * 40}" for number in range(60)]
    made = marks(PLACE, binary, {"labels": {"é": "1"}})
    assert made["kubevault"] == "1" and made["kubevault-prefix"] == "team/" and len(made) > 6
    assert all(len(text.encode()) <= PIECE for text in made.values()) and all(map(is_mark, made))
    assert marked(made, "kubevault-binary") == binary and marked(made, "kubevault-settings") == {"labels": {"é": "1"}}
    assert marked({}, "kubevault-binary") is None
    assert not is_mark("owner") and not is_mark("kubevault-other") and not is_mark("kubevault-binary-x")
    with pytest.raises(BadRequest, match="is no JSON"):
        marked({"kubevault-binary": '["a'}, "kubevault-binary")
    with pytest.raises(BadRequest, match="take more than"):
        marks(PLACE, [], {"annotations": {"a": "x" * PIECE * MAX_CUSTOM}})


def test_whose_a_secret_is() -> None:
    assert is_marked({"kubevault": "1", "kubevault-prefix": "team/"}, PLACE)
    assert not is_marked({"kubevault": "1"}, PLACE) and not is_marked({}, PLACE)
    assert is_marked({"kubevault": "1"}, PLACE._replace(prefix=""))


def test_a_policy_tells_whose_it_is() -> None:
    rules = ["**", "!a/b", 'odd "rule" é', "\\#x"]
    text = UserPolicy("ann", "people/ann", rules, ["a", "b"]).text(PLACE)
    head = head_of(text)
    assert head is not None and head[:4] == ("ann", "secret", "team/", "people/ann") and head.rules == rules
    assert head.is_of(PLACE) and not head.is_of(PLACE._replace(prefix=""))
    assert text.isascii() and 'path "secret/data/team/a" { capabilities = ["read"] }\n' in text
    for other in (
        "",
        'path "x" {}',
        "# kubevault nonsense",
        '# kubevault {"user": 1}',
        "# kubevault []",
        "# kubevault " + "[" * 99999,
    ):
        assert head_of(other) is None


def test_a_rule_cannot_leave_its_comment() -> None:
    text = UserPolicy("ann", "ann", ['x\npath "secret/*" { capabilities = ["read"] }', "y\r\x85\u2028z"], []).text(
        PLACE
    )
    assert readable(text, PLACE, ["a"]) == set() and len(text.splitlines()) == 4


def test_nothing_allowed_is_nothing_granted() -> None:
    assert readable(UserPolicy("ann", "ann", [], []).text(PLACE), PLACE, ["a"]) == set()


def test_policies_of_others_are_asked_what_they_grant() -> None:
    wide = (
        'path "secret/data/team/*" { capabilities = ["read"] }\npath "secret/data/team/b" { capabilities = ["deny"] }'
    )
    assert readable(wide, PLACE, ["a", "b", "c/d"]) == {"a", "c/d"}
    assert (
        readable('path "secret/data/team/{{identity.entity.name}}" { capabilities = ["read"] }', PLACE, ["a"]) is None
    )
    assert readable("nonsense {", PLACE, ["a"]) is None


def test_strings() -> None:
    assert hcl('a"b') == '"a\\"b"'
