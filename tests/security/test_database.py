"""Threats around databases (docs/threat-model.md, A9), over HTTP and against a real PostgreSQL."""

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from postgres_server import PASSWORD, PostgresServer, folder_of_programs
from vault_world import World

CREATE = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"
NAMES = ['x"; DROP TABLE canary; --', "x'", "a b", "𝔵", "n" * 63]


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    if folder_of_programs() is None:
        pytest.skip("no PostgreSQL server is installed (package postgresql)")
    with PostgresServer() as server:
        server.script("CREATE TABLE canary (x int)")
        yield server


@pytest.fixture
async def world(postgres: PostgresServer) -> AsyncIterator[World]:
    world = await World.unsealed()
    await world.ok("POST", "sys/mounts/database", {"type": "database"})
    await world.ok("POST", "database/config/pg", config(postgres.url))
    await world.ok("POST", "database/roles/app", {"db_name": "pg", "creation_statements": CREATE})
    yield world
    await world.core.seal()


def config(url: str, **more: Any) -> dict[str, Any]:
    named = {"plugin_name": "postgresql-database-plugin", "connection_url": url, "allowed_roles": "*"}
    return {**named, "username": "postgres", "password": PASSWORD, **more}


async def test_sec_cve_2026_39946_no_name_becomes_sql_on_revocation(world: World, postgres: PostgresServer) -> None:
    grants = []
    for name in NAMES:
        quoted = '"' + name.replace('"', '""') + '"'
        postgres.script(f"CREATE SCHEMA {quoted}; CREATE TABLE {quoted}.{quoted} (x int); CREATE SEQUENCE {quoted}.s")
        grants += [
            f'GRANT USAGE ON SCHEMA {quoted} TO "{{{{name}}}}"',
            f'GRANT ALL ON {quoted}.{quoted} TO "{{{{name}}}}"',
        ]
        grants += [f'GRANT ALL ON SEQUENCE {quoted}.s TO "{{{{name}}}}"']
    await world.ok("POST", "database/roles/app", {"creation_statements": [CREATE, *grants]})
    answer = await world.ok("GET", "database/creds/app")
    user = answer["data"]["username"]
    rows = postgres.sql(
        f'SELECT count(*) FROM "{NAMES[2]}"."{NAMES[2]}"', user=user, password=answer["data"]["password"]
    )
    assert rows == [(0,)]  # the control: the grants are there to be taken back
    await world.ok("PUT", "sys/leases/revoke", {"lease_id": answer["lease_id"], "sync": True})
    assert user not in postgres.roles()
    tables = {name for (name,) in postgres.sql("SELECT tablename::text FROM pg_tables")}
    assert {"canary", *NAMES} <= tables


async def test_sec_user_names_from_hostile_display_names_and_roles(world: World, postgres: PostgresServer) -> None:
    await world.policy("reader", **{"database/creds/*": ["read"]})
    bodies = ['"; DROP', "x'); --", "a\\b", "𝔵" * 30, "{{password}}", "$$;$$"]
    for at, name in enumerate(bodies):
        token = await world.token(policies=["reader"], display_name=name)
        await world.ok("POST", f"database/roles/r{at}'%22;--", {"db_name": "pg", "creation_statements": CREATE})
        answer = await world.ok("GET", f"database/creds/r{at}'%22;--", token=token)
        user = answer["data"]["username"]
        assert len(user.encode()) <= 63 and not set(user) & set("'\"\\;{}$ ")
        assert postgres.logs_in(user, answer["data"]["password"])
        await world.ok("POST", "auth/token/revoke", {"token": token})
        assert not postgres.logs_in(user, answer["data"]["password"])
    assert postgres.sql("SELECT count(*) FROM canary") == [(0,)]


