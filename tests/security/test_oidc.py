"""Regression tests of the threat rows about logins in a browser, over HTTP against a real server with two workers."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from oidc_provider import MockProvider
from server_fixture import Server, running

CLI = "http://localhost:8250/oidc/callback"


@pytest.fixture(scope="module")
def provider() -> Iterator[MockProvider]:
    with MockProvider() as one:
        yield one


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, provider: MockProvider) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("oidc"), workers=2) as one:
        must(one, "sys/auth/oidc", {"type": "oidc"})
        config = {"oidc_discovery_url": provider.url, "oidc_client_id": "client", "oidc_client_secret": "s3cret+"}
        must(one, "auth/oidc/config", config)
        must(one, "auth/oidc/role/cli", {"user_claim": "sub", "allowed_redirect_uris": [CLI, "https://app.example/cb"]})
        here = f"{one.address}/v1/auth/oidc/oidc/callback"
        role = {"user_claim": "sub", "allowed_redirect_uris": here, "callback_mode": "direct"}
        must(one, "auth/oidc/role/direct", role)
        yield one


def must(server: Server, path: str, data: dict[str, Any]) -> Any:
    status, body = server.call("POST", path, data)
    assert status in (200, 204), body
    return body


def begin(server: Server, **fields: Any) -> tuple[int, Any]:
    return server.call("POST", "auth/oidc/oidc/auth_url", fields, token="")


def begin_direct(server: Server, nonce: str = "starter") -> dict[str, Any]:
    here = f"{server.address}/v1/auth/oidc/oidc/callback"
    status, body = begin(server, role="direct", redirect_uri=here, client_nonce=nonce)
    assert status == 200, body
    return dict(body["data"])


def poll(server: Server, state: str, nonce: str = "starter") -> tuple[int, Any]:
    return server.call("POST", "auth/oidc/oidc/poll", {"state": state, "client_nonce": nonce}, token="")


def browse(
    server: Server, fields: Mapping[str, str], *, post: bool = False, **headers: str
) -> tuple[int, Mapping[str, str], str]:
    """What a browser gets at the callback."""
    url, form = f"{server.address}/v1/auth/oidc/oidc/callback", urlencode(fields)
    request = urllib.request.Request(url, data=form.encode()) if post else urllib.request.Request(f"{url}?{form}")
    for name, value in headers.items():
        request.add_header(name.replace("_", "-"), value)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read().decode()


def tokens(server: Server) -> int:
    return len(server.call("LIST", "auth/token/accessors")[1]["data"]["keys"])


def test_sec_cve_2026_33757_the_victims_visit_alone_mints_nothing(server: Server, provider: MockProvider) -> None:
    """The attacker starts, the victim's browser is led through the provider: a page asks, and no token comes of it."""
    made = begin_direct(server)
    before, asked = tokens(server), provider.asked("/token")
    code = provider.authorize(made["auth_url"])
    for _ in range(2):
        status, headers, text = browse(server, {"state": made["state"], "code": code})
        assert status == 200 and "I started this login" in text and "127.0.0.1" in text
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"] and headers["X-Frame-Options"] == "DENY"
        assert poll(server, made["state"]) == (400, {"errors": ["authorization_pending"]})
    # What the attacker knows does not confirm: the state, a code of their own, a guess.
    for fields in ({"confirmation": "x"}, {"confirmation": made["state"]}, {"confirmation": code}, {}):
        browse(server, {"state": made["state"], **fields}, post=True)
        assert poll(server, made["state"])[0] == 400
    assert tokens(server) == before and provider.asked("/token") == asked
    confirmation = re.search(r'name="confirmation" value="([^"]+)"', text)
    assert confirmation is not None
    assert poll(server, made["state"], "victim")[0] == 400
    status, _, text = browse(server, {"state": made["state"], "confirmation": confirmation[1]}, post=True)
    assert status == 200 and "Logged in" in text and tokens(server) == before  # control
    status, body = poll(server, made["state"])
    assert status == 200 and body["auth"]["client_token"] and tokens(server) == before + 1
    assert poll(server, made["state"])[0] == 400  # once


