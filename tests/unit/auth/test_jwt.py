"""The jwt method with keys of its own: configuration, roles, and every rule about claims."""

import json
from typing import Any

import msgspec
import pytest

from contracts.login_harness import START, Door
from oidc_provider import ec_key, ed_key, pem, public, rsa_key, signed
from strongroom.auth.jwt import Jwt
from strongroom.auth.jwt.claims import check_times, claim_at, glob
from strongroom.auth.jwt.keys import ALGORITHMS, Header, Invalid, chosen, from_set
from strongroom.errors import BadRequest, NotFound
from strongroom.sdk.request import Auth, Op

NOW = int(START)
ROLE = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault"}
CLAIMS = {"iss": "https://idp", "sub": "alice", "aud": "vault", "iat": NOW, "exp": NOW + 300}


async def ready(role: dict[str, Any] | None = None, key: Any = None, **config: Any) -> Door:
    door = Door(Jwt, kind="jwt")
    await door.write("config", {"jwt_validation_pubkeys": [pem(key or rsa_key())], **config})
    await door.write("role/r", {**ROLE, **(role or {})})
    return door


async def login(door: Door, claims: dict[str, Any] | None = None, **more: Any) -> Auth:
    token = signed(rsa_key(), {**CLAIMS, **(claims or {})})
    response = await door.write("login", {"role": "r", "jwt": token, **more})
    assert response.auth is not None
    return response.auth


async def refused(door: Door, claims: dict[str, Any] | None = None, **more: Any) -> str:
    """The words for the log; the words for the caller are always the same."""
    with pytest.raises(BadRequest) as caught:
        await login(door, claims, **more)
    assert caught.value.messages == ("invalid role or token",)
    return str(caught.value.__cause__)


# -- configuration


async def test_a_configuration_reads_as_it_was_written_but_for_the_secret() -> None:
    door = Door(Jwt, kind="jwt")
    with pytest.raises(NotFound):
        await door.read("config")
    with pytest.raises(BadRequest, match="could not load configuration"):
        await door.write("login", {"role": "r", "jwt": "x"})
    fields = {
        "oidc_discovery_url": "https://idp.example/",
        "oidc_client_id": "me",
        "oidc_client_secret": "canary",
        "oidc_response_mode": "form_post",
        "oidc_response_types": ["code", "id_token"],
        "jwt_supported_algs": "ES256",
        "bound_issuer": "https://other",
        "default_role": "Dev",
        "provider_config": {"provider": "azure"},
        "namespace_in_state": False,
        "skip_jwks_validation": True,
    }
    answer = await door.write("config", fields)
    assert "provider_config" in answer.warnings[0] and "not checked" in answer.warnings[1]
    read = await door.read("config")
    assert "oidc_client_secret" not in read and "canary" not in json.dumps(read)
    assert read == {
        "oidc_discovery_url": "https://idp.example",
        "oidc_discovery_ca_pem": "",
        "oidc_client_id": "me",
        "oidc_response_mode": "form_post",
        "oidc_response_types": ["code", "id_token"],
        "jwks_url": "",
        "jwks_ca_pem": "",
        "jwt_validation_pubkeys": [],
        "jwt_supported_algs": ["ES256"],
        "bound_issuer": "https://other",
        "default_role": "dev",
        "provider_config": {"provider": "azure"},
        "namespace_in_state": False,
    }


