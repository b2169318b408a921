"""The database engine against a real PostgreSQL: users that log in while their lease stands, and not after."""

import asyncio
from typing import Any

import asyncpg
import pytest

from postgres_server import PostgresServer
from strongroom.core.seal import SealConfig
from strongroom.errors import StorageFailed
from strongroom.vault.embedded import AsyncVault, Vault
from vault_world import World

CREATE = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"


async def creds(world: World, role: str = "app", **options: Any) -> tuple[str, str, str]:
    """User, password, lease id."""
    answer = await world.ok("GET", f"database/creds/{role}", **options)
    assert set(answer["data"]) == {"username", "password"}
    return answer["data"]["username"], answer["data"]["password"], answer["lease_id"]


async def test_credentials_log_in_until_they_are_revoked(world: World, postgres: PostgresServer):
    answer = await world.ok("GET", "database/creds/app")
    assert (answer["lease_duration"], answer["renewable"]) == (3600, True)
    user, password = answer["data"]["username"], answer["data"]["password"]
    assert user.startswith("v-root-app-") and len(user.encode()) <= 63
    assert len(password) == 20
    assert postgres.logs_in(user, password) and not postgres.logs_in(user, password + "x")
    await world.ok("PUT", "sys/leases/revoke", {"lease_id": answer["lease_id"]})
    assert not postgres.logs_in(user, password)
    assert user not in postgres.roles()
    assert await world.stored("ns/root/lease/due/") == [
        key for key in await world.stored("ns/root/lease/due/") if "/token/" in key
    ]


async def test_they_end_with_their_time(world: World, postgres: PostgresServer):
    user, password, _ = await creds(world)
    world.clock.tick(3599)
    await world.core.tidy()
    assert postgres.logs_in(user, password)
    world.clock.tick(1)
    assert await world.core.tidy() == 1
    assert user not in postgres.roles()


async def test_and_with_their_token(world: World, postgres: PostgresServer):
    await world.policy("reader", **{"database/creds/*": ["read"]})
    token = await world.token(policies=["reader"])
    user, _, _ = await creds(world, token=token)
    assert user in postgres.roles() and user.startswith("v-token-app-")
    await world.ok("POST", "auth/token/revoke", {"token": token})
    assert user not in postgres.roles()


async def test_renewal_moves_the_time_in_the_database_too(world: World, postgres: PostgresServer):
    user, password, lease_id = await creds(world)
    world.clock.tick(3000)
    answer = await world.ok("PUT", "sys/leases/renew", {"lease_id": lease_id, "increment": 7000})
    assert answer["lease_duration"] == 7000
    until = postgres.sql("SELECT extract(epoch FROM rolvaliduntil)::float8 FROM pg_roles WHERE rolname = $1", user)
    assert until == [(world.clock() + 7000,)]
    world.clock.tick(6999)
    answer = await world.ok("PUT", "sys/leases/renew", {"lease_id": lease_id, "increment": 7000})
    assert answer["lease_duration"] == 3 * 3600 - 9999
    assert postgres.logs_in(user, password)
    await world.ok("DELETE", "database/roles/app")
    assert await world.status("PUT", "sys/leases/renew", {"lease_id": lease_id}) == 400
    await world.ok("PUT", "sys/leases/revoke", {"lease_id": lease_id})
    assert user not in postgres.roles()


async def test_default_revocation_ends_sessions_and_takes_back_grants(world: World, postgres: PostgresServer):
    postgres.script('CREATE SCHEMA IF NOT EXISTS "a ""b"; CREATE TABLE IF NOT EXISTS "a ""b"."t; drop" (x int)')
    grants = ['GRANT ALL ON SCHEMA "a ""b" TO "{{name}}"', 'GRANT SELECT ON "a ""b"."t; drop" TO "{{name}}"']
    grants += [
        'GRANT CONNECT ON DATABASE postgres TO "{{name}}"',
        'GRANT EXECUTE ON FUNCTION lower(text) TO "{{name}}"',
    ]
    await world.ok("POST", "database/roles/app", {"creation_statements": [CREATE, *grants]})
    user, password, lease_id = await creds(world)
    session = await asyncpg.connect(
        host="127.0.0.1", port=postgres.port, user=user, password=password, database="postgres", ssl=False
    )
    assert await session.fetch('SELECT * FROM "a ""b"."t; drop"') == []
    await world.ok("PUT", "sys/leases/revoke", {"lease_id": lease_id, "sync": True})
    assert user not in postgres.roles()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)):
        await session.fetch("SELECT 1")
    assert postgres.sql("SELECT count(*) FROM pg_tables WHERE tablename = 't; drop'") == [(1,)]


async def test_a_failing_creation_leaves_nothing(world: World, postgres: PostgresServer):
    before = postgres.roles()
    await world.ok("POST", "database/roles/app", {"creation_statements": [CREATE, "SELECT 1/0"]})
    status, said = await world.refused("GET", "database/creds/app")
    assert status == 500 and "SQLSTATE 22012" in said
    assert postgres.roles() == before
    assert await world.stored("ns/root/data/") == [
        key for key in await world.stored("ns/root/data/") if "/intent/" not in key
    ]


async def test_a_crash_before_the_lease_is_stored_leaves_no_user(world: World, postgres: PostgresServer):
    before = postgres.roles()
    give = world.space.leases.give

    async def crash(*args: Any, **options: Any) -> str:
        raise KeyboardInterrupt  # the process dies: no ``except`` of the house runs

    world.space.leases.give = crash
    with pytest.raises(KeyboardInterrupt):
        await world.raw("GET", "database/creds/app")
    world.space.leases.give = give
    made = postgres.roles() - before
    assert len(made) == 1
    await world.core.tidy()
    assert postgres.roles() - before == made  # another worker may be about to store the lease
    world.clock.tick(601)
    await world.core.tidy()
    assert postgres.roles() == before
    assert not [key for key in await world.stored("ns/root/data/") if "/intent/" in key]


