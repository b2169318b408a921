"""What somebody changes in a cluster by hand, and the published way to bring a token to another one."""

import shutil
from pathlib import Path

import pytest

from kubernetes_server import KubernetesServer
from kubevault_program import Ran, generate, kubevault, shell, write_tree


@pytest.fixture
def applied(cluster: KubernetesServer, namespace: str, tmp_path: Path) -> Path:
    """A vault that is in the cluster, with the user's token filled."""
    write_tree(tmp_path, {"a/old": {"k": "v"}, "b": {"k": "s3cret-1", "l": "w"}}, {"al": "a/*\n"})
    cluster.kubectl("apply", "--server-side", "--filename=-", stdin=generate(tmp_path, "--namespace", namespace))
    cluster.until(lambda: cluster.get("secret", "al-token", f"-n={namespace}").get("data", {}).get("token"), "a token")
    return tmp_path


def live(cluster: KubernetesServer, namespace: str, folder: Path, *words: str) -> Ran:
    kubeconfig = str(cluster.kubeconfig)
    return kubevault(folder, *words, "--namespace", namespace, KUBECONFIG=kubeconfig, HOME=str(cluster.folder))


def test_what_the_cluster_changed_is_shown(cluster: KubernetesServer, namespace: str, applied: Path) -> None:
    cluster.kubectl(
        "patch", "secret", "b", f"-n={namespace}", "--type=merge", '--patch={"stringData": {"k": "by hand"}}'
    )
    ran = live(cluster, namespace, applied, "diff", "--live", "--exit-code")
    assert ran.code == 3 and f"Secret {namespace}/b" in ran.out
    assert "by hand" not in ran.out


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_published_way_to_copy_a_token(cluster: KubernetesServer, namespace: str, applied: Path) -> None:
    """The pipe of the original's README, which names the token's Secret <user>-token."""
    copied = (
        f"kubectl get secret --namespace {namespace} al-token -ojson "
        """| jq '.type |= "Opaque" | .metadata |= {name: "vault.example"}' """
        f"| kubectl apply --namespace {namespace} --filename -"
    )
    ran = shell(applied, copied, KUBECONFIG=str(cluster.kubeconfig), HOME=str(cluster.folder))
    assert ran.code == 0, ran.err
    found = cluster.get("secret", "vault.example", f"--namespace={namespace}")
    assert found["type"] == "Opaque" and {"ca.crt", "token"} <= set(found["data"])
