"""The auth method `kubernetes` against the real API server: TokenReview, bound tokens, tokens in Secrets, labels.

What needs time to pass or a broken API server is tested with the stub (tests/unit/auth/kubernetes).
"""

import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

import certificates
from kubernetes_server import ISSUER, KubernetesServer
from strongroom import SealConfig, Vault
from strongroom.errors import BadRequest, PermissionDenied, Unreachable, VaultError

REFUSED = "invalid role or service account token"
# The API server remembers for ten seconds that it found a token good.
REMEMBERS = 30.0


class World:
    """A vault with the method mounted, and a namespace with service accounts."""

    def __init__(self, cluster: KubernetesServer, namespace: str, vault: Vault) -> None:
        self.cluster, self.namespace, self.vault = cluster, namespace, vault
        self.at = f"--namespace={namespace}"
        for name in ("web", "mail", "reviewer", "stranger"):
            cluster.kubectl("create", "serviceaccount", name, self.at)
        self.delegate("reviewer")
        self.configure()
        self.role(audience="vault")

    def delegate(self, account: str, role: str = "system:auth-delegator") -> None:
        name = f"{self.namespace}-{account}-{role.replace(':', '-')}"
        self.cluster.kubectl(
            "create",
            "clusterrolebinding",
            name,
            f"--clusterrole={role}",
            f"--serviceaccount={self.namespace}:{account}",
        )

    def configure(self, **more: Any) -> None:
        usual = {
            "kubernetes_host": self.cluster.url,
            "kubernetes_ca_cert": self.cluster.ca,
            "disable_local_ca_jwt": True,
            "token_reviewer_jwt": self.token("reviewer"),
        }
        self.vault.write("auth/kubernetes/config", usual | more)

    def role(self, **more: Any) -> None:
        usual = {"bound_service_account_names": "web", "bound_service_account_namespaces": self.namespace, "ttl": "1h"}
        self.vault.write("auth/kubernetes/role/r", usual | more)

    def token(self, account: str, *flags: str, namespace: str = "") -> str:
        at = f"--namespace={namespace}" if namespace else self.at
        return self.cluster.kubectl("create", "token", account, at, *flags).strip()

    def login(self, jwt: str) -> Any:
        auth = self.vault.write("auth/kubernetes/login", {"role": "r", "jwt": jwt}).auth
        assert auth is not None
        return auth

    def enters(self, jwt: str) -> bool:
        try:
            self.login(jwt)
        except BadRequest as error:
            assert REFUSED in str(error)
            return False
        return True

    def renews(self, token: str) -> bool:
        try:
            self.vault.write("auth/token/renew", {"token": token})
        except VaultError as error:
            assert isinstance(error, PermissionDenied), error
            return False
        return True

    def until_not(self, condition: Any, what: str) -> None:
        self.cluster.until(lambda: not condition(), what, REMEMBERS)


@pytest.fixture
def world(cluster: KubernetesServer, namespace: str) -> Iterator[World]:
    with Vault({"memory": {}}) as vault:
        made = vault.init(SealConfig(secret_shares=1, secret_threshold=1))
        vault.unseal(made.keys[0])
        vault.set_token(made.root_token)
        vault.mount("auth/kubernetes", "kubernetes")
        yield World(cluster, namespace, vault)


def test_a_requested_token_logs_in_and_renews(world: World) -> None:
    auth = world.login(world.token("web", "--audience=vault"))
    account = world.cluster.get("serviceaccount", "web", world.at)
    assert auth.metadata == {
        "role": "r",
        "service_account_name": "web",
        "service_account_namespace": world.namespace,
        "service_account_secret_name": "",
        "service_account_uid": account["metadata"]["uid"],
    }
    assert world.renews(auth.client_token)


def test_a_token_for_somebody_else_is_refused(world: World) -> None:
    assert not world.enters(world.token("web"))
    assert not world.enters(world.token("web", "--audience=https://other.example"))
    assert world.enters(world.token("web", "--audience=https://other.example", "--audience=vault"))
    world.role(audience="")
    assert world.enters(world.token("web"))


def test_other_accounts_and_namespaces_are_refused(world: World) -> None:
    other = f"{world.namespace}-other"
    world.cluster.kubectl("create", "namespace", other)
    world.cluster.kubectl("create", "serviceaccount", "web", f"--namespace={other}")
    assert not world.enters(world.token("mail", "--audience=vault"))
    assert not world.enters(world.token("web", "--audience=vault", namespace=other))
    world.role(
        audience="vault", bound_service_account_namespaces=f"{world.namespace}*", bound_service_account_names="w*"
    )
    assert world.enters(world.token("web", "--audience=vault", namespace=other))
    assert not world.enters(world.token("mail", "--audience=vault"))


def test_a_changed_token_is_refused(world: World) -> None:
    good = world.token("web", "--audience=vault")
    head, body, signature = good.split(".")
    mail = world.token("mail", "--audience=vault").split(".")
    world.role(audience="vault", bound_service_account_names=["web", "mail"])
    assert world.enters(good)
    changed = signature[:-10] + ("A" if signature[-10] != "A" else "B") + signature[-9:]
    for jwt in (f"{head}.{body}.{changed}", f"{head}.{mail[1]}.{signature}", f"{head}.{body}.", "x", good[:-1]):
        assert not world.enters(jwt)