PEM = pem(rsa_key())


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "exactly one of"),
        ({"jwks_url": "https://x/", "jwt_validation_pubkeys": [PEM]}, "exactly one of"),
        ({"jwks_url": "https://x/", "oidc_discovery_url": "https://x"}, "exactly one of"),
        ({"jwks_url": "ftp://x/"}, "jwks_url must be an address"),
        ({"jwks_url": "https://user@x/"}, "jwks_url must be an address"),
        ({"jwks_url": "https://x\\y/"}, "jwks_url must be an address"),
        ({"jwks_url": "https://x/\r\nA: b"}, "jwks_url must be an address"),
        ({"oidc_discovery_url": "file:///etc/passwd"}, "oidc_discovery_url must be an address"),
        ({"jwt_validation_pubkeys": ["nonsense"]}, "no public key"),
        ({"jwt_validation_pubkeys": [PEM], "jwt_supported_algs": ["HS256"]}, "jwt_supported_algs"),
        ({"jwt_validation_pubkeys": [PEM], "jwt_supported_algs": ["none"]}, "jwt_supported_algs"),
        ({"jwt_validation_pubkeys": [PEM], "oidc_client_id": "x"}, "oidc_discovery_url"),
        ({"oidc_discovery_url": "https://x", "oidc_client_secret": "x"}, "needs 'oidc_client_id'"),
        ({"jwt_validation_pubkeys": [PEM], "jwks_ca_pem": "x"}, "jwks_ca_pem"),
        ({"jwt_validation_pubkeys": [PEM], "oidc_response_mode": "fragment"}, "oidc_response_mode"),
        ({"jwt_validation_pubkeys": [PEM], "oidc_response_types": ["token"]}, "oidc_response_types"),
        ({"jwt_validation_pubkeys": [PEM], "oidc_response_types": ["id_token"]}, "form_post"),
    ],
)
async def test_wrong_configurations_are_refused_and_change_nothing(fields: dict[str, Any], why: str) -> None:
    door = await ready()
    before = await door.read("config")
    with pytest.raises(BadRequest, match=why):
        await door.write("config", fields)
    assert await door.read("config") == before
    assert (await login(door)).alias == "alice"


async def test_small_and_foreign_keys_are_refused() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa

    door = Door(Jwt, kind="jwt")
    made = [
        rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP256K1()),
        ed448.Ed448PrivateKey.generate(),
        dsa.generate_private_key(2048),
    ]  # fmt: skip
    for private in made:
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        text = private.public_key().public_bytes(serialization.Encoding.PEM, spki).decode()
        with pytest.raises(BadRequest, match="jwt_validation_pubkeys"):
            await door.write("config", {"jwt_validation_pubkeys": text})
    private_pem = rsa_key().as_pem(private=True).decode()
    with pytest.raises(BadRequest, match="no public key") as caught:
        await door.write("config", {"jwt_validation_pubkeys": [private_pem]})
    assert private_pem[40:60] not in str(caught.value)


async def test_a_certificate_counts_as_its_key() -> None:
    from outside_peer import Authority

    door = Door(Jwt, kind="jwt")
    await door.write("config", {"jwt_validation_pubkeys": [Authority().pem]})
    assert "CERTIFICATE" in (await door.read("config"))["jwt_validation_pubkeys"][0]


# -- roles


