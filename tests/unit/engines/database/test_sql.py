"""Values in statements: wherever a placeholder stands, the value stays a value."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postgres_server import PostgresServer
from strongroom.engines.database.names import default_password, user_name
from strongroom.engines.database.sql import check, filled
from strongroom.errors import BadRequest

VALUES = {"name": 'n"a', "password": "p'w\\", "expiration": "2030-01-01"}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ('CREATE ROLE "{{name}}"', ['CREATE ROLE "n""a"']),
        ("CREATE ROLE {{name}}", ['CREATE ROLE "n""a"']),
        ("PASSWORD '{{password}}'", ["PASSWORD 'p''w\\'"]),
        ("PASSWORD E'{{password}}'", ["PASSWORD E'p''w\\\\'"]),
        ("PASSWORD {{password}}", ["PASSWORD E'p''w\\\\'"]),
        ("UNTIL '{{ expiration }}'", ["UNTIL '2030-01-01'"]),
        ("a; b;; ;c", ["a", "b", "c"]),
        ("a ';' b; \"c;\"", ["a ';' b", '"c;"']),
        ("-- {{name}} ;\na /* ; /* {{name}} */ */ b", ["--  ;\na /* ; /*  */ */ b"]),
        ("DO $$ BEGIN x '{{password}}'; \"{{name}}\"; END $$; b", ["DO $$ BEGIN x 'p''w\\'; \"n\"\"a\"; END $$", "b"]),
        ("$a$ $$ ; '{{password}}' $$ $a$", ["$a$ $$ ; 'p''w\\' $$ $a$"]),
        ("names' e'", ["names' e'"]),
        ("'{{other}}'", ["'{{other}}'"]),
    ],
)
def test_each_place_has_its_rule(statement: str, expected: list[str]) -> None:
    assert filled([statement], VALUES) == expected


@pytest.mark.parametrize(
    "statement",
    [
        "'open",
        '"open',
        "$$ open",
        "$a$ open $b$",
        "/* open",
        "EXECUTE 'ALTER ROLE \"{{name}}\"'",
        "x '''{{password}}'''",
    ],
)
def test_what_cannot_be_filled_safely_is_refused(statement: str) -> None:
    with pytest.raises(BadRequest) as caught:
        filled([statement], VALUES)
    assert "p'w" not in str(caught.value)


def test_a_value_never_ends_a_dollar_quote() -> None:
    with pytest.raises(BadRequest):
        filled(["DO $x$ '{{password}}' $x$"], {"password": "a $x$; DROP"})
    with pytest.raises(BadRequest):
        filled(["DO $$ {{password}}$$"], {"password": "$"}) and filled(["DO $x$ '{{password}}$x$"], {"password": "$x"})


def test_nul_is_refused() -> None:
    with pytest.raises(BadRequest):
        filled(["'{{password}}'"], {"password": "a\0b"})


def test_statements_that_can_never_be_filled_are_known_beforehand() -> None:
    check(['CREATE ROLE "{{name}}"'])
    with pytest.raises(BadRequest):
        check(["CREATE ROLE '"])


PLACES = ["SELECT '{{password}}'", "SELECT E'{{password}}'", "SELECT {{password}}", 'SELECT 1 AS "{{name}}"']
odd = st.text(st.sampled_from(list("'\"\\$;-/*{}a \néE")), max_size=12)


def test_the_server_reads_back_what_was_put_in(postgres: PostgresServer) -> None:
    """All odd values in one query for each place: the server itself says what it read."""
    values: list[str] = []

    @settings(max_examples=600, database=None, deadline=None)
    @given(odd)
    def collect(value: str) -> None:
        values.append(value)

    collect()
    assert len(set(values)) > 100
    texts = sorted(set(values))
    for place in PLACES[:3]:
        items = [filled([place], {"password": value})[0].removeprefix("SELECT ") for value in texts]
        assert postgres.sql("SELECT ARRAY[" + ",".join(items) + "]") == [(texts,)]
    for value in texts[1:120]:
        (query,) = filled([PLACES[3]], {"name": value})
        assert postgres.sql(f"SELECT k FROM (SELECT json_object_keys(row_to_json(t)) k FROM ({query}) t) u") == [
            (value,)
        ]


def test_names_follow_the_template() -> None:
    name = user_name("token-bob", "a role", 1_900_000_000.5, limit=63)
    assert name.startswith("v-token-bo-a-role-") and name.endswith("-1900000000") and len(name) == 18 + 20 + 11
    assert user_name("x'\"; drop", "𝔵/é\0", 1.0, limit=63).startswith("v-x----dro-")


@pytest.mark.parametrize("limit", [63, 32])
def test_names_do_not_collide_and_are_never_too_long(limit: int) -> None:
    names = {user_name("é" * 8, "𝔵" * 8, 1.0, limit=limit) for _ in range(20_000)}
    assert len(names) == 20_000 and max(len(name.encode()) for name in names) <= limit


def test_default_passwords() -> None:
    made = [default_password() for _ in range(300)]
    assert len(set(made)) == 300
    for password in made:
        assert len(password) == 20 and password.count("-") == 1 and password[0] != "-" != password[-1]
        assert any(c.islower() for c in password) and any(c.isupper() for c in password)
        assert any(c.isdigit() for c in password)
