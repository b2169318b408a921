"""The transport against small servers on loopback that answer as they are told."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.client import transport as module
from strongroom.client.messages import Call, Refused, Unreachable
from strongroom.client.settings import Settings
from strongroom.client.transport import Transport, environment_proxy, parse_address, target
from strongroom.errors import BadRequest


def make_certificate(folder: Path, name: str) -> tuple[str, str]:
    """A certificate for ``name`` that is its own authority, and its key, as files."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(cert_file), str(key_file)


def reply(status: int, body: bytes = b"{}", extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), extra, body)


class Peer:
    """Answers the n-th request with the n-th reply (the last one from then on), and keeps what it saw."""

    def __init__(self, listener: socket.socket, replies: list[bytes], tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._listener, self._replies, self._tls = listener, replies, tls
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with contextlib.suppress(OSError):
                self._serve(self._tls.wrap_socket(client, server_side=True) if self._tls else client)

    def _serve(self, client: socket.socket) -> None:
        with client:
            while raw := self._request(client):
                self.requests.append(raw)
                answer = self._replies[min(len(self.requests), len(self._replies)) - 1]
                client.sendall(answer)
                if not answer or b"broken" in answer:
                    return

    @staticmethod
    def _request(client: socket.socket) -> bytes:
        raw = b""
        while b"\r\n\r\n" not in raw:
            more = client.recv(65536)
            if not more:
                return raw
            raw += more
        head, _, body = raw.partition(b"\r\n\r\n")
        length = next(
            (int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length")), 0
        )
        while len(body) < length:
            body += client.recv(65536)
        return head + b"\r\n\r\n" + body

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


Serve = Callable[..., Peer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    peers: list[Peer] = []

    def start(*replies: bytes, tls: ssl.SSLContext | None = None, path: Path | None = None) -> Peer:
        listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET, socket.SOCK_STREAM)
        listener.bind(str(path) if path else ("127.0.0.1", 0))
        listener.listen(8)
        peers.append(Peer(listener, list(replies), tls))
        return peers[-1]

    yield start
    for peer in peers:
        peer.close()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def to(peer: Peer, **settings: object) -> Transport:
    made = Settings(address=f"http://127.0.0.1:{peer.port}", max_retries=0, timeout=5)._replace(**settings)  # type: ignore[arg-type]
    return Transport(made, pause=lambda seconds: None)


def test_headers_path_and_body(serve: Serve) -> None:
    peer = serve(reply(200, b'{"data":{"a":1}}'))
    with to(peer, token="hvs.x", namespace="/ns/", wrap_ttl="5m") as transport:
        answer = transport.call(Call("PUT", "secret/a b%?ä", {"x": 1}))
    assert answer.data == {"a": 1}
    head, _, body = peer.requests[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"PUT /v1/secret/a%20b%25%3F%C3%A4 HTTP/1.1"
    assert {b"X-Vault-Request: true", b"X-Vault-Token: hvs.x", b"X-Vault-Namespace: ns/"} <= set(lines)
    assert {b"X-Vault-Wrap-TTL: 5m", b"Content-Type: application/json"} <= set(lines)
    assert body == b'{"x":1}'


def test_a_patch_says_what_it_is(serve: Serve) -> None:
    peer = serve(reply(204, b""))
    with to(peer) as transport:
        transport.call(Call("PATCH", "a", {"x": None}))
    assert b"Content-Type: application/merge-patch+json" in peer.requests[0]


def test_one_connection_for_several_calls(serve: Serve) -> None:
    peer = serve(reply(200), reply(204, b""), reply(404, b'{"errors":[]}'))
    with to(peer) as transport:
        transport.call(Call("GET", "a"))
        transport.call(Call("GET", "b"))
        assert transport.read(Call("GET", "c")) is None
    assert peer.connections == 1


def test_an_idle_connection_is_opened_anew(serve: Serve) -> None:
    peer, clock = serve(reply(200)), [0.0]
    settings = Settings(address=f"http://127.0.0.1:{peer.port}", max_retries=0)
    with Transport(settings, now=lambda: clock[0]) as transport:
        transport.call(Call("PUT", "a", {}))
        clock[0] += module.IDLE_LIMIT + 1
        transport.call(Call("PUT", "b", {}))
    assert peer.connections == 2


@pytest.mark.parametrize(
    ("status", "requests"), [(500, 3), (502, 3), (503, 3), (412, 3), (501, 1), (400, 1), (403, 1), (429, 1)]
)
def test_what_is_tried_again(serve: Serve, status: int, requests: int) -> None:
    peer = serve(reply(status, b'{"errors":["no"]}'))
    with to(peer, max_retries=2) as transport, pytest.raises(Refused) as caught:
        transport.call(Call("GET", "a"))
    assert caught.value.code == status
    assert len(peer.requests) == requests


def test_pauses_grow_and_are_bounded(serve: Serve) -> None:
    peer, pauses = serve(reply(500)), []
    settings = Settings(address=f"http://127.0.0.1:{peer.port}", max_retries=8)
    with Transport(settings, pause=pauses.append) as transport, pytest.raises(Refused):
        transport.call(Call("GET", "a"))
    assert len(pauses) == 8
    assert pauses[0] < 0.5 and all(pause <= module.LONGEST_PAUSE * 1.25 for pause in pauses)


def test_a_second_try_may_succeed(serve: Serve) -> None:
    peer = serve(reply(503, b'{"errors":["Vault is sealed"]}'), reply(200, b'{"data":{}}'))
    with to(peer, max_retries=2) as transport:
        assert transport.call(Call("PUT", "a", {})).status == 200


def test_a_write_that_may_have_arrived_is_not_repeated(serve: Serve) -> None:
    peer = serve(b"")
    with to(peer, max_retries=2) as transport, pytest.raises(Unreachable) as caught:
        transport.call(Call("PUT", "a", {}))
    assert caught.value.kind == "broken" and len(peer.requests) == 1


def test_a_read_is_repeated(serve: Serve) -> None:
    peer = serve(b"", reply(200))
    with to(peer, max_retries=1) as transport:
        assert transport.call(Call("GET", "a")).status == 200


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(Unreachable, match="nothing listens") as caught:
        Transport(Settings(address=address, max_retries=0)).call(Call("GET", "a"))
    assert caught.value.kind == "refused"


def test_no_answer_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = Settings(address=f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.05, max_retries=0)
        with pytest.raises(Unreachable, match="in time"):
            Transport(settings).call(Call("GET", "a"))


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n{broken",
        b"HTTP/1.1 200 X\r\n" + b"X: y\r\n" * 200 + b"\r\nbroken",
    ],
)
def test_broken_answers(serve: Serve, answer: bytes) -> None:
    with (
        to(serve(answer + b"" if b"broken" in answer else answer + b"broken")) as transport,
        pytest.raises(Unreachable),
    ):
        transport.call(Call("GET", "a"))


def test_sec_an_endless_answer_is_cut(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER", 1000)
    with to(serve(reply(200, b"x" * 1001))) as transport, pytest.raises(Unreachable, match="longer than"):
        transport.call(Call("GET", "a"))
    with to(serve(reply(200, b"x" * 1000))) as transport:
        assert len(transport.call(Call("GET", "a")).raw) == 1000


def test_one_redirect_is_followed(serve: Serve) -> None:
    second = serve(reply(200, b'{"data":{"from":"second"}}'))
    place = b"Location: http://127.0.0.1:%d/v1/b?x=1\r\n" % second.port
    first = serve(reply(307, b"", place))
    with to(first) as transport:
        assert transport.call(Call("PUT", "a", {"k": "v"})).data == {"from": "second"}
    assert second.requests[0].startswith(b"PUT /v1/b?x=1 ") and second.requests[0].endswith(b'{"k":"v"}')


def test_a_second_redirect_is_not(serve: Serve) -> None:
    second = serve(reply(307, b"", b"Location: http://127.0.0.1:1/\r\n"))
    first = serve(reply(307, b"", b"Location: http://127.0.0.1:%d/\r\n" % second.port))
    with to(first) as transport:
        assert transport.call(Call("GET", "a")).status == 307


@pytest.mark.parametrize("place", [b"https://127.0.0.1/", b"ftp://x/", b"http://[bad/"])
def test_sec_a_token_goes_to_no_other_scheme(serve: Serve, place: bytes) -> None:
    with to(serve(reply(307, b"", b"Location: %s\r\n" % place)), token="t") as transport, pytest.raises(Unreachable):
        transport.call(Call("GET", "a"))


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a\n", "tokén", "a\x00b"])
def test_sec_a_token_cannot_make_headers(token: str) -> None:
    with pytest.raises(BadRequest) as caught:
        Transport(Settings(address="http://127.0.0.1:1", token=token)).call(Call("GET", "a"))
    assert token not in str(caught.value)


def test_unix_sockets(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "s"
    peer = serve(reply(200, b'{"data":{"a":1}}'), path=path)
    with Transport(Settings(address=f"unix://{path}", max_retries=0)) as transport:
        assert transport.call(Call("GET", "a")).data == {"a": 1}
    assert peer.requests[0].startswith(b"GET /v1/a ")
    with pytest.raises(Unreachable, match="nothing listens"):
        Transport(Settings(address=f"unix://{path}x", max_retries=0)).call(Call("GET", "a"))


def test_a_proxy_gets_the_whole_url(serve: Serve) -> None:
    proxy = serve(reply(200))
    settings = Settings(address="http://vault.example:8200", proxy=f"127.0.0.1:{proxy.port}", max_retries=0)
    with Transport(settings) as transport:
        transport.call(Call("GET", "a"))
    assert proxy.requests[0].startswith(b"GET http://vault.example:8200/v1/a ")
    assert b"Host: vault.example:8200" in proxy.requests[0]


def test_a_proxy_tunnels_tls(serve: Serve) -> None:
    proxy = serve(reply(403, b""))
    settings = Settings(address="https://vault.example:8200", proxy=f"http://127.0.0.1:{proxy.port}", max_retries=0)
    with Transport(settings) as transport, pytest.raises(Unreachable):
        transport.call(Call("GET", "a"))
    assert proxy.requests[0].startswith(b"CONNECT vault.example:8200 ")


def test_proxies_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    address = parse_address("http://vault.example")
    assert environment_proxy(address) is None
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    found = environment_proxy(address)
    assert found is not None and found.authority == "proxy.example:3128"
    assert environment_proxy(parse_address("http://127.0.0.1:8200")) is None
    monkeypatch.setenv("no_proxy", ".example")
    assert environment_proxy(address) is None


def test_tls(serve: Serve, tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, "vault.example")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    peer = serve(reply(200, b'{"data":{"a":1}}'), tls=tls)
    base = Settings(address=f"https://127.0.0.1:{peer.port}", max_retries=0, timeout=5)
    good = [
        base._replace(ca_cert=cert, tls_server_name="vault.example"),
        base._replace(ca_bytes=Path(cert).read_text(), tls_server_name="vault.example"),
        base._replace(ca_path=str(tmp_path), tls_server_name="vault.example"),
        base._replace(skip_verify=True),
    ]
    for settings in good:
        with Transport(settings) as transport:
            assert transport.call(Call("GET", "a")).data == {"a": 1}
    for settings in (base, base._replace(ca_cert=cert), base._replace(tls_server_name="vault.example")):
        with Transport(settings) as transport, pytest.raises(Unreachable, match="not trusted") as caught:
            transport.call(Call("GET", "a"))
        assert caught.value.kind == "tls"


def test_a_plain_server_behind_https() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        address = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with Transport(Settings(address=address, max_retries=0, timeout=5)) as transport:
            with pytest.raises(Unreachable) as caught:
                transport.call(Call("GET", "a"))
        thread.join(5)
    assert caught.value.kind == "plain"


@pytest.mark.parametrize(
    "settings",
    [
        Settings(ca_cert="/nowhere"),
        Settings(ca_path="/nowhere"),
        Settings(ca_bytes="no pem"),
        Settings(client_cert="/nowhere", client_key="/nowhere"),
        Settings(client_cert="/only"),
    ],
)
def test_wrong_tls_settings(settings: Settings) -> None:
    with pytest.raises(BadRequest):
        module.tls_context(settings)


@pytest.mark.parametrize(
    "text", ["", "127.0.0.1:8200", "ftp://x", "http://", "unix://", "http://a:b@c", "http://h:99999", "http://h:x"]
)
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://h", "http://h"),
        ("https://h:8200/", "https://h:8200"),
        ("http://[::1]:8200", "http://[::1]:8200"),
        ("https://h/vault/", "https://h/vault"),
        ("unix:///run/s", "unix:///run/s"),
    ],
)
def test_addresses(text: str, url: str) -> None:
    assert parse_address(text).url == url


def test_targets() -> None:
    assert target("/vault", Call("GET", "/a/../b", query={"list": "true"})) == "/vault/v1/a/../b?list=true"