async def test_a_role_reads_as_it_was_written() -> None:
    door = await ready()
    fields = {
        "role_type": "oidc", "bound_audiences": ["a", "b"], "bound_subject": "s", "bound_claims": {"/x/y": ["1", 2]},
        "bound_claims_type": "string", "user_claim": "/sub", "user_claim_json_pointer": True, "groups_claim": "groups",
        "claim_mappings": {"email": "mail"}, "expiration_leeway": 10, "not_before_leeway": "-1",
        "clock_skew_leeway": "20s",
        "oidc_scopes": "profile,email", "allowed_redirect_uris": ["http://localhost:8250/oidc/callback"],
        "max_age": "1h",
        "callback_mode": "direct", "poll_interval": 7, "verbose_oidc_logging": True,
    }  # fmt: skip
    await door.write("role/Full", {**fields, "token_policies": "p"})
    read = await door.read("role/full")
    wanted = {
        **fields,
        "not_before_leeway": -1,
        "clock_skew_leeway": 20,
        "oidc_scopes": ["profile", "email"],
        "max_age": 3600,
    }
    assert {name: read[name] for name in wanted} == wanted and read["token_policies"] == ["p"]
    assert await door.list("role") == ["full", "r"]
    await door.write("role/full", {"poll_interval": 9})
    assert (await door.read("role/full")) == {**read, "poll_interval": 9}  # the rest stays
    await door.delete("role/full")
    with pytest.raises(NotFound):
        await door.read("role/full")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"user_claim": ""}, "user claim"),
        ({"role_type": "saml"}, "role_type"),
        ({"bound_audiences": []}, "bound constraint"),
        ({"bound_claims_type": "regex"}, "bound_claims_type"),
        ({"bound_claims": {"a": {"b": 1}}}, "bound_claims"),
        ({"bound_claims": {"a": []}}, "bound_claims"),
        ({"bound_claims": {"a": 1}, "bound_claims_type": "glob"}, "bound_claims"),
        ({"claim_mappings": {"a": "role"}}, "reserved"),
        ({"claim_mappings": {"a": "x", "b": "x"}}, "two claims"),
        ({"callback_mode": "server"}, "callback_mode"),
        ({"poll_interval": 0}, "poll_interval"),
        ({"clock_skew_leeway": "25h"}, "leeway"),
        ({"role_type": "oidc"}, "allowed_redirect_uris"),
        ({"allowed_redirect_uris": ["javascript:alert(1)"]}, "allowed_redirect_uris"),
        ({"allowed_redirect_uris": ["https://a@b/"]}, "allowed_redirect_uris"),
    ],
)
async def test_wrong_roles_are_refused_and_change_nothing(fields: dict[str, Any], why: str) -> None:
    door = await ready()
    before = await door.read("role/r")
    with pytest.raises(BadRequest, match=why):
        await door.write("role/r", fields)
    assert await door.read("role/r") == before


async def test_a_login_gives_user_metadata_and_groups() -> None:
    mappings = {"email": "mail", "/deep/0/x": "x", "admin": "admin", "level": "level", "absent": "absent"}
    door = await ready({"groups_claim": "/realm/groups", "claim_mappings": mappings, "token_policies": "p"})
    claims = {
        "email": "a@b", "deep": [{"x": "y"}], "admin": True, "level": 7,
        "realm": {"groups": ["ops", "dev", "ops", ""]},
    }  # fmt: skip
    auth = await login(door, claims)
    mapped = {"mail": "a@b", "x": "y", "admin": "true", "level": "7"}
    assert auth.alias == auth.display_name == "alice" and auth.policies == ("p",)
    assert auth.metadata == {**mapped, "role": "r"} and auth.alias_metadata == mapped
    assert auth.group_aliases == ("dev", "ops")
    assert (await login(door, {**claims, "realm": {"groups": "one"}})).group_aliases == ("one",)
    for wrong in ({"groups": 1}, {"groups": [1]}, {"groups": {"a": 1}}, {"groups": ["x\n"]}, {}):
        assert "group" in await refused(door, {**claims, "realm": wrong})
    assert "mapped" in await refused(door, {**claims, "email": ["x"]})


async def test_the_default_role_and_other_spellings_of_a_role() -> None:
    door = await ready(default_role="R")
    for role in ("", "r", "R", " r "):
        assert (await login(door, role=role)).metadata == {"role": "r"}
    for role in ("x", "r/", "../r", "r\0", "r*"):
        assert await refused(door, role=role) == "no such role"
    await door.write("role/web", {**ROLE, "role_type": "oidc", "allowed_redirect_uris": "https://x/cb"})
    assert "browser" in await refused(door, role="web")


@pytest.mark.parametrize("user", [None, "", 7, True, ["alice"], {"a": 1}, "a\nb", "a\0", "x" * 513])
async def test_the_user_claim_must_be_a_name(user: Any) -> None:
    door = await ready()
    assert "user claim" in await refused(door, {"sub": user})


async def test_user_names_that_differ_in_case_are_two_users() -> None:
    door = await ready()
    assert {(await login(door, {"sub": name})).alias for name in ("Alice", "alice")} == {"Alice", "alice"}


