"""Configuration, roles, logins and renewals against the stub of an API server."""

from pathlib import Path
from typing import Any

import pytest

from api_server_stub import REVIEWER, URL, ApiServer, public_pem, signed
from certificates import make
from contracts.login_harness import Door
from engine_harness import Clock
from strongroom.auth.kubernetes import Kubernetes
from strongroom.errors import BadRequest, NotFound, PermissionDenied, Unreachable
from strongroom.sdk.request import Auth

ROLE = {"bound_service_account_names": "web", "bound_service_account_namespaces": "prod", "audience": "vault"}


class World:
    """A method, and the stub it asks."""

    def __init__(self, local: str = "/nowhere", **mount: Any) -> None:
        self.api = ApiServer(lambda: self.door.clock())
        self.door = Door(lambda m: Kubernetes(m, local=local), kind="kubernetes", fetch=self.api.fetch, **mount)
        self.clock: Clock = self.door.clock
        for namespace in ("prod", "dev"):
            for name in ("web", "mail"):
                self.api.create(namespace, name)

    async def configured(self, config: dict[str, Any] | None = None, **role: Any) -> "World":
        usual = {"kubernetes_host": URL, "token_reviewer_jwt": REVIEWER, "disable_local_ca_jwt": True}
        await self.door.write("config", usual if config is None else config)
        await self.door.write("role/r", {**ROLE, **role})
        return self

    async def login(self, jwt: str, role: str = "r") -> Auth:
        auth = (await self.door.write("login", {"role": role, "jwt": jwt})).auth
        assert auth is not None
        return auth

    async def enters(self, jwt: str, role: str = "r") -> bool:
        try:
            await self.login(jwt, role)
        except BadRequest as error:
            assert error.messages == ("invalid role or service account token",)
            return False
        return True


async def test_configuration_is_read_without_the_reviewers_token() -> None:
    world = World()
    with pytest.raises(NotFound):
        await world.door.read("config")
    ca = make("ca", ca=True).pem
    await world.door.write("config", {
        "kubernetes_host": "api.stub:6443", "token_reviewer_jwt": "secret", "kubernetes_ca_cert": ca,
        "pem_keys": [public_pem()], "issuer": "i", "disable_iss_validation": "false",
    })  # fmt: skip
    assert await world.door.read("config") == {
        "kubernetes_host": "https://api.stub:6443", "kubernetes_ca_cert": ca, "pem_keys": [public_pem()], "issuer": "i",
        "disable_iss_validation": False, "disable_local_ca_jwt": False, "token_reviewer_jwt_set": True,
    }  # fmt: skip
    await world.door.write("config", {"token_reviewer_jwt": ""})
    assert (await world.door.read("config"))["token_reviewer_jwt_set"] is False


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"kubernetes_host": "ftp://x"},
        {"kubernetes_host": "https://user@x"},
        {"kubernetes_host": "https://x", "pem_keys": "junk"},
        {"kubernetes_host": "https://x", "kubernetes_ca_cert": "junk"},
        {"kubernetes_host": "https://x", "token_reviewer_jwt": "a\r\nb"},
    ],
)
async def test_what_is_no_configuration_is_refused(fields: dict[str, Any]) -> None:
    world = World()
    with pytest.raises(BadRequest):
        await world.door.write("config", fields)
    assert await world.door.entries() == {}


async def test_a_role_is_read_as_it_was_written() -> None:
    world = World()
    await world.door.write("role/Web", {**ROLE, "policies": "a", "ttl": "1m", "num_uses": 3})
    read = await world.door.read("role/web")
    assert (read["bound_service_account_names"], read["bound_service_account_namespaces"]) == (["web"], ["prod"])
    assert (read["audience"], read["alias_name_source"], read["token_num_uses"]) == ("vault", "serviceaccount_uid", 3)
    assert (read["token_policies"], read["token_ttl"]) == (["a"], 60)
    assert await world.door.list("role") == ["web"]
    assert not (await world.door.write("role/web", {"ttl": 5})).warnings
    assert (await world.door.write("role/web", {"audience": ""})).warnings
    await world.door.delete("role/web")
    with pytest.raises(NotFound):
        await world.door.list("role")


