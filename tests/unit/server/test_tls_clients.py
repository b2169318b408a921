"""Asking clients for certificates, both ways: with OpenSSL told to take any, and with the roles' own as trust."""

import asyncio
import contextlib
import functools
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from certificates import Made, make
from server_stub import Client, Stub, get
from strongroom.server.config_listener import Tls
from strongroom.server.http import Door
from strongroom.server.http_settings import DoorSettings, Limits, Proxies
from strongroom.server.tls import context, development_files, load_files
from strongroom.server.tls_clients import Asking, can_take_any

ROOT, OTHER = make("root", ca=True), make("other", ca=True)
BETWEEN = ROOT.sign("between", ca=True)
KNOWN, FOREIGN, DEEP = ROOT.sign("known"), OTHER.sign("foreign"), BETWEEN.sign("deep")


class Seen(Stub):
    """Notes the certificates of each request."""

    def __init__(self) -> None:
        super().__init__()
        self.certificates: list[tuple[bytes, ...]] = []

    async def handle(self, request: Any) -> Any:
        self.certificates.append((request.certificate, *request.chain) if request.certificate else ())
        return await super().handle(request)


class Listener:
    """One TLS listener whose trust is set by hand, as a worker would on a new connection."""

    def __init__(self, files: Tls, take_any: Any, proxies: Proxies | None = None) -> None:
        self.seen, self.trust = Seen(), frozenset[bytes]()
        self.files = files
        self.asking = Asking(files, functools.partial(context, files), take_any)
        kept = DoorSettings().kept_headers | {"x-client-cert"}
        self.door = Door(
            self.seen.handle,
            renew=lambda: self.asking.follow(self.trust),
            settings=lambda: DoorSettings(client_trust=self.trust, kept_headers=kept),
        )
        self.proxies, self.port = proxies, 0

    async def ask(self, who: Made | None = None, *sent: Made, tls13: bool = True, header: str = "") -> Any:
        """What the listener's request was given; None if it could not connect."""
        client = ssl.create_default_context(cafile=str(Path(self.files.cert_file).with_name("vault-ca.pem")))
        if not tls13:
            client.maximum_version = ssl.TLSVersion.TLSv1_2
        if who is not None:
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
                file.write("".join([who.pem, *(one.pem for one in sent), who.key_pem]))
                file.flush()
                client.load_cert_chain(file.name)
        self.seen.certificates.clear()
        with contextlib.suppress(ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
            c = Client(*await asyncio.open_connection("127.0.0.1", self.port, ssl=client))
            status = (await c.ask(get("a", header) if header else get("a")))[0]
            await c.close()
            return self.seen.certificates[0] if status == 200 else status
        return None


@contextlib.asynccontextmanager
async def listening(files: Tls, take_any: Any, proxies: Proxies | None = None) -> AsyncIterator[Listener]:
    listener = Listener(files, take_any, proxies)
    server = await asyncio.get_running_loop().create_server(
        listener.door.listener(Limits(), proxies, tls=True), "127.0.0.1", 0, ssl=listener.asking.context
    )
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()
        await listener.door.drain(0.1)


@pytest.fixture
def files(tmp_path: Path) -> Tls:
    return development_files(str(tmp_path))


def under(loop: str, work: Any) -> None:
    (uvloop.run if loop == "uvloop" else asyncio.run)(work)


def test_this_python_can_take_any() -> None:
    """So that the tests below are about what servers do here; a Python that cannot has the other way."""
    assert can_take_any() is not None


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("tls13", [True, False])
def test_any_certificate_arrives_once_one_is_trusted(files: Tls, loop: str, tls13: bool) -> None:
    async def work() -> None:
        async with listening(files, can_take_any()) as one:
            assert await one.ask(KNOWN, tls13=tls13) == ()  # not asked for
            one.trust = frozenset({ROOT.der})
            assert await one.ask(tls13=tls13) == ()
            assert await one.ask(KNOWN, tls13=tls13) == (KNOWN.der,)
            assert await one.ask(FOREIGN, tls13=tls13) == (FOREIGN.der,)  # the login is for the method to refuse
            assert await one.ask(DEEP, BETWEEN, tls13=tls13) == (DEEP.der, BETWEEN.der)
            one.trust = frozenset()
            assert await one.ask(KNOWN, tls13=tls13) == ()

    under(loop, work())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("tls13", [True, False])
def test_without_that_way_the_trust_is_the_roles(files: Tls, loop: str, tls13: bool) -> None:
    async def work() -> None:
        async with listening(files, None) as one:
            assert await one.ask(FOREIGN, tls13=tls13) == ()
            one.trust = frozenset({ROOT.der})
            assert await one.ask(tls13=tls13) == ()
            assert await one.ask(KNOWN, tls13=tls13) == (KNOWN.der,)
            assert await one.ask(FOREIGN, tls13=tls13) is None
            one.trust = frozenset({FOREIGN.der})  # pinned; and the authority is trusted no more
            assert await one.ask(FOREIGN, tls13=tls13) == (FOREIGN.der,)
            assert await one.ask(KNOWN, tls13=tls13) is None
            one.asking.reload(functools.partial(load_files, tls=files))
            assert await one.ask(FOREIGN, tls13=tls13) == (FOREIGN.der,)
            one.trust = frozenset()
            assert await one.ask(KNOWN, tls13=tls13) == ()

    under(loop, work())


@pytest.mark.parametrize("take_any", [True, False])
async def test_a_listener_with_an_authority_of_its_own_stays_as_it_is(
    files: Tls, take_any: bool, tmp_path: Path
) -> None:
    (tmp_path / "root.pem").write_text(ROOT.pem)
    told = msgspec.structs.replace(files, client_ca_file=str(tmp_path / "root.pem"))
    async with listening(told, can_take_any() if take_any else None) as one:
        one.trust = frozenset({OTHER.der})
        assert await one.ask(KNOWN) == (KNOWN.der,)
        assert await one.ask(FOREIGN) is None


async def test_a_listener_that_must_not_ask_does_not(files: Tls) -> None:
    async with listening(msgspec.structs.replace(files, request_client_cert=False), can_take_any()) as one:
        one.trust = frozenset({ROOT.der})
        assert await one.ask(KNOWN) == ()


async def test_a_proxy_speaks_for_its_clients(files: Tls) -> None:
    import ipaddress
    from urllib.parse import quote

    here = (ipaddress.ip_network("127.0.0.0/8"),)
    proxies = Proxies(authorized=here, reject_not_present=False, certificate_header="x-client-cert")
    told = f"X-Client-Cert: {quote(KNOWN.pem)}"
    async with listening(files, can_take_any(), proxies) as one:
        one.trust = frozenset({ROOT.der})
        assert await one.ask(header=told) == (KNOWN.der,)
        assert await one.ask(FOREIGN, header=told) == (KNOWN.der,)
        assert await one.ask(FOREIGN) == ()  # the proxy's own certificate is nobody's
        assert await one.ask(header="X-Client-Cert: junk") == 400
        assert await one.ask(header=f"{told}\r\n{told}") == 400
    elsewhere = msgspec.structs.replace(
        proxies, authorized=(ipaddress.ip_network("10.0.0.0/8"),), reject_not_authorized=False
    )
    async with listening(files, can_take_any(), elsewhere) as one:
        one.trust = frozenset({ROOT.der})
        assert await one.ask(header=told) == ()
        assert await one.ask(FOREIGN, header=told) == (FOREIGN.der,)