async def test_a_pointer_is_one_only_where_the_role_says_so() -> None:
    door = await ready({"user_claim": "/a/b"})
    assert (await login(door, {"/a/b": "plain", "a": {"b": "deep"}})).alias == "plain"
    await door.write("role/r", {"user_claim_json_pointer": True})
    assert (await login(door, {"/a/b": "plain", "a": {"b": "deep"}})).alias == "deep"


# -- claims


async def test_the_issuer_and_the_subject_are_exact() -> None:
    door = await ready({"bound_subject": "alice"}, bound_issuer="https://idp")
    await login(door)
    for iss in ("https://idp/", "HTTPS://idp", "", None, ["https://idp"], 1):
        assert "iss" in await refused(door, {"iss": iss})
    for sub in ("Alice", "alice ", None, ["alice"]):
        assert "sub" in await refused(door, {"sub": sub})


BOUND = [
    ("text", "text", True), ("text", "TEXT", False), ("text", ["no", "text"], True), (["a", "b"], "b", True),
    (["a", "b"], ["c"], False), (1, 1, True), (1, "1", False), ("1", 1, False), (1.0, 1, True), (True, True, True),
    (True, 1, False), (1, True, False), ("true", True, False), ("*", "anything", False), ([], "a", False),
    ({"a": 1}, "a", False), (None, "null", False), ([None], "x", False),
]  # fmt: skip


@pytest.mark.parametrize(("found", "wanted", "good"), BOUND)
async def test_bound_claims_are_compared_by_type_and_value(found: Any, wanted: Any, good: bool) -> None:
    door = await ready({"bound_claims": {"c": wanted, "/d/e": "f"}})
    claims = {"c": found, "d": {"e": "f"}}
    if good:
        await login(door, claims)
        assert "bound claim" in await refused(door, {**claims, "d": {"e": "g"}})  # all of them, not any
        assert "missing" in await refused(door, {"c": found})
    else:
        assert "bound claim" in await refused(door, claims)


def test_globs_know_one_sign() -> None:
    good = [
        ("*", ""),
        ("*", "x/y"),
        ("a*", "a"),
        ("*b", "ab"),
        ("a*c*e", "abcde"),
        ("a*a", "aba"),
        ("x", "x"),
        ("**", "q"),
    ]
    bad = [("", "x"), ("a*a", "a"), ("a?", "ab"), ("[ab]", "a"), ("a*b", "abc"), ("*x*", "y"), ("a*bc*c", "abc")]
    assert [glob(*pair) for pair in good] == [True] * len(good)
    assert [glob(*pair) for pair in bad] == [False] * len(bad)


async def test_glob_claims() -> None:
    door = await ready({"bound_claims": {"ref": ["refs/heads/*"]}, "bound_claims_type": "glob"})
    await login(door, {"ref": "refs/heads/main"})
    await login(door, {"ref": ["x", "refs/heads/a/b"]})
    for ref in ("refs/tags/1", "xrefs/heads/a", 1, None, ""):
        assert "bound claim" in await refused(door, {"ref": ref})


def test_pointers() -> None:
    claims = {"a": {"b/c": [10, {"d~e": 1}]}, "": 5, "x": None}
    assert claim_at(claims, "/a/b~1c/1/d~0e") == 1 and claim_at(claims, "/a/b~1c/0") == 10
    assert claim_at(claims, "/") == 5 and claim_at(claims, "x") is None
    for name in ("/a/b", "/a/b~1c/2", "/a/b~1c/-1", "/a/b~1c/x", "/a/b~1c/0/y", "/q", "q"):
        assert repr(claim_at(claims, name)).startswith("<object")