SELECTOR = '{"matchLabels": {"tier": "prod"}}'


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"bound_service_account_names": "web"},
        {"bound_service_account_namespaces": "prod"},
        {**ROLE, "bound_service_account_names": ["*", "web"]},
        {**ROLE, "alias_name_source": "name"},
        {**ROLE, "bound_service_account_namespace_selector": "junk"},
        {**ROLE, "bound_service_account_namespace_selector": "{}"},
        {**ROLE, "bound_service_account_namespace_selector": '{"matchLabels": {"a": 1}}'},
        {**ROLE, "bound_service_account_namespace_selector": '{"matchExpressions": [{"key": "a", "operator": "Gt"}]}'},
        {**ROLE, "bound_service_account_namespace_selector": '{"matchExpressions": [{"key": "a", "operator": "In"}]}'},
        {**ROLE, "bound_service_account_namespace_selector": "[" * 5000},
    ],
)
async def test_what_is_no_role_is_refused(fields: dict[str, Any]) -> None:
    world = World()
    with pytest.raises(BadRequest):
        await world.door.write("role/r", fields)


async def test_what_a_login_tells() -> None:
    world = await World().configured()
    auth = await world.login(world.api.token("prod", "web"))
    assert (auth.alias, auth.display_name) == ("uid-prod-web", "prod-web")
    assert auth.metadata == {
        "role": "r", "service_account_name": "web", "service_account_namespace": "prod",
        "service_account_secret_name": "", "service_account_uid": "uid-prod-web",
    }  # fmt: skip
    assert auth.alias_metadata is not None and auth.alias_metadata["service_account_name"] == "web"
    method, path, headers = world.api.asked[-1]
    assert (method, path) == ("POST", "/apis/authentication.k8s.io/v1/tokenreviews")
    assert headers["authorization"] == f"Bearer {REVIEWER}"
    await world.door.write("role/r", {"alias_name_source": "serviceaccount_name"})
    assert (await world.login(world.api.token("prod", "web"), "R")).alias == "prod/web"


async def test_who_may_log_in() -> None:
    world = await World().configured()
    token = world.api.token
    assert await world.enters(token("prod", "web"))
    for namespace, name in (("dev", "web"), ("prod", "mail"), ("prod", "nobody")):
        assert not await world.enters(token(namespace, name))
    assert not await world.enters(token("prod", "web"), "other")
    assert not await world.enters(token("prod", "web", by=1))
    assert not await world.enters(token("prod", "web", exp=int(world.clock()) - 1))
    assert not await world.enters(token("prod", "web", aud=["somebody else"]))
    await world.door.write("role/r", {"bound_service_account_names": "w*", "bound_service_account_namespaces": "*"})
    assert await world.enters(token("dev", "web")) and not await world.enters(token("dev", "mail"))


async def test_an_api_server_that_knows_no_audiences_checked_none() -> None:
    world = await World().configured()
    world.api.knows_audiences = False
    assert not await world.enters(world.api.token("prod", "web"))
    await world.door.write("role/r", {"audience": ""})
    assert await world.enters(world.api.token("prod", "web"))


async def test_what_the_token_claims_must_be_what_the_api_server_says() -> None:
    world = await World().configured()
    claims = world.api.claims("prod", "web")
    stolen = {"namespace": "prod", "serviceaccount": {"name": "web", "uid": "another"}}
    for wrong in (
        {**claims, "sub": "system:serviceaccount:dev:mail"},
        {**claims, "sub": "web"},
        {**claims, "kubernetes.io": stolen},
        {**claims, "kubernetes.io": {}},
        {**claims, "kubernetes.io": "x"},
        {**claims, "exp": "soon"},
    ):
        assert not await world.enters(signed(wrong))
    answers = [
        {"authenticated": "true"}, {"authenticated": False}, {"authenticated": True}, {}, None,
        {"authenticated": True, "user": {"username": "system:serviceaccount:prod:mail", "uid": "uid-prod-web"}},
        {"authenticated": True, "user": {"username": "system:serviceaccount:prod:web", "uid": "uid-prod-mail"}},
    ]  # fmt: skip
    good, review = world.api.token("prod", "web"), world.api.review
    for answer in answers:
        world.api.review = lambda *_: answer and {**answer, "audiences": ["vault"]}  # type: ignore[method-assign]
        assert not await world.enters(good)
    world.api.review = review  # type: ignore[method-assign]
    assert await world.enters(good)


