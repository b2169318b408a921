"""Logins with certificates over real TLS listeners of a server with two workers: hvac, the command line, plain HTTP."""

import datetime
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hvac
import pytest
import requests
from hvac.exceptions import Forbidden, InvalidRequest

from certificates import Made, make
from server_fixture import Server, environment, running_with_tls

NOW = datetime.datetime.now(datetime.UTC)
DATES: dict[str, Any] = {"since": NOW - datetime.timedelta(hours=1), "until": NOW + datetime.timedelta(hours=1)}
ROOT = make("root", ca=True, **DATES)
WEB, MAIL, FOREIGN = ROOT.sign("web", **DATES), ROOT.sign("mail", **DATES), make("foreign", **DATES)


class Site:
    """The server, and files of certificates."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server, self.ca = folder, server, str(folder / "vault-ca.pem")
        self.root = hvac.Client(url=server.address, token=server.token, verify=self.ca)

    def files(self, who: Made) -> tuple[str, str]:
        stem = self.folder / f"{who.certificate.serial_number:x}"
        cert, key = stem.with_suffix(".pem"), stem.with_suffix(".key")
        cert.write_text(who.pem)
        key.write_text(who.key_pem)
        return str(cert), str(key)

    def client(self, who: Made | None = None, token: str = "") -> hvac.Client:
        cert = None if who is None else self.files(who)
        return hvac.Client(url=self.server.address, token=token, verify=self.ca, cert=cert)

    def login(self, who: Made) -> Any:
        cert, key = self.files(who)
        return self.client().auth.cert.login(cert_pem=cert, key_pem=key)

    def health(self, who: Made | None = None) -> int:
        """Over a connection of its own."""
        cert = None if who is None else self.files(who)
        return requests.get(f"{self.server.address}/v1/sys/health", verify=self.ca, cert=cert, timeout=20).status_code

    def asks(self) -> bool:
        """Whether the listener asks for a certificate. TLS 1.2, where the client's callback tells."""
        context = ssl.create_default_context(cafile=self.ca)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        seen: list[Any] = []
        context._msg_callback = lambda *args: seen.append(args[4])  # type: ignore[attr-defined]
        import socket

        with socket.create_connection(("127.0.0.1", int(self.server.address.rpartition(":")[2])), timeout=20) as sock:
            with context.wrap_socket(sock, server_hostname="127.0.0.1"):
                return any(getattr(one, "name", "") == "CERTIFICATE_REQUEST" for one in seen)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("cert")
    with running_with_tls(folder) as server:
        yield Site(folder, server)


@pytest.fixture
def cert(site: Site) -> Iterator[Any]:
    site.root.sys.enable_auth_method("cert")
    yield site.root.auth.cert
    site.root.sys.disable_auth_method("cert")


def test_roles_as_hvac_manages_them(site: Site, cert: Any) -> None:
    cert.create_ca_certificate_role("web", certificate=ROOT.pem, allowed_common_names="w*", token_policies=["p"])
    read = cert.read_ca_certificate_role("web")["data"]
    assert (read["certificate"], read["allowed_common_names"], read["token_policies"]) == (ROOT.pem, ["w*"], ["p"])
    assert cert.list_certificate_roles()["data"]["keys"] == ["web"]
    cert.configure_tls_certificate(disable_binding=True)
    answer = site.login(WEB)
    assert answer["auth"]["metadata"]["common_name"] == "web" and "p" in answer["auth"]["policies"]
    for who in (MAIL, FOREIGN):
        with pytest.raises(InvalidRequest):
            site.login(who)
    cert.delete_certificate_role("web")
    with pytest.raises(InvalidRequest):
        site.login(WEB)


def test_a_foreign_certificate_disturbs_no_other_request(site: Site, cert: Any) -> None:
    cert.create_ca_certificate_role("web", certificate=ROOT.pem)
    old = make("old", since=NOW - datetime.timedelta(days=9), until=NOW - datetime.timedelta(days=8))
    for who in (FOREIGN, old, WEB, None):
        assert [site.health(who) for _ in range(4)] == [200] * 4


def test_every_worker_asks_while_there_is_a_role_and_only_then(site: Site, cert: Any) -> None:
    assert not any(site.asks() for _ in range(8))
    cert.create_ca_certificate_role("web", certificate=ROOT.pem)
    assert all(site.asks() for _ in range(8))
    assert all(site.login(WEB)["auth"]["client_token"] for _ in range(8))
    cert.delete_certificate_role("web")
    assert not any(site.asks() for _ in range(8))


def test_a_pinned_certificate(site: Site, cert: Any) -> None:
    cert.create_ca_certificate_role("pinned", certificate=FOREIGN.pem)
    assert site.login(FOREIGN)["auth"]["metadata"]["cert_name"] == "pinned"
    with pytest.raises(InvalidRequest):
        site.login(make("foreign", key=FOREIGN.key, serial=FOREIGN.certificate.serial_number, **DATES))


def test_renewal_over_the_certificate_of_the_login(site: Site, cert: Any) -> None:
    cert.create_ca_certificate_role("web", certificate=ROOT.pem, token_ttl="10m")
    token = site.login(WEB)["auth"]["client_token"]
    for who in (MAIL, None):
        with pytest.raises(Forbidden):
            site.client(who, token).auth.token.renew_self()
    assert site.client(WEB, token).auth.token.renew_self()["auth"]["lease_duration"] == 600


def test_the_command_line(site: Site, cert: Any) -> None:
    cert.create_ca_certificate_role("web", certificate=ROOT.pem)
    file, key = site.files(WEB)
    words = ["login", "-method=cert", f"-client-cert={file}", f"-client-key={key}", f"-ca-cert={site.ca}"]
    words += [f"-address={site.server.address}", "-no-store", "-format=json", "name=web"]
    ran = subprocess.run(
        [sys.executable, "-m", "strongroom", *words], env=environment(), capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["auth"]["metadata"]["cert_name"] == "web"