TIMES = [
    # exp, nbf, iat (from now), expiration, not_before, skew; valid?
    ((300, None, 0), (0, 0, 0), True),
    ((-59, None, -500), (0, 0, 0), True), ((-61, None, -500), (0, 0, 0), False),
    ((-9, None, -500), (0, 0, 10), True), ((-11, None, -500), (0, 0, 10), False),
    ((0, None, -500), (0, 0, -1), True), ((-1, None, -500), (0, 0, -1), False),
    # no exp: 150 s after the later of iat and nbf
    ((None, None, -205), (0, 0, 0), True), ((None, None, -215), (0, 0, 0), False),
    ((None, None, -155), (0, 0, 10), True), ((None, None, -165), (0, 0, 10), False),
    ((None, None, -145), (0, 0, -1), True), ((None, None, -155), (0, 0, -1), False),
    ((None, -205, -900), (0, 0, 0), True), ((None, -215, -900), (0, 0, 0), False),
    ((None, None, -65), (10, 0, 0), True), ((None, None, -75), (10, 0, 0), False),
    ((None, None, -55), (-1, 0, 0), True), ((None, None, -65), (-1, 0, 0), False),
    # not yet
    ((300, 59, 0), (0, 0, 0), True), ((300, 61, 0), (0, 0, 0), False),
    ((300, None, 59), (0, 0, 0), True), ((300, None, 61), (0, 0, 0), False), ((300, 0, 61), (0, 0, 0), False),
    # only exp
    ((3600, None, None), (0, 0, 0), True), ((3600, None, None), (0, 100, 0), False), ((150, None, None), (0,
    100, 0), True),
    ((None, None, None), (0, 0, 0), False),
]  # fmt: skip


@pytest.mark.parametrize(("times", "leeways", "good"), TIMES)
def test_times(times: Any, leeways: Any, good: bool) -> None:
    claims = {name: NOW + at for name, at in zip(("exp", "nbf", "iat"), times, strict=True) if at is not None}
    fields = dict(zip(("expiration", "not_before", "skew"), leeways, strict=True))
    if good:
        check_times(claims, float(NOW), **fields)
    else:
        with pytest.raises(Invalid):
            check_times(claims, float(NOW), **fields)


@pytest.mark.parametrize("value", ["1800000300", None, True, [], {}, -1, 2**60, "never"])
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
async def test_a_time_that_is_none_is_refused(name: str, value: Any) -> None:
    door = await ready()
    assert f"{name} is no time" in await refused(door, {name: value})


async def test_the_clock_of_the_mount_decides() -> None:
    door = await ready()
    await login(door)
    door.clock.tick(300 + 61)
    assert await refused(door) == "expired"


# -- algorithms and keys

MAKERS = {"RSA": rsa_key, "P-256": ec_key, "P-384": lambda: ec_key("", "P-384"), "P-521": lambda: ec_key("", "P-521"),
          "Ed25519": ed_key}  # fmt: skip


@pytest.mark.parametrize("alg", ALGORITHMS)
async def test_every_algorithm_with_its_own_kind_of_key_and_no_other(alg: str) -> None:
    kind, curve = ALGORITHMS[alg]
    for name, make in MAKERS.items():
        key = make()
        door = await ready(key=key)
        if name == (curve or kind):
            token = signed(key, CLAIMS, alg)
            assert (await door.write("login", {"role": "r", "jwt": token})).auth is not None
            await door.write("config", {"jwt_validation_pubkeys": [pem(key)], "jwt_supported_algs": [alg]})
            assert (await door.write("login", {"role": "r", "jwt": token})).auth is not None
            other = "ES256" if alg != "ES256" else "RS256"
            await door.write("config", {"jwt_validation_pubkeys": [pem(key)], "jwt_supported_algs": [other]})
            with pytest.raises(BadRequest, match="invalid role or token"):
                await door.write("login", {"role": "r", "jwt": token})
        else:
            forged = signed(MAKERS[curve or kind](), CLAIMS, alg)
            with pytest.raises(BadRequest, match="invalid role or token"):
                await door.write("login", {"role": "r", "jwt": forged})


async def test_several_static_keys_and_a_kid_that_is_theirs_alone() -> None:
    door = await ready()
    keys = [rsa_key("", 1), rsa_key("", 2), ec_key()]
    await door.write("config", {"jwt_validation_pubkeys": [pem(key) for key in keys]})
    for key, alg in zip(keys, ("RS256", "PS256", "ES256"), strict=True):
        token = signed(key, CLAIMS, alg, kid="whatever")
        assert (await door.write("login", {"role": "r", "jwt": token})).auth is not None
    assert "no trusted key" in await refused(door)


