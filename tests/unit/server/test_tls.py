"""TLS listeners: versions, client certificates, limits; and the certificates for development."""

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from server_stub import Client, Stub, get
from strongroom.errors import BadRequest
from strongroom.server.config_listener import Tls
from strongroom.server.http import Door
from strongroom.server.http_settings import Limits
from strongroom.server.tls import check_files, context, development_files, load_files


@pytest.fixture
def files(tmp_path: Path) -> Tls:
    return development_files(str(tmp_path), ("localhost",), ("127.0.0.1", "::1"))


@contextlib.asynccontextmanager
async def tls_server(tls: Tls, limits: Limits = Limits(), handshake: float = 10) -> AsyncIterator[int]:
    door = Door(Stub().handle)
    server = await asyncio.get_running_loop().create_server(
        door.listener(limits, tls=True), "127.0.0.1", 0, ssl=context(tls), ssl_handshake_timeout=handshake
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await door.drain(0.1)


def trusting(files: Tls) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(Path(files.cert_file).with_name("vault-ca.pem")))


async def connect(port: int, client: ssl.SSLContext) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", port, ssl=client))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_versions(files: Tls, version: ssl.TLSVersion) -> None:
    client = trusting(files)
    client.minimum_version = client.maximum_version = version
    async with tls_server(files) as port:
        c = await connect(port, client)
        for _ in range(2):
            assert (await c.ask(get("a", method="LIST")))[0] == 200
        await c.close()
    async with tls_server(msgspec.structs.replace(files, min_version="tls13")) as port:
        if version is ssl.TLSVersion.TLSv1_2:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await (await connect(port, client)).ask(get("a"))
        else:
            c = await connect(port, client)
            assert (await c.ask(get("a")))[0] == 200
            await c.close()


async def test_client_certificates(files: Tls, tmp_path: Path) -> None:
    ca = str(tmp_path / "vault-ca.pem")
    client = trusting(files)
    client.maximum_version = ssl.TLSVersion.TLSv1_2  # there the refusal reaches the handshake
    asked = msgspec.structs.replace(files, client_ca_file=ca)
    async with tls_server(asked) as port:
        c = await connect(port, client)
        assert (await c.ask(get("a")))[0] == 200, "asked for, not required"
        await c.close()
    async with tls_server(msgspec.structs.replace(asked, require_client_cert=True)) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(port, client)
        other = tmp_path / "other"
        other.mkdir()
        strange = development_files(str(other))
        client.load_cert_chain(strange.cert_file, strange.key_file)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(port, client)


async def test_big_bodies_and_refusals_over_tls(files: Tls) -> None:
    async with tls_server(files, Limits(max_request_size=100_000)) as port:
        c = await connect(port, trusting(files))
        status, answer = await c.ask(get("a", method="POST", body=b"x" * 100_000))
        assert status == 200 and len(answer["data"]["body"]) == 100_000
        c.writer.write(get("a", "Content-Length: 3000000", method="POST") + b"x" * 3_000_000)
        assert (await c.answer())[0] == 413
        await c.close()


async def test_sec_a6_half_handshakes_end(files: Tls) -> None:
    async with tls_server(files, handshake=0.2) as port:
        half = [Client(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(20)]
        for c in half:
            await c.say(b"\x16\x03\x01")
        good = await connect(port, trusting(files))
        assert (await good.ask(get("a")))[0] == 200
        assert [await c.rest() for c in half] == [b""] * 20
        await good.close()
        for c in half:
            await c.close()


def test_files_are_checked(files: Tls, tmp_path: Path) -> None:
    assert check_files(files) == [] and Path(files.key_file).stat().st_mode & 0o777 == 0o600
    assert "cannot be read" in check_files(msgspec.structs.replace(files, key_file="/nowhere"))[0]
    swapped = msgspec.structs.replace(files, key_file=files.cert_file)
    assert "not a certificate and its key" in check_files(swapped)[0]
    with pytest.raises(BadRequest):
        context(swapped)
    living = context(files)
    with pytest.raises(BadRequest):
        load_files(living, msgspec.structs.replace(files, client_ca_file=files.key_file))
    load_files(living, files)
    os.unlink(files.cert_file)
    os.symlink("/etc/passwd", files.cert_file)
    with pytest.raises(OSError):
        development_files(str(tmp_path))