@pytest.mark.parametrize("jwt", ["", "x", "a.b.c", "..", "a" * 20_000, "é.é.é", f"{'e30'}.{'e30'}.x", "e30.W10.x"])
async def test_what_is_no_token_asks_nobody(jwt: str) -> None:
    world = await World().configured()
    assert not await world.enters(jwt) and world.api.asked == []


async def test_a_legacy_token() -> None:
    world = await World().configured(config={"pem_keys": [public_pem()]})
    words = {"namespace": "prod", "service-account.name": "web", "service-account.uid": "u", "secret.name": "s"}
    claims = {f"kubernetes.io/serviceaccount/{word}": value for word, value in words.items()}
    auth = await world.login(signed({**claims, "sub": "system:serviceaccount:prod:web", "aud": "vault"}))
    assert auth.metadata is not None and auth.metadata["service_account_secret_name"] == "s" and auth.alias == "u"


async def test_the_clients_own_token_may_ask() -> None:
    world = await World().configured(config={"kubernetes_host": URL, "disable_local_ca_jwt": True})
    token = world.api.token("prod", "web")
    with pytest.raises(Unreachable):  # it is known, and may not review
        await world.login(token)
    world.api.reviewers.add(token)
    assert await world.enters(token)
    assert not await world.enters(world.api.token("prod", "web", by=1))


async def test_the_pods_own_files_are_read_anew(tmp_path: Path) -> None:
    world = await World(str(tmp_path)).configured(config={"kubernetes_host": URL})
    (tmp_path / "token").write_text("old")
    (tmp_path / "ca.crt").write_text("authority")
    with pytest.raises(Unreachable):
        await world.login(world.api.token("prod", "web"))
    (tmp_path / "token").write_text(REVIEWER + "\n")
    assert await world.enters(world.api.token("prod", "web"))
    assert world.api.asked[-1][2]["ca"] == "authority"


async def test_an_api_server_that_is_away_is_no_wrong_token() -> None:
    world = await World().configured()
    token = world.api.token("prod", "web")
    auth = await world.login(token)
    world.api.up = False
    with pytest.raises(Unreachable):
        await world.login(token)
    with pytest.raises(Unreachable):
        await world.door.engine.renew(auth)


async def test_namespaces_by_their_labels() -> None:
    world = await World().configured(
        bound_service_account_namespaces="", bound_service_account_namespace_selector=SELECTOR
    )
    world.api.labels = {"prod": {"tier": "prod", "zone": "a"}, "dev": {"tier": "dev"}}
    assert await world.enters(world.api.token("prod", "web")) and not await world.enters(world.api.token("dev", "web"))
    rules = "matchExpressions:\n- {key: zone, operator: %s}"
    for rule, prod, dev in (
        ("Exists", True, False),
        ("DoesNotExist", False, True),
        ("In, values: [a, b]", True, False),
        ("NotIn, values: [a]", False, True),
    ):
        await world.door.write("role/r", {"bound_service_account_namespace_selector": rules % rule})
        entered = [await world.enters(world.api.token(where, "web")) for where in ("prod", "dev")]
        assert entered == [prod, dev], rule
    world.api.labels = {}
    with pytest.raises(Unreachable):
        await world.login(world.api.token("prod", "web"))
    await world.door.write("role/r", {"bound_service_account_namespaces": "prod"})
    assert await world.enters(world.api.token("prod", "web"))  # by its name: the labels need not be known


LOCAL = {"pem_keys": [public_pem()], "issuer": "https://kubernetes.default.svc", "disable_iss_validation": False}


