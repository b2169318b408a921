"""Manifests read back: from a folder of YAML files, and from a cluster.

Every scalar of a file is taken as text, so that YAML 1.1's ``yes`` and ``1_000`` are what somebody wrote.
"""

import os
from collections.abc import Iterable, Iterator
from typing import Any

from strongroom.errors import BadRequest
from strongroom.kubevault.kubectl import Cluster
from strongroom.kubevault.yaml_read import BadYaml, read_texts

_ENDINGS = (".yaml", ".yml", ".json")
_LIVE = "secrets,serviceaccounts,roles.rbac.authorization.k8s.io,rolebindings.rbac.authorization.k8s.io"


def folder_objects(folder: str) -> Iterator[dict[str, Any]]:
    """The objects of the files of a folder, as ``kubectl apply -f`` finds them: not of the folders in it.

    Raises:
        BadRequest: no folder, or a file that cannot be read or is not YAML; the text repeats nothing of it.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(_ENDINGS) and not name.startswith("."))
    except OSError as error:
        raise BadRequest(f"cannot read the folder {folder}: {error.strerror}") from None
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            continue
        try:
            with open(path, "rb") as file:
                documents = read_texts(file.read())
        except OSError as error:
            raise BadRequest(f"cannot read {path}: {error.strerror}") from None
        except BadYaml as error:
            raise BadRequest(f"{path}:{error.line}: {error}" if error.line else f"{path} {error}") from None
        for document in documents:
            yield from _objects(document)


def live_objects(cluster: Cluster, namespaces: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The objects of a cluster of the kinds that a vault makes, in these namespaces. Raises ``KubectlFailed``."""
    for namespace in namespaces:
        yield from _objects(cluster.get(_LIVE, namespace))


def _objects(document: object) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict):
        return
    if str(document.get("kind")).endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _objects(item)
    else:
        yield document
