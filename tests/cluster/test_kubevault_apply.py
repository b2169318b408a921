"""What `kubevault generate` prints is what a real API server takes, and every value comes back as it was."""

from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubernetes_server import KubernetesServer
from kubevault_program import START, generate, kubevault, shell, write_tree
from odd_values import KEYS, ODD

VALUES = {f"value-{number}": text for number, text in enumerate(ODD)}
BINARY = bytes(range(256))


def data_of(secret: dict[str, Any]) -> dict[str, bytes]:
    return {key: b64decode(value) for key, value in secret.get("data", {}).items()}


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    write_tree(
        tmp_path,
        {
            "odd/values": VALUES,
            "odd/keys": dict.fromkeys(KEYS, "v"),
            "odd/binary": b"k: !!binary " + b64encode(BINARY),
            "empty": "",
            "A folder/with 'odd' \u00fcmlauts \U0001f511/x": {"k": "v"},
            "plain": "k: yes\nl: 0x1F\nm: |\n  two\n  lines\n",
        },
        {"alice": "odd/*\n!odd/keys\n", "bob": "**\n", "nothing": "# none\n"},
    )
    return tmp_path


@pytest.mark.parametrize("form", ["data", "stringData"])
@pytest.mark.parametrize("way", [["--server-side"], []], ids=["server-side", "client-side"])
def test_every_value_comes_back(
    cluster: KubernetesServer, namespace: str, vault: Path, form: str, way: list[str]
) -> None:
    text = generate(vault, "--namespace", namespace, "--format", form)
    cluster.kubectl("apply", *way, "--dry-run=server", "--filename=-", stdin=text)
    assert not cluster.get("secrets", f"--namespace={namespace}")["items"]
    cluster.kubectl("apply", *way, "--filename=-", stdin=text)

    def read(name: str) -> dict[str, bytes]:
        return data_of(cluster.get("secret", name, f"--namespace={namespace}"))

    assert read("odd-values") == {key: value.encode() for key, value in VALUES.items()}
    assert read("odd-keys") == dict.fromkeys(KEYS, b"v")
    assert read("odd-binary") == {"k": BINARY}
    assert read("empty") == {}
    assert read("plain") == {"k": b"yes", "l": b"0x1F", "m": b"two\nlines\n"}
    odd = cluster.get("secret", "a-folder-with--odd---mlauts---x", f"--namespace={namespace}")
    assert (
        odd["metadata"]["annotations"]["kubevault.chezmoi.sh/source"] == "A folder/with 'odd' \u00fcmlauts \U0001f511/x"
    )

    again = cluster.kubectl("apply", *way, "--filename=-", stdin=text)
    said = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in again.splitlines()}
    if way:
        assert set(said.values()) == {"serverside-applied"}
    elif form == "data":
        # An empty map is no map for the server, so kubectl sends it again each time.
        configured = {name for name, word in said.items() if word != "unchanged"}
        assert configured == {"secret/empty", "role.rbac.authorization.k8s.io/kubevault:nothing:read"}


@pytest.mark.parametrize("form", ["data", "stringData"])
@pytest.mark.parametrize("way", [["--server-side"], []], ids=["server-side", "client-side"])
def test_a_second_apply_changes_nothing(
    cluster: KubernetesServer, namespace: str, vault: Path, form: str, way: list[str]
) -> None:
    text = generate(vault, "--namespace", namespace, "--format", form)

    def versions() -> dict[str, str]:
        things = cluster.get("secrets,serviceaccounts,roles,rolebindings", f"--namespace={namespace}")["items"]
        return {
            f"{thing['kind']} {thing['metadata']['name']}": thing["metadata"]["resourceVersion"] for thing in things
        }

    cluster.kubectl("apply", *way, "--filename=-", stdin=text)
    # The controller adds tokens behind our back: wait for it, so that a change is ours.
    for user in ("alice", "bob", "nothing"):
        cluster.until(
            lambda: data_of(cluster.get("secret", f"{user}-token", f"-n={namespace}")).get("token"), "a token"
        )
    before = versions()
    cluster.kubectl("apply", *way, "--filename=-", stdin=text)
    assert versions() == before


@pytest.mark.parametrize(("form", "stays"), [("data", False), ("stringData", True)])
def test_a_key_that_goes_away_goes_away_in_the_cluster(
    cluster: KubernetesServer, namespace: str, tmp_path: Path, form: str, stays: bool
) -> None:
    """With ``data`` it does. With ``stringData`` it stays after a server-side apply: why ``data`` is the default."""
    write_tree(tmp_path, {"a": {"old": "1", "new": "2"}}, {})
    words = ("--namespace", namespace, "--format", form)
    cluster.kubectl("apply", "--server-side", "--filename=-", stdin=generate(tmp_path, *words))
    write_tree(tmp_path, {"a": {"new": "3"}}, {})
    cluster.kubectl("apply", "--server-side", "--filename=-", stdin=generate(tmp_path, *words))
    found = data_of(cluster.get("secret", "a", f"--namespace={namespace}"))
    assert found == {"new": b"3"} | ({"old": b"1"} if stays else {})


