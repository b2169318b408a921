"""Tables, fields and JSON in the layout that scripts parse."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.cli import output
from strongroom.errors import BadRequest


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "<nil>"),
        (True, "true"),
        (False, "false"),
        (3, "3"),
        (1.5, "1.5"),
        ("a b", "a b"),
        ([], "[]"),
        (["a", 1, None], "[a 1 <nil>]"),
        ({"b": 1, "a": ["x"]}, "map[a:[x] b:1]"),
    ],
)
def test_values_look_as_in_go(value: object, text: str) -> None:
    assert output.go_value(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (45, "45s"),
        (90, "1m30s"),
        (3600, "1h"),
        (3660, "1h1m"),
        (3601, "1h1s"),
        (2764800, "768h"),
        (-60, "-1m"),
    ],
)
def test_durations(seconds: int, text: str) -> None:
    assert output.human_duration(seconds) == text


def test_a_duration_that_is_text_stays() -> None:
    assert output.human_duration("1h0m0s") == "1h0m0s"
    assert output.human_duration(None) == "<nil>"


def test_quoted_lists() -> None:
    assert output.quoted_list(["root", 'a"b']) == '["root" "a\\"b"]'
    assert output.quoted_list(None) == "[]"


def test_table() -> None:
    assert output.data_table({"foo": "bar", "ttl": 3600, "empty": "", "longer_key": None}).splitlines() == [
        "Key           Value",
        "---           -----",
        "empty         n/a",
        "foo           bar",
        "longer_key    <nil>",
        "ttl           1h",
    ]


@given(st.lists(st.lists(st.text(min_size=1, max_size=5), min_size=2, max_size=2), min_size=1, max_size=5))
def test_columns_start_at_one_place(rows: list[list[str]]) -> None:
    rows = [[cell.strip() or "x" for cell in row] for row in rows]
    rows = [[cell if cell.isprintable() else "x" for cell in row] for row in rows]
    width = max(len(row[0]) for row in rows) + 4
    for line, row in zip(output.columns(rows).split("\n"), rows, strict=True):
        assert line[width:] == row[1]


@pytest.mark.parametrize(
    ("text", "data", "line"),
    [
        ("Data", {"foo": 1}, "=== Data ==="),
        ("Metadata", {"custom_metadata": 1}, "======= Metadata ======="),
        ("Data", {}, "== Data =="),
    ],
)
def test_titles(text: str, data: dict[str, int], line: str) -> None:
    assert output.data_title(text, data) == line


def test_path_block() -> None:
    assert output.path_block("Secret Path", "secret/data/customer/acme") == (
        "====== Secret Path ======\nsecret/data/customer/acme\n"
    )


LOGIN = {
    "request_id": "r",
    "lease_id": "",
    "renewable": False,
    "lease_duration": 0,
    "data": None,
    "wrap_info": None,
    "warnings": None,
    "auth": {
        "client_token": "hvs.x",
        "accessor": "acc",
        "policies": ["default", "web"],
        "token_policies": ["default"],
        "metadata": {"user": "bob"},
        "lease_duration": 3600,
        "renewable": True,
    },
}


def test_a_login_as_a_table() -> None:
    assert output.secret_table(LOGIN).splitlines() == [
        "Key                  Value",
        "---                  -----",
        "token                hvs.x",
        "token_accessor       acc",
        "token_duration       1h",
        "token_renewable      true",
        'token_policies       ["default"]',
        "identity_policies    []",
        'policies             ["default" "web"]',
        "token_meta_user      bob",
    ]


def test_a_root_token_lives_for_ever() -> None:
    auth = {**LOGIN["auth"], "lease_duration": 0}  # type: ignore[dict-item]
    assert "token_duration       ∞" in output.secret_table({**LOGIN, "auth": auth})


def test_wrapping_as_a_table() -> None:
    info = {"token": "hvs.w", "accessor": "a", "ttl": 300, "creation_time": "t", "creation_path": "p"}
    lines = output.secret_table({"wrap_info": info}).splitlines()
    assert lines[2] == "wrapping_token:                  hvs.w"
    assert lines[4] == "wrapping_token_ttl:              5m"


def test_leases_come_first() -> None:
    body = {"lease_id": "a/b", "lease_duration": 60, "renewable": True, "data": {"x": 1}}
    assert output.secret_table(body).splitlines()[2:5] == [
        "lease_id           a/b",
        "lease_duration     1m",
        "lease_renewable    true",
    ]
    assert "refresh_interval    768h" in output.secret_table({"lease_duration": 2764800, "data": {"a": 1}})


def test_json_is_the_envelope_without_empty_parts() -> None:
    shown = json.loads(output.to_json(output.envelope(LOGIN)))
    assert list(shown) == ["request_id", "lease_id", "lease_duration", "renewable", "data", "warnings", "auth"]


def test_repeated_top_level_keys_are_left_out() -> None:
    body = {"request_id": "r", "data": {"term": 1}, "term": 1, "warnings": None}
    assert "term" not in output.envelope(body)


def test_a_bare_answer_becomes_data() -> None:
    assert output.envelope({"sealed": True})["data"] == {"sealed": True}


@pytest.mark.parametrize(
    ("name", "value"),
    [("token", "hvs.x"), ("token_duration", 3600), ("policies", ["default", "web"]), ("token_meta_user", "bob")],
)
def test_fields_of_a_login(name: str, value: object) -> None:
    assert output.field_of(LOGIN, name) == value


def test_fields_of_data() -> None:
    assert output.field_of({"data": {"token": "x"}}, "token") == "x"
    assert output.field_of({"data": {"a": 1}}, "b") is None
    assert output.field_of({"wrap_info": {"token": "w", "ttl": 5}}, "wrapping_token_ttl") == 5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"n": "1", "t": "", "y": "yes"}, '"n": "1"\nt: ""\n"y": "yes"'),
        ({"p": "a\nb\n"}, "p: |\n  a\n  b"),
        ({"d": "2026-11-22T00:17:28Z", "x": "it's"}, 'd: "2026-11-22T00:17:28Z"\nx: it\'s'),
        ("1", '"1"'),
    ],
)
def test_yaml_quotes_as_vault_does(value: object, text: str) -> None:
    import yaml

    assert output.to_yaml(value) == text and yaml.safe_load(text + "\n") == value


def test_json_has_nothing_that_means_something_in_a_web_page() -> None:
    assert output.to_json("<a&b>\u2028ä") == '"\\u003ca\\u0026b\\u003e\\u2028ä"'


def test_an_envelope_has_its_own_order_and_its_data_that_of_the_names() -> None:
    body = {"auth": {"num_uses": 0, "client_token": "t"}, "data": {"b": [{"d": 1, "c": 2}], "a": 1}, "request_id": "r"}
    shown = output.envelope({**body, "wrap_info": {"ttl": 1, "token": "w"}})
    assert list(shown)[:4] == ["request_id", "lease_id", "lease_duration", "renewable"]
    assert list(shown["data"]) == ["a", "b"] and list(shown["data"]["b"][0]) == ["c", "d"]
    assert list(shown["auth"])[0] == "client_token" and shown["auth"]["identity_policies"] is None
    assert shown["wrap_info"]["wrapped_accessor"] == ""


def test_times_as_go_prints_them() -> None:
    assert output.go_time("2026-11-22T00:17:28.5Z") == "2026-11-22 00:17:28.5 +0000 UTC"
    assert (output.go_time("t"), output.go_time("")) == ("t", "")


def test_yaml() -> None:
    assert output.to_yaml({"b": [1, None], "a": "ä"}) == "a: ä\nb:\n- 1\n- null"


def test_formats() -> None:
    assert output.parse_format("YML", "-format") == "yaml"
    with pytest.raises(BadRequest, match="-format must be"):
        output.parse_format("xml", "-format")


def test_sec_terminal_escapes_are_written_out() -> None:
    assert output.visible("a\x1b[2Jb\x9b\x07") == "a\\x1b[2Jb\\x9b\\x07"
    assert output.visible("line\n\tnext ä") == "line\n\tnext ä"
