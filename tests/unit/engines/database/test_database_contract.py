"""PostgreSQL keeps the contract of databases, and the engine that of engines."""

from typing import Any

import pytest

from contracts.database_contract import Bench, DatabaseContract
from contracts.engine_contract import EngineContract
from engine_harness import Harness
from postgres_server import PostgresServer
from strongroom.engines.database import Database
from strongroom.engines.database.entries import Config
from strongroom.engines.database.postgresql import PostgreSQL
from strongroom.errors import BadRequest
from strongroom.sdk.databases import NoDatabases
from strongroom.sdk.request import Op


class TestPostgreSQL(DatabaseContract):
    @pytest.fixture
    def bench(self, postgres: PostgresServer) -> Bench:
        postgres.script("CREATE TABLE IF NOT EXISTS canary (x int)")
        return Bench(
            kind=PostgreSQL(),
            details={"connection_url": postgres.url, "username": "postgres", "password": postgres.password},
            create=["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"],
            logs_in=postgres.logs_in,
            users=postgres.roles,
        )


class OnlyKinds(NoDatabases):
    """Knows the kind and reaches nothing."""

    def kind(self, plugin: str) -> Any:
        return PostgreSQL() if plugin == PostgreSQL.plugin else None


class TestDatabaseEngine(EngineContract):
    params = {"name": "app"}

    def make(self) -> Harness:
        return Harness(Database, path="database/", kind="database", databases=OnlyKinds())

    async def fill(self, harness: Harness, needle: str) -> None:
        details = {"connection_url": "postgresql://{{username}}:{{password}}@db.example/x", "username": "root"}
        await harness.write("config/app", {**details, "password": needle, "verify_connection": False})
        await harness.write("roles/app", {"db_name": "app", "creation_statements": "CREATE ROLE {{name}}"})


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ({}, 1000),
        ({"default_ttl": 600}, 600),
        ({"default_ttl": 600, "max_ttl": 700}, 600),
        ({"max_ttl": 500}, 500),
        ({"default_ttl": 10**6}, 2000),
    ],
)
async def test_policies_see_the_ttl_that_the_lease_would_get(role: dict[str, int], expected: int):
    harness = Harness(
        Database,
        path="database/",
        kind="database",
        databases=OnlyKinds(),
        default_lease_ttl=1000,
        max_lease_ttl=2000,
    )
    await harness.write("roles/app", {"db_name": "pg", "creation_statements": "x", **role})
    call = harness.prepare(Op.READ, "creds/app")
    await harness._facts.pre_route(call)
    assert call.facts == {"ttl": expected}
    call = harness.prepare(Op.READ, "creds/none")
    await harness._facts.pre_route(call)
    assert call.facts == {}


async def test_a_role_is_checked_and_statements_keep_their_commas():
    harness = Harness(Database, path="database/", kind="database", databases=OnlyKinds())
    text = "CREATE ROLE {{name}}; GRANT SELECT (a, b) ON t TO {{name}}"
    await harness.write("roles/app", {"db_name": "pg", "creation_statements": text})
    data = (await harness.read("roles/app")).data
    assert data is not None and data["creation_statements"] == [text]
    for wrong in (
        {"db_name": "", "creation_statements": text},
        {"db_name": "pg", "default_ttl": 20, "max_ttl": 10},
        {"db_name": "pg", "credential_type": "rsa_private_key"},
        {"db_name": "pg", "creation_statements": "CREATE ROLE '{{name}}"},
    ):
        with pytest.raises(BadRequest):
            await harness.write("roles/other", wrong)


@pytest.mark.parametrize(
    ("allowed", "role", "may"),
    [
        ("app", "app", True),
        ("app", "app2", False),
        ("*", "x", True),
        ("app*", "app2", True),
        ("*app", "my-app", True),
        ("*app", "app-my", False),
        ("*p*", "app", True),
        ("", "app", False),
    ],
)
def test_which_roles_may_use_a_connection(allowed: str, role: str, may: bool):
    assert Config(allowed_roles=(allowed,)).allows(role) is may


async def test_whether_a_connection_is_verified_is_kept_and_shown():
    harness = Harness(Database, path="database/", kind="database", databases=OnlyKinds())
    config: dict[str, Any] = {"plugin_name": PostgreSQL.plugin, "allowed_roles": "a"}
    config["connection_url"] = "postgresql://root:x@db.example/x"
    with pytest.raises(BadRequest, match="verifying connection"):
        await harness.write("config/app", config)
    await harness.write("config/app", {**config, "verify_connection": False})
    await harness.write("config/app", {"allowed_roles": "b"})
    shown = (await harness.read("config/app")).data
    assert (shown["verify_connection"], shown["allowed_roles"]) == (False, ["b"])
    with pytest.raises(BadRequest, match="verifying connection"):
        await harness.write("config/app", {"verify_connection": True})
