"""One HTTP request to the outside: what it sends, what it takes, and where it may go."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from oidc_provider import MockProvider
from outside_peer import Answer, Asked, Authority, Peer
from strongroom.errors import BadRequest, Unreachable
from strongroom.sdk.engine import run_inline
from strongroom.sdk.outside import nowhere
from strongroom.server.config import load
from strongroom.vault.config import read_config
from strongroom.vault.embedded import AsyncVault, Vault
from strongroom.vault.outside import Outside, check_hosts, public

SECRET = "hvs.canary-of-this-test"


def echo(asked: Asked) -> Answer:
    return 200, {"X-Seen": "1", "Content-Type": "text/plain"}, b"hello"


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer(echo) as peer:
        yield peer


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def outside(*allowed: str, resolve: Callable[[str, int], list[str]] | None = None) -> Outside:
    return Outside(run_inline, allowed, **({} if resolve is None else {"resolve": resolve}))


async def test_it_sends_what_it_is_told_and_nothing_of_the_environment(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    answer = await outside()("POST", f"{peer.url}/a/b?c=d%20e", headers={"Authorization": "Bearer x"}, body=b"k=v")
    assert (answer.status, answer.body, answer.headers["x-seen"]) == (200, b"hello", "1")
    (asked,) = peer.asked
    assert (asked.method, asked.path, asked.body) == ("POST", "/a/b?c=d%20e", b"k=v")
    assert asked.headers["authorization"] == "Bearer x" and asked.headers["host"] == f"127.0.0.1:{peer.port}"
    assert "cookie" not in asked.headers and "hello" not in repr(answer)


async def test_redirects_are_given_back_and_not_followed(peer: Peer) -> None:
    peer.answers = lambda asked: (302, {"Location": f"{peer.url}/elsewhere"}, b"")
    answer = await outside()("GET", f"{peer.url}/start")
    assert answer.status == 302 and answer.headers["location"].endswith("/elsewhere")
    assert [asked.path for asked in peer.asked] == ["/start"]


async def test_a_body_over_the_limit_is_refused_and_one_at_the_limit_taken(peer: Peer) -> None:
    peer.answers = lambda asked: (200, {}, b"x" * 1000)
    assert len((await outside()("GET", peer.url, limit=1000)).body) == 1000
    with pytest.raises(Unreachable, match="more than 999 bytes"):
        await outside()("GET", peer.url, limit=999)


async def test_private_certificates_need_their_ca_and_the_right_name(authority: Authority) -> None:
    with Peer(echo, tls=authority) as peer:
        assert (await outside()("GET", peer.url, ca_pem=authority.pem)).status == 200
        for other in ("", Authority().pem):
            with pytest.raises(Unreachable, match="certificate of 127.0.0.1 does not verify"):
                await outside()("GET", peer.url, ca_pem=other)
        assert len(peer.asked) == 1
    with Peer(echo, tls=authority, name="other.example") as peer:
        with pytest.raises(Unreachable, match="does not verify"):
            await outside()("GET", peer.url, ca_pem=authority.pem)
        found = outside("good.example", resolve=lambda name, port: ["127.0.0.1"])
        with pytest.raises(Unreachable, match="does not verify"):
            await found("GET", f"https://good.example:{peer.port}/", ca_pem=authority.pem)
        named = outside("other.example", resolve=lambda name, port: ["127.0.0.1"])
        assert (await named("GET", f"https://other.example:{peer.port}/", ca_pem=authority.pem)).status == 200
    with pytest.raises(Unreachable, match="not PEM"):
        await outside()("GET", "https://127.0.0.1/", ca_pem="nonsense")


PRIVATE = [
    "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%1", "fd00::1", "::ffff:127.0.0.1",
    "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:1::1", "ff02::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_that_leads_inside_is_refused_before_any_connection(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    tried: list[Any] = []
    monkeypatch.setattr(socket, "create_connection", lambda *args, **named: tried.append(args))
    with pytest.raises(Unreachable, match="may not be asked"):
        await outside(resolve=lambda name, port: [address])("GET", f"http://idp.example:{peer.port}/")
    assert tried == []


async def test_a_second_answer_of_the_resolver_leads_nowhere(peer: Peer) -> None:
    answers = iter([["127.0.0.1"]])
    asked: list[str] = []

    def resolve(name: str, port: int) -> list[str]:
        asked.append(name)
        return next(answers)

    assert (await outside("127.0.0.0/8", resolve=resolve)("GET", f"http://idp.example:{peer.port}/")).status == 200
    assert asked == ["idp.example"]  # looked up once: what was judged is what is connected to


@pytest.mark.parametrize("allowed", ["idp.example", "*.example", "IDP.example.", "127.0.0.0/8", "127.0.0.1"])
async def test_what_is_listed_may_be_asked(peer: Peer, allowed: str) -> None:
    found = outside(allowed, resolve=lambda name, port: ["127.0.0.1"])
    assert (await found("GET", f"http://idp.example:{peer.port}/")).body == b"hello"
    for name in ("example", "idp.example.org", "xidp.example2"):
        if "/" not in allowed and allowed[0] != "1":
            with pytest.raises(Unreachable, match="may not be asked"):
                await found("GET", f"http://{name}:{peer.port}/")


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f000001", "127.1", "0177.0.0.1"])
async def test_other_spellings_of_loopback_are_names(peer: Peer, host: str) -> None:
    with pytest.raises(Unreachable):
        await outside()("GET", f"http://{host}:{peer.port}/")
    assert peer.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/", "file:///etc/passwd", "http:///x", "http://u:p@127.0.0.1/", "http://127.0.0.1\\@x/", "",
        "http://127.0.0.1/a b", "http://127.0.0.1/\r\nX: y", "//127.0.0.1/", "http://127.0.0.1:99999/", "http://[::1/",
        "http://" + "a" * 9000,
    ],
)  # fmt: skip
async def test_addresses_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(Unreachable):
        await outside()("GET", url)
    with pytest.raises(Unreachable):
        await outside()("GET X", "http://127.0.0.1:1/")


def slow_server(say: bytes) -> tuple[socket.socket, threading.Event]:
    """Takes one connection, says ``say`` and then a byte every 20 ms until the event is set."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve() -> None:
        try:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(say)
                while not done.wait(0.02):
                    peer.sendall(b"a")
        except OSError:
            return

    threading.Thread(target=serve, daemon=True).start()
    return listener, done


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "say",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-Long: ",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n",
        b"\x16\x03\x03\x40\x00",
    ],
)
async def test_a_peer_that_drips_is_cut_off(scheme: str, say: bytes) -> None:
    listener, done = slow_server(say)
    try:
        begun = time.monotonic()
        with pytest.raises(Unreachable):
            await outside()("GET", f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/", seconds=0.3)
        assert time.monotonic() - begun < 3
    finally:
        done.set()
        listener.close()


async def test_errors_name_the_host_and_repeat_nothing(peer: Peer) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    tries = [
        (f"http://127.0.0.1:{port}/{SECRET}", {"x": SECRET}),
        (f"{peer.url}/", {"x": f"{SECRET}\r\nbad: 1"}),
        (f"{peer.url}/", {f"{SECRET} ": "x"}),
    ]
    for url, headers in tries:
        with pytest.raises(Unreachable) as caught:
            await outside()("GET", url, headers=headers, body=SECRET.encode())
        assert "127.0.0.1" in str(caught.value) and SECRET not in str(caught.value)
        assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert SECRET not in repr(Unreachable("x")) and peer.asked == []


def test_what_counts_as_public() -> None:
    import ipaddress

    for text in ("8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"):
        assert public(ipaddress.ip_address(text)), text
    for text in PRIVATE:
        assert not public(ipaddress.ip_address(text)), text


def test_the_setting_takes_names_suffixes_and_networks() -> None:
    config = read_config({"allowed_private_hosts": "kubernetes.default.svc, *.corp.example,10.0.0.0/8"})
    assert config.allowed_private_hosts == ("kubernetes.default.svc", "*.corp.example", "10.0.0.0/8")
    for wrong in ("*", "a b", "http://x", "*.", "x/8", "**.x", "a..b/"):
        with pytest.raises(BadRequest, match="allowed_private_hosts"):
            read_config({"allowed_private_hosts": [wrong]})
    assert check_hosts([], name="x") == ()


class Asker:
    """An engine that asks ``url``."""

    url = ""

    def __init__(self, mount: Any) -> None:
        self._mount = mount

    def routes(self) -> Any:
        from strongroom.sdk.engine import Route
        from strongroom.sdk.request import Op, Response

        async def read(call: Any, args: Any) -> Response:
            answer = await self._mount.fetch("GET", self.url)
            return Response(data={"status": answer.status})

        return (Route(pattern="ask", ops={Op.READ: read}, help="Ask."),)

    async def revoke(self, lease_private: Any) -> None:
        """Nothing."""


def test_an_engine_of_the_sync_vault_reaches_out_without_a_loop(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Asker, "url", peer.url)
    with Vault({"memory": {}}) as vault:
        vault._made.kinds.engines["asker"] = Asker  # as a built-in one: no loop thread
        made = vault.init()
        for share in made.keys[:3]:
            vault.unseal(share)
        vault.set_token(made.root_token)
        vault.write("sys/mounts/asker", {"type": "asker"})
        assert vault.read("asker/ask").data == {"status": 200}  # type: ignore[union-attr]
    assert vault._loop is None


async def test_an_engine_of_the_async_vault_reaches_out(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Asker, "url", peer.url)
    vault = AsyncVault({"memory": {}})
    vault.add_engine("asker", Asker)
    made = await vault.init()
    for share in made.keys[:3]:
        await vault.unseal(share)
    vault.set_token(made.root_token)
    await vault.write("sys/mounts/asker", {"type": "asker"})
    assert (await vault.read("asker/ask")).data == {"status": 200}  # type: ignore[union-attr]
    await vault.close()


async def test_a_vault_without_an_outside_says_so() -> None:
    with pytest.raises(Unreachable, match="reaches nothing"):
        await nowhere("GET", "http://127.0.0.1/")


def test_the_servers_setting_comes_from_file_and_environment(tmp_path: Path) -> None:
    file = tmp_path / "server.hcl"
    file.write_text(
        'storage "inmem" {}\nlistener "tcp" { tls_disable = true }\n'
        'allowed_private_hosts = ["*.corp.example", "10.0.0.0/8"]\n'
    )
    assert load([str(file)], {}).allowed_private_hosts == ("*.corp.example", "10.0.0.0/8")
    environ = {"STRONGROOM_ALLOWED_PRIVATE_HOSTS": "localhost,idp.corp.example"}
    assert load([str(file)], environ).allowed_private_hosts == ("localhost", "idp.corp.example")
    with pytest.raises(BadRequest, match="allowed_private_hosts"):
        load([str(file)], {"STRONGROOM_ALLOWED_PRIVATE_HOSTS": "http://x"})


def test_logins_by_a_providers_keys_in_the_sync_vault() -> None:
    """Discovery, a login, a rotation and a login in the browser, without an event loop."""
    with MockProvider() as provider, Vault({"memory": {}}) as vault:
        made = vault.init()
        for share in made.keys[:3]:
            vault.unseal(share)
        vault.set_token(made.root_token)
        vault.write("sys/auth/jwt", {"type": "jwt"})
        config = {"oidc_discovery_url": provider.url, "oidc_client_id": "client", "oidc_client_secret": "s3cret+"}
        vault.write("auth/jwt/config", config)
        vault.write("auth/jwt/role/r", {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault"})
        vault.write("auth/jwt/role/web", {"user_claim": "sub", "allowed_redirect_uris": "http://localhost:1/cb"})
        vault.set_token("")
        for kid in ("one", "two"):
            answer = vault.write("auth/jwt/login", {"role": "r", "jwt": provider.token()})
            assert answer.auth is not None and answer.auth.client_token
            provider.rotate("two")
        begun = vault.write("auth/jwt/oidc/auth_url", {"role": "web", "redirect_uri": "http://localhost:1/cb"})
        url = str((begun.data or {})["auth_url"])
        back = {"state": parse_qs(urlsplit(url).query)["state"][0], "code": provider.authorize(url)}
        answer = vault.read("auth/jwt/oidc/callback", back)
        assert answer is not None and answer.auth is not None and answer.auth.client_token
    assert vault._loop is None
