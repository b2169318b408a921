"""``strongroom login -method=oidc`` against a real server and a provider, with this test in the browser's place."""

import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from oidc_provider import MockProvider
from server_fixture import Server, environment, free_port, running
from strongroom.cli.hints import Failed
from strongroom.cli.login_oidc import in_browser
from strongroom.client.messages import Answer


@pytest.fixture(scope="module")
def provider() -> Iterator[MockProvider]:
    with MockProvider() as one:
        yield one


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, provider: MockProvider) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("oidc-cli"), workers=1) as one:
        assert one.call("POST", "sys/auth/oidc", {"type": "oidc"})[0] == 204
        config = {
            "oidc_discovery_url": provider.url, "oidc_client_id": "client", "oidc_client_secret": "s3cret+",
            "default_role": "cli",
        }  # fmt: skip
        assert one.call("POST", "auth/oidc/config", config)[0] == 204
        here = f"{one.address}/v1/auth/oidc/oidc/callback"
        roles: dict[str, dict[str, Any]] = {
            "cli": {"allowed_redirect_uris": "http://localhost:8250/oidc/callback"},
            "direct": {"allowed_redirect_uris": here, "callback_mode": "direct", "poll_interval": 1},
            "device": {"callback_mode": "device", "poll_interval": 1},
        }
        for name, fields in roles.items():
            assert one.call("POST", f"auth/oidc/role/{name}", {"user_claim": "sub", **fields})[0] == 204
        yield one


class Login:
    """The command under way. ``url`` is what it wants opened."""

    def __init__(self, server: Server, folder: Path, *words: str) -> None:
        environ = {**environment(), "HOME": str(folder), "VAULT_ADDR": server.address}
        command = [
            sys.executable,
            "-m",
            "strongroom",
            "login",
            "-method=oidc",
            "-field=token",
            "skip_browser=true",
            *words,
        ]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environ, stdout=pipe, stderr=pipe, text=True)
        self.talk: list[str] = []
        assert self.process.stderr is not None
        watchdog = threading.Timer(30, self.process.kill)
        watchdog.start()
        for line in self.process.stderr:
            self.talk.append(line)
            if line.startswith("Waiting"):
                break
        watchdog.cancel()
        found = re.search(r"http\S+", "".join(self.talk))
        self.url = found[0] if found else ""

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out.strip(), "".join(self.talk) + err


def browse(url: str, form: dict[str, str] | None = None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, None if form is None else urlencode(form).encode(), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def alias(server: Server, token: str) -> str:
    status, body = server.call("GET", "auth/token/lookup-self", token=token)
    assert status == 200, body
    return str(body["data"]["display_name"])


def test_the_browser_comes_back_to_the_command(server: Server, provider: MockProvider, tmp_path: Path) -> None:
    port = free_port()
    login = Login(server, tmp_path, f"port={port}")
    assert login.url.startswith(f"{provider.url}/authorize?"), login.talk
    query = {name: values[0] for name, values in parse_qs(urlsplit(login.url).query).items()}
    here = f"http://localhost:{port}/oidc/callback"
    assert query["redirect_uri"] == here
    for wrong in ({"state": "other", "code": "x"}, {"code": "x"}):  # somebody else's redirect changes nothing
        assert browse(f"{here}?{urlencode(wrong)}")[0] == 404
    back = urlencode({"state": query["state"], "code": provider.authorize(login.url)})
    status, page = browse(f"{here}?{back}")
    assert status == 200 and "close this page" in page
    code, token, talk = login.end()
    assert code == 0, talk
    assert alias(server, token) == "oidc-alice" and "code=" not in talk
    assert (tmp_path / ".vault-token").read_text() == token


def test_a_provider_that_refuses(server: Server, provider: MockProvider, tmp_path: Path) -> None:
    port = free_port()
    login = Login(server, tmp_path, f"port={port}", "role=cli")
    state = parse_qs(urlsplit(login.url).query)["state"][0]
    browse(f"http://localhost:{port}/oidc/callback?{urlencode({'state': state, 'error': 'access_denied'})}")
    code, token, talk = login.end()
    assert code == 2 and token == "" and "refused by the provider: access_denied" in talk
    assert not (tmp_path / ".vault-token").exists()


def test_the_server_gets_the_code_itself(server: Server, provider: MockProvider, tmp_path: Path) -> None:
    login = Login(server, tmp_path, "role=direct", "callbackmode=direct")
    query = parse_qs(urlsplit(login.url).query)
    back = urlencode({"state": query["state"][0], "code": provider.authorize(login.url)})
    status, page = browse(f"{query['redirect_uri'][0]}?{back}")
    assert status == 200 and "I started this login" in page
    form = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page))
    assert "Logged in" in browse(query["redirect_uri"][0], form)[1]
    code, token, talk = login.end()
    assert code == 0 and alias(server, token) == "oidc-alice", talk


def test_a_login_on_another_device(server: Server, provider: MockProvider, tmp_path: Path) -> None:
    provider.devices.clear()
    login = Login(server, tmp_path, "role=device", "callbackmode=device")
    assert login.url == f"{provider.url}/activate?user_code=AB-CD" and "AB-CD" in "".join(login.talk)
    provider.devices["device-0"] = "done"
    code, token, talk = login.end()
    assert code == 0 and alias(server, token) == "oidc-alice", talk


def test_a_taken_port_is_told(server: Server, tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        login = Login(server, tmp_path, f"port={taken.getsockname()[1]}", "listenaddress=127.0.0.1")
        code, _, talk = login.end()
    assert code == 2 and "cannot listen on 127.0.0.1" in talk and "port=N" in talk
    assert not (tmp_path / ".vault-token").exists()


class FakeSession:
    """A server that gives an address of its own liking."""

    def __init__(self, url: str) -> None:
        self.url, self.settings = url, SimpleNamespace(address="http://127.0.0.1:1")

    def use_token(self, token: str) -> None:
        assert token == ""

    def call(self, call: Any, *, aside: bool = False) -> Answer:
        return Answer(200, {"data": {"auth_url": self.url}})


@pytest.mark.parametrize("url", ["javascript:alert(1)", "file:///etc/passwd", "", "-x", "vbscript:x"])
def test_only_a_web_address_is_opened(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda one: opened.append(one) or False)
    session: Any = FakeSession(url)
    with pytest.raises(Failed, match="no address to open"):
        in_browser(session, "oidc", {"callbackmode": "device"})
    assert opened == []
    session = FakeSession("https://idp.example/")
    with pytest.raises(Failed, match="another callbackmode"):  # control: it was opened
        in_browser(session, "oidc", {"callbackmode": "device"})
    assert opened == ["https://idp.example/"]