def test_which_keys_of_a_set_count() -> None:
    usable = [
        public(rsa_key("a")),
        public(ec_key("b"), alg="ES256"),
        public(ed_key("c"), use="sig", key_ops=["verify"]),
    ]
    useless = [
        {"kty": "oct", "k": "AAAA", "kid": "h"}, public(rsa_key("e"), use="enc"), public(rsa_key("x"), alg="RSA-OAEP"),
        public(rsa_key("s"), key_ops=["sign"]), {"kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"kty": "EC"}, {}, {"kty": 1},
        {**public(ec_key("q")), "crv": "P-384"}, {**public(rsa_key("z")), "n": 5}, {**public(rsa_key("z")), "kid": 5},
    ]  # fmt: skip
    found = from_set(msgspec.json.encode({"keys": [*useless, *usable, 7, "x"]}))
    assert [key.kid for key in found] == ["a", "b", "c"]
    for text in (b"", b"[]", b"{}", b'{"keys": {}}', b"\xff", b"[" * 5000):
        with pytest.raises(Invalid):
            from_set(text)


def test_without_a_kid_the_only_key_that_fits() -> None:
    one = from_set(msgspec.json.encode({"keys": [public(rsa_key("a")), public(ec_key("b"))]}))
    assert [key.kid for key in chosen(Header("RS256"), one)] == ["a"]
    assert [key.kid for key in chosen(Header("ES256"), one)] == ["b"]
    assert chosen(Header("ES384"), one) == [] and chosen(Header("RS256", "b"), one) == []
    two = from_set(msgspec.json.encode({"keys": [public(rsa_key("a")), public(rsa_key("b", 1))]}))
    assert chosen(Header("RS256"), two) == [] and len(chosen(Header("RS256", "b"), two)) == 1
    pinned = from_set(msgspec.json.encode({"keys": [public(rsa_key("a"), alg="RS512"), public(rsa_key("b", 1))]}))
    assert [key.kid for key in chosen(Header("RS256"), pinned)] == ["b"]


@pytest.mark.parametrize("where", [0, 1, 2])
async def test_no_part_of_a_token_can_change(where: int) -> None:
    door = await ready()
    parts = signed(rsa_key(), CLAIMS).split(".")
    assert (await door.write("login", {"role": "r", "jwt": ".".join(parts)})).auth is not None
    other = "B" if parts[where].startswith("A") else "A"  # one signature in 64 begins with an A
    for change in (parts[where][:-2], "", parts[where] + "A", other + parts[where][1:], parts[where] + "=", "e30"):
        changed = [*parts[:where], change, *parts[where + 1 :]]
        with pytest.raises(BadRequest, match="invalid role or token"):
            await door.write("login", {"role": "r", "jwt": ".".join(changed)})


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b", "a.b.c.d", "é.é.é", "x" * 70_000, "e30.e30.AA", "W10.e30.AAAA"]
)
async def test_what_is_no_token_is_refused(token: str) -> None:
    door = await ready()
    with pytest.raises(BadRequest, match="invalid role or token"):
        await door.write("login", {"role": "r", "jwt": token})


@pytest.mark.parametrize("payload", [b"", b"[]", b'"x"', b"\xff", b"[" * 4000, b"{", b"null"])
async def test_a_signed_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    door = await ready()
    with pytest.raises(BadRequest, match="invalid role or token"):
        await door.write("login", {"role": "r", "jwt": signed(rsa_key(), payload)})


async def test_no_secret_shows_in_a_repr() -> None:
    door = await ready()
    for route in door.engine.routes():
        if route.pattern in ("login", "config"):
            fields = {"jwt": "canary"} if route.pattern == "login" else {"oidc_client_secret": "canary"}
            assert "canary" not in repr(
                msgspec.convert(fields, route.args, strict=False, dec_hook=lambda kind, v: kind(v))
            )
    assert Op.LIST in door.engine.routes()[2].ops
