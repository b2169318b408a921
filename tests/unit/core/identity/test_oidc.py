"""identity/oidc: keys, roles, tokens, introspection and what is published."""

import json
import re
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from identity_world import People, people
from strongroom.core.identity.oidc_signing import ALGORITHMS, generate, signed, verified
from strongroom.core.identity.oidc_store import OidcStore

TEMPLATE = """{"name": {{identity.entity.name}}, "all": {{ identity.entity.metadata }},
 "team": {{identity.entity.metadata.team}},
 "groups": {{identity.entity.groups.names}}, "ids": {{identity.entity.groups.ids}},
 "none": {{identity.entity.metadata.none}},
 "deep": {"alias": {{identity.entity.aliases.ACCESSOR.name}}, "role": {{identity.entity.aliases.ACCESSOR.metadata.x}}},
 "from": {{time.now}}, "to": {{time.now.plus.1h}}, "before": {{time.now.minus.5m}}}"""


@pytest.fixture
async def world() -> People:
    world = await people()
    await world.policy("oidc", **{"identity/oidc/token/*": ["read"]})
    await world.user("bob", "oidc")
    return world


async def key(world: People, name: str = "k", **fields: Any) -> None:
    fields = {"algorithm": "ES256", "allowed_client_ids": ["*"], **fields}
    await world.ok("POST", f"identity/oidc/key/{name}", fields)


async def role(world: People, name: str = "r", **fields: Any) -> None:
    await world.ok("POST", f"identity/oidc/role/{name}", {"key": "k", **fields})


async def token(world: People, who: str, name: str = "r") -> dict[str, Any]:
    data: dict[str, Any] = (await world.ok("GET", f"identity/oidc/token/{name}", token=who))["data"]
    return data


async def published(world: People) -> list[dict[str, str]]:
    keys: list[dict[str, str]] = (await world.ok("GET", "identity/oidc/.well-known/keys", token=""))["keys"]
    return keys


async def active(world: People, text: str, **fields: str) -> bool:
    answer = await world.ok("POST", "identity/oidc/introspect", {"token": text, **fields})
    return bool(answer["active"])


async def checked(world: People, text: str) -> dict[str, Any]:
    """The claims, found as a client does: with the published keys and nothing else."""
    found = jwt.decode(text, KeySet.import_key_set({"keys": await published(world)}), algorithms=list(ALGORITHMS))
    return dict(found.claims)


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_client_checks_a_token_with_what_is_published(world: People, algorithm: str):
    await world.ok("POST", "identity/oidc/config", {"issuer": "https://vault.example:8200"})
    await key(world, algorithm=algorithm)
    await role(world, ttl="10m")
    auth = await world.login("bob")
    data = await token(world, auth["client_token"])
    assert await checked(world, data["token"]) == {
        "aud": data["client_id"],
        "exp": int(world.clock()) + 600,
        "iat": int(world.clock()),
        "iss": "https://vault.example:8200/v1/identity/oidc",
        "namespace": "root",
        "sub": auth["entity_id"],
    }
    assert data["ttl"] == 600 and re.fullmatch(r"[A-Za-z0-9]{26}", data["client_id"])
    assert await active(world, data["token"]) and await active(world, data["token"], client_id=data["client_id"])
    assert not await active(world, data["token"], client_id="other")
    for jwk in await published(world):
        assert jwk["alg"] == algorithm and jwk["use"] == "sig"
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & jwk.keys()


