"""What a kubeconfig says about a cluster's address, read without asking the cluster.

Source: kubernetes.io, "Organizing Cluster Access Using kubeconfig Files": of several files in ``KUBECONFIG`` the first
that sets a name, or the current context, wins; files that do not exist are passed over.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from strongroom.errors import BadRequest
from strongroom.kubevault.yaml_read import BadYaml, read_texts

_MOST = 16 << 20  # bytes of a kubeconfig


class Server(NamedTuple):
    """Where a cluster answers. ``ca``: PEM text, or empty; ``insecure``: its certificate is not verified."""

    url: str
    ca: bytes = b""
    insecure: bool = False
    source: str = ""


def find_server(kubeconfig: str, context: str, environ: Mapping[str, str]) -> Server:
    """The server of ``context`` (else of the current context) in ``kubeconfig`` (else in those of the environment).

    Without any kubeconfig: the cluster that this program runs in.

    Raises:
        BadRequest: a file that is no kubeconfig, a context or cluster that it lacks, or nothing at all.
    """
    files = _files(kubeconfig, environ)
    if not files:
        return _inside(kubeconfig, context, environ)
    contexts: dict[str, tuple[str, Any]] = {}
    clusters: dict[str, tuple[str, Any]] = {}
    current = ""
    for file in files:
        config = _read(file)
        for found, kind in ((contexts, "context"), (clusters, "cluster")):
            for name, inner in _named(config, kind):
                found.setdefault(name, (file, inner))
        current = current or _text(config.get("current-context"))
    wanted = context or current
    shown = ", ".join(files)
    if not wanted:
        raise BadRequest(f"{shown} has no current context; name one with --context")
    if wanted not in contexts:
        raise BadRequest(f"{shown} has no context {wanted!r}; it has {', '.join(sorted(contexts)) or 'none'}")
    cluster = _text(contexts[wanted][1].get("cluster"))
    if cluster not in clusters:
        raise BadRequest(f"{shown}: the context {wanted!r} names the cluster {cluster!r}, which is not there")
    file, inner = clusters[cluster]
    return _server(file, cluster, inner)


def _files(kubeconfig: str, environ: Mapping[str, str]) -> list[str]:
    if kubeconfig:
        return [kubeconfig]
    named = [file for file in environ.get("KUBECONFIG", "").split(os.pathsep) if file]
    if not named:
        home = environ.get("HOME") or os.path.expanduser("~")
        named = [os.path.join(home, ".kube", "config")]
    return [file for file in named if os.path.exists(file)]


def _inside(kubeconfig: str, context: str, environ: Mapping[str, str]) -> Server:
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "") or "443"
    if not host or context:
        raise BadRequest("there is no kubeconfig; name one with --kubeconfig, or the server with --vault-url")
    return Server(f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}", source="in-cluster")


def _read(file: str) -> dict[str, Any]:
    try:
        with open(file, "rb") as handle:
            data = handle.read(_MOST)
        config = next(iter(read_texts(data)), None)
    except OSError as error:
        raise BadRequest(f"cannot read {file}: {error.strerror}") from None
    except BadYaml as error:
        raise BadRequest(f"{file} {error}") from None
    if not isinstance(config, dict):
        raise BadRequest(f"{file} is no kubeconfig")
    return config


def _named(config: dict[str, Any], kind: str) -> list[tuple[str, dict[str, Any]]]:
    listed = config.get(f"{kind}s")
    items = [item for item in (listed if isinstance(listed, list) else []) if isinstance(item, dict)]
    return [(_text(item.get("name")), item[kind]) for item in items if isinstance(item.get(kind), dict)]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _server(file: str, name: str, inner: dict[str, Any]) -> Server:
    url = _text(inner.get("server"))
    if not url:
        raise BadRequest(f"{file}: the cluster {name!r} has no server")
    insecure = _text(inner.get("insecure-skip-tls-verify")).lower() == "true"
    ca = b""
    if data := _text(inner.get("certificate-authority-data")):
        try:
            ca = base64.b64decode("".join(data.split()), validate=True)
        except (binascii.Error, ValueError):
            raise BadRequest(f"{file}: certificate-authority-data of {name!r} is not base64") from None
    elif path := _text(inner.get("certificate-authority")):
        path = os.path.join(os.path.dirname(file), path)
        try:
            with open(path, "rb") as handle:
                ca = handle.read(_MOST)
        except OSError as error:
            raise BadRequest(f"cannot read {path}, named in {file}: {error.strerror}") from None
    return Server(url, ca, insecure, file)
