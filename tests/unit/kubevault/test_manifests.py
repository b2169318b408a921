"""The objects of a vault."""

from base64 import b64decode
from pathlib import Path

import pytest

from kubevault_world import make, objects, vault
from strongroom.kubevault import manifests


def test_a_file_becomes_a_secret(tmp_path: Path) -> None:
    made = objects(vault(tmp_path, {"production/applicationB/postgresql": "b: 1_000\na: é\nc: !!binary /w=="}))
    assert made["Secret", "production-applicationb-postgresql"] == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "annotations": {"kubevault.chezmoi.sh/source": "production/applicationB/postgresql"},
            "name": "production-applicationb-postgresql",
            "namespace": "vault-kvstore",
        },
        "data": {"a": "w6k=", "b": "MV8wMDA=", "c": "/w=="},
        "type": "Opaque",
    }


def test_string_data_keeps_what_is_no_text_in_data(tmp_path: Path) -> None:
    folder = vault(tmp_path, {"x": "a: é\nc: !!binary /w==", "y": "a: 1", "z": ""})
    made = objects(folder, format="stringData")
    assert made["Secret", "x"]["stringData"] == {"a": "é"} and made["Secret", "x"]["data"] == {"c": "/w=="}
    assert made["Secret", "y"]["stringData"] == {"a": "1"} and "data" not in made["Secret", "y"]
    assert made["Secret", "z"]["stringData"] == {}


def test_settings_shape_the_secret(tmp_path: Path) -> None:
    text = (
        "_kubevault:\n  type: example.com/x\n  labels: {app: db}\n  annotations: {a: b}\n  immutable: true\n"
        "tls.crt: x\n"
    )
    made = objects(vault(tmp_path, {"x": text, "y": "_kubevault: {immutable: false}"}))
    secret = made["Secret", "x"]
    assert secret["type"] == "example.com/x" and secret["immutable"] is True
    assert secret["metadata"]["labels"] == {"app": "db"}
    assert secret["metadata"]["annotations"] == {"a": "b", "kubevault.chezmoi.sh/source": "x"}
    assert list(secret["data"]) == ["tls.crt"]
    assert made["Secret", "y"]["immutable"] is False


def test_a_user_gets_a_role_for_exactly_what_it_may_read(tmp_path: Path) -> None:
    folder = vault(tmp_path, {"B": "", "a/y": "", "a/x": "", "a-b": ""}, {"me": "# note\n**\n!a/x\n"})
    made = objects(folder, namespace="team")
    assert made["ServiceAccount", "me"] == {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "me", "namespace": "team"},
        "automountServiceAccountToken": False,
    }
    assert made["Secret", "me-token"]["type"] == "kubernetes.io/service-account-token"
    assert made["Secret", "me-token"]["metadata"]["annotations"] == {"kubernetes.io/service-account.name": "me"}
    assert made["Role", "kubevault:me:read"] == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {
            "annotations": {"kubevault.chezmoi.sh/rules": "**\n!a/x"},
            "name": "kubevault:me:read",
            "namespace": "team",
        },
        "rules": [
            {
                "apiGroups": [""],
                "resources": ["secrets"],
                "resourceNames": ["b", "a-y", "a-b"],
                "verbs": ["get", "list"],
            }
        ],
    }
    assert made["RoleBinding", "kubevault:me:read"] == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "kubevault:me:read", "namespace": "team"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "kubevault:me:read"},
        "subjects": [{"kind": "ServiceAccount", "name": "me", "namespace": "team"}],
    }


@pytest.mark.parametrize("rules", ["", "# nothing", "nothing/*", "!**", "**\n!**", "[z-a]"])
def test_a_user_who_may_read_nothing_gets_no_rule(tmp_path: Path, rules: str) -> None:
    made = objects(vault(tmp_path, {"x": ""}, {"me": rules}))
    assert made["Role", "kubevault:me:read"]["rules"] == []
    assert ("RoleBinding", "kubevault:me:read") in made


def test_tokens_can_be_left_out(tmp_path: Path) -> None:
    folder = vault(tmp_path, {"x": ""}, {"me": "**"})
    assert ("Secret", "me-token") in objects(folder)
    assert ("Secret", "me-token") not in objects(folder, tokens="none")


def test_order_is_by_name_then_users(tmp_path: Path) -> None:
    folder = vault(tmp_path, {"b": "", "a/x": "", "a-a": ""}, {"zed": "", "team/abe": ""})
    kinds = [(thing["kind"], thing["metadata"]["name"]) for thing in make(folder).objects()]
    assert kinds == [
        ("Secret", "a-a"),
        ("Secret", "a-x"),
        ("Secret", "b"),
        *(
            (kind, name)
            for user in ("abe", "zed")
            for kind, name in (
                ("ServiceAccount", user),
                ("Secret", f"{user}-token"),
                ("Role", f"kubevault:{user}:read"),
                ("RoleBinding", f"kubevault:{user}:read"),
            )
        ),
    ]


def test_a_large_role_is_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "ROLE_LIMIT", 40)
    folder = vault(tmp_path, {f"secret-{n}": "" for n in range(9)}, {"me": "**"})
    made = objects(folder)
    roles = [thing for (kind, _), thing in made.items() if kind == "Role"]
    assert [role["metadata"]["name"] for role in roles] == [
        "kubevault:me:read", "kubevault:me:read-2", "kubevault:me:read-3",
    ]  # fmt: skip
    names = [role["rules"][0]["resourceNames"] for role in roles]
    assert sorted(sum(names, [])) == [f"secret-{n}" for n in range(9)]
    assert all(names)
    for role in roles:
        bound = made["RoleBinding", role["metadata"]["name"]]
        assert bound["roleRef"]["name"] == role["metadata"]["name"]
        assert bound["subjects"][0]["name"] == "me"


def test_several_namespaces(tmp_path: Path) -> None:
    folder = vault(tmp_path, {"prod/x": "", "dev/x": "", "top": ""}, {"me": "**", "none": "", "dev": "dev/*"})
    things = list(make(folder, namespace="home", by_folder=True).objects())
    where = {(thing["kind"], thing["metadata"]["namespace"], thing["metadata"]["name"]): thing for thing in things}
    assert len(where) == len(things)
    assert {key for key in where if key[2] == "kubevault:me:read" and key[0] == "Role"} == {
        ("Role", namespace, "kubevault:me:read") for namespace in ("prod", "dev", "home")
    }
    assert where["Role", "prod", "kubevault:me:read"]["rules"][0]["resourceNames"] == ["prod-x"]
    assert where["RoleBinding", "prod", "kubevault:me:read"]["subjects"][0]["namespace"] == "home"
    assert ("Role", "prod", "kubevault:dev:read") not in where
    assert where["Role", "home", "kubevault:none:read"]["rules"] == []
    assert ("ServiceAccount", "home", "dev") in where


def test_base64() -> None:
    assert b64decode(manifests.base64("é")) == "é".encode()
    assert b64decode(manifests.base64(b"\xff")) == b"\xff"