async def test_sec_connection_errors_tell_no_password(world: World, postgres: PostgresServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]
    place = f"127.0.0.1:{postgres.port}"
    head = "postgresql://{{username}}:{{password}}@"
    needle = "n33dle-canary"
    urls = [
        (f"{head}127.0.0.1:{closed}/postgres", {}),
        (f"{head}no-such-host.invalid/postgres?connect_timeout=2&sslmode=disable", {}),
        (f"{head}{place}/no-such-database?sslmode=disable", {}),
        (f"{head}{place}/postgres?sslmode=disable", {"password": "wrong-" + needle}),
        (f"{head}{place}/postgres?sslmode=disable", {"username": "nobody"}),
        (f"{head}{place}/postgres?sslmode=require", {}),
        (f"{head}{place}/postgres?sslmode=verify-full", {}),
        (f"{head}{place}/postgres?sslmode={needle}", {}),
        (f"{head}{place}/postgres?sslkey={needle}", {}),
        (f"{head}{place}:x/postgres", {}),
        (f"postgresql://postgres:{needle}@{place}/postgres?sslmode=disable", {}),
        (f"mysql://postgres:{needle}@{place}/", {}),
        (f"host={place} password={needle}", {}),
        (f"{head}{place}/postgres?sslmode=verify-full", {"tls_ca": needle}),
    ]
    for url, more in urls:
        status, said = await world.refused("POST", "database/config/other", config(url, **more))
        assert status == 400, (url, status, said)
        assert needle not in said and "n33dle" not in said and PASSWORD not in said, said
    shown = json.dumps(await world.ok("GET", "database/config/pg"))
    assert "n33dle" not in shown and "password" not in json.loads(shown)["data"]["connection_details"]
    inline = config(f"postgresql://postgres:{needle}@{place}/postgres", verify_connection=False)
    await world.ok("POST", "database/config/inline", {**inline, "password": None, "username": None})
    shown = json.dumps(await world.ok("GET", "database/config/inline"))
    assert needle not in shown and "postgres:*****@" in shown


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """A server with a certificate of its own making that speaks TLS after PostgreSQL's greeting; port and CA file."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        + ["-subj", "/CN=other.example", "-addext", "subjectAltName=DNS:other.example"]
        + ["-keyout", str(key), "-out", str(cert)],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    listener = socket.create_server(("127.0.0.1", 0))
    heard: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(5)
                try:
                    peer.recv(8)  # SSLRequest
                    peer.sendall(b"S")
                    with context.wrap_socket(peer, server_side=True) as inner:
                        heard.append(inner.recv(4096))
                except OSError:
                    continue

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], str(cert), heard  # type: ignore[misc]
    listener.close()


async def test_sec_cve_2021_27400_the_servers_certificate_is_checked(world: World, impostor: Any) -> None:
    port, cert, heard = impostor
    head = f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{port}/x"
    ca = Path(cert).read_text()
    for query, more in (
        ("verify-full", {}),
        ("verify-ca", {}),
        ("verify-full", {"tls_ca": ca}),
    ):  # self-signed; wrong name
        status, _ = await world.refused("POST", "database/config/other", config(f"{head}?sslmode={query}", **more))
        assert status == 400 and not heard
    await world.refused(
        "POST", "database/config/other", config(f"{head}?sslmode=require")
    )  # the control: asked not to look
    await world.refused("POST", "database/config/other", config(f"{head}?sslmode=verify-ca", tls_ca=ca))
    assert len(heard) >= 2 and b"postgres" in heard[0]


def test_sec_cve_2021_27400_another_host_is_verified_unless_told_otherwise() -> None:
    from strongroom.engines.database.postgresql import PostgreSQL

    def tls(url: str) -> str:
        return PostgreSQL().login({"connection_url": url, "username": "u"}, owner="x").tls

    assert tls("postgresql://db.example/x") == "verify-full"
    assert tls("postgresql://localhost,db.example/x") == "verify-full"
    assert tls("postgresql://db.example/x?sslmode=disable") == "disable"
    assert tls("postgresql://localhost/x") == "prefer"
