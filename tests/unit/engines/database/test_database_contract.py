"""PostgreSQL keeps the contract of databases, and the engine that of engines."""

from typing import Any

import pytest

from contracts.database_contract import Bench, DatabaseContract
from contracts.engine_contract import EngineContract
from engine_harness import Harness
from postgres_server import PostgresServer
from strongroom.engines.database import Database
from strongroom.engines.database.postgresql import PostgreSQL
from strongroom.sdk.databases import NoDatabases


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
