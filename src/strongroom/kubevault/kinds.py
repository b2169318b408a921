"""The same secrets for other operators: ExternalSecret and PushSecret of the External Secrets Operator.

Sources: external-secrets.io, API reference (``external-secrets.io/v1`` since 0.16, PushSecret ``v1alpha1``).
"""

from typing import Any

from strongroom.kubevault.manifests import Object, noted
from strongroom.kubevault.settings import OPAQUE, OURS
from strongroom.kubevault.tree import Content, SecretFile

REFRESH = "1h"


def external_secret(secret: SecretFile, content: Content, store: str, store_kind: str) -> Object:
    """An ExternalSecret that copies the Secret of ``secret`` from ``store``; it holds no value."""
    settings = content.settings
    target: Object = {"name": secret.name}
    if settings.immutable:
        target["immutable"] = True
    metadata: Object = {
        name: dict(given)
        for name, given in (("annotations", settings.annotations), ("labels", settings.labels))
        if given
    }
    template: Object = {"metadata": metadata} if metadata else {}
    if settings.type != OPAQUE:
        template["type"] = settings.type
    if template:
        target["template"] = template
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": _metadata(secret),
        "spec": {
            "dataFrom": [{"extract": {"key": secret.name}}],
            "refreshInterval": REFRESH,
            "secretStoreRef": {"kind": store_kind, "name": store},
            "target": target,
        },
    }


def push_secret(secret: SecretFile, content: Content, store: str, store_kind: str) -> Object:
    """A PushSecret that writes each key of the Secret of ``secret`` to ``store``; it holds no value."""
    data = [
        {"match": {"remoteRef": {"property": key, "remoteKey": secret.name}, "secretKey": key}}
        for key in content.entries
    ]
    return {
        "apiVersion": "external-secrets.io/v1alpha1",
        "kind": "PushSecret",
        "metadata": _metadata(secret),
        "spec": {
            "data": data,
            "refreshInterval": REFRESH,
            "secretStoreRefs": [{"kind": store_kind, "name": store}],
            "selector": {"secret": {"name": secret.name}},
        },
    }


def _metadata(secret: SecretFile) -> dict[str, Any]:
    return {
        "annotations": {f"{OURS}source": noted(secret.path)},
        "name": secret.name,
        "namespace": secret.namespace,
    }
