"""What went wrong with tokens of OIDC providers elsewhere, over HTTP, each with a control that it can work."""

import base64
import hmac
import json
import logging
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from identity_world import People, people
from strongroom.core.identity import oidc_signing
from strongroom.core.identity.oidc_records import PrivateKey
from strongroom.core.identity.oidc_store import OidcStore

INSIDE = {"headers": {"X-Vault-Namespace": "team"}}


@pytest.fixture
async def world() -> People:
    world = await people()
    await world.policy("oidc", **{"identity/oidc/token/*": ["read"]})
    await world.user("bob", "oidc")
    await provider(world)
    return world


async def provider(world: People, algorithm: str = "ES256", **inside: Any) -> None:
    await world.ok("POST", "identity/oidc/key/k", {"algorithm": algorithm, "allowed_client_ids": ["*"]}, **inside)
    await world.ok("POST", "identity/oidc/role/r", {"key": "k", "client_id": "app", "ttl": "1h"}, **inside)


async def issued(world: People) -> str:
    bob = await world.token_of("bob")
    return str((await world.ok("GET", "identity/oidc/token/r", token=bob))["data"]["token"])


async def active(world: People, text: str, **options: Any) -> bool:
    return bool((await world.ok("POST", "identity/oidc/introspect", {"token": text}, **options))["active"])


async def private(world: People) -> PrivateKey:
    key = await oidc_store(world).key("k")
    return key.signing  # type: ignore[no-any-return]


def oidc_store(world: People) -> Any:
    return OidcStore(world.core.barrier, "root")


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims_of(text: str) -> dict[str, Any]:
    middle = text.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    return found


async def test_sec_cve_2026_33322_the_algorithm_is_the_keys(world: People) -> None:
    """No other algorithm, no key that comes with the token, no critical extension, no other spelling."""
    text = await issued(world)
    assert await active(world, text)
    head, payload, signature = text.split(".")
    key = await private(world)
    own = {"alg": "ES256", "kid": key.kid, "typ": "JWT"}
    mine = oidc_signing.generate("ES256")

    def mac(header: dict[str, Any], secret: bytes) -> str:
        signed = f"{part(header)}.{payload}"
        return f"{signed}.{part(hmac.digest(secret, signed.encode(), 'sha256'))}"

    public = json.dumps(key.jwk).encode()
    forged = oidc_signing.signed(json.dumps(claims_of(text)).encode(), "ES256", mine)
    wrong = [
        f"{part(own | {'alg': 'none'})}.{payload}.",
        f"{head}.{payload}.",
        f"{part(own | {'alg': 'none'})}.{payload}.{signature}",
        mac(own | {"alg": "HS256"}, public),
        mac(own | {"alg": "HS256"}, b"app"),
        mac(own | {"alg": "HS256"}, b""),
        forged,
        f"{part(own | {'kid': mine.kid, 'jwk': mine.jwk})}.{payload}.{forged.split('.')[2]}",
        f"{part(own | {'jwk': mine.jwk})}.{payload}.{forged.split('.')[2]}",
        f"{part(own | {'crit': ['x'], 'x': 1})}.{payload}.{signature}",
        f"{part({'alg': 'ES256'})}.{payload}.{signature}",
        f"{part(own | {'alg': 'ES384'})}.{payload}.{signature}",
        f"{head}.{part(claims_of(text) | {'exp': 2**40})}.{signature}",
        text + "=",
        text + "\n",
        " " + text,
        text.replace(".", "..", 1),
        "",
        ".",
        "..",
        "[" * 5000,
    ]
    for bad in wrong:
        assert not await active(world, bad), bad
    resigned = oidc_signing.signed(json.dumps(claims_of(text)).encode(), "ES256", key)
    assert await active(world, resigned), "the control: signed by the true key, it counts"


@pytest.mark.parametrize(
    "change",
    [
        {"exp": None},
        {"exp": "9999999999"},
        {"exp": True},
        {"iss": None},
        {"iss": "https://evil/v1/identity/oidc"},
        {"namespace": "other"},
        {"sub": None},
        {"sub": 1},
        {"sub": ["x"]},
        {"sub": "../x"},
    ],
)
async def test_sec_conjse_1920_each_claim_is_asked_for(world: People, change: dict[str, Any]) -> None:
    text, key = await issued(world), await private(world)
    claims = {name: value for name, value in (claims_of(text) | change).items() if value is not None}
    assert not await active(world, oidc_signing.signed(json.dumps(claims).encode(), "ES256", key))
    assert await active(world, oidc_signing.signed(json.dumps(claims_of(text)).encode(), "ES256", key))


@pytest.mark.parametrize("audience", [None, "", ["app"], ["app", "x"], {"app": 1}, 7, "APP"])
async def test_sec_cve_2024_5798_the_audience_is_the_client_or_the_token_does_not_count(
    world: People, audience: Any
) -> None:
    claims = claims_of(await issued(world))
    text = oidc_signing.signed(json.dumps(claims | {"aud": audience}).encode(), "ES256", await private(world))
    asked = {"token": text, "client_id": "app"}
    assert not (await world.ok("POST", "identity/oidc/introspect", asked))["active"]
    asked["token"] = await issued(world)
    assert (await world.ok("POST", "identity/oidc/introspect", asked))["active"]


