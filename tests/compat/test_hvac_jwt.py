"""hvac's calls for the methods jwt and oidc, unchanged, against a real server and a provider in this process."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import hvac
import pytest
from hvac.exceptions import InvalidPath, InvalidRequest

from oidc_provider import MockProvider, pem, rsa_key, signed
from server_fixture import Server, running

CALLBACK = "http://localhost:8250/oidc/callback"


@pytest.fixture(scope="module")
def provider() -> Iterator[MockProvider]:
    with MockProvider() as one:
        yield one


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("hvac-jwt")) as one:
        yield one


@pytest.fixture
def client(server: Server) -> hvac.Client:
    return hvac.Client(url=server.address, token=server.token)


def test_jwt_by_static_key(client: hvac.Client, server: Server, provider: MockProvider) -> None:
    key = rsa_key("", 4)
    client.sys.enable_auth_method("jwt", path="static")
    client.auth.jwt.configure(jwt_validation_pubkeys=[pem(key)], bound_issuer="https://me", path="static")
    read = client.auth.jwt.read_config(path="static")["data"]
    assert read["bound_issuer"] == "https://me" and read["jwt_validation_pubkeys"] == [pem(key)]
    client.auth.jwt.create_role(
        "Deploy", "sub", [], role_type="jwt", bound_audiences=["vault"], token_policies=["p"], token_ttl=60,
        path="static",
        bound_claims={"env": ["prod"]}, claim_mappings={"env": "env"}, user_claim_json_pointer=False,
    )  # fmt: skip
    assert client.auth.jwt.list_roles(path="static")["data"]["keys"] == ["deploy"]
    role = client.auth.jwt.read_role("deploy", path="static")["data"]
    assert (role["token_ttl"], role["bound_claims"], role["role_type"]) == (60, {"env": ["prod"]}, "jwt")
    claims = {"iss": "https://me", "sub": "ci", "aud": "vault", "env": "prod", "iat": int(provider.now())}
    stranger = hvac.Client(url=server.address)
    auth = stranger.auth.jwt.jwt_login("deploy", signed(key, claims), path="static")["auth"]
    assert auth["policies"] == ["default", "p"] and auth["lease_duration"] == 60
    assert auth["metadata"] == {"role": "deploy", "env": "prod"}
    found = client.lookup_token(auth["client_token"])["data"]
    assert (found["display_name"], found["path"]) == ("static-ci", "auth/static/login")
    assert client.auth.token.renew(auth["client_token"])["auth"]["lease_duration"] == 60
    with pytest.raises(InvalidRequest):
        stranger.auth.jwt.jwt_login("deploy", signed(key, {**claims, "env": "dev"}), path="static")
    client.auth.jwt.delete_role("deploy", path="static")
    with pytest.raises(InvalidPath):
        client.auth.jwt.read_role("deploy", path="static")
    with pytest.raises(InvalidRequest):
        stranger.auth.jwt.jwt_login("deploy", signed(key, claims), path="static")


def test_oidc_in_a_browser(client: hvac.Client, server: Server, provider: MockProvider) -> None:
    client.sys.enable_auth_method("oidc")
    client.auth.oidc.configure(
        oidc_discovery_url=provider.url, oidc_client_id="client", oidc_client_secret="s3cret+", default_role="people",
        oidc_response_mode="query", oidc_response_types=["code"], namespace_in_state=True, provider_config={},
    )  # fmt: skip
    assert "oidc_client_secret" not in client.auth.oidc.read_config()["data"]
    client.auth.oidc.create_role(
        "people", "sub", [CALLBACK], role_type="oidc", oidc_scopes=["email"], groups_claim="groups",
        clock_skew_leeway=30, expiration_leeway=30, not_before_leeway=30, verbose_oidc_logging=False,
    )  # fmt: skip
    provider.claims = {"groups": ["ops"]}
    stranger = hvac.Client(url=server.address)
    url = stranger.auth.oidc.oidc_authorization_url_request("people", CALLBACK)["data"]["auth_url"]
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    answer = stranger.auth.oidc.oidc_callback(query["state"], query["nonce"], provider.authorize(url))
    assert answer["auth"]["metadata"] == {"role": "people"}
    assert client.lookup_token(answer["auth"]["client_token"])["data"]["display_name"] == "oidc-alice"
    with pytest.raises(InvalidRequest):
        stranger.auth.oidc.oidc_callback(query["state"], query["nonce"], "again")
    with pytest.raises(InvalidRequest):
        stranger.auth.oidc.oidc_authorization_url_request("people", "https://evil.example/")
