"""The same secrets for other operators: no value in them."""

from pathlib import Path

from kubevault_world import make, objects, vault

TEXT = (
    "_kubevault: {type: kubernetes.io/basic-auth, labels: {app: x}, immutable: true}\npassword: s3cret\nusername: u\n"
)


def test_external_secrets(tmp_path: Path) -> None:
    made = objects(vault(tmp_path, {"a/b": TEXT, "c": "k: s3cret"}, {"me": "**"}), kind="external-secret", store="st")
    assert set(made) == {("ExternalSecret", "a-b"), ("ExternalSecret", "c")}
    assert made["ExternalSecret", "c"] == {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {
            "annotations": {"kubevault.chezmoi.sh/source": "c"}, "name": "c", "namespace": "vault-kvstore",
        },
        "spec": {
            "dataFrom": [{"extract": {"key": "c"}}],
            "refreshInterval": "1h",
            "secretStoreRef": {"kind": "ClusterSecretStore", "name": "st"},
            "target": {"name": "c"},
        },
    }  # fmt: skip
    target = made["ExternalSecret", "a-b"]["spec"]["target"]
    template = {"type": "kubernetes.io/basic-auth", "metadata": {"labels": {"app": "x"}}}
    assert target == {"name": "a-b", "immutable": True, "template": template}
    assert "s3cret" not in str(made)


def test_push_secrets(tmp_path: Path) -> None:
    folder = vault(tmp_path, {"a/b": TEXT})
    made = objects(folder, kind="push-secret", store="st", store_kind="SecretStore")
    spec = made["PushSecret", "a-b"]["spec"]
    assert spec["secretStoreRefs"] == [{"kind": "SecretStore", "name": "st"}]
    assert spec["selector"] == {"secret": {"name": "a-b"}}
    assert [one["match"]["secretKey"] for one in spec["data"]] == ["password", "username"]
    assert spec["data"][0]["match"]["remoteRef"] == {"remoteKey": "a-b", "property": "password"}
    assert "s3cret" not in str(made)


def test_each_has_a_file_of_its_own(tmp_path: Path) -> None:
    groups = make(vault(tmp_path, {"a": "k: 1"}), kind="push-secret", store="st").groups
    assert [group.stem for group in groups] == ["push-secret-a"]