async def test_a_lease_that_cannot_be_stored_takes_the_user_with_it(world: World, postgres: PostgresServer):
    before = postgres.roles()

    async def fail(*args: Any, **options: Any) -> str:
        raise StorageFailed("the store could not write")

    world.space.leases.give = fail
    assert await world.status("GET", "database/creds/app") == 500
    assert postgres.roles() == before


async def test_a_lease_comes_too_late_when_its_user_was_undone(world: World, postgres: PostgresServer):
    before = postgres.roles()
    give = world.space.leases.give

    async def late(*args: Any, **options: Any) -> str:
        world.clock.tick(601)
        await world.core.tidy()  # in another process
        return str(await give(*args, **options))

    world.space.leases.give = late
    status, said = await world.refused("GET", "database/creds/app")
    assert (status, said) == (500, "the secret took too long to make and was revoked")
    assert postgres.roles() == before


async def test_a_batch_tokens_lease_ends_with_it(world: World, postgres: PostgresServer):
    await world.policy("reader", **{"database/creds/*": ["read"], "sys/leases/renew": ["update"]})
    token = await world.token(policies=["reader"], type="batch", ttl="2m")
    answer = await world.ok("GET", "database/creds/app", token=token)
    assert answer["lease_duration"] == 120
    world.clock.tick(60)
    renewed = await world.ok(
        "PUT", "sys/leases/renew", {"lease_id": answer["lease_id"], "increment": 3600}, token=token
    )
    assert renewed["lease_duration"] == 60
    world.clock.tick(60)
    await world.core.tidy()
    assert answer["data"]["username"] not in postgres.roles()


async def test_passwords_follow_a_password_policy(world: World, postgres: PostgresServer):
    text = 'length = 40\nrule "charset" { charset = "\'\\\\\\"$;a" min-chars = 5 }'
    await world.ok("PUT", "sys/policies/password/hard", {"policy": text})
    await world.ok("POST", "database/config/pg", {"password_policy": "hard"})
    user, password, _ = await creds(world)
    assert set(password) <= set("'\\\"$;a") and len(password) == 40
    assert postgres.logs_in(user, password)
    await world.ok("POST", "database/config/pg", {"password_policy": "none"})
    assert await world.refused("GET", "database/creds/app") == (400, "password policy not found")


@pytest.mark.parametrize("backend", ["memory", "lmdb"])
def test_in_a_vault_without_an_event_loop(postgres: PostgresServer, backend: str, tmp_path: Any):
    options = {"path": str(tmp_path / "data")} if backend == "lmdb" else {}
    with Vault({backend: options}) as vault:
        made = vault.init(SealConfig(1, 1))
        vault.unseal(made.keys[0])
        vault.set_token(made.root_token)
        answer, user = _lend(vault, postgres)
        vault.write("sys/leases/revoke", {"lease_id": answer.lease_id})
        assert user not in postgres.roles()


def _lend(vault: Vault, postgres: PostgresServer) -> tuple[Any, str]:
    vault.mount("database", "database")
    details = {"plugin_name": "postgresql-database-plugin", "connection_url": postgres.url, "allowed_roles": "*"}
    vault.write("database/config/pg", {**details, "username": "postgres", "password": postgres.password})
    vault.write("database/roles/app", {"db_name": "pg", "creation_statements": CREATE})
    answer = vault.read("database/creds/app")
    assert answer is not None and answer.data is not None
    assert postgres.logs_in(answer.data["username"], answer.data["password"])
    return answer, answer.data["username"]


async def test_with_an_event_loop_many_at_once(postgres: PostgresServer):
    async with AsyncVault({"memory": {}}) as vault:
        made = await vault.init(SealConfig(1, 1))
        await vault.unseal(made.keys[0])
        vault.set_token(made.root_token)
        await vault.mount("database", "database")
        details = {"plugin_name": "postgresql-database-plugin", "connection_url": postgres.url, "allowed_roles": "*"}
        details |= {"username": "postgres", "password": postgres.password, "max_open_connections": 3}
        await vault.write("database/config/pg", details)
        await vault.write("database/roles/app", {"db_name": "pg", "creation_statements": CREATE})
        answers = await asyncio.gather(*(vault.read("database/creds/app") for _ in range(30)))
        users = {answer.data["username"] for answer in answers if answer is not None and answer.data is not None}
        assert len(users) == 30 and users <= postgres.roles()
        open_now = postgres.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'strongroom'")[0][0]
        assert 1 <= open_now <= 3
        await vault.write("sys/leases/revoke-prefix/database", {"sync": True})
        assert not users & postgres.roles()
    assert postgres.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'strongroom'") == [(0,)]


async def test_a_database_that_is_away_holds_up_nobody_and_is_caught_up_with(world: World, postgres: PostgresServer):
    await world.policy("reader", **{"database/creds/*": ["read"]})
    user, _, lease_id = await creds(world)
    postgres.stop()
    try:
        world.clock.tick(3600)
        token = await world.token(policies=["reader"], ttl=60)
        world.clock.tick(60)
        for _ in range(12):
            world.clock.tick(3600)
            await world.core.tidy()
        assert world.space.tokens.hash(token) not in "\n".join(await world.stored("ns/root/"))
        assert await world.space.leases.get(lease_id) is not None
        assert (await world.ok("GET", "sys/leases/count?type=irrevocable"))["data"]["lease_count"] == 0
        assert await world.status("GET", "database/creds/app") == 502
    finally:
        postgres.start()
    world.clock.tick(60)
    await world.core.tidy()
    assert user not in postgres.roles()