async def test_keys_check_without_asking() -> None:
    world = await World().configured(config=LOCAL)
    token, now = world.api.token, int(world.clock())
    assert await world.enters(token("prod", "web")) and world.api.asked == []
    for wrong in (
        token("prod", "web", by=1),
        token("prod", "web", exp=now),
        token("prod", "web", nbf=now + 61),
        token("prod", "web", iat="x"),
        token("prod", "web", iss="https://elsewhere"),
        token("prod", "web", aud=["else"]),
        token("prod", "web", aud=None),
        token("prod", "web") + "x",
        token("prod", "web").rpartition(".")[0] + ".",
        signed(world.api.claims("prod", "web"), header={"alg": "none"}),
        signed(world.api.claims("prod", "web"), header={"alg": "HS256"}),
        signed(world.api.claims("prod", "web"), header={"alg": "RS256", "crit": ["b64"], "b64": False}),
    ):
        assert not await world.enters(wrong)
    await world.door.write("config", {"disable_iss_validation": True})
    assert await world.enters(token("prod", "web", iss="https://elsewhere"))


async def test_a_public_key_is_no_shared_secret() -> None:
    """An HMAC under the public key's PEM, by which libraries that follow the token's own alg were fooled."""
    import hmac

    from api_server_stub import encoded

    world = await World().configured(config=LOCAL)
    text = f"{encoded({'alg': 'HS256'})}.{encoded(world.api.claims('prod', 'web'))}"
    forged = f"{text}.{encoded(hmac.digest(public_pem().encode(), text.encode(), 'sha256'))}"
    assert not await world.enters(forged) and await world.enters(world.api.token("prod", "web"))


async def test_keys_of_certificates_and_curves() -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from joserfc import jws
    from joserfc.jwk import ECKey

    curve = ECKey.generate_key("P-256")
    world = await World().configured(config={"pem_keys": [make("signer").pem, curve.as_pem(private=False).decode()]})
    import json

    payload = json.dumps(world.api.claims("prod", "web"))
    assert await world.enters(jws.serialize_compact({"alg": "ES256"}, payload, curve))
    other = ECKey.generate_key("P-256")
    assert not await world.enters(jws.serialize_compact({"alg": "ES256"}, payload, other))
    weak = make("weak", key=rsa.generate_private_key(65537, 1024)).pem
    with pytest.raises(BadRequest):
        await world.door.write("config", {"pem_keys": [weak]})


async def test_keys_and_the_api_server_must_both_vouch() -> None:
    world = await World().configured(
        config={**LOCAL, "kubernetes_host": URL, "token_reviewer_jwt": REVIEWER, "disable_local_ca_jwt": True}
    )
    token = world.api.token("prod", "web")
    assert await world.enters(token)
    del world.api.accounts["prod", "web"]
    assert not await world.enters(token)


async def test_renewal() -> None:
    world = await World().configured(token_ttl=60)
    auth = await world.login(world.api.token("prod", "web"))
    await world.door.write("role/r", {"token_ttl": 90})
    assert (await world.door.engine.renew(auth)).ttl == 90
    del world.api.accounts["prod", "web"]
    with pytest.raises(PermissionDenied):
        await world.door.engine.renew(auth)
    world.api.create("prod", "web", "uid-of-a-later-one")
    with pytest.raises(PermissionDenied):
        await world.door.engine.renew(auth)
    world.api.create("prod", "web")
    assert (await world.door.engine.renew(auth)).ttl == 90
    await world.door.write("role/r", {"bound_service_account_names": "mail"})
    with pytest.raises(PermissionDenied):
        await world.door.engine.renew(auth)
    await world.door.write("role/r", {"bound_service_account_names": "web", "token_policies": "more"})
    with pytest.raises(PermissionDenied):
        await world.door.engine.renew(auth)


async def test_renewal_by_keys_alone_ends_with_the_token() -> None:
    world = await World().configured(config=LOCAL)
    auth = await world.login(world.api.token("prod", "web"))
    world.clock.tick(3599)
    assert await world.door.engine.renew(auth)
    world.clock.tick(1)
    with pytest.raises(PermissionDenied):
        await world.door.engine.renew(auth)


async def test_the_service_accounts_token_is_kept_only_where_it_is_needed() -> None:
    world = await World().configured()
    token = world.api.token("prod", "web")
    assert (await world.login(token)).private["jwt"] == token
    await world.door.write("role/r", {"token_type": "batch"})
    assert "jwt" not in (await world.login(token)).private
    other = await World(token_type="default-batch").configured()
    assert "jwt" not in (await other.login(other.api.token("prod", "web"))).private