def test_a_token_kept_in_a_secret(world: World) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "web-token", "annotations": {"kubernetes.io/service-account.name": "web"}},
        "type": "kubernetes.io/service-account-token",
    }
    world.cluster.kubectl("apply", world.at, "--filename=-", stdin=json.dumps(secret))
    jwt = world.cluster.until(
        lambda: b64decode(world.cluster.get("secret", "web-token", world.at).get("data", {}).get("token", "")).decode(),
        "the controller filled the token",
    )
    assert not world.enters(jwt), "it is for the API server's own audience"
    world.role(audience="")
    auth = world.login(jwt)
    assert auth.metadata["service_account_secret_name"] == "web-token"
    assert world.renews(auth.client_token)
    world.cluster.kubectl("delete", "secret", "web-token", world.at)
    world.until_not(lambda: world.enters(jwt), "the token ends with its Secret")
    assert not world.renews(auth.client_token)


def test_a_deleted_account_neither_logs_in_nor_renews(world: World) -> None:
    jwt = world.token("web", "--audience=vault")
    auth = world.login(jwt)
    world.cluster.kubectl("delete", "serviceaccount", "web", world.at)
    world.until_not(lambda: world.renews(auth.client_token), "the account is gone")
    assert not world.enters(jwt)
    world.cluster.kubectl("create", "serviceaccount", "web", world.at)
    assert world.enters(world.token("web", "--audience=vault"))
    assert not world.enters(jwt), "a later account of that name is another"
    assert not world.renews(auth.client_token)


def test_a_token_bound_to_an_object_ends_with_it(world: World) -> None:
    world.cluster.kubectl("create", "secret", "generic", "bound", world.at)
    jwt = world.token("web", "--audience=vault", "--bound-object-kind=Secret", "--bound-object-name=bound")
    auth = world.login(jwt)
    world.cluster.kubectl("delete", "secret", "bound", world.at)
    world.until_not(lambda: world.renews(auth.client_token), "the object is gone")
    assert not world.enters(jwt)


def test_who_asks_must_be_allowed_to(world: World) -> None:
    jwt = world.token("web", "--audience=vault")
    assert world.enters(jwt)
    world.configure(token_reviewer_jwt=world.token("stranger"))
    with pytest.raises(Unreachable):
        world.login(jwt)
    world.configure(token_reviewer_jwt="no.token.atall")
    with pytest.raises(Unreachable):
        world.login(jwt)


def test_without_a_reviewer_the_token_asks_for_itself(world: World) -> None:
    """Only a token for the API server's own audience can: it must be let in there first."""
    world.configure(token_reviewer_jwt="")
    world.role(audience="")
    jwt = world.token("web")
    with pytest.raises(VaultError):
        world.login(jwt)
    world.delegate("web")
    world.cluster.until(lambda: not _fails(world, jwt), "the binding holds", REMEMBERS)


def _fails(world: World, jwt: str) -> bool:
    try:
        return not world.enters(jwt)
    except Unreachable:
        return True


def test_namespaces_by_their_labels(world: World) -> None:
    world.role(
        audience="vault",
        bound_service_account_namespaces="",
        bound_service_account_namespace_selector='{"matchLabels": {"tier": "prod"}}',
    )
    jwt = world.token("web", "--audience=vault")
    with pytest.raises(Unreachable):
        world.login(jwt)  # the reviewer may not read namespaces
    reads = f"{world.namespace}-reads-namespaces"
    world.cluster.kubectl("create", "clusterrole", reads, "--verb=get", "--resource=namespaces")
    world.delegate("reviewer", reads)
    world.cluster.until(lambda: not _away(world, jwt), "the binding holds", REMEMBERS)
    assert not world.enters(jwt)
    world.cluster.kubectl("label", "namespace", world.namespace, "tier=prod")
    assert world.enters(jwt)


def _away(world: World, jwt: str) -> bool:
    try:
        world.enters(jwt)
    except Unreachable:
        return True
    return False


def test_keys_of_the_api_server_are_checked_here_too(world: World) -> None:
    key = serialization.load_pem_private_key((world.cluster.folder / "accounts.key").read_bytes(), None)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
    jwt = world.token("web", "--audience=vault")
    world.configure(pem_keys=[pem], issuer=ISSUER, disable_iss_validation=False)
    assert world.enters(jwt)
    world.configure(pem_keys=[pem], issuer="https://other.example", disable_iss_validation=False)
    assert not world.enters(jwt)
    world.configure(pem_keys=[pem], issuer=ISSUER, kubernetes_host="", disable_iss_validation=False)
    assert world.enters(jwt)
    assert not world.enters(world.token("web"))


def test_the_api_servers_certificate_is_checked(world: World) -> None:
    world.configure(kubernetes_ca_cert=certificates.make("somebody else", ca=True).pem)
    with pytest.raises(Unreachable):
        world.login(world.token("web", "--audience=vault"))
