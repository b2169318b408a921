"""One PostgreSQL for the tests of a module."""

from collections.abc import AsyncIterator, Iterator

import pytest

from postgres_server import PostgresServer, folder_of_programs
from vault_world import World

CREATE = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    if folder_of_programs() is None:
        pytest.skip("no PostgreSQL server is installed (package postgresql)")
    with PostgresServer() as server:
        yield server


@pytest.fixture
async def world(postgres: PostgresServer) -> AsyncIterator[World]:
    """A vault with the engine at database/, a connection "pg" and a role "app"."""
    world = await World.unsealed()
    await world.ok("POST", "sys/mounts/database", {"type": "database"})
    await world.ok("POST", "database/config/pg", config(postgres))
    await world.ok("POST", "database/roles/app", role())
    yield world
    await world.core.seal()


def config(postgres: PostgresServer, **more: object) -> dict[str, object]:
    return {
        "plugin_name": "postgresql-database-plugin",
        "connection_url": postgres.url,
        "username": "postgres",
        "password": postgres.password,
        "allowed_roles": "*",
        **more,
    }


def role(**more: object) -> dict[str, object]:
    return {"db_name": "pg", "creation_statements": CREATE, "default_ttl": "1h", "max_ttl": "3h", **more}
