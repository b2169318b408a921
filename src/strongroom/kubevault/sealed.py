"""Bitnami SealedSecrets: values sealed for the controller of one cluster, with its certificate alone.

A value is two bytes with the length of what follows (big-endian), a session key under RSA-OAEP with SHA-256 and the
scope as label, then the value under AES-256-GCM with that key and a nonce of zeros (a key is used once). Source:
pkg/crypto/crypto.go and sealedsecret_expansion.go of sealed-secrets 0.29.
"""

import base64
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from strongroom.errors import BadRequest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

STRICT, NAMESPACE_WIDE, CLUSTER_WIDE = SCOPES = ("strict", "namespace-wide", "cluster-wide")
_ANNOTATION = "sealedsecrets.bitnami.com/"
_LAST_APPLIED = (
    "kubectl.kubernetes.io/last-applied-configuration",  # a copy of the Secret in clear
    "kubecfg.ksonnet.io/last-applied-configuration",
)
_KEPT = ("name", "namespace", "labels", "annotations")
_SESSION_KEY_BYTES = 32
_ZERO_NONCE = bytes(12)


def load_certificate(pem: bytes, now: datetime) -> "RSAPublicKey":
    """The public key of the first certificate in ``pem``, as ``kubeseal --fetch-cert`` prints it. ``now`` has a time
    zone. Raises BadRequest: no certificate, expired, or of a key that is not RSA."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    try:
        certificate = x509.load_pem_x509_certificates(pem)[0]
        key = certificate.public_key()
    except (ValueError, IndexError, x509.InvalidVersion):
        raise BadRequest("no PEM certificate is in it") from None
    except UnsupportedAlgorithm:  # of a curve that is not known here
        raise BadRequest("the certificate's key is not RSA") from None
    if not isinstance(key, RSAPublicKey):
        raise BadRequest("the certificate's key is not RSA")
    if now > certificate.not_valid_after_utc:
        raise BadRequest(f"the certificate expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    return key


def label(namespace: str, name: str, scope: str) -> bytes:
    """What a value is bound to: it opens only in a SealedSecret of this name, in this namespace, or anywhere."""
    if scope not in SCOPES:
        raise BadRequest(f"the scope must be one of {', '.join(SCOPES)}")
    if scope == CLUSTER_WIDE:
        return b""
    return (namespace if scope == NAMESPACE_WIDE else f"{namespace}/{name}").encode()


def seal(
    value: bytes,
    *,
    certificate: "RSAPublicKey",
    namespace: str,
    name: str,
    scope: str = STRICT,
    randomness: Callable[[int], bytes] = os.urandom,
) -> str:
    """``value`` for ``encryptedData``, in base64; other bytes each time. ``randomness`` gives the session key; the
    padding's seed always comes from the operating system. Raises BadRequest for a scope that does not exist or a key
    too short."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key = randomness(_SESSION_KEY_BYTES)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label(namespace, name, scope))
    try:
        wrapped = certificate.encrypt(key, oaep)
    except ValueError:
        raise BadRequest("the certificate's key is too short") from None
    sealed = len(wrapped).to_bytes(2, "big") + wrapped + AESGCM(key).encrypt(_ZERO_NONCE, value, None)
    return base64.b64encode(sealed).decode()


def scope_of(metadata: Mapping[str, Any]) -> str:
    """The scope that annotations ask for, as kubeseal reads them."""
    annotations = metadata.get("annotations") or {}
    for scope in (CLUSTER_WIDE, NAMESPACE_WIDE):
        if annotations.get(_ANNOTATION + scope) == "true":
            return scope
    return STRICT


def sealed_secret(
    secret: Mapping[str, Any],
    *,
    certificate: "RSAPublicKey",
    scope: str = "",
    randomness: Callable[[int], bytes] = os.urandom,
) -> dict[str, Any]:
    """The SealedSecret (bitnami.com/v1alpha1) of a Secret manifest with ``data`` in base64.

    ``scope`` empty: what the Secret's annotations ask for, else strict. The template gets name, namespace, labels,
    annotations, type and ``immutable``; nothing that holds a value in clear. Raises BadRequest: no name, no namespace
    (but for cluster-wide), ``stringData``, or ``data`` that is not base64.
    """
    metadata: dict[str, Any] = {field: secret["metadata"][field] for field in _KEPT if secret["metadata"].get(field)}
    scope = scope or scope_of(metadata)
    name, namespace = metadata.get("name", ""), metadata.get("namespace", "")
    if not name or (not namespace and scope != CLUSTER_WIDE):
        raise BadRequest("a Secret needs a name and a namespace to be sealed")
    if secret.get("stringData"):
        raise BadRequest("stringData is not sealed: put the values in data")
    asked = {} if scope == STRICT else {_ANNOTATION + scope: "true"}
    wide = {_ANNOTATION + each for each in SCOPES}
    kept = {key: value for key, value in metadata.pop("annotations", {}).items() if key not in {*_LAST_APPLIED, *wide}}
    if kept or asked:
        metadata["annotations"] = kept | asked
    template: dict[str, Any] = {"metadata": metadata}
    template |= {field: secret[field] for field in ("type", "immutable") if secret.get(field) is not None}
    sealed: dict[str, Any] = {"name": name, **({"namespace": namespace} if namespace else {})}
    if asked:
        sealed["annotations"] = asked
    encrypted = {
        key: seal(
            _plain(key, value),
            certificate=certificate,
            namespace=namespace,
            name=name,
            scope=scope,
            randomness=randomness,
        )
        for key, value in sorted((secret.get("data") or {}).items())
    }
    return {
        "apiVersion": "bitnami.com/v1alpha1",
        "kind": "SealedSecret",
        "metadata": sealed,
        "spec": {"encryptedData": encrypted, "template": template},
    }


def _plain(key: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise BadRequest(f"the value of {key} is not base64") from None