async def test_a_template_is_filled_in(world: People):
    auth = await world.login("bob")
    await world.ok("POST", f"identity/entity/id/{auth['entity_id']}", {"name": "B", "metadata": {"team": 'we"b'}})
    inner = await world.group(name="inner", member_entity_ids=[auth["entity_id"]])
    outer = await world.group(name="outer", member_group_ids=[inner])
    await key(world)
    await role(world, template=TEMPLATE.replace("ACCESSOR", world.userpass))
    claims = await checked(world, (await token(world, auth["client_token"]))["token"])
    now = int(world.clock())
    assert {k: claims[k] for k in ("name", "all", "team", "groups", "none", "deep", "from", "to", "before")} == {
        "name": "B",
        "all": {"team": 'we"b'},
        "team": 'we"b',
        "groups": ["inner", "outer"],
        "none": "",
        "deep": {"alias": "bob", "role": ""},
        "from": now,
        "to": now + 3600,
        "before": now - 300,
    }
    assert claims["ids"] == [inner, outer]


BAD = [
    "x",
    "[]",
    '{"a": {{identity.nothing}}}',
    '{"a": {{identity.entity.name}}',
    '{"a": "x {{identity.entity.name}}"}',
]


@pytest.mark.parametrize(
    "template", [*BAD, '{"sub": "x"}', '{"iss": {{identity.entity.name}}}', '{"a": {{time.now.plus.x}}}']
)
async def test_a_template_that_could_not_be_filled_in_is_refused(world: People, template: str):
    await key(world)
    assert await world.status("POST", "identity/oidc/role/r", {"key": "k", "template": template}) == 400
    assert await world.status("GET", "identity/oidc/role/r") == 404


async def test_a_template_in_base64(world: People):
    await key(world)
    await role(world, template="eyJhIjogMX0=")
    assert (await world.read("oidc/role/r"))["template"] == '{"a": 1}'


async def test_keys_and_roles_are_written_read_listed_and_deleted(world: People):
    for kind in ("key", "role"):
        assert await world.status("LIST", f"identity/oidc/{kind}") == 404
        assert await world.status("GET", f"identity/oidc/{kind}/k") == 404
        assert await world.status("DELETE", f"identity/oidc/{kind}/k") == 204
    assert await world.status("POST", "identity/oidc/role/r", {"key": "k"}) == 400, "there is no such key"
    assert await world.status("POST", "identity/oidc/role/r", {}) == 400
    await world.ok("POST", "identity/oidc/key/k", {})
    assert await world.read("oidc/key/k") == {
        "algorithm": "RS256",
        "allowed_client_ids": [],
        "rotation_period": 86400,
        "verification_ttl": 86400,
    }
    await key(world, rotation_period="1h", verification_ttl="2h", allowed_client_ids="a,b")
    await world.ok("POST", "identity/oidc/key/k", {"verification_ttl": "3h"})
    assert await world.read("oidc/key/k") == {
        "algorithm": "ES256",
        "allowed_client_ids": ["a", "b"],
        "rotation_period": 3600,
        "verification_ttl": 10800,
    }
    await role(world, ttl=60)
    first = (await world.read("oidc/role/r"))["client_id"]
    await world.ok("POST", "identity/oidc/role/r", {"ttl": 120})
    assert await world.read("oidc/role/r") == {"client_id": first, "key": "k", "template": "", "ttl": 120}
    await world.ok("POST", "identity/oidc/role/r", {"client_id": "mine"})
    assert (await world.read("oidc/role/r"))["client_id"] == "mine"
    assert (await world.read("oidc/key?list=true"))["keys"] == ["k"]
    assert (await world.read("oidc/role?list=true"))["keys"] == ["r"]
    status, text = await world.refused("DELETE", "identity/oidc/key/k")
    assert status == 400 and "referenced by these roles: r" in text
    assert await world.status("DELETE", "identity/oidc/role/r") == 204
    assert await world.status("DELETE", "identity/oidc/key/k") == 204
    assert await world.status("GET", "identity/oidc/key/k") == 404
    assert await world.stored("ns/root/identity/oidc-due/") == []