async def test_no_name_or_metadata_adds_or_replaces_a_claim(world: People) -> None:
    auth = await world.login("bob")
    await world.ok("POST", "identity/oidc/role/r", {"template": '{"who": {{identity.entity.metadata.x}}, "last": 1}'})
    for value in ('", "sub": "admin', '"}', "{{identity.entity.id}}", '\\", "admin": true, "x": "', "\n", "\u2028"):
        await world.ok("POST", f"identity/entity/id/{auth['entity_id']}", {"metadata": {"x": value}})
        claims = claims_of(await issued(world))
        assert (claims["who"], claims["sub"]) == (value, auth["entity_id"])
        assert claims.keys() == {"who", "last", "aud", "exp", "iat", "iss", "namespace", "sub"}
    await world.ok("POST", "identity/oidc/role/r", {"template": "{ {{identity.entity.metadata.x}}: 1 }"})
    for name in ("sub", "iss", "aud", "exp", "namespace"):
        await world.ok("POST", f"identity/entity/id/{auth['entity_id']}", {"metadata": {"x": name}})
        assert await world.status("GET", "identity/oidc/token/r", token=auth["client_token"]) == 400


async def test_sec_ghsa_9pjf_the_issuer_is_never_what_a_request_says(world: People) -> None:
    headers = {"X-Forwarded-Host": "evil", "X-Forwarded-Proto": "https", "Forwarded": "host=evil"}
    path = "identity/oidc/.well-known/openid-configuration"
    plain = await world.ok("GET", path, token="")
    assert await world.ok("GET", path, token="", headers=headers) == plain
    assert "evil" not in json.dumps(plain)
    await world.ok("POST", "identity/oidc/config", {"issuer": "https://vault.example"})
    assert (await world.ok("GET", path, token="", headers=headers))[
        "issuer"
    ] == "https://vault.example/v1/identity/oidc"


async def test_sec_cve_2026_55775_keys_roles_tokens_and_entities_stay_in_their_namespace(world: People) -> None:
    text = await issued(world)
    await world.ok("POST", "sys/namespaces/team")
    for kind in ("key", "role"):
        assert await world.status("LIST", f"identity/oidc/{kind}", **INSIDE) == 404
    assert await world.status("POST", "identity/oidc/role/x", {"key": "k"}, **INSIDE) == 400
    assert not await active(world, text, **INSIDE)
    await provider(world, **INSIDE)
    assert not await active(world, text, **INSIDE)
    bob = await world.token_of("bob")
    await world.policy("oidc", **{"team/identity/oidc/token/*": ["read"], "identity/oidc/token/*": ["read"]})
    status, answer = await world.refused("GET", "identity/oidc/token/r", token=bob, **INSIDE)
    assert (status, "no entity" in answer) == (400, True), "an entity of the namespace above is nobody's here"
    kids = [
        {jwk["kid"] for jwk in (await world.ok("GET", "identity/oidc/.well-known/keys", token="", **where))["keys"]}
        for where in ({}, INSIDE)
    ]
    assert kids[0] and kids[1] and not kids[0] & kids[1]
    document = await world.ok("GET", "identity/oidc/.well-known/openid-configuration", token="", **INSIDE)
    assert document["issuer"].endswith("/v1/team/identity/oidc")


async def test_sec_cve_2020_25594_without_a_token_there_are_only_the_published_documents(world: People) -> None:
    for method, path in (
        ("GET", "config"),
        ("GET", "key/k"),
        ("LIST", "key"),
        ("GET", "role/r"),
        ("LIST", "role"),
        ("GET", "token/r"),
        ("POST", "introspect"),
        ("POST", "key/k/rotate"),
        ("DELETE", "key/k"),
        ("POST", ".well-known/keys"),
    ):
        assert await world.status(method, f"identity/oidc/{path}", {} if method == "POST" else None, token="") in (
            403,
            405,
        )


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_private_keys_are_nowhere_but_behind_the_barrier(
    world: People, algorithm: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await provider(world, algorithm)
    key = await private(world)
    needle = b"".join(key.pem.splitlines()[1:-1])[20:60]
    text = await issued(world)
    answers = [
        (await world.raw(method, f"identity/oidc/{path}")).body
        for method, path in (
            ("GET", "key/k"),
            ("LIST", "key"),
            ("POST", "key/k/rotate"),
            ("GET", ".well-known/keys"),
            ("GET", "role/r"),
            ("GET", "token/none"),
        )
    ]
    clear = []
    for name in await world.stored("ns/root/identity/"):
        sealed = await world.core.barrier.get_sealed(name)  # type: ignore[union-attr]
        clear.append(name.encode() + sealed.value)
    for seen in (
        *answers,
        *clear,
        caplog.text.encode(),
        repr(key).encode(),
        repr(await oidc_store(world).key("k")).encode(),
    ):
        assert needle not in seen and b"PRIVATE" not in seen and text.encode() not in seen
    stored = await world.core.barrier.get("ns/root/identity/oidc/key/k")  # type: ignore[union-attr]
    signing = msgspec.msgpack.decode(stored.value)["signing"]["pem"]
    assert b"PRIVATE" in signing and needle not in stored.value, "what signed once is kept by its public half alone"


@pytest.mark.parametrize("name", ["a/b", "..", "a%2Fb", "-a", ".a", "a.", "ä", "a b", "a" * 129, "{{x}}", "*"])
async def test_names_stay_one_key_of_the_store(world: People, name: str) -> None:
    for kind, fields in (("key", {"algorithm": "ES256"}), ("role", {"key": "k"})):
        status = await world.status("POST", f"identity/oidc/{kind}/{quote(name, safe='%/')}", fields)
        assert status in (400, 404, 405)
    assert await world.status("POST", "identity/oidc/role/r2", {"key": name}) == 400
    assert [key for key in await world.stored("ns/root/identity/oidc/") if "/oidc/key/k" not in key] == [
        "ns/root/identity/oidc/guard",
        "ns/root/identity/oidc/role/r",
    ]
