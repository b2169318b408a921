"""The store through which External Secrets in another cluster reads as one user of the vault.

Sources: external-secrets.io, "Kubernetes" provider and API reference. ``external-secrets.io/v1`` is served since
0.16; 0.17 stopped serving ``v1beta1``. Its webhook wants the namespaces of ``caProvider`` and ``bearerToken`` in a
ClusterSecretStore, and refuses that of ``caProvider`` in a SecretStore.
"""

import base64
import binascii
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from strongroom.errors import BadRequest
from strongroom.kubevault.manifests import Object
from strongroom.kubevault.names import BadName, check_subdomain, token_name
from strongroom.kubevault.settings import ACCOUNT, TOKEN_TYPE

API_VERSIONS = ("v1", "v1beta1")
SECRET_NAMESPACE = "external-secrets"  # where its chart puts the operator


class Store(NamedTuple):
    """``name``: of the store, and of the Secret with token and CA that it refers to."""

    name: str
    url: str
    namespace: str  # of the vault, in the cluster of ``url``
    secret_namespace: str
    clustered: bool = True
    api_version: str = API_VERSIONS[0]


def check_url(url: str) -> str:
    """The host of a server's address.

    Raises:
        BadRequest: no ``http`` or ``https`` URL, no host, or something in it that a server's address does not have.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise BadRequest(f"{_shown(url)} is no URL of a Kubernetes API server") from None
    if parts.username is not None or parts.password is not None:
        raise BadRequest("the URL of the API server must not hold a user name or password")
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise BadRequest(f"{_shown(url)} is no URL of a Kubernetes API server, as https://vault.example:6443")
    if parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise BadRequest(f"{_shown(url)} is no URL of a Kubernetes API server: it holds more than host, port and path")
    return host


def _shown(url: str) -> str:
    return repr(url if len(url) <= 100 else f"{url[:100]}...")


def store_name(given: str, host: str) -> str:
    """The name of the store: ``given``, else the host. Raises ``BadRequest`` when no object can have it."""
    name = given or host.lower()
    try:
        check_subdomain(name)
    except BadName as error:
        more = "" if given else "; give the store another with --name"
        raise BadRequest(f"{error}{more}") from None
    return name


def store_object(store: Store) -> Object:
    """The ClusterSecretStore or SecretStore."""
    place = {"namespace": store.secret_namespace} if store.clustered else {}
    return {
        "apiVersion": f"external-secrets.io/{store.api_version}",
        "kind": "ClusterSecretStore" if store.clustered else "SecretStore",
        "metadata": {"name": store.name} | ({} if store.clustered else {"namespace": store.secret_namespace}),
        "spec": {
            "provider": {
                "kubernetes": {
                    "auth": {"token": {"bearerToken": {"key": "token", "name": store.name, **place}}},
                    "remoteNamespace": store.namespace,
                    "server": {
                        "caProvider": {"key": "ca.crt", "name": store.name, "type": "Secret", **place},
                        "url": store.url,
                    },
                }
            }
        },
    }


def token_secret(store: Store, user: str, found: dict[str, Any]) -> Object:
    """The Secret that ``store`` refers to, made of the user's token Secret as its cluster gave it.

    Raises:
        BadRequest: it is no token Secret, not that of ``user``, or the cluster has not filled it yet. The text holds
            nothing of its values.
    """
    metadata = found.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    where = f"Secret {store.namespace}/{token_name(user)}"
    if found.get("kind") != "Secret" or found.get("type") != TOKEN_TYPE:
        raise BadRequest(f"{where} is not of the type {TOKEN_TYPE}: it is not the one that kubevault generate makes")
    annotations = metadata.get("annotations")
    account = annotations.get(ACCOUNT) if isinstance(annotations, dict) else None
    if account != user:
        raise BadRequest(f"{where} holds the token of another ServiceAccount")
    data = found.get("data")
    values = {key: (data if isinstance(data, dict) else {}).get(key) for key in ("ca.crt", "token")}
    if not all(isinstance(value, str) and value for value in values.values()):
        raise BadRequest(f"{where} holds no token yet; does the ServiceAccount {user} exist? try again in a moment")
    try:
        for value in values.values():
            base64.b64decode(str(value), validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest(f"{where} holds something that is not base64") from None
    return {
        "apiVersion": "v1",
        "data": values,
        "kind": "Secret",
        "metadata": {"name": store.name, "namespace": store.secret_namespace},
        "type": "Opaque",
    }


def ca_differs(secret: Object, ca: bytes) -> bool:
    """Whether the CA in the Secret is another than ``ca`` (PEM), by which the kubeconfig knows the server."""
    held = base64.b64decode(secret["data"]["ca.crt"])
    return bool(ca) and not set(_certificates(ca)) & set(_certificates(held))


def _certificates(pem: bytes) -> list[bytes]:
    return [b"".join(part.partition(b"-----END")[0].split()) for part in pem.split(b"-----BEGIN CERTIFICATE-----")[1:]]
