"""Logins through a browser against a provider that runs the code, PKCE and device flows for real."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from contracts.login_harness import Clock, Door
from oidc_provider import MockProvider
from strongroom.auth.jwt import Jwt
from strongroom.auth.jwt.flows import LIFE
from strongroom.auth.jwt.redirect import allowed, check_redirects, without_namespace
from strongroom.errors import BadRequest, Unreachable
from strongroom.sdk.engine import run_inline
from strongroom.sdk.request import Auth, Op, Response
from strongroom.vault.outside import Outside

CLI = "http://localhost:8250/oidc/callback"
HERE = "https://vault.example/v1/auth/oidc/oidc/callback"
CONFIG = {"oidc_client_id": "client", "oidc_client_secret": "s3cret+"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(clock: Clock) -> Iterator[MockProvider]:
    with MockProvider(now=clock) as one:
        yield one


async def ready(provider: MockProvider, clock: Clock, role: dict[str, Any] | None = None, **config: Any) -> Door:
    door = Door(Jwt, kind="oidc", fetch=Outside(run_inline))
    door.clock = clock
    fields = {name: getattr(door.mount, name) for name in door.mount.__struct_fields__}
    door.mount = type(door.mount)(**{**fields, "now": clock})
    door.restart()
    await door.write("config", {"oidc_discovery_url": provider.url, **CONFIG, **config})
    await door.write("role/r", {"user_claim": "sub", "allowed_redirect_uris": [CLI, HERE], **(role or {})})
    return door


async def begin(door: Door, **more: Any) -> dict[str, Any]:
    response = await door.write("oidc/auth_url", {"role": "r", "redirect_uri": CLI, "client_nonce": "n", **more})
    return dict(response.data or {})


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


async def callback(door: Door, **fields: Any) -> Response:
    return await door.call(Op.READ, "oidc/callback", {"client_nonce": "n", **fields})


async def whole(door: Door, provider: MockProvider) -> Auth:
    url = (await begin(door))["auth_url"]
    response = await callback(door, state=query(url)["state"], code=provider.authorize(url))
    assert response.auth is not None
    return response.auth


# -- client mode


async def test_the_address_binds_state_nonce_and_pkce(provider: MockProvider, clock: Clock) -> None:
    door = await ready(provider, clock, {"oidc_scopes": "profile,openid", "max_age": 60})
    made = [await begin(door) for _ in range(2)]
    assert set(made[0]) == {"auth_url"}
    one, two = (query(made[n]["auth_url"]) for n in range(2))
    assert made[0]["auth_url"].startswith(f"{provider.url}/authorize?")
    assert (one["client_id"], one["redirect_uri"], one["response_type"]) == ("client", CLI, "code")
    assert (one["scope"], one["code_challenge_method"], one["max_age"]) == ("openid profile", "S256", "60")
    for name in ("state", "nonce", "code_challenge"):
        assert one[name] != two[name] and len(one[name]) >= 43
    kept = str(await door.entries())
    assert one["state"] not in kept and "s3cret" not in made[0]["auth_url"]


async def test_a_login_with_a_code(provider: MockProvider, clock: Clock) -> None:
    door = await ready(provider, clock, {"token_policies": "p", "groups_claim": "groups"})
    provider.claims = {"groups": ["ops"]}
    auth = await whole(door, provider)
    assert (auth.alias, auth.policies, auth.group_aliases) == ("alice", ("p",), ("ops",))
    assert auth.metadata == {"role": "r"}
    assert (await door.engine.renew(auth)).ttl == 0
    flows = [key for key in await door.entries() if key.startswith("flow/")]
    assert flows == []


async def test_any_process_can_serve_the_callback(provider: MockProvider, clock: Clock) -> None:
    door = await ready(provider, clock)
    url = (await begin(door))["auth_url"]
    door.restart()
    assert (await callback(door, state=query(url)["state"], code=provider.authorize(url))).auth is not None


async def test_a_state_counts_once_and_not_for_ever(provider: MockProvider, clock: Clock) -> None:
    door = await ready(provider, clock)
    url = (await begin(door))["auth_url"]
    state, code = query(url)["state"], provider.authorize(url)
    tries = await asyncio.gather(*(callback(door, state=state, code=code) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(one, Response) for one in tries) == 1
    assert provider.asked("/token") == 1
    url = (await begin(door))["auth_url"]
    clock.tick(LIFE)
    with pytest.raises(BadRequest, match="expired or missing"):
        await callback(door, state=query(url)["state"], code=provider.authorize(url))
    await begin(door)
    assert len([key for key in await door.entries() if key.startswith("flow/")]) == 1  # what ended was swept


@pytest.mark.parametrize("state", ["", "st_", "st_0000000000_" + "A" * 43, "../config", "st_ffffffffff_" + "A" * 43])
async def test_states_that_nobody_gave_out(provider: MockProvider, clock: Clock, state: str) -> None:
    door = await ready(provider, clock)
    for path in ("oidc/callback", "oidc/poll"):
        with pytest.raises(BadRequest, match="expired or missing"):
            await door.write(path, {"state": state, "code": "c"})


async def test_the_nonce_of_the_client_binds_the_callback(provider: MockProvider, clock: Clock) -> None:
    door = await ready(provider, clock)
    url = (await begin(door))["auth_url"]
    state, code = query(url)["state"], provider.authorize(url)
    for wrong in ("", "x", "N"):
        with pytest.raises(BadRequest, match="client_nonce"):
            await callback(door, state=state, code=code, client_nonce=wrong)
    assert (await callback(door, state=state, code=code)).auth is not None
    url = (await begin(door, client_nonce=""))["auth_url"]  # hvac gives none
    assert (await callback(door, state=query(url)["state"], code=provider.authorize(url), client_nonce="")).auth


async def test_a_code_of_another_login_is_refused(provider: MockProvider, clock: Clock) -> None:
    """PKCE: the attacker's code in the victim's login, and the other way round."""
    door = await ready(provider, clock)
    mine, theirs = (await begin(door))["auth_url"], (await begin(door))["auth_url"]
    with pytest.raises(BadRequest, match="refused"):
        await callback(door, state=query(theirs)["state"], code=provider.authorize(mine))


BAD = [
    {"nonce": "other"}, {"nonce": None}, {"nonce": 5}, {"aud": "somebody"}, {"aud": ["x"]}, {"aud": None},
    {"exp": None},
    {"iat": None}, {"aud": ["client", "x"], "azp": "x"},
    {"iss": "https://other"}, {"exp": 1}, {"sub": None}, {"sub": ""},
]  # fmt: skip


@pytest.mark.parametrize("claims", BAD)
async def test_an_id_token_that_is_not_for_this_login(provider: MockProvider, clock: Clock, claims: Any) -> None:
    door = await ready(provider, clock)
    provider.claims = claims
    with pytest.raises(BadRequest, match="^the login was refused$"):
        await whole(door, provider)
    provider.claims = {"aud": ["client", "x"], "azp": "client"}
    await whole(door, provider)


async def test_the_rules_of_the_role_hold_in_the_browser_too(provider: MockProvider, clock: Clock) -> None:
    rules = {"bound_audiences": "client", "bound_subject": "alice", "bound_claims": {"team": "a"}, "max_age": 100}
    door = await ready(provider, clock, rules)
    good = {"team": "a", "auth_time": int(clock()) - 150}
    provider.claims = good
    await whole(door, provider)
    for wrong in ({"team": "b"}, {"sub": "bob"}, {"auth_time": int(clock()) - 161}, {"auth_time": None}):
        provider.claims = {**good, **wrong}
        with pytest.raises(BadRequest, match="refused"):
            await whole(door, provider)
    await door.write("role/r", {"verbose_oidc_logging": True})
    provider.claims = {**good, "team": "b"}
    with pytest.raises(BadRequest, match="refused: a bound claim has another value"):
        await whole(door, provider)


async def test_userinfo_adds_claims_and_changes_none_that_matter(provider: MockProvider, clock: Clock) -> None:
    provider.userinfo = {"sub": "alice", "groups": ["ops"], "iss": "evil", "aud": "evil", "exp": 1}
    door = await ready(provider, clock, {"groups_claim": "groups"})
    assert (await whole(door, provider)).group_aliases == ("ops",)
    provider.userinfo = {"sub": "bob", "groups": ["ops"]}
    with pytest.raises(BadRequest, match="refused"):
        await whole(door, provider)


@pytest.mark.parametrize("methods", [None, ["client_secret_basic", "client_secret_post"], ["client_secret_post"]])
async def test_the_secret_goes_where_the_provider_wants_it(provider: MockProvider, clock: Clock, methods: Any) -> None:
    if methods:
        provider.document = {"token_endpoint_auth_methods_supported": methods}
    door = await ready(provider, clock)
    await whole(door, provider)
    (asked,) = (one for one in provider.peer.asked if one.path == "/token")
    in_body = b"client_secret" in asked.body
    assert in_body == (methods == ["client_secret_post"]) and in_body != ("authorization" in asked.headers)
    await door.write("config", {"oidc_discovery_url": provider.url, **CONFIG, "oidc_client_secret": "wrong"})
    with pytest.raises(BadRequest, match="refused"):
        await whole(door, provider)


async def test_a_login_does_not_outlive_its_role_or_configuration(provider: MockProvider, clock: Clock) -> None:
    door = await ready(provider, clock)
    url = (await begin(door))["auth_url"]
    await door.delete("role/r")
    await door.write("role/r", {"user_claim": "sub", "allowed_redirect_uris": [CLI]})
    with pytest.raises(BadRequest, match="expired or missing"):
        await callback(door, state=query(url)["state"], code=provider.authorize(url))
    url = (await begin(door))["auth_url"]
    await door.write("config", {"oidc_discovery_url": provider.url, **CONFIG})
    with pytest.raises(BadRequest, match="expired or missing"):
        await callback(door, state=query(url)["state"], code=provider.authorize(url))


async def test_what_the_provider_says_about_an_error_is_not_repeated(provider: MockProvider, clock: Clock) -> None:
    door = await ready(provider, clock)
    for error, told in (("access_denied", "access_denied"), ("<svg onload=x>", "unknown error")):
        url = (await begin(door))["auth_url"]
        with pytest.raises(BadRequest) as caught:
            await callback(door, state=query(url)["state"], error=error, error_description="<script>")
        assert str(caught.value) == f"the login was refused by the provider: {told}"


async def test_where_no_browser_login_can_begin(provider: MockProvider, clock: Clock) -> None:
    door = await ready(provider, clock)
    await door.write("role/j", {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "x"})
    for role in ("j", "nobody", ""):
        with pytest.raises(BadRequest, match="no oidc role"):
            await begin(door, role=role)
    provider.down = True
    clock.tick(4000)
    with pytest.raises(Unreachable):
        await whole(door, provider)
    provider.down = False
    await door.write("config", {"jwks_url": f"{provider.url}/keys"})
    with pytest.raises(BadRequest, match="not configured"):
        await begin(door)


async def test_the_namespace_travels_in_the_state(provider: MockProvider, clock: Clock) -> None:
    door = await ready(provider, clock, {"allowed_redirect_uris": [f"{HERE}?namespace=a", CLI]})
    url = (await begin(door, redirect_uri=f"{HERE}?namespace=a"))["auth_url"]
    fields = query(url)
    assert fields["redirect_uri"] == HERE and fields["state"].endswith(",ns=a")
    assert (await callback(door, state=fields["state"], code=provider.authorize(url))).auth is not None
    await door.write("config", {"oidc_discovery_url": provider.url, **CONFIG, "namespace_in_state": False})
    fields = query((await begin(door, redirect_uri=f"{HERE}?namespace=a"))["auth_url"])
    assert fields["redirect_uri"].endswith("?namespace=a") and ",ns=" not in fields["state"]
    assert without_namespace("https://x/y?a=b&namespace=c%2Fd") == ("https://x/y?a=b", "c/d")


# -- redirects


def test_redirects_are_exact_but_for_the_port_of_a_loopback_listener() -> None:
    uris = ["https://app.example/cb", "https://app.example:8443/cb?x=1", CLI, "http://[::1]:1/cb", "app.local://cb"]
    check_redirects(uris)
    good = [*uris, "http://localhost:9999/oidc/callback", "http://localhost/oidc/callback", "http://[::1]:7/cb"]
    bad = [
        "", "https://app.example/cb/", "https://app.example/cb?", "https://app.example/c", "https://app.example/cb#x",
        "https://app.example.evil/cb", "https://app.example@evil/cb", "https://u@app.example/cb",
        "HTTPS://app.example/cb",
        "https://app.example\\@evil/cb", "https://app.example/cb\r\nX: y", "https://app.example/cb%0d%0a",
        "//app.example/cb",
        "https://app.example:443/cb", "https://APP.example/cb", "https://app.example/../cb", " https://app.example/cb",
        "http://127.0.0.1:8250/oidc/callback", "https://localhost:8250/oidc/callback",
        "http://localhost:8250/oidc/callback2",
        "http://localhost:8250@evil/oidc/callback", "http://localhost:x/oidc/callback",
        "http://localhost.evil/oidc/callback",
        "http://localhost:8250/oidc/callback?x", "https://app.example/cb\u3002",
    ]  # fmt: skip
    assert [uri for uri in good if not allowed(uri, uris)] == []
    assert [uri for uri in bad if allowed(uri, uris)] == []


# -- direct mode


async def direct(provider: MockProvider, clock: Clock, **config: Any) -> Door:
    return await ready(provider, clock, {"callback_mode": "direct", "poll_interval": 2}, **config)


async def poll(door: Door, state: str, nonce: str = "n") -> Response:
    return await door.write("oidc/poll", {"state": state, "client_nonce": nonce})


def page(response: Response) -> str:
    assert response.auth is None and response.raw is not None and "script" not in response.raw.decode()
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert response.content_type == "text/html; charset=utf-8"
    return response.raw.decode()


def hidden(text: str) -> dict[str, str]:
    return dict(re.findall(r'name="(\w+)" value="([^"]*)"', text))


async def test_a_direct_login_needs_the_person_and_the_poll(provider: MockProvider, clock: Clock) -> None:
    door = await direct(provider, clock)
    made = await begin(door, redirect_uri=HERE)
    assert made["poll_interval"] == "2"
    with pytest.raises(BadRequest, match="^authorization_pending$"):
        await poll(door, made["state"])
    code = provider.authorize(made["auth_url"])
    asking = page(await callback(door, state=made["state"], code=code, client_nonce=""))
    assert "10.0.0.1" in asking and "I started this login" in asking
    with pytest.raises(BadRequest, match="^authorization_pending$"):
        await poll(door, made["state"])
    assert provider.asked("/token") == 0
    assert hidden(page(await callback(door, state=made["state"], code=code))) == hidden(asking)  # a reload
    assert "Logged in" in page(await door.write("oidc/callback", hidden(asking)))
    for nonce in ("", "x"):
        with pytest.raises(BadRequest, match="client_nonce"):
            await poll(door, made["state"], nonce)
    tries = await asyncio.gather(*(poll(door, made["state"]) for _ in range(8)), return_exceptions=True)
    (good,) = (one for one in tries if isinstance(one, Response))
    assert good.auth is not None and good.auth.alias == "alice"
    assert [key for key in await door.entries() if key.startswith("flow/")] == []


async def test_a_confirmation_is_bound_to_its_page(provider: MockProvider, clock: Clock) -> None:
    door = await direct(provider, clock)
    made = await begin(door, redirect_uri=HERE)
    early = {"state": made["state"], "confirmation": ""}
    assert (await door.write("oidc/callback", early)).status == 400
    code = provider.authorize(made["auth_url"])
    asking = hidden(page(await callback(door, state=made["state"], code=code)))
    for wrong in ("x", asking["confirmation"][:-1], "A" * 43):
        assert (await door.write("oidc/callback", {**asking, "confirmation": wrong})).status == 400
    assert (await callback(door, state=made["state"], code="another")).status == 400
    assert provider.asked("/token") == 0
    assert "Logged in" in page(await door.write("oidc/callback", asking))


async def test_a_direct_login_that_fails(provider: MockProvider, clock: Clock) -> None:
    door = await direct(provider, clock)
    with pytest.raises(BadRequest, match="missing client_nonce"):
        await begin(door, redirect_uri=HERE, client_nonce="")
    made = await begin(door, redirect_uri=HERE)
    told = await callback(door, state=made["state"], error="access_denied", error_description="<svg onload=x>")
    assert told.status == 400 and "svg" not in page(told)
    with pytest.raises(BadRequest, match="expired or missing"):
        await poll(door, made["state"])
    made = await begin(door, redirect_uri=HERE)
    provider.claims = {"nonce": "other"}
    asking = hidden(page(await callback(door, state=made["state"], code=provider.authorize(made["auth_url"]))))
    assert (await door.write("oidc/callback", asking)).status == 400
    with pytest.raises(BadRequest, match="expired or missing"):
        await poll(door, made["state"])


async def test_a_form_post_brings_code_or_id_token(provider: MockProvider, clock: Clock) -> None:
    mode = {"oidc_response_mode": "form_post", "oidc_response_types": "id_token"}
    door = await direct(provider, clock, **mode)
    made = await begin(door, redirect_uri=HERE)
    fields = query(made["auth_url"])
    assert (fields["response_type"], fields["response_mode"]) == ("id_token", "form_post")
    assert "code_challenge" not in fields
    token = provider.token(aud="client", nonce=fields["nonce"])
    asking = hidden(page(await door.write("oidc/callback", {"state": fields["state"], "id_token": token})))
    assert "Logged in" in page(await door.write("oidc/callback", asking))
    assert (await poll(door, made["state"])).auth is not None
    assert provider.asked("/token") == 0


# -- device mode


async def test_a_device_login(provider: MockProvider, clock: Clock) -> None:
    door = await ready(provider, clock, {"callback_mode": "device", "allowed_redirect_uris": []})
    made = await begin(door, redirect_uri="")
    assert made["user_code"] == "AB-CD" and made["auth_url"].endswith("user_code=AB-CD")
    assert made["poll_interval"] == "5"
    with pytest.raises(BadRequest, match="^authorization_pending$"):
        await poll(door, made["state"])
    provider.devices["device-0"] = "done"
    for _ in range(5):
        with pytest.raises(BadRequest, match="^authorization_pending$"):  # the provider is not asked so often
            await poll(door, made["state"])
    assert provider.asked("/token") == 1
    clock.tick(5)
    auth = (await poll(door, made["state"])).auth
    assert auth is not None and auth.alias == "alice"
    with pytest.raises(BadRequest, match="expired or missing"):
        await poll(door, made["state"])


async def test_a_device_login_that_is_slowed_down_refused_or_lost(provider: MockProvider, clock: Clock) -> None:
    door = await ready(provider, clock, {"callback_mode": "device", "allowed_redirect_uris": []})
    made = await begin(door, redirect_uri="")
    provider.devices["device-0"] = "slow"
    with pytest.raises(BadRequest, match="^slow_down$"):
        await poll(door, made["state"])
    clock.tick(6)
    with pytest.raises(BadRequest, match="^authorization_pending$"):
        await poll(door, made["state"])
    clock.tick(6)
    provider.devices["device-0"] = "denied"
    with pytest.raises(BadRequest, match="refused"):
        await poll(door, made["state"])
    with pytest.raises(BadRequest, match="expired or missing"):
        await poll(door, made["state"])
    made = await begin(door, redirect_uri="")
    clock.tick(300)
    with pytest.raises(BadRequest, match="expired or missing"):
        await poll(door, made["state"])
    with pytest.raises(BadRequest, match="expired or missing"):
        await callback(door, state=(await begin(door, redirect_uri=""))["state"], code="c")
