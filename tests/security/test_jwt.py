"""Regression tests of the threat rows about tokens that others signed, over HTTP against a real server."""

import itertools
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from oidc_provider import MockProvider, b64, hmac_signed, pem, public, rsa_key, signed
from outside_peer import Answer, Asked, Peer
from server_fixture import Server, running
from strongroom.errors import Unreachable
from strongroom.sdk.engine import run_inline
from strongroom.vault.outside import Outside

SECRET = "s3cret+"


@pytest.fixture(scope="module")
def provider() -> Iterator[MockProvider]:
    with MockProvider() as one:
        yield one


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, provider: MockProvider) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("jwt"), workers=2) as one:
        must(one, "sys/auth/jwt", {"type": "jwt"})
        must(
            one,
            "auth/jwt/config",
            {"oidc_discovery_url": provider.url, "oidc_client_id": "client", "oidc_client_secret": SECRET},
        )
        must(one, "auth/jwt/role/r", {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault"})
        yield one


def must(server: Server, path: str, data: dict[str, Any]) -> Any:
    status, body = server.call("POST", path, data)
    assert status in (200, 204), body
    return body


def login(server: Server, token: str, role: str = "r") -> tuple[int, Any]:
    return server.call("POST", "auth/jwt/login", {"role": role, "jwt": token}, token="")


def tokens(server: Server) -> int:
    return len(server.call("LIST", "auth/token/accessors")[1]["data"]["keys"])


def refused(server: Server, token: str, role: str = "r") -> None:
    """Refused in the words of every refusal, and no token was left behind."""
    before = tokens(server)
    status, body = login(server, token, role)
    assert (status, body) == (400, {"errors": ["invalid role or token"]})
    assert tokens(server) == before


AUD = {
    "absent": None,
    "empty": "",
    "text": "a",
    "list": ["x", "a"],
    "nothing": [],
    "null": "null",
    "number": 7,
    "nested": [["a"]],
}
BOUND = {"unset": [], "one": ["a"], "two": ["b", "a"]}
PASS = {("absent", "unset"), *itertools.product(("text", "list"), ("one", "two"))}


@pytest.mark.parametrize(("shape", "bound"), list(itertools.product(AUD, BOUND)))
def test_sec_cve_2024_5798_only_an_audience_that_both_name_passes(
    server: Server, provider: MockProvider, shape: str, bound: str
) -> None:
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": BOUND[bound], "bound_subject": "alice"}
    must(server, "auth/jwt/role/aud", role)
    claims = {"iss": provider.url, "sub": "alice", "iat": int(provider.now()), "aud": AUD[shape]}
    if shape == "absent":
        del claims["aud"]
    if shape == "null":
        claims["aud"] = None
    token = signed(provider.key, claims)
    if (shape, bound) in PASS:
        assert login(server, token, "aud")[0] == 200
    else:
        refused(server, token, "aud")


def forgeries(provider: MockProvider) -> dict[str, str]:
    """What an attacker can make without the provider's key."""
    claims = {"iss": provider.url, "sub": "admin", "aud": "vault", "iat": int(provider.now())}
    body = b64(json.dumps(claims).encode())
    mine = rsa_key("mine", 5)

    def unsigned(header: dict[str, Any], signature: str = "") -> str:
        return f"{b64(json.dumps(header).encode())}.{body}.{signature}"

    def hmac(secret: bytes, **header: Any) -> str:
        return hmac_signed(secret, claims, **header)

    der = json.dumps(public(provider.key)).encode()
    lured = f"{provider.url}/evil"
    return {
        "none": unsigned({"alg": "none"}), "None": unsigned({"alg": "None"}, "AA"),
        "no alg": unsigned({"typ": "JWT"}, "AA"),
        "none, kid": unsigned({"alg": "none", "kid": "one"}, "AAAA"), "alg list": unsigned({"alg": ["RS256"]}, "AAAA"),
        "HS256 client secret": hmac(SECRET.encode()), "HS256 client secret, kid": hmac(SECRET.encode(), kid="one"),
        "HS256 JWK": hmac(der, kid="one"), "HS256 modulus": hmac(public(provider.key)["n"].encode(), kid="one"),
        "jwk": signed(mine, claims, jwk=public(mine)),
        "jwk, known kid": signed(mine, claims, jwk=public(mine), kid="one"),
        "jku": signed(mine, claims, jku=lured, kid="one"), "x5u": signed(mine, claims, x5u=lured, kid="one"),
        "x5c": signed(mine, claims, x5c=["AAAA"], kid="one"), "kid path": signed(mine, claims, kid="../../dev/null"),
        "kid url": signed(mine, claims, kid=lured), "kid number": unsigned({"alg": "RS256", "kid": 1}, "AAAA"),
    }  # fmt: skip


def test_sec_cve_2026_33322_a_header_brings_no_key_and_no_algorithm(server: Server, provider: MockProvider) -> None:
    assert login(server, provider.token())[0] == 200  # control
    for name, token in forgeries(provider).items():
        refused(server, token)
        assert provider.asked("/evil") == 0, name


def test_sec_cve_2026_33322_the_public_key_is_no_hmac_secret(server: Server, provider: MockProvider) -> None:
    key = rsa_key("", 2)
    must(server, "sys/auth/static", {"type": "jwt"})
    must(server, "auth/static/config", {"jwt_validation_pubkeys": [pem(key)]})
    must(server, "auth/static/role/r", {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault"})
    claims = {"sub": "admin", "aud": "vault", "iat": int(provider.now())}
    for secret in (pem(key), pem(key).strip(), pem(key) + "\n"):
        for bits in (256, 384, 512):
            token = hmac_signed(secret.encode(), claims, bits)
            assert server.call("POST", "auth/static/login", {"role": "r", "jwt": token}, token="")[0] == 400
    good = {"role": "r", "jwt": signed(key, claims)}
    assert server.call("POST", "auth/static/login", good, token="")[0] == 200  # control


def test_sec_cve_2026_33322_crit_is_refused_with_the_right_signature_too(
    server: Server, provider: MockProvider
) -> None:
    claims = {"iss": provider.url, "sub": "alice", "aud": "vault", "iat": int(provider.now())}
    head, body, _ = signed(provider.key, claims).split(".")
    for extra in ({"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": ["b64"], "b64": False}, {"b64": True}):
        header = b64(json.dumps({"alg": "RS256", "kid": "one", **extra}).encode())
        private: Any = provider.key.private_key
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        signature = private.sign(f"{header}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
        refused(server, f"{header}.{body}.{b64(signature)}")
        assert head != header


def test_sec_conjse_1920_a_token_without_an_issuer_is_refused(server: Server, provider: MockProvider) -> None:
    for iss in (None, "", "https://other.example", f"{provider.url}/", [provider.url]):
        refused(server, provider.token(iss=iss))
    assert login(server, provider.token())[0] == 200  # control


async def test_sec_ghsa_m479_the_address_is_judged_when_it_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    real, tried = socket.create_connection, list[str]()

    def connect(address: tuple[str, int], *args: Any, **named: Any) -> socket.socket:
        tried.append(address[0])
        if address[0] != "127.0.0.1":
            raise OSError("no route in a test")
        return real(address, *args, **named)

    monkeypatch.setattr(socket, "create_connection", connect)
    with Peer(lambda asked: (200, {}, b"inside")) as inside:
        answers = iter([["8.8.8.8"], ["127.0.0.1"], ["8.8.4.4", "127.0.0.1"]])
        rebinding = Outside(run_inline, resolve=lambda name, port: next(answers))
        for why in ("no connection", "may not be asked", "no connection"):
            with pytest.raises(Unreachable, match=why):
                await rebinding("GET", f"http://idp.example:{inside.port}/")
        assert tried == ["8.8.8.8", "8.8.4.4"] and inside.asked == []
        listed = Outside(run_inline, ["idp.example"], resolve=lambda name, port: ["127.0.0.1"])
        assert (await listed("GET", f"http://idp.example:{inside.port}/")).body == b"inside"  # control


def test_sec_ghsa_m479_a_configured_name_that_leads_inside_is_refused(
    server: Server, provider: MockProvider, tmp_path: Path
) -> None:
    port = provider.peer.port
    must(server, "sys/auth/inside", {"type": "jwt"})
    before = len(provider.peer.asked)
    for url in (f"http://localhost:{port}", f"http://127.1:{port}", f"http://2130706433:{port}"):
        status, body = server.call("POST", "auth/inside/config", {"oidc_discovery_url": url})
        assert status == 400 and "error checking oidc discovery URL" in body["errors"][0]
        assert server.call("POST", "auth/inside/config", {"jwks_url": f"{url}/keys"})[0] == 400
    assert len(provider.peer.asked) == before
    with running(tmp_path, allowed_private_hosts=["localhost"]) as listed:  # control
        must(listed, "sys/auth/inside", {"type": "jwt"})
        must(listed, "auth/inside/config", {"jwks_url": f"http://localhost:{port}/keys"})


def test_sec_ghsa_m479_a_provider_names_no_inner_address(server: Server) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.path == "/.well-known/openid-configuration":
            found = {"issuer": evil.url, "jwks_uri": target["url"]}
            return 200, {}, json.dumps(found).encode()
        return 302, {"Location": "http://127.0.0.1:1/keys"}, b""

    target: dict[str, str] = {}
    must(server, "sys/auth/evil", {"type": "jwt"})
    with Peer(answer) as evil:
        for url in (
            "http://169.254.169.254/latest",
            "http://10.0.0.1/keys",
            "http://[::1]/keys",
            f"{evil.url}/redirect",
        ):
            target["url"] = url
            status, body = server.call("POST", "auth/evil/config", {"oidc_discovery_url": evil.url})
            assert status == 400 and "error checking" in body["errors"][0], url


def test_sec_cve_2026_46405_no_refused_login_leaves_a_token(server: Server, provider: MockProvider) -> None:
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault", "token_bound_cidrs": "192.0.2.0/24"}
    must(server, "auth/jwt/role/elsewhere", role)
    before = tokens(server)
    assert login(server, provider.token(), "elsewhere")[0] == 403
    for token in (provider.token(exp=1), provider.token(sub=None), "x.y.z"):
        assert login(server, token)[0] == 400
    assert tokens(server) == before
    assert login(server, provider.token())[0] == 200  # control
    assert tokens(server) == before + 1


def test_made_up_key_ids_reach_two_workers_and_the_provider_once(server: Server, provider: MockProvider) -> None:
    """Whatever worker they come to: at most one question in five seconds, and a real rotation goes through."""
    must(server, "sys/auth/busy", {"type": "jwt"})
    must(server, "auth/busy/config", {"jwks_url": f"{provider.url}/keys"})
    must(server, "auth/busy/role/r", {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault"})
    claims = {"sub": "x", "aud": "vault", "iat": int(provider.now())}
    bodies = [{"role": "r", "jwt": signed(rsa_key(f"k{n}", 5), claims)} for n in range(40)]
    good = {"role": "r", "jwt": provider.token()}
    before, begun = provider.asked("/keys"), time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda body: server.call("POST", "auth/busy/login", body, token="")[0], bodies))
    assert set(found) == {400}
    assert provider.asked("/keys") - before <= 1 + (time.monotonic() - begun) // 5
    assert provider.asked("/keys") > before  # control: they were a reason to ask
    assert server.call("POST", "auth/busy/login", good, token="")[0] == 200


def test_groups_that_a_token_proves_give_their_policies_and_lose_them(server: Server, provider: MockProvider) -> None:
    role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault", "groups_claim": "groups"}
    must(server, "auth/jwt/role/groups", role)
    accessor = server.call("GET", "sys/auth")[1]["data"]["jwt/"]["accessor"]
    group = must(server, "identity/group", {"name": "ops-group", "type": "external", "policies": "ops-policy"})["data"][
        "id"
    ]
    must(server, "identity/group-alias", {"name": "ops", "mount_accessor": accessor, "canonical_id": group})

    def policies(groups: list[str]) -> list[str]:
        status, body = login(server, provider.token(sub="member", groups=groups), "groups")
        assert status == 200, body
        status, body = server.call("GET", "auth/token/lookup-self", token=body["auth"]["client_token"])
        assert status == 200, body
        return list(body["data"].get("identity_policies") or [])

    assert policies(["ops", "unknown"]) == ["ops-policy"]
    assert policies(["unknown"]) == []


def test_the_clients_secret_is_nowhere(server: Server) -> None:
    status, body = server.call("GET", "auth/jwt/config")
    assert status == 200 and SECRET not in json.dumps(body) and "oidc_client_secret" not in body["data"]
