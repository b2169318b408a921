"""The attack chain of 2026 (GHSA-x8fg, -fg5x, -mjch, -j6wc) over HTTP: each link is cut by itself."""

import datetime
import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from certificates import Made, make
from server_fixture import Server, running_with_tls

NOW = datetime.datetime.now(datetime.UTC)
DATES: dict[str, Any] = {"since": NOW - datetime.timedelta(hours=1), "until": NOW + datetime.timedelta(hours=1)}
ROOT, FOREIGN = make("root", ca=True, **DATES), make("root", ca=True, **DATES)
SPELLINGS = [
    "ALICE",
    "%41lice",
    "al%69ce",
    "Alice",
    "alice/",
    "./alice",
    "/alice",
    "x/../alice",
    "alice%2f",
    "alice%20",
    "%EF%BD%81lice",
]


class Site:
    """The server of two workers, over TLS, and how to ask it exactly what is written."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        who: Made | None = None,
        ns: str = "",
    ) -> tuple[int, Any]:
        context = ssl.create_default_context(cafile=str(self.folder / "vault-ca.pem"))
        if who is not None:
            cert, key = self.folder / "client.pem", self.folder / "client.key"
            cert.write_text(who.pem)
            key.write_text(who.key_pem)
            context.load_cert_chain(cert, key)
        port = int(self.server.address.rpartition(":")[2])
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
        used = self.server.token if token is None else token
        headers = {"X-Vault-Token": used} if used else {}
        headers |= {"X-Vault-Namespace": ns} if ns else {}
        try:
            connection.request(method, f"/v1/{path}", None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(text) if text.strip() else None

    def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        status, answer = self.ask(method, path, body, **more)
        assert status < 300, (method, path, status, answer)
        return answer

    def policy(self, name: str, rules: dict[str, list[str]], ns: str = "") -> None:
        text = json.dumps({"path": {path: {"capabilities": words} for path, words in rules.items()}})
        self.ok("PUT", f"sys/policies/acl/{name}", {"policy": text}, ns=ns)

    def token(self, *policies: str, ns: str = "") -> str:
        return str(self.ok("POST", "auth/token/create", {"policies": policies}, ns=ns)["auth"]["client_token"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("chain")
    with running_with_tls(folder) as server:
        site = Site(server, folder)
        site.ok("POST", "sys/auth/cert", {"type": "cert"})
        site.ok("POST", "sys/auth/userpass", {"type": "userpass"})
        site.ok("POST", "auth/userpass/users/alice", {"password": "pw"})
        site.ok("POST", "auth/userpass/users/bob", {"password": "pw"})
        yield site


def test_sec_ghsa_j6wc_link_1_a_certificate_is_nobody_by_a_name_that_was_not_checked(site: Site) -> None:
    """The authority that is trusted vouches for other names, or for the right one in the wrong field."""
    role = {"certificate": ROOT.pem, "allowed_dns_sans": "operator.example", "token_policies": "operator"}
    site.ok("POST", "auth/cert/certs/operator", role)

    def login(who: Made | None) -> tuple[int, Any]:
        return site.ask("POST", "auth/cert/login", {"name": "operator"}, token="", who=who)

    for who in (
        ROOT.sign("operator.example", **DATES),  # the name as CN only
        ROOT.sign("x", sans=[x509.DNSName("operator.example.evil.test")], **DATES),
        ROOT.sign("operator.example", sans=[x509.DNSName("evil.test")], **DATES),
        FOREIGN.sign("x", sans=[x509.DNSName("operator.example")], **DATES),  # an authority of the same name
        None,
    ):
        status, answer = login(who)
        assert 400 <= status < 500 and "auth" not in answer, who
    status, answer = login(ROOT.sign("x", sans=[x509.DNSName("operator.example")], **DATES))
    assert status == 200 and answer["auth"]["token_policies"] == ["default", "operator"]


def test_sec_ghsa_j6wc_link_2_a_denied_path_has_no_other_spelling(site: Site) -> None:
    site.policy("almost", {"auth/userpass/users/*": ["read", "update"], "auth/userpass/users/alice": ["deny"]})
    token = site.token("almost")
    assert site.ask("GET", "auth/userpass/users/bob", token=token)[0] == 200
    assert site.ask("GET", "auth/userpass/users/ALICE")[0] == 200  # it does lead there, for who may
    for spelling in ("alice", *SPELLINGS):
        for method, body in (("GET", None), ("POST", {"token_policies": "root2"})):
            status, _ = site.ask(method, f"auth/userpass/users/{spelling}", body, token=token)
            assert 400 <= status < 500, (method, spelling, status)
    assert site.ok("GET", "auth/userpass/users/alice")["data"]["token_policies"] == []
    assert site.ok("LIST", "auth/userpass/users")["data"]["keys"] == ["alice", "bob"]


def test_sec_ghsa_j6wc_link_2_a_denied_secret_has_no_trailing_slash(site: Site) -> None:
    site.ok("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
    for name in ("a/b", "a/c"):
        site.ok("POST", f"kv/data/{name}", {"data": {"k": "v"}})
    site.policy("most", {"kv/*": ["read", "list"], "kv/data/a/b": ["deny"]})
    token = site.token("most")
    assert site.ask("GET", "kv/data/a/c", token=token)[0] == 200
    for path in (
        "kv/data/a/b",
        "kv/data/a/b/",
        "kv/data/a//b",
        "kv/data/a/./b",
        "kv/data/a%2fb",
        "kv/data/a/%62",
        "kv//data/a/b",
    ):
        status, _ = site.ask("GET", path, token=token)
        assert 400 <= status < 500, (path, status)


def test_sec_ghsa_j6wc_link_3_a_policy_of_one_namespace_is_none_of_another(site: Site) -> None:
    """Same name of policy, same path, in turn, so that what one left in a worker's cache meets the other."""
    tokens = {}
    for name, words in (("victim", ["read"]), ("thief", ["deny"])):
        site.ok("POST", f"sys/namespaces/{name}")
        site.ok("POST", "sys/mounts/kv", {"type": "kv"}, ns=name)
        site.ok("POST", "kv/x", {"k": name}, ns=name)
        site.policy("shared", {"kv/*": words}, ns=name)
        tokens[name] = site.token("shared", ns=name)
    for _ in range(8):  # over both workers
        assert site.ask("GET", "kv/x", token=tokens["victim"], ns="victim")[0] == 200
        assert site.ask("GET", "kv/x", token=tokens["thief"], ns="thief")[0] == 403
        assert site.ask("GET", "kv/x", token=tokens["thief"], ns="victim")[0] == 403
        assert site.ask("GET", "victim/kv/x", token=tokens["thief"])[0] == 403
        assert site.ask("GET", "kv/x", token=tokens["victim"], ns="thief")[0] == 403