@pytest.mark.parametrize(
    "fields",
    [
        {"algorithm": "HS256"},
        {"algorithm": "none"},
        {"algorithm": "rs256"},
        {"rotation_period": 59},
        {"rotation_period": 60, "verification_ttl": 601},
        {"verification_ttl": "x"},
    ],
)
async def test_a_key_that_would_be_wrong_is_refused(world: People, fields: dict[str, Any]):
    assert await world.status("POST", "identity/oidc/key/k", {"algorithm": "ES256"} | fields) == 400
    assert await world.status("GET", "identity/oidc/key/k") == 404


@pytest.mark.parametrize(
    "issuer",
    ["vault", "ftp://a", "https://", "https://a/b", "https://a?b", "https://u@a", "https://a:x", "https://a b"],
)
async def test_an_issuer_is_scheme_host_and_port(world: People, issuer: str):
    assert await world.status("POST", "identity/oidc/config", {"issuer": issuer}) == 400
    assert (await world.read("oidc/config"))["issuer"] == ""


async def test_no_token_outlives_what_checks_it(world: People):
    await key(world, rotation_period="1h", verification_ttl="1h")
    assert await world.status("POST", "identity/oidc/role/r", {"key": "k", "ttl": "2h"}) == 400
    await role(world, ttl="1h")
    assert await world.status("POST", "identity/oidc/key/k", {"verification_ttl": "30m"}) == 400
    await world.ok("POST", "identity/oidc/key/k/rotate", {"verification_ttl": "30m"})
    assert (await world.read("oidc/key/k"))["verification_ttl"] == 1800
    answer = await world.ok("GET", "identity/oidc/token/r", token=await world.token_of("bob"))
    assert answer["data"]["ttl"] == 1800 and answer["warnings"]


async def test_a_token_needs_an_entity_a_role_and_a_key_that_allows_it(world: People):
    bob = await world.token_of("bob")
    assert await world.status("GET", "identity/oidc/token/r", token=bob) == 400, "no role"
    await key(world, allowed_client_ids=["other"])
    await role(world)
    assert await world.status("GET", "identity/oidc/token/r", token=bob) == 400, "not allowed"
    await key(world, allowed_client_ids=[(await world.read("oidc/role/r"))["client_id"]])
    assert await token(world, bob)
    assert await world.status("GET", "identity/oidc/token/r") == 400, "root has no entity"
    assert await world.status("GET", "identity/oidc/token/r", token="") == 403


async def test_a_token_ends_with_its_time_its_entity_or_its_key(world: People):
    await key(world, rotation_period="1h", verification_ttl="2h")
    await role(world, ttl="1h")
    auth = await world.login("bob")
    text = (await token(world, auth["client_token"]))["token"]
    world.clock.tick(3599)
    assert await active(world, text)
    world.clock.tick(1)
    assert not await active(world, text)
    text = (await token(world, auth["client_token"]))["token"]
    for disabled in (True, False):
        await world.ok("POST", f"identity/entity/id/{auth['entity_id']}", {"disabled": disabled})
        assert await active(world, text) is not disabled
    await world.ok("POST", "identity/oidc/key/k/rotate", {"verification_ttl": 0})
    assert not await active(world, text) and (await world.read("oidc/key/k"))["verification_ttl"] == 7200
    text = (await token(world, auth["client_token"]))["token"]
    assert await active(world, text)
    await world.ok("DELETE", f"identity/entity/id/{auth['entity_id']}")
    assert not await active(world, text)


async def test_the_next_key_is_published_before_it_signs_and_the_old_one_after(world: People):
    await key(world, rotation_period="1h", verification_ttl="90m")
    await role(world, ttl="1h")
    bob = await world.token_of("bob")
    signing, following = await published(world)
    text = (await token(world, bob))["token"]
    assert await world.core.tidy() == 0, "it is not due"
    world.clock.tick(3600)
    assert await world.core.tidy() == 1 and await world.core.tidy() == 0
    now_signing, fresh, old = await published(world)
    assert (now_signing, old) == (following, signing) and fresh not in (signing, following)
    assert await checked(world, text) and await checked(world, (await token(world, bob))["token"])
    world.clock.tick(3600)
    assert await world.core.tidy() == 1
    assert len(await published(world)) == 4
    world.clock.tick(1801)
    assert signing not in await published(world) and following in await published(world)