def test_sec_cve_2026_33757_state_nonce_and_pkce_bind_the_login(server: Server, provider: MockProvider) -> None:
    urls = [begin(server, role="cli", redirect_uri=CLI, client_nonce="n")[1]["data"]["auth_url"] for _ in range(3)]
    states = [parse_qs(urlsplit(url).query)["state"][0] for url in urls]
    codes = [provider.authorize(url) for url in urls]
    before = tokens(server)

    def callback(state: str, code: str, nonce: str = "n") -> int:
        fields = urlencode({"state": state, "code": code, "client_nonce": nonce})
        return server.call("GET", f"auth/oidc/oidc/callback?{fields}", token="")[0]

    assert callback(states[0], codes[0], "other") == 400
    assert callback(states[0], codes[1]) == 400  # another login's code
    assert callback(states[0], codes[0]) == 400  # and the state is spent
    assert callback("st_" + states[1][3:], "made up") == 400
    assert tokens(server) == before
    assert callback(states[2], codes[2]) == 200  # control
    assert tokens(server) == before + 1


def test_sec_cve_2026_33758_what_a_provider_says_is_never_shown(server: Server) -> None:
    evil = '<svg onload="alert(1)">'
    for path in ({"state": ""}, {"state": begin_direct(server)["state"]}, {"state": evil}):
        for post in (False, True):
            fields = {**path, "error": evil, "error_description": evil, "error_uri": f"javascript:{evil}"}
            status, headers, text = browse(server, fields, post=post)
            assert status == 400 and "svg" not in text and "onload" not in text
            if headers["Content-Type"].startswith("text/html"):
                assert "default-src 'none'" in headers["Content-Security-Policy"]
            else:
                assert headers["Content-Type"] == "application/json"
    made = begin_direct(server)
    status, _, text = browse(server, {"state": made["state"], "code": evil})  # control: a page there is
    assert status == 200 and "I started this login" in text and "svg" not in text


VARIANTS = [
    "https://app.example/cb/", "https://app.example/cb?x", "https://app.example/cb#x", "https://app.example.evil/cb",
    "https://app.example@evil.example/cb", "https://evil@app.example/cb", "https://app.example\\@evil.example/cb",
    "https://app.example\\.evil.example/cb", "https://app.example/cb\r\nLocation: https://evil", "//app.example/cb",
    "https://app.example/cb%0d%0aX: y", "https://app.example/cb/..", "https://app.example//cb", "http://app.example/cb",
    "https://evil.example/?https://app.example/cb", "HTTPS://app.example/cb", "https://app.example:444/cb", "",
    "http://localhost:8250@evil.example/oidc/callback", "http://localhost.evil.example:8250/oidc/callback",
    "http://127.0.0.1:8250/oidc/callback", "javascript:alert(1)//app.example/cb", "https://app.example/cb ",
]  # fmt: skip


@pytest.mark.parametrize("uri", VARIANTS)
def test_sec_ghsa_9pjf_a_browser_is_sent_nowhere_else(server: Server, uri: str) -> None:
    status, body = begin(server, role="cli", redirect_uri=uri)
    assert (status, body) == (400, {"errors": ["unauthorized redirect_uri"]})


def test_sec_ghsa_9pjf_no_header_of_the_request_makes_an_address(server: Server, provider: MockProvider) -> None:
    lies = {
        "Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "javascript",
        "Forwarded": "host=evil.example", "Origin": "https://evil.example", "Referer": "https://evil.example/",
    }  # fmt: skip
    for uri in (CLI, "https://app.example/cb", "http://localhost:1/oidc/callback"):
        body = json.dumps({"role": "cli", "redirect_uri": uri}).encode()
        request = urllib.request.Request(f"{server.address}/v1/auth/oidc/oidc/auth_url", data=body, headers=lies)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read().decode()
        url = json.loads(text)["data"]["auth_url"]
        assert "evil" not in text and url.startswith(f"{provider.url}/authorize?")
        assert parse_qs(urlsplit(url).query)["redirect_uri"] == [uri]  # control
    made = begin_direct(server)
    code = provider.authorize(made["auth_url"])
    _, headers, page = browse(server, {"state": made["state"], "code": code}, X_Forwarded_Host="evil.example")
    assert "evil" not in page and "Location" not in headers
