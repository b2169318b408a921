"""Where a kubeconfig, or the environment, says that the cluster is."""

import base64
import os
from pathlib import Path

import pytest

from strongroom.errors import BadRequest
from strongroom.kubevault.kubeconfig import Server, find_server

PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def config(path: Path, current: str = "", **clusters: str) -> str:
    """Contexts of the same names as the clusters, with these lines of each cluster."""
    text = "apiVersion: v1\nkind: Config\n" + (f"current-context: {current}\n" if current else "")
    text += "clusters:\n" + "".join(f"- name: {name}\n  cluster: {inner}\n" for name, inner in clusters.items())
    text += "contexts:\n" + "".join(f"- name: {name}\n  context: {{cluster: {name}, user: u}}\n" for name in clusters)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_the_flag_the_variable_and_the_home(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    at_home = config(tmp_path / ".kube" / "config", "h", h="{server: 'https://home:1'}")
    assert find_server("", "", home) == Server("https://home:1", source=at_home)
    one = config(tmp_path / "one", a="{server: 'https://a'}", same="{server: 'https://first'}")
    two = config(tmp_path / "two", "same", same="{server: 'https://second'}", b="{server: 'https://b'}")
    several = {**home, "KUBECONFIG": os.pathsep.join(["/nowhere/config", "", one, two])}
    assert find_server("", "", several).url == "https://first"  # the first file that has the name
    assert find_server("", "b", several) == Server("https://b", source=two)
    assert find_server(two, "", several).url == "https://second"


def test_authorities(tmp_path: Path) -> None:
    data = base64.b64encode(PEM).decode()
    (tmp_path / "ca.pem").write_bytes(PEM)
    one = config(
        tmp_path / "one",
        a=f"{{server: 'https://a', certificate-authority-data: {data}}}",
        b="{server: 'https://b', certificate-authority: ca.pem, insecure-skip-tls-verify: true}",
        c="{server: 'https://c', certificate-authority-data: '%'}",
        d="{server: 'https://d', certificate-authority: gone.pem}",
    )
    assert find_server(one, "a", {}).ca == PEM
    assert find_server(one, "b", {}) == Server("https://b", PEM, insecure=True, source=one)
    for context, words in (("c", "not base64"), ("d", "cannot read .*gone.pem")):
        with pytest.raises(BadRequest, match=words):
            find_server(one, context, {})


def test_inside_a_cluster(tmp_path: Path) -> None:
    inside = {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    assert find_server("", "", inside).url == "https://[fd00::1]:6443"
    assert find_server("", "", {**inside, "KUBERNETES_SERVICE_HOST": "10.0.0.1"}).url == "https://10.0.0.1:6443"
    for context, environ in (("c", inside), ("", {"HOME": str(tmp_path)})):
        with pytest.raises(BadRequest, match="there is no kubeconfig"):
            find_server("", context, environ)


@pytest.mark.parametrize(
    ("text", "context", "words"),
    [
        ("[1, 2", "", "is not YAML"),
        ("- 1", "", "is no kubeconfig"),
        ("kind: Config", "", "no current context"),
        ("kind: Config", "x", "has no context 'x'; it has none"),
        ("current-context: x\ncontexts: [{name: x, context: {cluster: c}}]", "", "names the cluster 'c'"),
        ("contexts: [{name: x, context: {cluster: c}}]\nclusters: [{name: c, cluster: {}}]", "x", "has no server"),
        ("contexts: nonsense\nclusters: 3\ncurrent-context: [x]", "", "no current context"),
    ],
)
def test_files_that_say_nothing_usable(tmp_path: Path, text: str, context: str, words: str) -> None:
    (tmp_path / "c").write_text(text)
    with pytest.raises(BadRequest, match=words):
        find_server(str(tmp_path / "c"), context, {})
    with pytest.raises(BadRequest, match="cannot read"):
        find_server(str(tmp_path / "gone"), context, {})
