"""A first user's commands, in a shell. tests/cluster applies what they make to a real API server."""

from base64 import b64decode
from pathlib import Path

import yaml

from kubevault_program import START, shell

NAMESPACE = "vault-kvstore"


def test_the_first_commands_make_the_expected_objects(tmp_path: Path) -> None:
    ran = shell(tmp_path, START + "kubevault generate")
    assert ran.code == 0, ran.err
    secret, account, token, role, binding = yaml.safe_load_all(ran.out)
    assert (secret["kind"], secret["type"]) == ("Secret", "Opaque")
    assert secret["metadata"] == {
        "name": "my-first-secret",
        "namespace": NAMESPACE,
        "annotations": {"kubevault.chezmoi.sh/source": "my-first-secret"},
    }
    values = {key: b64decode(value).decode() for key, value in secret["data"].items()}
    assert values == {"username": "myusername", "password": "mysecretpassword"}
    assert (account["kind"], account["metadata"]) == ("ServiceAccount", {"name": "me", "namespace": NAMESPACE})
    assert (token["kind"], token["type"]) == ("Secret", "kubernetes.io/service-account-token")
    assert token["metadata"] == {
        "name": "me-token",
        "namespace": NAMESPACE,
        "annotations": {"kubernetes.io/service-account.name": "me"},
    }
    assert (role["kind"], role["metadata"]["name"]) == ("Role", "kubevault:me:read")
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["my-first-secret"], "verbs": ["get", "list"]}
    ]
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "kubevault:me:read"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "me", "namespace": NAMESPACE}]


def test_the_other_commands_of_the_first_page(tmp_path: Path) -> None:
    assert shell(tmp_path, START).code == 0
    ran = shell(tmp_path, "kubevault can-read me --show-only-allowed", KUBEVAULT_DIR=str(tmp_path / "vault"))
    assert ran.out == "List of secrets accessible by user 'me':\n\u25cf my-first-secret (\"my-first-secret\")\n"
    ran = shell(tmp_path, "mkdir manifests; kubevault generate --output-dir manifests; ls manifests")
    assert ran.out.split() == ["access-control-me.yaml", "secret-my-first-secret.yaml"]


def test_a_second_new_overwrites_nothing(tmp_path: Path) -> None:
    assert shell(tmp_path, START).code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert shell(tmp_path, "kubevault new vault").code == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