def test_sec_ghsa_j6wc_link_4_nobody_brings_in_code(site: Site) -> None:
    """Not even root: what can be mounted is what is installed on the host."""
    before = site.ok("GET", "sys/plugins/catalog")["data"]
    plugin = {"sha256": "0" * 64, "command": "sh", "args": ["-c", "id"]}
    for method, path, body in (
        ("POST", "sys/plugins/catalog/secret/evil", plugin),
        ("PUT", "sys/plugins/catalog/database/postgresql-database-plugin", plugin),
        ("PUT", "sys/plugins/catalog/evil", plugin),
        ("DELETE", "sys/plugins/catalog/secret/kv", None),
        ("POST", "sys/storage/raft/snapshot-force", {"x": "y"}),
        ("POST", "sys/storage/raft/snapshot", {"x": "y"}),
        ("POST", "sys/mounts/evil", {"type": "evil"}),
        ("POST", "sys/mounts/evil", {"type": "plugin", "plugin_name": "evil"}),
        ("POST", "sys/auth/evil", {"type": "../evil"}),
    ):
        status, answer = site.ask(method, path, body)
        assert 400 <= status < 500, (method, path, status, answer)
    assert site.ok("GET", "sys/plugins/catalog")["data"] == before and "kv" in before["secret"]
    site.ok("POST", "sys/mounts/good", {"type": "kv"})