KINDS = {
    "tls": ("kubernetes.io/tls", {"tls.crt": "", "tls.key": ""}),
    "registry": ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": '{"auths": {}}'}),
    "old-registry": ("kubernetes.io/dockercfg", {".dockercfg": "{}"}),
    "basic": ("kubernetes.io/basic-auth", {"username": "u", "password": "p"}),
    "basic-user": ("kubernetes.io/basic-auth", {"username": "u"}),
    "ssh": ("kubernetes.io/ssh-auth", {"ssh-privatekey": "k"}),
    "own": ("example.com/own", {"a": "b"}),
}


def test_types_labels_annotations_and_immutable(cluster: KubernetesServer, namespace: str, tmp_path: Path) -> None:
    settings = {
        "labels": {"app": "x", "example.com/tier": "", "a": "1"},
        "annotations": {"example.com/note": "two\nlines yes"},
    }
    files: dict[str, Any] = {
        name: yaml.safe_dump({**values, "_kubevault": {"type": kind, **settings}})
        for name, (kind, values) in KINDS.items()
    }
    files["fixed"] = "k: v\n_kubevault: {immutable: true}\n"
    write_tree(tmp_path, files, {})
    text = generate(tmp_path, "--namespace", namespace)
    cluster.kubectl("apply", "--server-side", "--filename=-", stdin=text)
    cluster.kubectl("apply", "--server-side", "--filename=-", stdin=text)
    for name, (kind, values) in KINDS.items():
        secret = cluster.get("secret", name, f"--namespace={namespace}")
        assert secret["type"] == kind
        assert data_of(secret) == {key: value.encode() for key, value in values.items()}
        assert secret["metadata"]["labels"] == settings["labels"]
        assert secret["metadata"]["annotations"]["example.com/note"] == "two\nlines yes"
    assert cluster.get("secret", "fixed", f"--namespace={namespace}")["immutable"] is True
    write_tree(tmp_path, {"fixed": "k: other\n_kubevault: {immutable: true}\n"}, {})
    changed = generate(tmp_path, "--namespace", namespace)
    assert "immutable" in cluster.kubectl("apply", "--server-side", "--filename=-", stdin=changed, fails=True)


def test_the_first_commands_of_a_new_user(cluster: KubernetesServer, tmp_path: Path) -> None:
    """To the last line, which the test without a cluster leaves out."""
    script = START + "kubectl create namespace vault-kvstore\nkubevault generate | kubectl apply -f -\n"
    ran = shell(tmp_path, script, KUBECONFIG=str(cluster.kubeconfig))
    assert ran.code == 0, ran.err
    found = data_of(cluster.get("secret", "my-first-secret", "--namespace=vault-kvstore"))
    assert found == {"username": b"myusername", "password": b"mysecretpassword"}
    token = cluster.until(
        lambda: data_of(cluster.get("secret", "me-token", "--namespace=vault-kvstore")).get("token"), "the token of me"
    )
    read = cluster.get("secret", "my-first-secret", "--namespace=vault-kvstore", token=token.decode())
    assert data_of(read) == found


def test_an_output_folder_is_applied(cluster: KubernetesServer, namespace: str, vault: Path) -> None:
    folder = vault / "manifests"
    folder.mkdir()
    assert kubevault(vault, "generate", "--namespace", namespace, "--output-dir", str(folder)).code == 0
    cluster.kubectl("apply", f"--filename={folder}")
    names = {thing["metadata"]["name"] for thing in cluster.get("secrets", f"--namespace={namespace}")["items"]}
    assert {"odd-values", "odd-keys", "odd-binary", "empty", "plain", "alice-token"} <= names


def test_a_secret_over_the_apply_limit_goes_server_side_only(
    cluster: KubernetesServer, namespace: str, tmp_path: Path
) -> None:
    write_tree(tmp_path, {"big": {"k": "x" * 300_000}, "full": {"k": "x" * (1 << 20)}}, {})
    ran = kubevault(tmp_path, "generate", "--namespace", namespace)
    assert ran.err.count("kubectl apply --server-side") == 2
    cluster.kubectl("apply", "--filename=-", stdin=ran.out, fails=True)
    cluster.kubectl("apply", "--server-side", "--filename=-", stdin=ran.out)
    assert len(data_of(cluster.get("secret", "full", f"--namespace={namespace}"))["k"]) == 1 << 20