async def test_public_keys_are_kept_by_clients_until_the_next_rotation_at_most(world: People):
    assert await published(world) == []
    await key(world, rotation_period="1h", verification_ttl="2h")
    assert await published(world) == [], "no role signs with it"
    await role(world, ttl="1h")
    world.clock.tick(600)
    answer = await world.raw("GET", "identity/oidc/.well-known/keys", token="")
    assert b"Cache-Control: max-age=3000\r\n" in answer.headers and b"no-store" not in answer.headers
    answer = await world.raw("GET", "identity/oidc/.well-known/openid-configuration", token="")
    assert b"Cache-Control: max-age=3600\r\n" in answer.headers


async def test_rotation_happens_once_whoever_leads_and_in_every_namespace(world: People):
    other = await world.other()
    await world.ok("POST", "sys/namespaces/team")
    inside = {"headers": {"X-Vault-Namespace": "team"}}
    fields = {"algorithm": "ES256", "rotation_period": "1h", "verification_ttl": "2h"}
    await world.ok("POST", "identity/oidc/key/k", fields, **inside)
    await world.ok("POST", "identity/oidc/role/r", {"key": "k", "ttl": "1h"}, **inside)
    before = (await world.ok("GET", "identity/oidc/.well-known/keys", token="", **inside))["keys"]
    world.clock.tick(3600)
    assert [await other.core.tidy(), await world.core.tidy(), await other.core.tidy()] == [1, 0, 0]
    after = (await world.ok("GET", "identity/oidc/.well-known/keys", token="", **inside))["keys"]
    assert after[0] == before[1] and after[2] == before[0] and len(after) == 3
    assert await published(world) == []
    await world.ok("DELETE", "sys/namespaces/team")
    world.clock.tick(3600)
    while await world.core.tidy():
        pass
    assert await world.stored("ns/root/identity/oidc-due/") == []


async def test_another_algorithm_lets_tokens_of_the_old_one_be_checked_on(world: People):
    await key(world)
    await role(world)
    bob = await world.token_of("bob")
    text = (await token(world, bob))["token"]
    await key(world, algorithm="ES384")
    assert await active(world, text) and await active(world, (await token(world, bob))["token"])
    assert [jwk["alg"] for jwk in await published(world)] == ["ES384", "ES384", "ES256"]


def test_a_header_is_believed_nothing_but_the_name_of_the_key():
    pair = generate("ES256")
    text = signed(json.dumps({"a": 1}).encode(), "ES256", pair)
    assert verified(text, [pair.jwk]) == {"a": 1}
    assert verified(text, []) is None
    other = generate("ES256")
    assert verified(text, [other.jwk | {"kid": pair.kid}]) is None
    assert "PRIVATE" not in repr(pair) and pair.kid in repr(pair)


async def test_strangers_do_not_make_the_keys_be_read_again(world: People, monkeypatch: pytest.MonkeyPatch):
    await key(world)
    await role(world)
    first = await published(world)
    read: list[str] = []
    real = OidcStore.key

    async def counted(store: OidcStore, name: str) -> Any:
        read.append(name)
        return await real(store, name)

    monkeypatch.setattr(OidcStore, "key", counted)
    assert await published(world) == first and read == []
    await world.ok("POST", "identity/oidc/role/r", {"ttl": 60})
    read.clear()
    assert await published(world) == first and read == ["k"], "the control: a change makes them be read"


async def test_what_another_process_changes_is_published_here_at_once(world: People):
    other = await world.other()
    await key(world)
    await role(world)
    first = await published(world)
    await other.ok("POST", "identity/oidc/key/k/rotate")
    assert (await published(world))[0] == first[1]
    await other.ok("DELETE", "identity/oidc/role/r")
    assert await published(world) == []
